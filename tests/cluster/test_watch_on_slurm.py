"""Jobs that wait in a real Slurm are seen as queued runs, alone and bundled. `cluster` is an environment that reaches it."""

import subprocess

import pytest

from dgsct.campaign.queued import Queue, comment_of, target_of
from dgsct.campaign.watching import Watch
from dgsct.runs.run import Run

RUNS = [Run.make("ave", "dg-sct", {"S": False, "C": False}, seed=seed) for seed in range(4)]


@pytest.fixture
def held(cluster, tmp_path, monkeypatch):
    """Submits a held job from `tmp_path`; all are gone afterwards."""
    for name, value in cluster.items():
        monkeypatch.setenv(name, value)
    jobs = []

    def submit(comment: str, script: str = "#!/bin/sh\ntrue\n") -> None:
        command = ["sbatch", "--parsable", "-H", "--comment", comment]
        done = subprocess.run(command, cwd=tmp_path, input=script, capture_output=True, text=True, timeout=30, check=True)
        jobs.append(done.stdout.strip())

    yield submit
    subprocess.run(["scancel", *jobs], check=True, timeout=30)


def test_queued_runs_are_seen(held, tmp_path):
    held(comment_of(RUNS[0]))
    held(
        "rule_short_train", f"#!/bin/sh\npython -m snakemake --target-jobs '{target_of(RUNS[1])}' '{target_of(RUNS[2])}' -c 1\n"
    )
    queue = Queue(tmp_path / "results")
    found = Watch(tmp_path / "results", queue).look(RUNS)
    assert queue.problem == ""
    assert [found[run].state for run in RUNS] == ["queued", "queued", "queued", "missing"]


def test_jobs_of_another_folder_are_somebody_elses(held, tmp_path):
    held(comment_of(RUNS[0]))
    assert Queue(tmp_path / "elsewhere" / "results").runs(RUNS) == {}

"""What Slurm's queue tells of runs; a real Slurm is asked in tests/cluster."""

import time

import pytest
from queue_rig import on_path, program

from dgsct.campaign import queued
from dgsct.campaign.queued import Queue, comment_of, parse_squeue, target_of
from dgsct.campaign.watching import Watch
from dgsct.runs.run import Run

RUNS = [Run.make("ave", "dg-sct", {"S": False, "C": False}, seed=seed) for seed in range(3)]


def test_a_job_is_known_by_the_comment_of_snakemakes_plugin():
    assert comment_of(RUNS[2]) == "rule_train_wildcards_mini_release_ave_dg-sct_C=off+S=off_2"


def test_jobs_that_are_over_are_no_queued_jobs():
    text = "12|PENDING|rule_train_wildcards_a |/w\n13|COMPLETED|x|/w\n14_2|RUNNING||/w|odd\n"
    jobs = parse_squeue(text)
    assert [(job.id, job.state, job.comment, job.folder) for job in jobs] == [
        ("12", "PENDING", "rule_train_wildcards_a", "/w"),
        ("14_2", "RUNNING", "", "/w|odd"),
    ]


@pytest.mark.parametrize("text", ["slurm_load_jobs error: ...", "a|b|c|d", "12|pending|c|/w", "12|PENDING"])
def test_an_answer_of_another_form_is_none(text):
    assert parse_squeue(text) is None


def test_jobs_of_this_folder_are_queued_and_those_of_another_are_not(tmp_path, monkeypatch):
    lines = [f"7|PENDING|{comment_of(RUNS[0])}|{tmp_path}", f"8|PENDING|{comment_of(RUNS[1])}|{tmp_path / 'elsewhere'}"]
    program(tmp_path / "bin", "squeue", "cat <<'END'\n" + "\n".join(lines) + "\nEND")
    on_path(monkeypatch, tmp_path / "bin")
    found = Watch(tmp_path / "results", Queue(tmp_path / "results")).look(RUNS)
    assert [found[run].state for run in RUNS] == ["queued", "missing", "missing"]


def test_runs_bundled_in_one_job_are_found_in_its_script(tmp_path, monkeypatch):
    line = f"7|PENDING|rule_bundle0_train|{tmp_path}"
    program(tmp_path / "bin", "squeue", f"echo '{line}'")
    script = f"python -m snakemake --target-jobs '{target_of(RUNS[0])}' '{target_of(RUNS[2])}0' --cores 2"
    program(tmp_path / "bin", "scontrol", f'test "$*" = "write batch_script 7 -" && cat <<\'END\'\n{script}\nEND')
    on_path(monkeypatch, tmp_path / "bin")
    # Seed 20 is in the job, seed 2 is not.
    assert set(Queue(tmp_path / "results").runs(RUNS)) == {RUNS[0]}


def test_a_queue_that_hangs_is_left_alone_for_a_while_and_said_so(tmp_path, monkeypatch):
    program(tmp_path / "bin", "squeue", "sleep 60")
    on_path(monkeypatch, tmp_path / "bin")
    monkeypatch.setattr(queued, "SQUEUE_SECONDS", 0.3)
    queue, begin = Queue(tmp_path / "results"), time.monotonic()
    assert queue.runs(RUNS) == queue.runs(RUNS) == {}
    assert time.monotonic() - begin < 5
    assert queue.problem == "squeue did not answer in 0.3 s"


def test_a_queue_that_talks_nonsense_is_no_queue(tmp_path, monkeypatch):
    program(tmp_path / "bin", "squeue", "echo 'welcome to the cluster'")
    on_path(monkeypatch, tmp_path / "bin")
    queue = Queue(tmp_path / "results")
    assert queue.runs(RUNS) == {}
    assert queue.problem == "squeue answers in a form that is not known here"


def test_without_slurm_there_is_nothing_to_say(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    queue = Queue(tmp_path / "results")
    assert (queue.runs(RUNS), queue.problem) == ({}, "")

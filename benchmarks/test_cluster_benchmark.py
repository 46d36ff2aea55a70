"""What the DAG costs on a real Slurm of one node: a run inside a bundle beyond its own work, and submitting many runs."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from slurm_rig import Cluster, missing
from workflow_rig import ROOT

from dgsct.data.prepare import prepare_set
from dgsct.runs.run import Run
from dgsct.settings.scales import MINI
from dgsct.tasks import get_set
from dgsct.tasks.generate import write_mini

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "-")

PROFILE = ["--profile", str(ROOT / "workflow/profiles/slurm"), "--slurm-init-seconds-before-status-checks", "1"]
RUNS = 200


@pytest.fixture(scope="module")
def cluster():
    with Cluster(cpus=2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Prepared clips; encoders that are there in name only, as nothing here trains."""
    folder = tmp_path_factory.mktemp("world")
    root = folder / "results"
    write_mini("ave", root / "data/mini/ave/raw", splits={"train": 6, "val": 1, "test": 1}, progress=False)
    prepare_set(get_set("ave"), root / "data/mini/ave/raw", root / "data/mini/ave/packed", MINI, progress=False)
    for name in ("swin", "htsat"):
        for end in ("safetensors", "json"):
            path = root / "encoders/mini" / f"{name}.{end}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}")
    return folder


def snakemake(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), *PROFILE, *arguments]


def test_a_run_inside_a_bundle(benchmark, cluster, folder):
    """From the end of a bundle's first run to that of its last, less what the runs themselves took, by their number."""
    methods, protocols = ("all-background", "majority-class", "oracle-category"), ("release", "paper", "clean")
    runs = {Run.make("ave", m, protocol=p).folder for m in methods for p in protocols}
    records = [Path("results", run, "record.json") for run in sorted(runs)]

    def go() -> None:
        command = snakemake(*map(str, records), "--config", "tasks=ave")
        subprocess.run(command, cwd=folder, env=cluster.env, check=True, capture_output=True)

    benchmark.pedantic(go, rounds=1)
    # Logs, as Snakemake dates all records of a bundle alike at its end.
    written = sorted((folder / record).with_name("job.log").stat().st_mtime for record in records)
    own = [json.loads((folder / record).read_text())["provenance"]["wall_seconds"] for record in records]
    seconds = (written[-1] - written[0]) / (len(written) - 1) - sum(own) / len(own)
    benchmark.extra_info["seconds beside the run's own"] = round(seconds, 3)
    assert list(cluster.jobs().values()) == ["COMPLETED"]
    assert seconds < 0.3


def test_submitting_many_runs(benchmark, cluster, folder):
    """Each a job of its own, as long runs are; nothing starts."""
    node = f"NodeName={cluster.node}"
    cluster.call("scontrol", "update", node, "State=DRAIN", "Reason=benchmark")
    command = snakemake("table1", "--jobs", str(RUNS), "--slurm-jobname-prefix", "many", "--group-components", "short=1")

    def go() -> None:
        while len(cluster.jobs("many_")) < RUNS:
            assert driver.poll() is None
            time.sleep(0.2)

    with open(folder / "driver.log", "w") as log:
        begin = time.monotonic()
        config = ["--config", f"seeds={RUNS}", "tasks=ave", "methods=dg-sct"]
        driver = subprocess.Popen([*command, *config], cwd=folder, env=cluster.env, stdout=log, stderr=log)
    try:
        benchmark.pedantic(go, rounds=1)
        assert time.monotonic() - begin < 30
    finally:
        driver.kill()
        driver.wait()

"""A run that starts from another run's weights, on a real Slurm that takes the node away: the same bits in the end."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from family_rig import CHILD, PARENT, share
from safetensors import safe_open
from safetensors.numpy import load_file
from slurm_rig import Cluster, missing
from workflow_rig import ROOT

from dgsct.runs.inputs import BEST
from dgsct.runs.run import Run

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "-")

COMMAND = [sys.executable, "-m", "snakemake", f"results/{CHILD.folder}/record.json", "--snakefile", str(ROOT / "Snakefile")]
ON_SLURM = [
    "--profile", str(ROOT / "workflow/profiles/slurm"), "--set-resources", "train:slurm_partition=low", "train:gres=slot:1",
    "--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "10",
]  # fmt: skip
TIMES = ("seconds", "seconds_per_update", "provenance", "peak_memory_bytes")
SECONDS = 300.0


def started(folder: Path, env: dict[str, str], *options: str) -> subprocess.Popen:
    """The DAG, asked for the child in `folder`."""
    with open(folder / "driver.log", "w") as log:
        return subprocess.Popen(
            [*COMMAND, *options, "--config", "seeds=1"], cwd=folder, env=env, stdout=log, stderr=subprocess.STDOUT
        )


def wait_for(there: Callable[[], object], driver: subprocess.Popen, folder: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while not there():
        assert driver.poll() is None, (folder / "driver.log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def trains(folder: Path, run: Run) -> bool:
    """Whether a run has left a checkpoint and no record yet."""
    at = folder / "results" / run.folder
    return bool(list(at.glob("checkpoints/step-*"))) and not (at / "record.json").exists()


def results(folder: Path) -> dict[str, object]:
    """What both runs have left: records without what the clock decides, and weights."""
    found: dict[str, object] = {}
    for run in (PARENT, CHILD):
        at = folder / "results" / run.folder
        record = json.loads((at / "record.json").read_text())
        found[f"{run.task} record"] = _without_times(record)
        # Tensors and header, as the order of a header's entries is nobody's promise.
        found[f"{run.task} weights"] = {name: tensor.tobytes() for name, tensor in load_file(at / BEST).items()}
        with safe_open(at / BEST, "np") as weights:
            found[f"{run.task} header"] = weights.metadata()
    return found


def _without_times(value):
    if isinstance(value, dict):
        return {k: _without_times(v) for k, v in value.items() if k not in TIMES}
    return [_without_times(v) for v in value] if isinstance(value, list) else value


def test_parent_and_child_are_preempted_and_end_with_the_same_bits(family, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        share(family, folder / "results")
    undisturbed = started(here, dict(os.environ), "--cores", "1")
    assert undisturbed.wait(SECONDS) == 0, (here / "driver.log").read_text()
    with Cluster(cpus=2) as cluster:
        driver = started(there, cluster.env, *ON_SLURM)
        try:
            for run in (PARENT, CHILD):
                wait_for(lambda run=run: trains(there, run), driver, there)
                cluster.call("sbatch", "--partition=work", "--gres=slot:1", "--output=/dev/null", "--wrap=sleep 1")
                time.sleep(2)  # the job has been told to leave
            assert driver.wait(SECONDS) == 0, (there / "driver.log").read_text()
        finally:
            with suppress(ProcessLookupError):
                driver.kill()
            driver.wait()
    for run in (PARENT, CHILD):
        record = json.loads((there / "results" / run.folder / "record.json").read_text())
        assert record["provenance"]["resumed"] >= 1, run.folder
    assert results(there) == results(here)

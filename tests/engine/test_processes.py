"""One run in several processes, which talk by gloo where there is no GPU: as in one process, with one record at the end."""

import os
import signal
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from avs_rig import write_world
from fork_rig import Forked
from pixels import PACE
from torch import nn
from toy_rig import ON_PATH, clone, read, wait_for

from dgsct.engine import worker
from dgsct.engine.execute import execute
from dgsct.engine.execute import main as engine
from dgsct.records.results import validity
from dgsct.runs.run import Run
from dgsct.settings import scales

MASKS, EVENTS = Run("avs-s4", "pixels", seed=1), Run("ave", "pixels", seed=1)
DG_SCT = Run.make("ave", "dg-sct", protocol="clean", seed=1)


@pytest.fixture
def launched(monkeypatch, tmp_path):
    """The DAG's command at a scale whose runs are long, in processes of `torch.distributed`; their number is the scale's."""

    def start(root: Path, run: Run, *options: str, gpus: int = 2) -> Forked:
        monkeypatch.setitem(scales.SCALES, "mini", replace(scales.MINI, gpus=gpus, short_runs=False))
        words = ["train", str(root / run.folder), *options]
        return Forked(lambda: worker.main(words), tmp_path / f"said-{len(list(tmp_path.glob('said-*')))}")

    return start


@pytest.mark.usefixtures("toys")
def test_two_processes_stopped_once_agree_with_one(tmp_path, launched, monkeypatch):
    """Equal batches, losses and metrics but for rounding: the toy on segmentation has no chance and no batch statistics."""
    one, two = write_world(tmp_path / "one"), write_world(tmp_path / "two")
    execute(MASKS, one)
    monkeypatch.setenv(PACE, "0.05")
    process, checkpoints = launched(two, MASKS), two / MASKS.folder / "checkpoints"
    wait_for(lambda: list(checkpoints.glob("step-*")) or process.poll() is not None, "checkpoint")
    process.send_signal(signal.SIGTERM)  # to the launcher, which tells both
    assert process.wait() == 75, process.said()
    monkeypatch.delenv(PACE)
    process = launched(two, MASKS, "--gpus", "2", "--keep", "record", gpus=1)  # as a site says
    assert process.wait() == 0, process.said()
    assert process.said().count("resumed at epoch") == 1  # one process speaks
    assert process.said().count(f"epoch {MASKS.recipe.epochs}/") == 1
    alone, shared = read(one, MASKS), read(two, MASKS)
    assert shared["metrics"] == pytest.approx(alone["metrics"], abs=1e-3)
    for here, there in zip(alone["curve"], shared["curve"], strict=True):
        assert there["loss"] == pytest.approx(here["loss"], rel=1e-5)
    assert '"processes": 2' in (two / MASKS.folder / "record.json").read_text()
    assert {path.name for path in checkpoints.iterdir()} == {"finished.json", "units.npz"}


def one_of_two(root: Path, run: Run) -> int:
    """A process of a run, which knows its number by the environment; this process had none."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    return engine([str(root / run.folder)])


def test_two_processes_of_dg_sct_normalise_whole_batches(mini_world, tmp_path, trained_by, monkeypatch):
    """Without dropout, DG-SCT, whose adapters use statistics of the batch, learns as in one process."""
    made = nn.MultiheadAttention.__init__
    monkeypatch.setattr(nn.Dropout, "forward", lambda self, x: x)
    monkeypatch.setattr(nn.MultiheadAttention, "__init__", lambda self, *args, dropout=0.0, **more: made(self, *args, **more))
    trained_by("ave", "dg-sct", epochs=1)
    one, two = clone(mini_world, tmp_path / "one"), clone(mini_world, tmp_path / "two")
    execute(DG_SCT, one)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    forks = [
        Forked(lambda: one_of_two(two, DG_SCT), tmp_path / f"rank{i}", RANK=str(i), LOCAL_RANK=str(i), **meeting)
        for i in range(2)
    ]
    for fork in forks:
        assert fork.wait() == 0, fork.said()
    alone, shared = read(one, DG_SCT), read(two, DG_SCT)
    assert len(shared["curve"]) == 1
    for here, there in zip(alone["curve"], shared["curve"], strict=True):
        assert there["loss"] == pytest.approx(here["loss"], rel=1e-5)
    assert shared["metrics"] == pytest.approx(alone["metrics"], abs=100 / (12 * 10))  # a segment of the test clips


THE_SECOND_FAILS = """
import os
if os.environ.get("RANK") == "1":
    from dgsct.engine.training import Training
    whole = Training._step
    def step(self, *batch):
        if self.progress.step == 5:
            raise ValueError("an index beyond the last class")
        return whole(self, *batch)
    Training._step = step
"""


@pytest.mark.usefixtures("toys")
def test_a_process_that_fails_alone_counts_as_the_run(mini_world, tmp_path, launched, monkeypatch):
    """The first process only waits for it. At the second time a failed record is the outcome, and that is no failure."""
    root = clone(mini_world, tmp_path / "results")
    (tmp_path / "sitecustomize.py").write_text((ON_PATH[0] / "sitecustomize.py").read_text() + THE_SECOND_FAILS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (tmp_path, *ON_PATH))))
    assert launched(root, EVENTS).wait() not in (0, 75)
    assert validity(EVENTS, root).reason == "ValueError: an index beyond the last class"
    second = launched(root, EVENTS)
    assert second.wait() == 0, second.said()
    assert validity(EVENTS, root).given_up


def test_a_failure_in_two_processes_is_told(tmp_path, launched):
    process = launched(tmp_path, DG_SCT)
    assert process.wait() == 1
    assert "manifest.json is missing or unreadable; make it with" in process.said()

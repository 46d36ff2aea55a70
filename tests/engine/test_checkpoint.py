"""Damaged, foreign and left-over files beside a run: what is used, what is said, what is deleted, and equal results."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from avs_rig import write_world
from toy_rig import known

from dgsct.data.units import Units
from dgsct.engine.checkpoint import KEEP, check_best, save_best
from dgsct.engine.execute import execute
from dgsct.engine.training import Training
from dgsct.errors import DgsctError, MachineError, Stopped
from dgsct.runs.run import Run

RUN = Run("avs-s4", "pixels", seed=1)
TIMES = ("seconds", "seconds_per_update", "provenance")
KINDS = ("model.safetensors", "optimizer.bin", "random_states_0.pkl", "custom_checkpoint_0.pkl", "state.json")


class Killed(BaseException):
    """A process that is gone in the middle of its work."""


@pytest.fixture
def root(tmp_path, pixels):
    return write_world(tmp_path)


def outcome(root: Path) -> dict:
    record = json.loads(execute(RUN, root).read_text())
    curve = [{k: v for k, v in entry.items() if k not in TIMES} for entry in record["curve"]]
    return {
        "metrics": record["metrics"],
        "best": record["best_epoch"],
        "curve": curve,
        "resumed": record["provenance"]["resumed"],
    }


def interrupt(root: Path, monkeypatch, epochs: int) -> Path:
    """Train and be killed behind the checkpoint of an epoch; returns the folder of the checkpoints."""
    whole = Training.end_epoch

    def end(self, show):
        if self.progress.epoch + 1 == epochs:
            raise Killed
        return whole(self, show)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "end_epoch", end)
        with pytest.raises(Killed):
            execute(RUN, root)
    return root / RUN.folder / "checkpoints"


def steps(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("step-*"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    with known():
        return outcome(write_world(tmp_path_factory.mktemp("undisturbed")))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def flip_middle(path: Path) -> None:
    flip(path, len(path.read_bytes()) // 2)


def flip_end(path: Path) -> None:
    flip(path, len(path.read_bytes()) - 3)


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(bytes(content))


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("damage", [truncate, flip_middle, flip_end, empty, Path.unlink])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(root, monkeypatch, capsys, undisturbed, name, damage):
    folder = interrupt(root, monkeypatch, 5)
    assert steps(folder) == ["step-00000016", "step-00000020"]
    damage(folder / "step-00000020" / name)
    capsys.readouterr()
    result = outcome(root)
    said = capsys.readouterr().out
    assert f"checkpoint step-00000020 is damaged ({name} " in said
    assert "resumed at epoch 4, batch 4" in said
    assert {**result, "resumed": 0} == undisturbed
    assert result["resumed"] == 1


def test_where_every_checkpoint_is_damaged_the_run_begins_anew(root, monkeypatch, capsys, undisturbed):
    folder = interrupt(root, monkeypatch, 5)
    for path in folder.glob("step-*"):
        flip_end(path / "model.safetensors")
    assert outcome(root) == undisturbed
    assert "there is no other: the run begins anew" in capsys.readouterr().out


def test_what_can_never_be_used_goes_and_takes_nobodys_place(root, monkeypatch, undisturbed):
    """Checkpoints of other code with later steps, and what killed writers left."""
    folder = root / RUN.folder / "checkpoints"
    for name in ("step-00000098", "step-00000099"):
        interrupt(root, monkeypatch, 1)
        shutil.move(folder / "step-00000004", folder / name)
        state = folder / name / "state.json"
        state.write_text(state.read_text())
    with monkeypatch.context() as patch:
        patch.setattr(Run, "code", lambda self: "another state of the code")
        interrupt(root, monkeypatch, 3)
        assert steps(folder) == ["step-00000008", "step-00000012"]
        (folder / ".partial-00000016").mkdir()
        (folder / ".best.safetensors.abc").write_text("half")
        (root / RUN.folder / ".record.json.abc").write_text("half")
    assert outcome(root) == undisturbed
    assert sorted(p.name for p in folder.iterdir()) == ["best.safetensors", "finished.json", "units.npz"]
    assert not list((root / RUN.folder).glob(".*"))


def test_never_more_than_two_checkpoints_and_the_best_weights(root, monkeypatch):
    seen, whole = [], Training.save

    def save(self):
        whole(self)
        seen.append(sorted(p.name.split("-")[0] for p in (self.folder / "checkpoints").iterdir()))

    monkeypatch.setattr(Training, "save", save)
    execute(RUN, root)
    assert seen[-1] == ["best.safetensors", *KEEP * ["step"], "units.npz"]
    assert max(map(len, seen)) == KEEP + 2


def test_a_damaged_note_of_the_outcome_is_no_outcome(root, capsys, undisturbed):
    execute(RUN, root)
    noted = root / RUN.folder / "checkpoints/finished.json"
    (root / RUN.folder / "record.json").unlink()
    text = noted.read_text()
    place = text.index('"miou":') + 9
    noted.write_text(text[:place] + ("1" if text[place] != "1" else "2") + text[place + 1 :])
    assert outcome(root) == undisturbed
    assert "finished.json is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("place", [-1, -100, 20, 60])
def test_damaged_best_weights_are_refused(tmp_path, place):
    import torch

    units = Units({"segments": np.zeros((2, 3))}, ("a", "b"))
    save_best(tmp_path, {"a": torch.arange(100.0), "b": torch.ones(3, 3)}, "k" * 64, 7, units)
    path = tmp_path / "best.safetensors"
    check_best(path)
    flip(path, place % len(path.read_bytes()))
    with pytest.raises(DgsctError, match="is damaged; delete that folder"):
        check_best(path)


def test_a_copy_that_lost_its_lock_writes_nothing(root, monkeypatch):
    def taken_over(self, show):
        path = self.folder / "lock.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "token": "another copy"}))
        return 0

    monkeypatch.setattr(Training, "train_epoch", taken_over)
    with pytest.raises(Stopped, match="taken over"):
        execute(RUN, root)
    assert [p.name for p in (root / RUN.folder).iterdir()] == ["lock.json"]


def test_a_disk_that_does_not_answer_costs_no_checkpoint(root, monkeypatch):
    folder = interrupt(root, monkeypatch, 3)

    def broken(path):
        raise OSError(5, os.strerror(5))

    with monkeypatch.context() as patch:
        patch.setattr("dgsct.engine.checkpoint.sha256_file", broken)
        with pytest.raises(MachineError, match="cannot be read"):
            execute(RUN, root)
    assert steps(folder) == ["step-00000008", "step-00000012"]

"""A segmentation run from description to record: streamed evaluation, selection, the sound that a method asks for."""

import numpy as np
import pytest
import torch
from avs_rig import COUNTS, T, write_world
from pixels_avs import build

from dgsct.data.units import Units
from dgsct.engine.execute import execute
from dgsct.engine.training import Training, open_view, predictions
from dgsct.records.results import read_record, validity
from dgsct.runs.run import Run
from dgsct.tasks.avs.metrics import frame_counts

TASKS = ("avs-s4", "avs-ms3")


@pytest.fixture
def root(tmp_path, pixels):
    for task in TASKS:
        write_world(tmp_path, task)
    return tmp_path


@pytest.mark.parametrize("task", TASKS)
def test_a_record(root, task):
    run = Run.make(task, "pixels")
    record = read_record(execute(run, root))
    assert record["reported"] == "miou_batch4"
    assert record["selection"] == "test"
    assert list(record["curve"][0]["metrics"]) == ["test"]
    assert record["metrics"] == record["curve"][record["best_epoch"] - 1]["metrics"]["test"]
    assert {"miou", "fscore_batch4", "fscore_clip", "fscore_frame"} <= set(record["metrics"])
    yardsticks = [
        read_record(execute(Run.make(task, m), root))["metrics"]["miou"]
        for m in ("all-foreground", "centre-prior", "mean-mask")
    ]
    assert record["metrics"]["miou"] > max(yardsticks) + 20
    assert (root / run.folder / "checkpoints" / "best.safetensors").exists()
    assert validity(run, root).name == "ok"


def test_the_description_holds_options_of_segmentation_only(pixels):
    described = Run.make("avs-s4", "pixels").resolved()
    assert not {"head", "gate_loss", "accuracy"} & set(described["options"])
    assert described["options"]["f_protocol"] == "batch4"
    assert "classes" not in described["sizes"]
    assert "f_protocol" not in Run.make("ave", "dg-sct").resolved()["options"]


def test_clean_selects_on_validation_and_reports_frames(root):
    record = read_record(execute(Run.make("avs-s4", "pixels", protocol="clean"), root))
    assert (record["selection"], record["reported"]) == ("val", "miou")
    best = max(record["curve"], key=lambda entry: entry["metrics"]["val"]["miou"])
    assert record["best_epoch"] == best["epoch"]
    assert record["metrics"] == best["metrics"]["test"]


def test_of_equal_epochs_the_first_is_kept(root, monkeypatch):
    """The release saves where the mIoU is strictly greater; on AVE it saves the last of equals."""
    everywhere = np.full((COUNTS["test"], T, 4, 4), 0.9, np.float32)
    half = np.zeros_like(everywhere)
    half[..., :2] = 1
    told = {"counts": frame_counts(everywhere, half), "seen": np.zeros(COUNTS["test"], bool)}
    equal = Units(told, tuple(map(str, range(COUNTS["test"]))), {"batch_size": 4, "absent": 0})
    monkeypatch.setattr(Training, "evaluate", lambda self, split: equal)
    record = read_record(execute(Run.make("avs-s4", "pixels"), root))
    assert {entry["metrics"]["test"]["miou_batch4"] for entry in record["curve"]} == {50.0}
    assert record["best_epoch"] == 1


def test_only_one_batch_of_maps_is_held(root, trained_by):
    """`predictions` hands every batch to the task at once, in order, with its rows."""
    trained_by("avs-s4", "pixels", batch_size=3)
    run = Run.make("avs-s4", "pixels")
    view, model, seen = open_view(run, root), build("avs-s4", None, None), []

    def keep(predicted, rows):
        seen.append(rows)
        return {"mean": predicted["masks"].mean(axis=(2, 3))}

    rows = view.splits["test"]
    kept = predictions(model, model, view, rows, run, torch.device("cpu"), keep=keep)
    assert [len(some) for some in seen] == [3, 3, 2]
    assert np.array_equal(np.concatenate(seen), rows)
    assert kept["mean"].shape == (COUNTS["test"], T)
    measured = predictions(model, model, view, rows, run, torch.device("cpu"))
    assert measured["counts"].shape == (COUNTS["test"], T, 514)


def test_the_batch_size_of_evaluation_changes_nothing(root, trained_by):
    model, kept = build("avs-s4", None, None), []
    for size in (3, 1):
        trained_by("avs-s4", "pixels", batch_size=size)
        run = Run.make("avs-s4", "pixels")
        view = open_view(run, root)
        kept.append(predictions(model, model, view, view.splits["test"], run, torch.device("cpu"))["counts"])
    np.testing.assert_allclose(*kept, atol=1e-6)


def test_a_method_gets_what_it_names(root):
    view = open_view(Run.make("avs-ms3", "pixels"), root)
    batch = view.batch(np.array([0]), np.random.default_rng(0))
    assert {name: tuple(t.shape) for name, t in batch.inputs.items()} == {"frames": (1, 5, 3, 16, 16), "vggish": (1, 5, 128)}
    assert {name: tuple(t.shape) for name, t in batch.targets.items()} == {"masks": (1, 5, 16, 16), "annotated": (1, 5)}

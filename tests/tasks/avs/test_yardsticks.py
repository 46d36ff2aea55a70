"""Yardsticks of AVS: what they choose on the training masks, and that nothing else on a grid would have been better."""

from types import SimpleNamespace

import numpy as np
import pytest
from avs_rig import T, write_packed

from dgsct.engine.execute import execute
from dgsct.records.results import read_record
from dgsct.runs.run import Run
from dgsct.tasks.avs.yardsticks import fit


def stand_in(train: np.ndarray, annotated: np.ndarray | None = None) -> SimpleNamespace:
    """A task whose training clips have the masks [N, T, H, W]."""
    known = np.ones(train.shape[:2], bool) if annotated is None else annotated
    rows = np.arange(len(train))
    return SimpleNamespace(splits={"train": rows}, masks=lambda r: train[r], annotated=lambda r: known[r])


def disc(side: int, radius: float) -> np.ndarray:
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return (np.hypot(y, x) < radius).astype(np.uint8)


def chosen(name: str, task: SimpleNamespace) -> np.ndarray:
    """The map that a yardstick predicts for the first frame."""
    predicted = fit(name, task)(np.array([0]))["masks"]
    assert predicted.shape[:2] == (1, task.annotated(np.array([0])).shape[1])
    assert (predicted == predicted[:, :1]).all()
    return predicted[0, 0]


def test_everything_is_foreground():
    assert (chosen("all-foreground", stand_in(np.zeros((2, T, 6, 8), np.uint8))) == 1).all()


def test_everything_is_silent():
    assert not chosen("all-silent", stand_in(np.ones((2, T, 6, 8), np.uint8))).any()


@pytest.mark.parametrize("radius", [3.0, 6.5, 11.0])
def test_the_disc_has_the_radius_of_the_training_masks(radius):
    masks = np.broadcast_to(disc(32, radius), (6, T, 32, 32))
    p = chosen("centre-prior", stand_in(masks))
    found, truth = p > 0.5, masks[0, 0] == 1
    assert (found & truth).sum() / (found | truth).sum() > 0.95  # the radii tried are a third of a pixel apart
    assert p.argmax() in (15 * 32 + 15, 15 * 32 + 16, 16 * 32 + 15, 16 * 32 + 16)


def test_the_disc_s_radius_is_the_best_one():
    draw = np.random.default_rng(0)
    masks = np.stack([np.roll(disc(24, r), tuple(draw.integers(-4, 5, 2)), (0, 1)) for r in draw.uniform(2, 9, 20)])[:, None]
    p = chosen("centre-prior", stand_in(masks))

    def iou(guess: np.ndarray) -> float:
        both, either = (masks[:, 0] & guess).sum((1, 2)), (masks[:, 0] | guess).sum((1, 2))
        return float((both / either).mean())

    best = max(iou(disc(24, r)) for r in np.linspace(0.5, 17, 34))
    assert iou((p > 0.5).astype(np.uint8)) >= best - 0.005


def test_the_mean_mask_is_cut_where_it_fits_best():
    """Three clips of four show the left half, one the upper one."""
    left, upper = np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8)
    left[:, :4], upper[:4] = 1, 1
    masks = np.stack([left, left, left, upper])[:, None]
    p = chosen("mean-mask", stand_in(masks))
    assert np.array_equal(p > 0.5, left == 1)
    assert p[0, 0] > p[7, 0] > p[0, 7] > p[7, 7] == 0


def test_frames_without_annotation_teach_nothing():
    masks = np.zeros((4, T, 8, 8), np.uint8)
    masks[:, 0, :, :3] = 1
    annotated = np.zeros((4, T), bool)
    annotated[:, 0] = True
    assert np.array_equal(chosen("mean-mask", stand_in(masks, annotated)) > 0.5, masks[0, 0] == 1)


def test_empty_masks_count_as_in_the_measure():
    """Where most frames are empty, the best mask is a small one."""
    masks = np.zeros((10, 1, 16, 16), np.uint8)
    masks[0] = 1
    assert (chosen("centre-prior", stand_in(masks)) > 0.5).mean() < 0.05


def test_an_unknown_name():
    with pytest.raises(ValueError, match="no yardstick 'x'"):
        fit("x", stand_in(np.zeros((1, 1, 4, 4), np.uint8)))


@pytest.mark.parametrize("task", ["avs-s4", "avs-ms3"])
@pytest.mark.parametrize("method", ["all-foreground", "all-silent", "centre-prior", "mean-mask"])
def test_a_yardstick_s_record(tmp_path, task, method):
    write_packed(tmp_path / "data" / "mini" / task / "packed", task)
    record = read_record(execute(Run.make(task, method), tmp_path))
    assert record["reported"] == "miou_batch4"
    assert record["selection"] is None
    assert 0 < record["metrics"]["miou"] < 60
    assert record["metrics"]["miou"] == pytest.approx(record["metrics"]["miou_batch4"])
    share = {"all-foreground": (100, 100), "all-silent": (0, 0)}.get(method, (0.1, 99.9))
    assert share[0] <= record["metrics"]["mask_area"] <= share[1]
    assert record["coverage"]["test"] == {"present": 8, "total": 8}
    clean = read_record(execute(Run.make(task, method, protocol="clean"), tmp_path))
    assert clean["metrics"] == record["metrics"]

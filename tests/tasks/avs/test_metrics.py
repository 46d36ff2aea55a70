"""mIoU and F-score of AVS: the sheet's examples to its digits, the release's loop over thresholds, and their laws."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dgsct.tasks.avs.metrics import (
    CURVE,
    HAS_OBJECT,
    IOU,
    THRESHOLDS,
    batch_mean_fscore,
    batch_mean_iou,
    best_fscore,
    frame_statistics,
    mean_iou,
)

G = np.zeros((4, 4), np.uint8)
G[:2, :2] = 1
EMPTY, FULL = np.zeros_like(G), np.ones_like(G)
A = np.array([[0.9, 0.8, 0.2, 0.1], [0.7, 0.4, 0.3, 0.1], [0.6, 0.1, 0.1, 0.1], [0.1] * 4], np.float32)
D1, D2 = np.where(G, 0.95, 0.6).astype(np.float32), np.where(G, 0.3, 0.05).astype(np.float32)
HALF = torch.zeros(4, 4).sigmoid().numpy()
LOW = torch.full((4, 4), -5.0).sigmoid().numpy()


def clips(*frames: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Statistics [N, 1, 257] of clips of one frame."""
    return np.stack([frame_statistics(p, y)[None] for p, y in frames])


@pytest.mark.parametrize(
    ("frames", "iou", "fscore"),
    [
        pytest.param([(A, G)], 0.6000000, 0.9285715, id="A"),
        pytest.param([(A, EMPTY)], 0.7500000, 0.0, id="B"),
        pytest.param([(A, G), (A, EMPTY)], 0.6750000, 0.9285715, id="C"),
        pytest.param([(D1, G)], 0.25, 1.0, id="D1"),
        pytest.param([(D2, G)], 0.0, 1.0, id="D2"),
        pytest.param([(D1, G), (D2, G)], 0.125, 0.6511628, id="D"),
        pytest.param([(HALF, G)], 0.0, 0.3023255, id="E"),
        pytest.param([(HALF, EMPTY)], 1.0, 0.0, id="E'"),
        pytest.param([(LOW, FULL)], 0.0, 1.0, id="H"),
    ],
)
def test_golden(frames, iou, fscore):
    """One batch, in the sheet's seven digits (float32, as the release computes)."""
    statistics = clips(*frames)
    assert batch_mean_iou(statistics) / 100 == pytest.approx(iou, abs=5e-8)
    assert batch_mean_fscore(statistics) / 100 == pytest.approx(fscore, abs=1.2e-7)


def test_golden_threshold_of_a():
    curve = frame_statistics(A, G)[CURVE:]
    best = int(curve.argmax())
    assert best == 153
    assert f"{THRESHOLDS[best]:.6f}" == "0.602362"
    chosen = THRESHOLDS[best] <= A
    assert (chosen & (G == 1)).sum() / chosen.sum() == 1.0
    assert (chosen & (G == 1)).sum() / G.sum() == 0.75


def test_golden_d_in_batches_of_one():
    statistics = clips((D1, G), (D2, G))
    assert batch_mean_fscore(statistics, 1) == 100.0
    assert batch_mean_fscore(statistics, 4) == best_fscore(statistics) == pytest.approx(65.11628, abs=1e-5)


def test_thresholds_run_from_0_to_exactly_1():
    assert (len(THRESHOLDS), THRESHOLDS[0], THRESHOLDS[-1], THRESHOLDS[127]) == (255, 0.0, 1.0, 0.5)
    assert THRESHOLDS.dtype == np.float32


def test_a_batch_without_objects_counts_as_zero_and_a_small_last_batch_in_full():
    """The release's mean over batches; over frames or with one threshold neither happens."""
    statistics = clips((A, G), (A, EMPTY), (A, G))
    assert batch_mean_fscore(statistics, 1) / 100 == pytest.approx(2 * 0.9285715 / 3)
    assert best_fscore(statistics) / 100 == pytest.approx(0.9285715)
    assert batch_mean_iou(statistics, 2) / 100 == pytest.approx((0.675 + 0.6) / 2)
    assert mean_iou(statistics) / 100 == pytest.approx((0.6 + 0.75 + 0.6) / 3)


def release_measures(p: torch.Tensor, y: torch.Tensor) -> tuple[float, float]:
    """One batch [F, H, W] as the sheet words it, threshold by threshold in float32."""
    hard = (p > 0.5).float()
    inter, union = (hard * y).sum((1, 2)), torch.maximum(hard, y).sum((1, 2))
    empty = y.sum((1, 2)) == 0
    inter[empty] = ((1 - hard) * (1 - y)).sum((1, 2))[empty]
    union[empty] = float(y[0].numel())
    total, count = torch.zeros(255), 0
    for frame, truth in zip(p, y, strict=True):
        if truth.sum() == 0:
            continue
        precision, recall = torch.zeros(255), torch.zeros(255)
        for k in range(255):
            chosen = (frame >= torch.tensor(k / 254, dtype=torch.float32)).float()
            tp = (chosen * truth).sum()
            precision[k], recall[k] = tp / (chosen.sum() + 1e-20), tp / (truth.sum() + 1e-20)
        f = 1.3 * precision * recall / (0.3 * precision + recall)
        f[f.isnan()] = 0
        total, count = total + f, count + 1
    return float((inter / (union + 1e-7)).mean()), float((total / count).max()) if count else 0.0


PROBABILITIES = arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(1, 5)),
    elements=st.one_of(st.floats(0, 1, width=32), st.integers(0, 254).map(lambda k: float(np.float32(k / 254))), st.just(0.5)),
)  # values on the thresholds decide between >= and >


@st.composite
def frames(draw) -> tuple[np.ndarray, np.ndarray]:
    p = draw(PROBABILITIES)
    y = draw(arrays(np.uint8, p.shape, elements=st.integers(0, 1)))
    y[draw(arrays(bool, len(y)))] = 0
    return p, y


@given(frames())
@settings(max_examples=40, deadline=None)
def test_one_batch_is_the_release_s_loop(drawn):
    p, y = drawn
    iou, fscore = release_measures(torch.from_numpy(p), torch.from_numpy(y).float())
    statistics = frame_statistics(p, y)[:, None]
    assert batch_mean_iou(statistics, len(p)) / 100 == pytest.approx(iou, abs=1e-6)
    assert batch_mean_fscore(statistics, len(p)) / 100 == pytest.approx(fscore, abs=1e-6)


@given(frames(), st.integers(1, 4))
@settings(deadline=None)
def test_bounds(drawn, size):
    p, y = drawn
    statistics = frame_statistics(p, y)[:, None]
    assert np.isfinite(statistics).all()
    for value in (mean_iou(statistics), batch_mean_iou(statistics, size), batch_mean_fscore(statistics, size)):
        assert 0.0 <= value <= 100.0 + 1e-4
    assert (statistics[..., HAS_OBJECT] == (y.sum((1, 2)) > 0)[:, None]).all()


@given(frames())
@settings(deadline=None)
def test_the_mask_itself_is_perfect_and_its_opposite_is_not(drawn):
    _, y = drawn
    right, wrong = frame_statistics(y.astype(np.float32), y), frame_statistics(1 - y.astype(np.float32), y)
    assert right[:, IOU] == pytest.approx(1.0, abs=1e-6)
    assert wrong[:, IOU] == pytest.approx(0.0, abs=1e-6)
    assert right[right[:, HAS_OBJECT] > 0, CURVE:].max(axis=1, initial=1) == pytest.approx(1.0, abs=1e-6)


@given(frames(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_order_within_a_batch_is_irrelevant(drawn, shuffler):
    p, y = drawn
    order = list(range(len(p)))
    shuffler.shuffle(order)
    before, after = frame_statistics(p, y)[:, None], frame_statistics(p[order], y[order])[:, None]
    assert batch_mean_iou(after, len(p)) == pytest.approx(batch_mean_iou(before, len(p)))
    assert batch_mean_fscore(after, len(p)) == pytest.approx(batch_mean_fscore(before, len(p)))


@st.composite
def equal_batches(draw) -> np.ndarray:
    """Statistics [8, 1, 257] of eight clips, each with an object."""
    p = draw(arrays(np.float32, (8, 3, 3), elements=st.floats(0, 1, width=32)))
    y = draw(arrays(np.uint8, (8, 3, 3), elements=st.integers(0, 1)))
    y[:, 1, 1] = 1
    return frame_statistics(p, y)[:, None]


@given(equal_batches())
@settings(deadline=None)
def test_smaller_batches_only_flatter_the_fscore(statistics):
    """Each batch chooses its own threshold; mIoU has none to choose."""
    by_size = [batch_mean_fscore(statistics, size) for size in (1, 2, 4, 8)]
    assert all(a >= b - 1e-9 for a, b in itertools.pairwise(by_size))
    assert by_size[-1] == best_fscore(statistics)
    assert len({round(batch_mean_iou(statistics, size), 9) for size in (1, 2, 4, 8)}) == 1


@given(frames())
@settings(deadline=None)
def test_no_prediction_beats_the_mask_itself(drawn):
    p, y = drawn
    best = frame_statistics(y.astype(np.float32), y)
    assert (frame_statistics(p, y)[:, CURVE:].max(axis=1) <= best[:, CURVE:].max(axis=1) + 1e-6).all()


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="must have one shape"):
        frame_statistics(A, G[:2])

"""Segment accuracy: the fact sheet's examples, and properties."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dgsct.data.prepared import Prepared
from dgsct.data.writer import PackedWriter
from dgsct.models.heads.events import EventOutput, decode
from dgsct.settings.scales import MINI
from dgsct.tasks import get_task
from dgsct.tasks.ave.metrics import (
    accuracy_bounds,
    batch_mean_accuracy,
    category_accuracy,
    relevance_accuracy,
    segment_accuracy,
)
from dgsct.tasks.ave.options import AveOptions as Options
from dgsct.tasks.ave.task import Ave, open_task

BACKGROUND = 28
LABELS = np.full((2, 10), BACKGROUND)
LABELS[0, 2:7] = 3
LABELS[1, :] = 5


def decoded(category: int = 3, background_logit: float = -1.0) -> np.ndarray:
    """Predictions from logits: clip 0 holds `category` in segments 2 to 5, clip 1 class 5 in 0 to 7."""
    relevance, events = torch.full((2, 10), -1.0), torch.zeros(2, BACKGROUND)
    relevance[0, 2:6] = relevance[1, :8] = 1.0
    relevance[0, 9] = background_logit
    events[0, category] = events[1, 5] = 1.0
    return decode(EventOutput(relevance, events, torch.zeros_like(events), torch.zeros_like(relevance))).numpy()


def test_hand_made_example():
    assert segment_accuracy(decoded(), LABELS) == pytest.approx(85.0)
    assert segment_accuracy(decoded(category=4), LABELS) == pytest.approx(65.0)
    assert segment_accuracy(decoded(background_logit=0.0), LABELS) == pytest.approx(85.0)
    assert segment_accuracy(decoded(background_logit=1e-6), LABELS) == pytest.approx(80.0)


@pytest.mark.parametrize(("b", "exact"), [(20, 81.92), (16, 82.21), (10, 82.66)])
def test_the_published_checkpoint_value_is_a_mean_over_batches_of_eight(b, exact):
    """82.18 is no multiple of 1/4020, but 3353/4080: 50 batches of 8 and one of 2, whose segments weigh four times."""
    labels = np.zeros((402, 10), dtype=int)
    predicted = np.ones_like(labels)
    predicted[400:].reshape(-1)[:b] = 0  # b right segments among the last two clips count as 4 b
    predicted[:400].reshape(-1)[: 3353 - 4 * b] = 0
    assert batch_mean_accuracy(predicted, labels) == pytest.approx(100 * 3353 / 4080)
    assert round(batch_mean_accuracy(predicted, labels), 2) == 82.18
    assert round(segment_accuracy(predicted, labels), 2) == exact


def packed_set(folder: Path, absent: tuple[int, ...] = ()) -> Path:
    """Six annotation rows of five videos without content: test row 4 is training row 1's video in another category."""
    shapes = {"frames": (10, 3, 1, 1), "wave": (10, 1), "logmel": (10, 1, 1)}
    folder.mkdir()
    writer = PackedWriter(folder, {name: (shape, "float32") for name, shape in shapes.items()})
    for _ in range(5):
        writer.append({"id": "x"}, {name: np.zeros(shape) for name, shape in shapes.items()})
    labels = np.repeat([[0], [1], [2], [3], [4], [5]], 10, axis=1)
    media = [None if i in absent else place for i, place in enumerate((4, 3, 2, 1, 3, 0))]
    rows = [{"id": f"video{i if i != 4 else 1}", "media": place} for i, place in enumerate(media)]
    described = {"dataset": "ave", "scale": "mini", "image_size": 1, "front_end": {}, "categories": list("abcdef"), "clips": {}}
    splits = {"train": [0, 1], "val": [2], "test": [3, 4, 5]}
    writer.finish({"labels": labels}, {**described, "rows": rows, "splits": splits, "coverage": {}})
    writer.close()
    return folder


def opened(folder: Path) -> Ave:
    return open_task(Prepared.open(folder), get_task("ave").at(MINI), Options(), ())


def metrics_of(view: Ave, predicted: np.ndarray, rows: np.ndarray) -> dict[str, float]:
    return get_task("ave").measure_all(view.units(view.keep({"segments": predicted}, rows), rows, 8))


def test_accuracy_without_the_videos_that_training_saw(tmp_path):
    view = opened(packed_set(tmp_path / "packed"))
    rows = view.splits["test"]
    predicted = view.labels(rows).copy()
    predicted[0, :2] = predicted[1, :] = 0  # 18 of the 20 unseen segments are right, and none of the seen 10
    metrics = metrics_of(view, predicted, rows)
    assert metrics["acc_exact"] == pytest.approx(60.0)
    assert metrics["acc_exact_unseen_ids"] == pytest.approx(90.0)
    rows = view.splits["val"]
    assert "acc_exact_unseen_ids" not in metrics_of(view, view.labels(rows), rows)


def test_absent_clips_bound_the_accuracy_over_all(tmp_path):
    view = opened(packed_set(tmp_path / "packed", absent=(5,)))
    rows = view.splits["test"]
    assert rows.tolist() == [3, 4]
    predicted = view.labels(rows).copy()
    predicted[0, :5] = 0
    metrics = metrics_of(view, predicted, rows)
    assert metrics["acc_exact"] == pytest.approx(75.0)  # 15 of 20 segments
    assert metrics["acc_exact_lower"] == pytest.approx(50.0)  # 15 of 30
    assert metrics["acc_exact_upper"] == pytest.approx(250 / 3)  # 25 of 30
    for split in ("train", "val"):
        rows = view.splits[split]
        assert not {"acc_exact_lower", "acc_exact_upper"} & metrics_of(view, view.labels(rows), rows).keys()


CLASSES = st.integers(0, BACKGROUND)
CLIPS = st.integers(1, 30).flatmap(lambda n: st.tuples(*[arrays(np.int64, (n, 10), elements=CLASSES)] * 2))


@given(CLIPS)
def test_properties(pair):
    predicted, labels = pair
    exact = segment_accuracy(predicted, labels)
    assert 0 <= exact <= 100
    assert segment_accuracy(labels, labels) == 100
    assert segment_accuracy(predicted, labels) == segment_accuracy(labels, predicted)
    order = np.random.default_rng(0).permutation(len(labels))
    assert segment_accuracy(predicted[order], labels[order]) == pytest.approx(exact)
    assert batch_mean_accuracy(predicted, labels, len(labels)) == pytest.approx(exact)
    assert batch_mean_accuracy(predicted, labels, 1) == pytest.approx(exact)
    assert relevance_accuracy(predicted, labels, BACKGROUND) >= exact - 1e-9


@given(CLIPS, st.integers(0, 29))
def test_the_accuracy_over_all_lies_within_the_bounds(pair, absent):
    predicted, labels = pair
    absent = min(absent, len(labels) - 1)
    present = len(labels) - absent
    lower, upper = accuracy_bounds(predicted[:present], labels[:present], absent)
    assert lower - 1e-9 <= segment_accuracy(predicted, labels) <= upper + 1e-9
    assert upper - lower == pytest.approx(100 * absent / len(labels))


def test_category_counts_clips_with_an_event_only():
    labels = np.array([[BACKGROUND, 2], [BACKGROUND, BACKGROUND]])
    assert category_accuracy(labels, labels, BACKGROUND) == 100
    assert category_accuracy(np.full_like(labels, BACKGROUND), labels, BACKGROUND) == 0

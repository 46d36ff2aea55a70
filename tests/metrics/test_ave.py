"""Segment accuracy: the fact sheet's examples, and properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dgsct.metrics.ave import batch_mean_accuracy, category_accuracy, relevance_accuracy, segment_accuracy

BACKGROUND = 28
LABELS = np.full((2, 10), BACKGROUND)
LABELS[0, 2:7] = 3
LABELS[1, :] = 5


def predictions(category: int = 3) -> np.ndarray:
    predicted = np.full((2, 10), BACKGROUND)
    predicted[0, 2:6] = category
    predicted[1, 0:8] = 5
    return predicted


def test_hand_made_example():
    assert segment_accuracy(predictions(), LABELS) == pytest.approx(85.0)
    assert segment_accuracy(predictions(category=4), LABELS) == pytest.approx(65.0)


def test_the_published_checkpoint_value_is_a_mean_over_batches_of_eight():
    """82.18 is no multiple of 1/4020, but 3353/4080: 50 batches of 8 and one of 2, whose segments weigh four times."""
    labels = np.zeros((402, 10), dtype=int)
    predicted = np.ones_like(labels)
    predicted[400:] = 0  # 20 right segments among the last two clips count as 80
    right = predicted[:400].reshape(-1)
    right[: 3353 - 80] = 0
    assert batch_mean_accuracy(predicted, labels) == pytest.approx(100 * 3353 / 4080)
    assert segment_accuracy(predicted, labels) == pytest.approx(100 * (3353 - 60) / 4020)
    assert round(batch_mean_accuracy(predicted, labels), 2) == 82.18


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


def test_category_counts_clips_with_an_event_only():
    labels = np.array([[BACKGROUND, 2], [BACKGROUND, BACKGROUND]])
    assert category_accuracy(labels, labels, BACKGROUND) == 100
    assert category_accuracy(np.full_like(labels, BACKGROUND), labels, BACKGROUND) == 0

"""Measures of AVE: segment accuracy over 28 event classes and background (percent), exactly and as the release averages."""

import numpy as np


def segment_accuracy(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Percent of equal segments, over all; arrays [N, T] of class indices."""
    return float(100.0 * np.mean(predicted == labels))


def accuracy_bounds(predicted: np.ndarray, labels: np.ndarray, absent: int) -> tuple[float, float]:
    """Segment accuracy over `absent` further clips too, percent: all their segments wrong, and all right."""
    right, every = int(np.sum(predicted == labels)), labels.size + absent * labels.shape[1]
    return 100.0 * right / every, 100.0 * (right + every - labels.size) / every


def batch_mean_accuracy(predicted: np.ndarray, labels: np.ndarray, batch_size: int = 8) -> float:
    """Unweighted mean of the accuracies of consecutive batches, percent.

    The release averages this way: with 402 test clips the last two weigh 1/51 instead of 2/402.
    """
    starts = range(0, len(labels), batch_size)
    return float(np.mean([segment_accuracy(predicted[i : i + batch_size], labels[i : i + batch_size]) for i in starts]))


def category_accuracy(predicted: np.ndarray, labels: np.ndarray, background: int) -> float:
    """Percent of the clips with an event whose predicted event class (if any is predicted) is the right one."""
    truth = np.where(labels == background, -1, labels).max(axis=1)
    guess = np.where(predicted == background, -1, predicted).max(axis=1)
    has_event = truth >= 0
    return float(100.0 * np.mean(guess[has_event] == truth[has_event])) if has_event.any() else float("nan")


def relevance_accuracy(predicted: np.ndarray, labels: np.ndarray, background: int) -> float:
    """Percent of segments whose event/background decision is right, whatever the class."""
    return float(100.0 * np.mean((predicted == background) == (labels == background)))

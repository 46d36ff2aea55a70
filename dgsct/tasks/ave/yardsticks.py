"""Predictions for AVE that need no training and keep a table's readers honest."""

from collections.abc import Callable

import numpy as np

from dgsct.data.batch import Arrays
from dgsct.tasks.ave.task import Ave


def fit(name: str, task: Ave) -> Callable[[np.ndarray], Arrays]:
    """The yardstick `name` on the task AVE: rows [N] -> `segments` [N, T]."""
    train = task.labels(task.splits["train"])
    return lambda rows: {"segments": predict(name, train, task.labels(rows), task.background)}


def predict(name: str, train_labels: np.ndarray, labels: np.ndarray, background: int) -> np.ndarray:
    """Segment classes for the clips of `labels` [N, T] (int64; `background` = number of classes), same shape.

    `all-background`: nothing happens. `majority-class`: the training split's most frequent event class, everywhere.
    `oracle-category`: the clip's own category in every segment; it reads `labels`, the other two only their shape.
    """
    if name == "all-background":
        return np.full_like(labels, background)
    if name == "majority-class":
        counts = np.bincount(train_labels[train_labels < background], minlength=background)
        return np.full_like(labels, counts.argmax())
    if name == "oracle-category":
        category = np.where(labels == background, 0, labels).max(axis=1, keepdims=True)
        return np.broadcast_to(category, labels.shape).copy()
    raise ValueError(f"no yardstick {name!r}")

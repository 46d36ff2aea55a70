"""Masks that need no training: what every clip of a set can be told without looking at it or listening.

Each is one probability map [H, W] for all frames; what is chosen is chosen on the annotated training frames, by mIoU, and
the map is scaled so that 1/2 is where it is cut. The F-score sees the whole map: all discs, all cuts of the mean mask.
"""

from collections.abc import Callable

import numpy as np

from dgsct.data.batch import Arrays
from dgsct.tasks.avs.task import Avs

CANDIDATES = 64
CHUNK = 64


def fit(name: str, task: Avs) -> Callable[[np.ndarray], Arrays]:
    """The yardstick `name` on a segmentation task: rows [N] -> probabilities `masks` [N, T, H, W]."""
    maps = {"all-foreground": _everywhere, "all-silent": _nowhere, "centre-prior": _disc, "mean-mask": _mean}
    if name not in maps:
        raise ValueError(f"no yardstick {name!r}")
    chosen = maps[name](task).astype(np.float32)

    def predict(rows: np.ndarray) -> Arrays:
        return {"masks": np.broadcast_to(chosen, (*task.annotated(rows).shape, *chosen.shape))}

    return predict


def _everywhere(task: Avs) -> np.ndarray:
    return np.ones(task.masks(task.splits["train"][:1]).shape[-2:])


def _nowhere(task: Avs) -> np.ndarray:
    return np.zeros(task.masks(task.splits["train"][:1]).shape[-2:])


def _disc(task: Avs) -> np.ndarray:
    """1 / (1 + (r / R)^2), r the distance from the middle: above 1/2 inside the disc of radius R."""
    height, width = task.masks(task.splits["train"][:1]).shape[-2:]
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2)
    radii = np.linspace(0, distance.max(), CANDIDATES + 1)[1:]
    radius = radii[_fit_of_cuts(task, distance[None] < radii[:, None, None]).argmax()]
    return 1 / (1 + (distance / radius) ** 2)


def _mean(task: Avs) -> np.ndarray:
    """m / (m + t), m the mean mask: above 1/2 where m > t."""
    total, count = 0.0, 0
    for masks in _training_masks(task):
        total, count = total + masks.sum(axis=0, dtype=np.float64), count + len(masks)
    mean = total / count
    cuts = np.quantile(mean, np.arange(CANDIDATES) / CANDIDATES)
    cut = max(cuts[_fit_of_cuts(task, mean[None] > cuts[:, None, None]).argmax()], np.finfo(np.float32).tiny)
    return mean / (mean + cut)


def _fit_of_cuts(task: Avs, candidates: np.ndarray) -> np.ndarray:
    """mIoU over the annotated training frames of each of the boolean masks [K, H, W], in [0, 1]."""
    flat = candidates.reshape(len(candidates), -1).astype(np.float32)
    area, total, count = flat.sum(axis=1), np.zeros(len(flat)), 0
    for masks in _training_masks(task):
        truth = masks.reshape(len(masks), -1).astype(np.float32)
        objects, both = truth.sum(axis=1, keepdims=True), truth @ flat.T
        overlap = both / np.maximum(objects + area - both, 1)
        empty = objects == 0  # there the share of pixels that are predicted background counts
        total += np.where(empty, 1 - area / flat.shape[1], overlap).sum(axis=0)
        count += len(masks)
    return total / count


def _training_masks(task: Avs):
    """The annotated masks of the training split, [F, H, W] at a time."""
    rows = task.splits["train"]
    for i in range(0, len(rows), CHUNK):
        some = rows[i : i + CHUNK]
        yield task.masks(some)[task.annotated(some)]

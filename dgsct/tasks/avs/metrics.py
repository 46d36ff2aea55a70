"""Measures of AVS: mIoU (M_J) and F-score (M_F), from a few numbers a frame, so that no set of maps is ever held.

Per frame, with p the predicted probability and y the mask:

    J   = |p > 1/2 and y| / (|p > 1/2 or y| + 1e-7); where y is empty, the share of pixels predicted background
    F_k = 1.3 P R / (0.3 P + R), P and R precision and recall of p >= k / 254, k = 0 ... 254; 0 where P = R = 0

The release averages J and F_k over the frames of a batch of test clips, F_k over those with an object only, takes the
best k of that batch (0 where no frame has an object), and averages over batches.
"""

import numpy as np

THRESHOLDS = (np.arange(255) / 254).astype(np.float32)
IOU, HAS_OBJECT, CURVE = 0, 1, 2  # where the numbers of a frame lie; the F curve is the rest
WIDTH = CURVE + len(THRESHOLDS)
BINS = len(THRESHOLDS) + 1  # a pixel reaches 0 to 255 thresholds
COUNTS = 2 + 2 * BINS
BETA_SQUARED = 0.3


def frame_counts(probability: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """What the statistics of each frame are computed from, whole numbers of pixels, uint32 [..., 514]: of the object's pixels
    and of the others those above 1/2 (2), then by how many thresholds they reach, 0 to 255 (256 each).

    `probability` [..., H, W] in [0, 1], taken as float32; `mask` [..., H, W] in {0, 1}, same shape. Most are zero, so that
    they take a third of the room of the statistics in a compressed file, and they are exact.
    """
    if probability.shape != mask.shape:
        raise ValueError(f"probabilities {probability.shape} and masks {mask.shape} must have one shape")
    lead = mask.shape[:-2]
    p = np.asarray(probability, np.float32).reshape(-1, mask.shape[-2] * mask.shape[-1])
    y = np.asarray(mask).astype(bool).reshape(p.shape)
    counts = np.empty((len(p), COUNTS), np.uint32)
    passed = np.searchsorted(THRESHOLDS, p.ravel(), side="right").reshape(p.shape)  # how many thresholds a pixel reaches
    passed += BINS * np.arange(len(p))[:, None]
    for place, where in enumerate((y, ~y)):
        counts[:, place] = ((p > 0.5) & where).sum(axis=1)
        start = 2 + place * BINS
        counts[:, start : start + BINS] = np.bincount(passed[where], minlength=len(p) * BINS).reshape(len(p), BINS)
    return counts.reshape(*lead, COUNTS)


def statistics_of(counts: np.ndarray) -> np.ndarray:
    """What the measures need of each frame, float32 [..., 257]: J, whether there is an object, the F curve."""
    flat = counts.reshape(-1, COUNTS).astype(np.int64)
    found, missed = flat[:, 0], flat[:, 1]  # above 1/2: on the object, and beside it
    on, beside = flat[:, 2 : 2 + BINS], flat[:, 2 + BINS :]
    objects, pixels = on.sum(axis=1), on.sum(axis=1) + beside.sum(axis=1)
    result = np.zeros((len(flat), WIDTH), np.float32)
    result[:, HAS_OBJECT] = objects > 0
    empty = objects == 0
    share = np.where(empty, pixels - missed, found).astype(np.float32)
    result[:, IOU] = share / (np.where(empty, pixels, objects + missed).astype(np.float32) + np.float32(1e-7))
    result[:, CURVE:] = _curve(on, on + beside, objects)
    return result.reshape(*counts.shape[:-1], WIDTH)


def frame_statistics(probability: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """`statistics_of` the counts of each frame; arguments as of `frame_counts`."""
    return statistics_of(frame_counts(probability, mask))


def _curve(on: np.ndarray, every: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """F_k of each frame, [F, 255], from pixels by how many thresholds they reach: the object's and all, [F, 256] each.

    Zeros where there is no object.
    """

    def at_least(reached: np.ndarray) -> np.ndarray:
        return reached[:, ::-1].cumsum(axis=1)[:, -2::-1].astype(np.float32)

    found, predicted, tiny = at_least(on), at_least(every), np.float32(1e-20)
    precision = found / (predicted + tiny)
    recall = found / (objects.astype(np.float32)[:, None] + tiny)
    below = np.float32(BETA_SQUARED) * precision + recall
    above = np.float32(1 + BETA_SQUARED) * precision * recall
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def mean_iou(statistics: np.ndarray) -> float:
    """Percent; the mean over all frames of [N, T, 257]."""
    return float(100.0 * statistics[..., IOU].mean(dtype=np.float64))


def batch_mean_iou(statistics: np.ndarray, batch_size: int = 4) -> float:
    """Percent; the unweighted mean over batches of `batch_size` clips, of which a smaller last one weighs too much."""
    return float(np.mean([mean_iou(batch) for batch in _batches(statistics, batch_size)]))


def best_fscore(statistics: np.ndarray) -> float:
    """Percent; the best of the F curve averaged over the frames with an object: one threshold for all. 0 without any."""
    curves = statistics[..., CURVE:][statistics[..., HAS_OBJECT] > 0]
    return float(100.0 * curves.mean(axis=0, dtype=np.float64).max()) if len(curves) else 0.0


def batch_mean_fscore(statistics: np.ndarray, batch_size: int = 4) -> float:
    """Percent; the unweighted mean over batches of `batch_size` clips, each with its own best threshold."""
    return float(np.mean([best_fscore(batch) for batch in _batches(statistics, batch_size)]))


def _batches(statistics: np.ndarray, batch_size: int) -> list[np.ndarray]:
    return [statistics[i : i + batch_size] for i in range(0, len(statistics), batch_size)]

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
BETA_SQUARED = 0.3


def frame_statistics(probability: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """What the measures need of each frame, float32 [..., 257]: J, whether there is an object, the F curve.

    `probability` [..., H, W] in [0, 1], taken as float32; `mask` [..., H, W] in {0, 1}, same shape.
    """
    if probability.shape != mask.shape:
        raise ValueError(f"probabilities {probability.shape} and masks {mask.shape} must have one shape")
    lead = mask.shape[:-2]
    p = np.asarray(probability, np.float32).reshape(-1, mask.shape[-2] * mask.shape[-1])
    y = np.asarray(mask).astype(bool).reshape(p.shape)
    result = np.zeros((len(p), WIDTH), np.float32)
    objects = y.sum(axis=1)
    result[:, HAS_OBJECT] = objects > 0
    result[:, IOU] = _overlap(p > 0.5, y, objects)
    result[:, CURVE:] = _curve(p, y, objects)
    return result.reshape(*lead, WIDTH)


def _overlap(predicted: np.ndarray, y: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """J of each frame from boolean [F, pixels]."""
    both, either = (predicted & y).sum(axis=1), (predicted | y).sum(axis=1)
    pixels = y.shape[1]
    empty = objects == 0
    share = np.where(empty, pixels - either, both).astype(np.float32)
    return share / (np.where(empty, pixels, either).astype(np.float32) + np.float32(1e-7))


def _curve(p: np.ndarray, y: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """F_k of each frame, [F, 255]; one histogram instead of 255 passes. Zeros where there is no object."""
    frames, bins = len(p), len(THRESHOLDS) + 1
    passed = np.searchsorted(THRESHOLDS, p.ravel(), side="right").reshape(p.shape)  # how many thresholds a pixel reaches
    passed += bins * np.arange(frames)[:, None]

    def at_least(where: np.ndarray) -> np.ndarray:
        counts = np.bincount(where, minlength=frames * bins).reshape(frames, bins)
        return counts[:, ::-1].cumsum(axis=1)[:, -2::-1].astype(np.float32)

    found, predicted, tiny = at_least(passed[y]), at_least(passed.ravel()), np.float32(1e-20)
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

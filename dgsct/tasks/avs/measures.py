"""What AVS reports, computed from the pixel counts of each frame that a record keeps (`metrics.frame_counts`).

`batch4` is the release's test script, which takes four clips at a time; `clip` has a threshold for each clip, as the
release's validation; `frame` one for all frames, which count alike. Where clips of the split are absent all measures are
over the present ones; `miou_lower` and `miou_upper` bound `miou` over all annotated ones. `unseen_ids`: without clips cut
from a training clip's video. `mask_area` is the share of all pixels that a run predicts to sound; a run of empty masks has 0.
"""

from collections.abc import Callable

import numpy as np

from dgsct.data.units import Units
from dgsct.tasks.avs.metrics import batch_mean_fscore, batch_mean_iou, best_fscore, mean_iou, statistics_of

TEST_BATCH = 4  # clips a batch in the release's test scripts, whatever the batch of training


def _frames(units: Units) -> np.ndarray:
    """Statistics [N, T, 257]."""
    return statistics_of(units["counts"])


def _bound(units: Units, end: int) -> float | None:
    absent = units.facts["absent"]
    if not absent:
        return None
    share = len(units) / (len(units) + absent)
    return share * mean_iou(_frames(units)) + (100 * (1 - share) if end else 0.0)


def _unseen(units: Units) -> float | None:
    unseen = ~units["seen"]
    return mean_iou(_frames(units.take(unseen))) if unseen.any() and not unseen.all() else None


def _mask_area(units: Units) -> float:
    """Percent of the pixels of all frames whose probability is above 1/2; every pixel reaches one number of thresholds."""
    above, pixels = (part.sum(dtype=np.int64) for part in np.split(units["counts"], [2], axis=-1))
    return float(100 * above / pixels)


MEASURES: dict[str, Callable[[Units], float | None]] = {
    "miou": lambda u: mean_iou(_frames(u)),
    "miou_batch4": lambda u: batch_mean_iou(_frames(u), TEST_BATCH),
    "fscore_batch4": lambda u: batch_mean_fscore(_frames(u), TEST_BATCH),
    "fscore_clip": lambda u: batch_mean_fscore(_frames(u), 1),
    "fscore_frame": lambda u: best_fscore(_frames(u)),
    "miou_lower": lambda u: _bound(u, 0),
    "miou_upper": lambda u: _bound(u, 1),
    "miou_unseen_ids": _unseen,
    "mask_area": _mask_area,
}

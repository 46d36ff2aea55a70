"""What AVE reports, computed from the segments that a record keeps: classes predicted and true, [N, 10] each.

Where clips of the split are absent all measures are over the present ones; `acc_exact_lower` and `acc_exact_upper` bound
`acc_exact` over all annotated ones. `unseen_ids`: without clips whose video is a training video under another category.
"""

from collections.abc import Callable

from dgsct.data.units import Units
from dgsct.tasks.ave.metrics import (
    accuracy_bounds,
    batch_mean_accuracy,
    category_accuracy,
    relevance_accuracy,
    segment_accuracy,
)


def _pair(units: Units) -> tuple:
    return units["segments"].astype("int64"), units["labels"].astype("int64")


def _bound(units: Units, end: int) -> float | None:
    absent = units.facts["absent"]
    return accuracy_bounds(*_pair(units), absent)[end] if absent else None


def _unseen(units: Units) -> float | None:
    unseen = ~units["seen"]
    return segment_accuracy(*_pair(units.take(unseen))) if unseen.any() and not unseen.all() else None


MEASURES: dict[str, Callable[[Units], float | None]] = {
    "acc_batch8": lambda u: batch_mean_accuracy(*_pair(u), u.facts["batch_size"]),
    "acc_exact": lambda u: segment_accuracy(*_pair(u)),
    "category": lambda u: category_accuracy(*_pair(u), u.facts["background"]),
    "relevance": lambda u: relevance_accuracy(*_pair(u), u.facts["background"]),
    "acc_exact_lower": lambda u: _bound(u, 0),
    "acc_exact_upper": lambda u: _bound(u, 1),
    "acc_exact_unseen_ids": _unseen,
}

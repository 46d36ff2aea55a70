"""Whether the splits of a set can be believed: what makes a number worthless is refused, what is odd is told with a count."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np

from dgsct.data.index import Index
from dgsct.errors import UsageError

TRAIN = "train"


def check_splits(ids: Sequence[str], splits: Mapping[str, Iterable[int]], where: str, remedy: str) -> None:
    """UsageError for a split without a row, and for one whose clips are all training clips, too.

    `ids` are the clip ids of all annotation rows; `where` and `remedy` say which set, and what to do.
    """
    clips = {name: {ids[row] for row in rows} for name, rows in splits.items()}
    for name, held in clips.items():
        if not held:
            raise UsageError(f"{where} holds no clip of split {name!r}; {remedy}")
        if name != TRAIN and held <= clips.get(TRAIN, set()):
            problem = f"all {len(held)} clips of the split {name!r} are training clips, too"
            raise UsageError(f"{where}: {problem}, so that nothing could be measured by it; {remedy}")


def remarks(index: Index) -> list[str]:
    """What is odd about annotations and splits, a line each with its count and an example; empty where nothing is."""
    lines = [row.line() for row in index.rows]
    ids = [row.video_id for row in index.rows]
    splits = {name: np.asarray(some).tolist() for name, some in index.splits.items()}
    odd = [_counted(_twice(lines), "annotation row stands there more than once", "annotation rows stand there more than once")]
    rows: dict[str, list[int]] = defaultdict(list)
    for i, name in enumerate(ids):
        rows[name].append(i)
    against = [
        name
        for name, some in rows.items()
        if any(index.contradict(index.rows[a], index.rows[b]) for a, b in combinations(some, 2))
    ]
    one, many = (f"{who} annotation rows that contradict each other" for who in ("clip has", "clips have"))
    odd.append(_counted(against, one, many))
    for name, some in splits.items():
        twice = [ids[i] for i in _twice(some)]
        one, many = (f"{who} more than once in the split {name!r}" for who in ("row stands", "rows stand"))
        odd.append(_counted(twice, one, many))
    return [*index.remarks, *(line for line in odd if line), *overlaps(ids, splits)]


def overlaps(ids: Sequence[str], splits: Mapping[str, Iterable[int]]) -> list[str]:
    """Which splits share clips, a line for each pair; `ids` are the clip ids of all annotation rows."""
    clips = {name: {ids[row] for row in rows} for name, rows in splits.items()}
    lines = []
    for (first, ours), (second, theirs) in combinations(clips.items(), 2):
        both = [name for name in dict.fromkeys(ids) if name in ours and name in theirs]
        one, many = (f"{who} in the splits {first!r} and {second!r}" for who in ("clip lies", "clips lie"))
        lines.append(_counted(both, one, many))
    return [line for line in lines if line]


def _twice(things: Iterable) -> list:
    return [thing for thing, count in Counter(things).items() if count > 1]


def _counted(examples: Sequence[str], one: str, many: str) -> str:
    if not examples:
        return ""
    return f"{len(examples)} {one if len(examples) == 1 else many}, for example {examples[0]}"

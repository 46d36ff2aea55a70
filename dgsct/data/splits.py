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
    for name, found in clips.items():
        if not found:
            raise UsageError(f"{where} holds no clip of split {name!r}; {remedy}")
        if name != TRAIN and found <= clips.get(TRAIN, set()):
            told = f"all {len(found)} clips of the split {name!r} are training clips, too"
            raise UsageError(f"{where}: {told}, so that nothing could be measured by it; {remedy}")


def remarks(index: Index) -> list[str]:
    """What is odd about annotations and splits, a line each with its count and an example; empty where nothing is."""
    lines = [row.line() for row in index.rows]
    found = [_told(_twice(lines), "annotation rows stand there more than once")]
    rows: dict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(index.rows):
        rows[row.video_id].append(i)
    several = {name: [*dict.fromkeys(lines[i] for i in some)] for name, some in rows.items() if len(some) > 1}
    against = [
        name for name in several if any(index.contradict(index.rows[a], index.rows[b]) for a, b in combinations(rows[name], 2))
    ]
    found.append(_told(against, "clips have annotation rows that contradict each other"))
    for name, some in index.splits.items():
        places = np.asarray(some).tolist()
        found.append(
            _told([index.rows[i].video_id for i in _twice(places)], f"rows stand more than once in the split {name!r}")
        )
    clips = {name: {index.rows[i].video_id for i in np.asarray(some).tolist()} for name, some in index.splits.items()}
    for (one, ours), (other, theirs) in combinations(clips.items(), 2):
        both = [name for name in rows if name in ours and name in theirs]
        found.append(_told(both, f"clips lie in the splits {one!r} and {other!r}"))
    return [*index.remarks, *(line for line in found if line)]


def _twice(things: Iterable) -> list:
    return [thing for thing, count in Counter(things).items() if count > 1]


def _told(examples: Sequence[str], what: str) -> str:
    if not examples:
        return ""
    what = what if len(examples) > 1 else _singular(what)
    return f"{len(examples)} {what}, for example {examples[0]}"


def _singular(what: str) -> str:
    pairs = {"rows stand": "row stands", "clips have": "clip has", "clips lie": "clip lies"}
    for many, one in pairs.items():
        what = what.replace(many, one)
    return what

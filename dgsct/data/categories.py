"""What a class number means: the names of a set's categories in one order, which no order of annotations can change.

    Church bell          class 0
    Male speech, ...     class 1: a name's line in categories.txt, or its place in the list that the set is known by

A number that stands for background is that of the names.
"""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dgsct.errors import DgsctError, UsageError

AGAIN = "prepare the data again (`dgsct prepare`)"


def category_names(places: Mapping[str, str], known: Sequence[tuple[str, ...]], listed: Path | None = None) -> tuple[str, ...]:
    """The categories of a set, name by class number.

    `places` maps the names in its annotations to the places where they stand first. They are those of the file `listed` (one
    name a line) where it exists, else those of the first of the `known` lists that has them all. UsageError for a name of
    neither, and for a file that has a known list in another order: every checkpoint counts on that order.
    """
    fitting = next((order for order in known if set(places) <= set(order)), None)
    names = read_names(listed) if listed is not None and listed.exists() else fitting
    if names is not None and names != fitting:
        _check_list(names, fitting, known, listed)
    if names is None or not set(places) <= set(names):
        every = names if names is not None else _nearest(places, known)
        name, place = next((name, place) for name, place in places.items() if name not in every)
        near = difflib.get_close_matches(name, every, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        needed = f"{listed} has no such line; add it there"
        if names is None:
            needed = f"a set with categories of its own needs {listed or 'a list of them'}, one name a line"
        raise UsageError(f"{place}: unknown category {name!r}; {hint}{needed}")
    return names


def _check_list(
    names: tuple[str, ...], fitting: tuple[str, ...] | None, known: Sequence[tuple[str, ...]], listed: Path | None
) -> None:
    """UsageError where a list is a known one in another order, with more lines, or with its names written otherwise."""
    remedy = "put the data set's own file there, or none"
    for order in known:
        if set(order) <= set(names):
            at = next((i for i, (ours, theirs) in enumerate(zip(order, names, strict=False)) if ours != theirs), len(order))
            right = f"class {at} is {order[at]!r}, not" if at < len(order) else f"the set has {len(order)} categories, without"
            raise UsageError(f"{listed}, line {at + 1}: {right} {names[at]!r}; {remedy}")
    if fitting and not set(fitting) & set(names):
        problem = f"{listed}, line 1: {names[0]!r} is none of the names in the annotations, such as {fitting[0]!r}"
        raise UsageError(f"{problem}; write the bare names, one a line, or remove the file")


def _nearest(names: Mapping[str, str], known: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The known list that has most of the names."""
    return max(known, key=lambda order: len(set(names) & set(order)), default=())


def read_names(path: Path) -> tuple[str, ...]:
    """The names in a file, one a line; DgsctError if it cannot be read, is empty, leaves a line out, or repeats a name."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").rstrip().split("\n")]
    except (OSError, UnicodeDecodeError) as error:
        raise DgsctError(f"{path} cannot be read as text ({error}); put the data set's own file there, or none") from error
    for i, line in enumerate(lines):
        if not line:
            raise UsageError(f"{path}, line {i + 1}: no name stands there, which would shift all after it; write one a line")
        if line in lines[:i]:
            raise UsageError(f"{path}, line {i + 1}: {line!r} stands there again; write each name once")
    return tuple(lines)


def check_categories(manifest: Mapping[str, Any], names: tuple[str, ...]) -> None:
    """DgsctError if a prepared set's class numbers do not mean `names`."""
    stored = tuple(manifest["categories"])
    if stored == names:
        return
    what = f"the prepared set {manifest['dataset']!r}"
    for i, (ours, theirs) in enumerate(zip(names, stored, strict=False)):
        if ours != theirs:
            problem = f"{what} has {theirs!r} as class {i} where scale {manifest['scale']} has {ours!r}"
            raise DgsctError(f"{problem}; correct its annotations or its list of categories, and {AGAIN}")
    problem = f"{what} has {len(stored)} categories, scale {manifest['scale']} has {len(names)}"
    raise DgsctError(f"{problem}; give the right set, and {AGAIN}")

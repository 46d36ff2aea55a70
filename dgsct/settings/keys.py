"""What of a description stands in a run's key, so that keys stay while descriptions grow.

A field of the first day is always written out. One that came later says which value reproduces what runs did *before* it was
there, and is left out while it has that value: adding it changes no key. What a field's default is has no part in this, so
that changing a default changes the key of every run that relied on it.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

BEFORE = "before"


def later(default: Any, *, before: Any) -> Any:
    """A dataclass field that was added after runs had been described without it.

    `before`: the value under which a run does what runs did then, written as a literal and never changed.
    """
    metadata = {BEFORE: before}
    if isinstance(default, Mapping | list | set):
        return dataclasses.field(default_factory=lambda: default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def described(value: Any, names: Iterable[str] | None = None) -> Any:
    """A dataclass as plain types for a key: all fields (or `names`) but those at the value from before they were there."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        chosen = None if names is None else set(names)
        return {
            f.name: described(getattr(value, f.name))
            for f in dataclasses.fields(value)
            if (chosen is None or f.name in chosen) and not _as_before(f, getattr(value, f.name))
        }
    if isinstance(value, Mapping):
        return {str(k): described(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [described(v) for v in value]
    return value


def _as_before(field: dataclasses.Field[Any], value: Any) -> bool:
    return BEFORE in field.metadata and field.metadata[BEFORE] == value

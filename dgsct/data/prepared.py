"""What a run reads: a prepared set and pre-extracted features beside it, by the names that methods use."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dgsct.data.features import PREFIX, Features, open_features
from dgsct.data.packed import Packed
from dgsct.errors import DgsctError


class Rows(ABC):
    """What a view reads from: `Prepared`, or what a probe pretends in its place.

    `splits` maps train, val and test to the annotation rows [n] int64 that are present, `coverage` counts them and all.
    """

    manifest: dict[str, Any]
    splits: dict[str, np.ndarray]
    coverage: dict[str, dict[str, int]]

    @abstractmethod
    def take(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Entries [B, ...] of an array, or of `features/NAME`, for annotation rows."""

    def absent(self, rows: np.ndarray) -> int:
        """How many annotated rows are absent from the split whose present ones are `rows`."""
        whole = next((s for s, present in self.splits.items() if np.array_equal(present, rows)), None)
        return self.coverage[whole]["total"] - len(rows) if whole else 0

    def seen_in_training(self, names: list[Any], rows: np.ndarray) -> np.ndarray:
        """[B] bool: whether a row shares its name (`names` of all annotation rows) with another row of the training split."""
        train = {names[row] for row in np.setdiff1d(self.splits["train"], rows)}
        return np.array([names[row] in train for row in rows], dtype=bool)


class Prepared(Rows):
    """A set's arrays and features for annotation rows.

    `splits` holds the rows whose clip, and whose features where any are read, are present; `coverage` counts them and all
    annotated ones.
    """

    def __init__(self, packed: Packed, features: Mapping[str, Features] | None = None) -> None:
        self.packed, self.features = packed, dict(features or {})
        self.manifest = packed.manifest
        self.splits = {split: self._with_features(rows) for split, rows in packed.splits.items()}
        self.coverage = {
            split: {"present": len(self.splits[split]), "total": len(rows)} for split, rows in self.manifest["splits"].items()
        }

    @classmethod
    def open(cls, folder: Path, features: Mapping[str, Path] | None = None) -> "Prepared":
        """The set in `folder`, with features by name; DgsctError says what is missing, damaged, or of other clips."""
        packed, places = Packed.open(folder), dict(features or {})
        data = cls(packed, {name: open_features(place) for name, place in places.items()})
        for split, rows in packed.splits.items():
            if len(rows) and not len(data.splits[split]):
                folders = ", ".join(map(str, places.values()))
                raise DgsctError(f"no clip of the split {split!r} in {folder} has features in {folders}; make them again")
        return data

    def _with_features(self, rows: np.ndarray) -> np.ndarray:
        there = [all(name in f.place for f in self.features.values()) for name in self.packed.ids(rows)]
        return rows[np.array(there, dtype=bool)] if len(rows) else rows

    def take(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Entries [B, ...] of an array, or of `features/NAME`, for annotation rows."""
        if name.startswith(PREFIX):
            return self.features[name.removeprefix(PREFIX)].take(self.packed.ids(rows))
        return self.packed.take(name, rows)


class Pretended(Rows):
    """Random arrays in place of a prepared set, each clip one row, all of them in every split."""

    def __init__(self, arrays: Mapping[str, np.ndarray], manifest: dict[str, Any]) -> None:
        self.arrays, self.manifest = arrays, manifest
        count = len(next(iter(arrays.values())))
        self.splits = {split: np.arange(count) for split in ("train", "val", "test")}
        self.coverage = {split: {"present": count, "total": count} for split in self.splits}

    def take(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Entries of an array."""
        return self.arrays[name][rows]

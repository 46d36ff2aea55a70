"""What a reported number can be computed from again: a few numbers of each clip, frame or question, in one small file.

    units.npz    the arrays, [N, ...] each in the order of the evaluated split, ids [N], and `facts` as JSON

Statistics that come later, and metrics that nobody has thought of yet, need no training: they read this file.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dgsct.atomic import write_bytes_atomic
from dgsct.errors import DgsctError

SCHEMA_VERSION = 1
NAME = "units.npz"
FACTS, IDS = "facts", "ids"


@dataclass(frozen=True)
class Units:
    """What is kept of one evaluated split.

    `of` maps names to arrays [N, ...], one entry a row of the split; `ids` [N] names the rows' clips or questions; `facts`
    says what holds for all of them (JSON: batch size, number of absent clips).
    """

    of: Mapping[str, np.ndarray]
    ids: tuple[str, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> np.ndarray:
        """The array of that name."""
        return self.of[name]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.ids)

    def take(self, chosen: np.ndarray) -> "Units":
        """The units of some rows: indices, or a mask [N] bool."""
        index = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        of = {name: array[index] for name, array in self.of.items()}
        return Units(of, tuple(self.ids[i] for i in index), self.facts)


def to_bytes(units: Units) -> bytes:
    """The file's content: equal units, equal bytes."""
    buffer = io.BytesIO()
    facts = json.dumps({"schema": SCHEMA_VERSION, **units.facts}, sort_keys=True)
    np.savez_compressed(buffer, **{FACTS: np.array(facts), IDS: np.array(units.ids)}, **units.of)
    return buffer.getvalue()


def checksum(content: bytes) -> str:
    """sha256 of a file's content, which the record holds."""
    return hashlib.sha256(content).hexdigest()


def write_units(path: Path, units: Units) -> str:
    """Write the file, whole or not at all; returns its checksum."""
    content = to_bytes(units)
    write_bytes_atomic(path, content)
    return checksum(content)


def read_units(path: Path, sha256: str | None = None) -> Units:
    """The units in a file; DgsctError if it is not there, damaged, or not the one with this checksum."""
    again = "delete it and the record beside it, and run again"
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DgsctError(f"{path} cannot be read ({error.strerror}); {again}") from None
    if sha256 is not None and checksum(content) != sha256:
        raise DgsctError(f"{path} is not the file that its record was written with; {again}")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as found:
            facts = json.loads(str(found[FACTS]))
            version = facts.pop("schema")
            of = {name: found[name] for name in found.files if name not in (FACTS, IDS)}
            units = Units(of, tuple(map(str, found[IDS])), facts)
    except Exception as error:  # zipfile, zlib, json and numpy have their own words for a damaged file
        raise DgsctError(f"{path} is damaged ({type(error).__name__}); {again}") from error
    if version != SCHEMA_VERSION:
        raise DgsctError(f"{path} has schema {version}, this version reads {SCHEMA_VERSION}; {again}")
    return units

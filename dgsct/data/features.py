"""Pre-extracted features: artefacts of their own, `features/{scale}/{dataset}/{extractor}/`, apart from the prepared set.

    features.npy    one entry a clip, [R, ...]
    features.json   which clips (in the order of the array), who extracted them from what, and a checksum

They are extracted by us (`dgsct.encoders.extract`) or imported from the public feature files; a method names one among its
inputs (`features/vggish`). No torch here.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from dgsct.atomic import new_file, write_json_atomic
from dgsct.checksum import sha256_file, sha256_json
from dgsct.errors import DgsctError

SCHEMA_VERSION = 1
PREFIX = "features/"


def features_folder(scale: str, dataset: str, extractor: str) -> Path:
    """Where features lie below the results folder."""
    return Path("features", scale, dataset, extractor)


@dataclass(frozen=True)
class PublicFeature:
    """Where the public files hold one clip's features: a file of its own, or the entry `row` of `key` in an HDF5 file."""

    path: Path
    key: str = ""
    row: int = 0


@dataclass(frozen=True)
class Features:
    """Features of clips: `array` [R, ...], memory-mapped, and the place of each clip id in it."""

    array: np.ndarray
    place: dict[str, int]
    facts: dict[str, Any]

    def take(self, ids: Sequence[str]) -> np.ndarray:
        """Entries [B, ...] of clips by their ids."""
        return np.asarray(self.array[[self.place[name] for name in ids]])


def facts_checksum(facts: dict[str, Any]) -> str:
    """sha256 of what a run that reads these features depends on: the numbers, and whose they are."""
    return sha256_json({"ids": facts["ids"], "array": facts["array"]})


def read_facts(folder: Path) -> dict[str, Any]:
    """`features.json` of a folder; DgsctError if it is missing, of another version, or of features that lie elsewhere."""
    path = Path(folder) / "features.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if facts["schema"] != SCHEMA_VERSION or len(facts["ids"]) != facts["array"]["shape"][0]:
            raise ValueError("another version")
        place = features_folder(facts["scale"], facts["dataset"], facts["extractor"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DgsctError(f"{path} is missing or unreadable ({error}); make it with `snakemake {path}`") from None
    if path.parent.parts[-len(place.parts) :] != place.parts:
        raise DgsctError(f"{path} describes {place}; delete {folder} and make it again")
    return facts


def open_features(folder: Path) -> Features:
    """The features in a folder; DgsctError if they are missing, damaged, or not what their facts say."""
    facts, path = read_facts(folder), Path(folder) / "features.npy"
    try:
        array = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise DgsctError(f"{path} is missing or damaged ({error}); delete {folder} and make it again") from error
    declared = facts["array"]
    if list(array.shape) != declared["shape"] or str(array.dtype) != declared["dtype"]:
        raise DgsctError(f"{path} holds another array than its features.json says; delete {folder} and make it again")
    return Features(array, {name: i for i, name in enumerate(facts["ids"])}, facts)


def write_features(folder: Path, features: Iterable[np.ndarray], ids: Sequence[str], facts: dict[str, Any]) -> None:
    """Write the features of the clips `ids` one by one, all of one shape, and then their facts (`scale`, `dataset`,
    `extractor` and more); each file appears whole or not at all, and without the facts nothing counts. ValueError if there
    are more or fewer of them, or one has another shape.
    """
    folder = Path(folder)
    (folder / "features.json").unlink(missing_ok=True)
    given = iter(features)
    first = next(given)
    with new_file(folder / "features.npy") as partial:
        array = np.lib.format.open_memmap(partial, "w+", first.dtype, (len(ids), *first.shape))
        for i, (name, one) in enumerate(zip(ids, chain([first], given), strict=True)):
            if one.shape != first.shape:
                raise ValueError(f"the features of {name} have the shape {one.shape}, others {first.shape}")
            array[i] = one
        array.flush()
    described = {"dtype": str(array.dtype), "shape": list(array.shape), "sha256": sha256_file(folder / "features.npy")}
    write_json_atomic(folder / "features.json", {"schema": SCHEMA_VERSION, **facts, "ids": list(ids), "array": described})

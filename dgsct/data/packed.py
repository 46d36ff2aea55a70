"""Packed arrays: what every epoch reads, decoded once, memory-mapped, with a manifest that says what is in them.

A folder holds `manifest.json` and the arrays that it names, each with its axis: those of clips [R, ...], such as `frames`,
`wave` float32 [R, T, rate] and `logmel` float32 [R, T, F, mel] (dB), and those of annotation rows [N, ...], such as AVE's
`labels` int64 [N, 10]. R counts usable clips, N annotation rows; rows of one video share its media. What each array of a set
is stands in its `files.py` (`DataSet.forms`). The manifest names no place and no time: equal data, equal bytes. This is the
reader; `dgsct.data.writer` fills such a folder.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from dgsct.checksum import sha256_json
from dgsct.errors import DgsctError

SCHEMA_VERSION = 3
CLIP, ROW = "clip", "row"  # what an array's first axis counts
# What a run's result depends on besides the arrays that it reads; not the report, nor where a clip was found.
DECIDING = ("schema", "dataset", "scale", "image_size", "front_end", "categories", "rows", "splits", "coverage")
FIELDS: dict[str, type] = {
    "dataset": str, "scale": str, "image_size": int, "front_end": dict, "categories": list, "rows": list, "splits": dict,
    "clips": dict, "coverage": dict, "arrays": dict,
}  # fmt: skip
AGAIN = "prepare the data again (`dgsct prepare`)"


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a packed folder; DgsctError says what is wrong and how to mend it."""
    path = Path(folder) / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DgsctError(f"{path} does not exist; {AGAIN}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DgsctError(f"{path} cannot be read ({error}); {AGAIN}") from error
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA_VERSION:
        schema = manifest.get("schema") if isinstance(manifest, dict) else None
        raise DgsctError(f"{path} has schema {schema}, this version reads {SCHEMA_VERSION}; {AGAIN}")
    bad = [name for name, kind in FIELDS.items() if not isinstance(manifest.get(name), kind)]
    if not bad:
        bad += [f"arrays.{name}.axis" for name, entry in manifest["arrays"].items() if entry.get("axis") not in (CLIP, ROW)]
    if bad:
        raise DgsctError(f"{path} lacks {bad[0]!r} or has it in another form; {AGAIN}")
    return manifest


def arrays_checksum(manifest: dict[str, Any], names: Iterable[str]) -> str:
    """sha256 of what a run that reads the arrays `names` depends on; DgsctError names an array that is not there."""
    arrays = manifest["arrays"]
    if absent := sorted(set(names) - arrays.keys()):
        raise DgsctError(f"the prepared set {manifest['dataset']!r} has no array {absent[0]!r}; {AGAIN}")
    declared = {name: arrays[name] for name in sorted(set(names))}
    return sha256_json({**{name: manifest.get(name) for name in DECIDING}, "arrays": declared})


class Packed:
    """A prepared set, memory-mapped: nothing of an array is read before it is asked for.

    `arrays` holds every array by name, `take` gives entries of one for annotation rows. `media_of_row` [N] int64 points from
    rows to clips, -1 where the clip is absent; `splits` holds the rows whose clip is present, `coverage` counts both kinds.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        """Map the arrays of `folder`; `open` is the way in."""
        self.manifest = manifest
        self.arrays = {name: _map(Path(folder) / f"{name}.npy", declared) for name, declared in manifest["arrays"].items()}
        media = [-1 if row["media"] is None else row["media"] for row in manifest["rows"]]
        self.media_of_row = np.array(media, dtype=np.int64)
        count = {
            axis: {len(self.arrays[n]) for n, declared in manifest["arrays"].items() if declared["axis"] == axis}
            for axis in (CLIP, ROW)
        }
        fits = count[ROW] <= {len(media)} and len(count[CLIP]) == 1
        if not fits or (len(media) and self.media_of_row.max() >= count[CLIP].pop()):
            raise DgsctError(f"the arrays in {folder} do not fit the rows of its manifest; {AGAIN}")
        # A row whose clip is absent cannot be trained on or measured: it is counted in `coverage` and left out here.
        self.splits = {
            split: np.array([i for i in rows if media[i] >= 0], dtype=np.int64) for split, rows in manifest["splits"].items()
        }

    @property
    def clips(self) -> int:
        """Number of usable clips."""
        return sum(clip["media"] is not None for clip in self.manifest["clips"].values())

    def take(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Entries of an array for annotation rows [B]: their clips', or their own."""
        clips = self.manifest["arrays"][name]["axis"] == CLIP
        return np.asarray(self.arrays[name][self.media_of_row[rows] if clips else rows])

    def ids(self, rows: np.ndarray) -> list[str]:
        """The clip ids of annotation rows."""
        return [self.manifest["rows"][row]["id"] for row in rows]

    @classmethod
    def open(cls, folder: Path) -> "Packed":
        """The set in `folder`; DgsctError if its manifest or an array is missing, damaged or of another version."""
        manifest = read_manifest(folder)
        try:
            return cls(folder, manifest)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise DgsctError(f"{Path(folder) / 'manifest.json'} is damaged ({error!r}); {AGAIN}") from error


def _map(path: Path, described: dict[str, Any]) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise DgsctError(f"{path} is missing or damaged ({error}); {AGAIN}") from error
    if list(array.shape) != described["shape"] or str(array.dtype) != described["dtype"]:
        held, declared = f"{array.dtype} {list(array.shape)}", f"{described['dtype']} {described['shape']}"
        raise DgsctError(f"{path} holds {held} where its manifest says {declared}; {AGAIN}")
    return array

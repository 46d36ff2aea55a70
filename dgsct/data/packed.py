"""Packed arrays: what every epoch reads, decoded once, memory-mapped, with a manifest that says what is in them.

A folder holds `frames.npy` float16 [R, 10, 3, H, W] (colours / 255, resized, not clipped), `wave.npy` float32 [R, 10,
rate], `logmel.npy` float32 [R, 10, F, mel] (dB), `labels.npy` int64 [N, 10] and `manifest.json`. R counts usable clips,
N annotation rows; rows of one video share its media. The manifest names no place and no time: equal data, equal bytes.
This is the reader; `dgsct.data.writer` fills such a folder.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from dgsct.checksum import sha256_json
from dgsct.errors import DgsctError

SCHEMA_VERSION = 2
MEDIA = ("frames", "wave", "logmel")
ARRAYS = (*MEDIA, "labels")
FIELDS: dict[str, type] = {
    "task": str, "scale": str, "image_size": int, "front_end": dict, "categories": list, "rows": list, "splits": dict,
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
    except (OSError, ValueError) as error:
        raise DgsctError(f"{path} cannot be read ({error}); {AGAIN}") from error
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA_VERSION:
        found = manifest.get("schema") if isinstance(manifest, dict) else None
        raise DgsctError(f"{path} has schema {found}, this version reads {SCHEMA_VERSION}; {AGAIN}")
    bad = [name for name, kind in FIELDS.items() if not isinstance(manifest.get(name), kind)]
    bad += [f"arrays.{name}" for name in ARRAYS if name not in manifest.get("arrays", {})]
    if bad:
        raise DgsctError(f"{path} lacks {bad[0]!r} or has it in another form; {AGAIN}")
    return manifest


class Packed:
    """A prepared set, memory-mapped: nothing of an array is read before it is asked for.

    `frames`, `wave`, `logmel` are [R, ...], `labels` [N, 10]; `media_of_row` [N] int64 points from annotation rows to
    media, -1 where the clip is absent; `splits` holds the rows whose media is present, `coverage` counts both kinds.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        """Map the arrays of `folder`; `open` is the way in."""
        self.manifest = manifest
        self.sha256 = sha256_json(manifest)
        arrays = {name: _map(Path(folder) / f"{name}.npy", manifest["arrays"][name]) for name in ARRAYS}
        self.frames, self.wave, self.logmel, self.labels = (arrays[name] for name in ARRAYS)
        self.coverage: dict[str, dict[str, int]] = manifest["coverage"]
        media = [-1 if row["media"] is None else row["media"] for row in manifest["rows"]]
        self.media_of_row = np.array(media, dtype=np.int64)
        fits = len(media) == len(self.labels) and len({len(arrays[name]) for name in MEDIA}) == 1
        if not fits or (len(media) and self.media_of_row.max() >= len(self.frames)):
            raise DgsctError(f"the arrays in {folder} do not fit the rows of its manifest; {AGAIN}")
        # A row whose clip is absent cannot be trained on or measured: it is counted in `coverage` and left out here.
        self.splits = {
            split: np.array([i for i in rows if media[i] >= 0], dtype=np.int64) for split, rows in manifest["splits"].items()
        }

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
        found, said = f"{array.dtype} {list(array.shape)}", f"{described['dtype']} {described['shape']}"
        raise DgsctError(f"{path} holds {found} where its manifest says {said}; {AGAIN}")
    return array

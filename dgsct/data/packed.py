"""Packed arrays: what every epoch reads, decoded once, memory-mapped, with a manifest that says what is in them.

A folder holds `manifest.json` and the arrays that it names. Those of clips, [R, T, ...]: `frames.npy`, `wave.npy` float32
[R, T, rate], `logmel.npy` float32 [R, T, F, mel] (dB) in every set; AVE's frames are float16 [R, 10, 3, H, W] (colours /
255, resized, not clipped), AVSBench's uint8 [R, 5, 3, H, W], with `masks.npy` uint8 [R, 5, H, W] of zeros and ones and
`vggish.npy` float32 [R, 5, 1, 96, 64] (ln). Those of annotation rows: AVE's `labels.npy` int64 [N, 10], AVSBench's
`annotated.npy` bool [N, 5]. R counts usable clips, N annotation rows; rows of one video share its media. The manifest
names no place and no time: equal data, equal bytes. This is the reader; `dgsct.data.writer` fills such a folder.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from dgsct.checksum import sha256_json
from dgsct.errors import DgsctError

SCHEMA_VERSION = 2
MEDIA = ("frames", "wave", "logmel")  # in every set
OF_ROWS = frozenset({"labels", "annotated"})
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
    bad += [f"arrays.{name}" for name in MEDIA if name not in manifest.get("arrays", {})]
    if bad:
        raise DgsctError(f"{path} lacks {bad[0]!r} or has it in another form; {AGAIN}")
    return manifest


class Packed:
    """A prepared set, memory-mapped: nothing of an array is read before it is asked for.

    Every array is an attribute by its name: `frames`, `wave`, `logmel` [R, ...] and what else the set has of clips,
    `labels` or `annotated` [N, ...] of annotation rows. `media_of_row` [N] int64 points from rows to media, -1 where the
    clip is absent; `splits` holds the rows whose media is present, `coverage` counts both kinds.
    """

    frames: np.ndarray
    wave: np.ndarray
    logmel: np.ndarray
    labels: np.ndarray
    annotated: np.ndarray
    masks: np.ndarray
    vggish: np.ndarray

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        """Map the arrays of `folder`; `open` is the way in."""
        self.manifest = manifest
        self.sha256 = sha256_json(manifest)
        self.arrays = {name: _map(Path(folder) / f"{name}.npy", said) for name, said in manifest["arrays"].items()}
        vars(self).update(self.arrays)
        self.coverage: dict[str, dict[str, int]] = manifest["coverage"]
        media = [-1 if row["media"] is None else row["media"] for row in manifest["rows"]]
        self.media_of_row = np.array(media, dtype=np.int64)
        rows = {len(array) for name, array in self.arrays.items() if name in OF_ROWS}
        clips = {len(array) for name, array in self.arrays.items() if name not in OF_ROWS}
        fits = rows == {len(media)} and len(clips) == 1
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

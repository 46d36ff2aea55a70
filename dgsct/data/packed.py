"""Packed arrays: what every epoch reads, decoded once, memory-mapped, with a manifest that says what is in them.

A folder holds `frames.npy` float16 [R, 10, 3, H, W] (colours / 255, resized, not clipped), `wave.npy` float32 [R, 10,
rate], `logmel.npy` float32 [R, 10, F, mel] (dB), `labels.npy` int64 [N, 10] and `manifest.json`. R counts usable clips,
N annotation rows; rows of one video share its media. The manifest names no place and no time: equal data, equal bytes.
"""

import errno
import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from dgsct.checksum import sha256_json
from dgsct.errors import DgsctError, UsageError

SCHEMA_VERSION = 2
MEDIA = ("frames", "wave", "logmel")
ARRAYS = (*MEDIA, "labels")
FIELDS: dict[str, type] = {
    "task": str, "scale": str, "image_size": int, "front_end": dict, "categories": list, "rows": list, "splits": dict,
    "clips": dict, "coverage": dict, "arrays": dict,
}  # fmt: skip
AGAIN = "prepare the data again (`dgsct prepare`)"


@contextmanager
def new_folder(out: Path, mark: str) -> Iterator[Path]:
    """A hidden folder beside `out`, to be filled; it takes the place of `out` at the end, or vanishes on an error.

    What lies in `out` already is replaced only if it holds the file `mark`: no one loses a folder by a slip.
    """
    out = Path(out).absolute()
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / mark).exists())):
        raise UsageError(f"{out} holds something else (it has no {mark}); give a new or an empty folder")
    partial, old = out.with_name(f".{out.name}.partial"), out.with_name(f".{out.name}.old")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        shutil.rmtree(old, ignore_errors=True)
        if out.exists():
            out.rename(old)
        partial.rename(out)
    except OSError as error:
        remedy = "free space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "check the folder and its rights"
        raise DgsctError(f"cannot write {out} ({error.strerror or error}); {remedy} and start again") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


class PackedWriter:
    """Writes the arrays of a packed folder clip by clip; `media` gives each array's shape of one clip and its dtype."""

    def __init__(self, folder: Path, media: dict[str, tuple[tuple[int, ...], str]]) -> None:
        """Open the arrays' files in the existing `folder`."""
        self.folder = Path(folder)
        self.media = media
        self.count = 0
        self.files: dict[str, IO[bytes]] = {}
        self.hashes = {name: hashlib.sha256() for name in media}
        for name in media:
            self.files[name] = open(self.folder / f"{name}.npy", "wb")  # noqa: SIM115 - closed by `close`
            self._header(name)

    def _header(self, name: str) -> None:
        """The .npy header; numpy leaves room for the first axis to grow, so it can be written anew at the end."""
        shape, dtype = self.media[name]
        description = np.lib.format.dtype_to_descr(np.dtype(dtype))
        fields = {"descr": description, "fortran_order": False, "shape": (self.count, *shape)}
        np.lib.format.write_array_header_1_0(self.files[name], fields)

    def append(self, **arrays: np.ndarray) -> int:
        """Add one clip, each array in its declared shape; returns the clip's index."""
        for name, (shape, dtype) in self.media.items():
            array = np.ascontiguousarray(arrays[name], dtype=dtype)
            if array.shape != shape:
                raise ValueError(f"{name} of a clip has shape {array.shape}, expected {shape}")
            self.files[name].write(array.data)
            self.hashes[name].update(array.data)
        self.count += 1
        return self.count - 1

    def finish(self, labels: np.ndarray, manifest: dict[str, Any]) -> dict[str, Any]:
        """Complete the arrays and write the manifest, with dtype, shape and sha256 (of the data) of every array."""
        for name, file in self.files.items():
            file.seek(0)
            self._header(name)
            file.flush()
        np.save(self.folder / "labels.npy", labels)
        described = {
            name: {"dtype": dtype, "shape": [self.count, *shape], "sha256": self.hashes[name].hexdigest()}
            for name, (shape, dtype) in self.media.items()
        }
        checksum = hashlib.sha256(np.ascontiguousarray(labels).data).hexdigest()
        described["labels"] = {"dtype": str(labels.dtype), "shape": list(labels.shape), "sha256": checksum}
        manifest = {"schema": SCHEMA_VERSION, **manifest, "arrays": described}
        text = json.dumps(manifest, indent=1, ensure_ascii=False)
        (self.folder / "manifest.json").write_text(text + "\n", encoding="utf-8")
        return manifest

    def close(self) -> None:
        """Close the files; on a full disk even this may fail, which then adds nothing to what is already known."""
        for file in self.files.values():
            try:
                file.close()
            except OSError:
                continue


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

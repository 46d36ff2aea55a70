"""Packed arrays written clip by clip, with a journal by which an interrupted preparation goes on.

A clip's arrays are appended and flushed, then one line of `journal.jsonl` says so; its first line holds the key of the
settings. What a kill leaves behind the last whole line is cut off at the next start.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from dgsct.data.packed import CLIP, ROW, SCHEMA_VERSION

JOURNAL = "journal.jsonl"
Entry = dict[str, Any]


class PackedWriter:
    """Fills the existing `folder`; `media` gives each array's shape of one clip and its dtype, `key` names the settings.

    `entries` are the clips that are in it, at first those of an earlier call that still hold: the longest run from the
    start whose ids and stamps are those `wanted`. Their arrays are read once, which proves them; what follows is cut off.
    """

    def __init__(
        self,
        folder: Path,
        media: dict[str, tuple[tuple[int, ...], str]],
        key: str = "",
        wanted: Sequence[tuple[str, Any]] = (),
    ) -> None:
        self.folder, self.media = Path(folder), media
        self.count = 0
        self.entries: list[Entry] = []
        self.hashes = {name: hashlib.sha256() for name in media}
        self.start: dict[str, int] = {}
        self.journal = _open(self.folder / JOURNAL)
        self.files = {name: _open(self.folder / f"{name}.npy") for name in media}
        for name, file in self.files.items():
            self._header(name)
            self.start[name] = file.tell()
        self._take_up(json.dumps({"key": key}).encode(), wanted)

    def _header(self, name: str) -> None:
        """The .npy header; numpy leaves room for the first axis to grow, so it can be written anew at the end."""
        shape, dtype = self.media[name]
        description = np.lib.format.dtype_to_descr(np.dtype(dtype))
        fields = {"descr": description, "fortran_order": False, "shape": (self.count, *shape)}
        self.files[name].seek(0)
        np.lib.format.write_array_header_1_0(self.files[name], fields)

    def _take_up(self, settings: bytes, wanted: Sequence[tuple[str, Any]]) -> None:
        self.journal.seek(0)
        first, *lines = self.journal.read().split(b"\n")
        whole = len(settings) + 1
        # The piece behind the last line break is no whole line.
        for (video_id, stamp), line in zip(wanted, lines[:-1] if first == settings else (), strict=False):
            entry = _parsed(line)
            if entry is None or (entry["id"], entry["stamp"]) != (video_id, stamp) or not self._proved(entry):
                break
            self.entries.append(entry)
            whole += len(line) + 1
        if not self.entries:
            self.journal.seek(0)
            self.journal.write(settings + b"\n")
        self.journal.truncate(whole)
        self.journal.seek(whole)
        for name, file in self.files.items():
            end = self.start[name] + self.count * self._size(name)
            file.truncate(end)
            file.seek(end)
        self._flush()

    def _size(self, name: str) -> int:
        shape, dtype = self.media[name]
        return int(np.prod(shape)) * np.dtype(dtype).itemsize

    def _proved(self, entry: Entry) -> bool:
        """Whether the arrays of an entry lie where it says and are what it says; counts them if so."""
        if entry["media"] is None:
            return True
        blocks = {}
        for name, file in self.files.items():
            file.seek(self.start[name] + self.count * self._size(name))
            blocks[name] = file.read(self._size(name))
        if entry["media"] != self.count or {name: zlib.crc32(block) for name, block in blocks.items()} != entry["crc32"]:
            return False
        for name, block in blocks.items():
            self.hashes[name].update(block)
        self.count += 1
        return True

    def append(self, entry: Entry, arrays: dict[str, np.ndarray] | None) -> None:
        """Add one clip: its arrays in their declared shapes, or None, and its line of the journal (id, stamp, facts)."""
        media, checks = None, {}
        if arrays is not None:
            for name, (shape, dtype) in self.media.items():
                array = np.ascontiguousarray(arrays[name], dtype=dtype)
                if array.shape != shape:
                    raise ValueError(f"{name} of a clip has shape {array.shape}, expected {shape}")
                self.files[name].write(array.data)
                self.hashes[name].update(array.data)
                checks[name] = zlib.crc32(array.data)
            media = self.count
            self.count += 1
        entry = {**entry, "media": media, "crc32": checks}
        for file in self.files.values():
            file.flush()
        self.journal.write(json.dumps(entry).encode() + b"\n")
        self.journal.flush()
        self.entries.append(entry)

    def finish(self, of_rows: dict[str, np.ndarray], manifest: dict[str, Any]) -> dict[str, Any]:
        """Complete the arrays, add those by annotation row and write the manifest; it holds axis, dtype, shape and
        sha256 (of the data) of every array.
        """
        for name in self.files:
            self._header(name)
        self._flush()
        described = {
            name: {"axis": CLIP, "dtype": dtype, "shape": [self.count, *shape], "sha256": self.hashes[name].hexdigest()}
            for name, (shape, dtype) in self.media.items()
        }
        for name, array in of_rows.items():
            np.save(self.folder / f"{name}.npy", array)
            checksum = hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
            described[name] = {"axis": ROW, "dtype": str(array.dtype), "shape": list(array.shape), "sha256": checksum}
        manifest = {"schema": SCHEMA_VERSION, **manifest, "arrays": described}
        (self.folder / "manifest.json").write_text(manifest_text(manifest), encoding="utf-8")
        return manifest

    def _flush(self) -> None:
        for file in (*self.files.values(), self.journal):
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """Close the files; on a full disk even this may fail, which then adds nothing to what is already known."""
        for file in (*self.files.values(), self.journal):
            try:
                file.close()
            except OSError:
                continue


def manifest_text(manifest: dict[str, Any]) -> str:
    """The manifest as it stands in its file."""
    return json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"


def _open(path: Path) -> IO[bytes]:
    """The file for reading and writing from its start, its content kept."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b")


def _parsed(line: bytes) -> Entry | None:
    try:
        entry = json.loads(line)
        return entry if {"id", "stamp", "status", "notes", "media", "crc32"} <= entry.keys() else None
    except (ValueError, AttributeError):
        return None

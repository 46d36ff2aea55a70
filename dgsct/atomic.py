"""Files that appear whole or not at all: written under another name, then renamed."""

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dgsct.errors import MachineError


def make_folder(folder: Path) -> None:
    """Make a folder with its parents, behind a link where there is one whose folder is gone."""
    Path(os.path.realpath(folder)).mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A file beside `path` to be written by whatever library; it takes the place of `path` at the end, or vanishes.

    For content that is too large to be held in memory. Where `path` is a link, the file that it leads to is written.
    MachineError if the disk is full or the place forbidden.
    """
    path = Path(os.path.realpath(path))
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        yield Path(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        remedy = "free space on that disk" if error.errno == errno.ENOSPC else "check the folder and its permissions"
        raise MachineError(f"cannot write {path}: {error.strerror}; {remedy} and run the same command again") from error
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def write_bytes_atomic(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all; MachineError if the disk is full or the place forbidden."""
    with new_file(path) as partial:
        partial.write_bytes(content)


def write_text_atomic(path: Path, text: str) -> None:
    """Write UTF-8 text atomically; see `write_bytes_atomic`."""
    write_bytes_atomic(path, text.encode("utf-8"))


def write_json_atomic(path: Path, value: Any) -> None:
    """Write JSON atomically; see `write_bytes_atomic`."""
    write_text_atomic(path, json.dumps(value, indent=2, allow_nan=True) + "\n")

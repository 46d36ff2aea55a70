"""Folders that appear whole: filled under a hidden name beside their place, then renamed."""

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dgsct.errors import DgsctError, UsageError

FULL = (errno.ENOSPC, errno.EDQUOT)
NO_LOCKS_HERE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def partial_folder(out: Path) -> Path:
    """Where the content of `out` grows."""
    return Path(out).absolute().with_name(f".{Path(out).name}.partial")


def check_replaceable(out: Path, mark: str) -> None:
    """UsageError if `out` holds something that has no file `mark`: no one loses a folder by a slip.

    Folders without a file in them are nothing: whoever runs this may have made those of the expected files beforehand.
    """
    out = Path(out).absolute()
    ours = out.is_dir() and ((out / mark).exists() or all(below.is_dir() for below in out.rglob("*")))
    if out.exists() and not ours:
        raise UsageError(f"{out} holds something else (it has no {mark}); give a new or an empty folder")


@contextmanager
def new_folder(out: Path, mark: str) -> Iterator[Path]:
    """A hidden folder beside `out`, to be filled; it takes the place of `out` at the end, or vanishes on an error.

    What lies in `out` already is replaced only if it holds the file `mark`.
    """
    out = Path(out).absolute()
    check_replaceable(out, mark)
    partial = partial_folder(out)
    try:
        with _written(out, "start again"):
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            yield partial
            _put(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def growing_folder(out: Path, mark: str) -> Iterator[Path]:
    """As `new_folder`, but the hidden folder and its content outlive an error, and are given again at the next call."""
    out = Path(out).absolute()
    check_replaceable(out, mark)
    partial = partial_folder(out)
    with _written(out, "start again to go on"):
        partial.mkdir(parents=True, exist_ok=True)
        yield partial
        _put(partial, out)


@contextmanager
def one_writer(out: Path) -> Iterator[None]:
    """Only one process at a time writes `out`: a second one gets a DgsctError. A killed process holds nothing."""
    out = Path(out).absolute()
    path = out.with_name(f".{out.name}.lock")
    with _written(out, "start again"):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            # A lock of the process, not of the open file: workers that outlive a killed parent must not keep it.
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Who held it may have removed the file in between; a lock on a removed file is none.
            mine = path.exists() and os.fstat(handle).st_ino == path.stat().st_ino
        except OSError as error:
            mine = error.errno in NO_LOCKS_HERE
            if mine:
                print(f"this file system has no locks: start no second command that writes {out}", flush=True)
        if not mine:
            raise DgsctError(f"{out} is being written by another process; wait for its end, or stop it, and start again")
        yield
        with contextlib.suppress(OSError):
            path.unlink()
    finally:
        os.close(handle)


@contextmanager
def _written(out: Path, then: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        remedy = "free space" if error.errno in FULL else "check the folder and its rights"
        raise DgsctError(f"cannot write {out} ({error.strerror or error}); {remedy} and {then}") from error


def _put(partial: Path, out: Path) -> None:
    """`partial` becomes `out`; what was there goes."""
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    partial.rename(out)
    shutil.rmtree(old, ignore_errors=True)

"""Folders that appear whole: filled under a hidden name beside their place, then renamed.

Links are followed first: what is written for a link to another disk grows on that disk, and the link stays.
"""

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
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
NO_LOCKS_HERE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
INSIDE = "give a folder inside it, or a link to one"


def _behind(out: Path) -> Path:
    """Where `out` really is: behind every link on the way, also one to a folder that is not there yet."""
    return Path(os.path.realpath(out))


def partial_folder(out: Path) -> Path:
    """Where the content of `out` grows."""
    place = _behind(out)
    return place.with_name(f".{place.name}.partial")


def check_replaceable(out: Path, mark: str) -> None:
    """UsageError if `out` holds something that has no file `mark`: no one loses a folder by a slip; also if it is a mount
    point, which cannot be replaced.

    Folders without a file in them are nothing: whoever runs this may have made those of the expected files beforehand.
    """
    place = _behind(out)
    if place.is_symlink():
        raise UsageError(f"{out} is a link that leads back to itself; make it anew")
    if os.path.ismount(place):
        raise UsageError(f"{_named(out)} is the root of a disk, which cannot be replaced; {INSIDE}")
    if not place.exists() or (place.is_dir() and (place / mark).exists()):
        return
    if not place.is_dir() or not all(below.is_dir() and not below.is_symlink() for below in place.rglob("*")):
        raise UsageError(f"{_named(out)} holds something else (it has no {mark}); give a new or an empty folder")


def _named(out: Path) -> str:
    """`out` as a user knows it, with where it leads to."""
    out, place = Path(out).absolute(), _behind(out)
    return str(out) if out == place else f"{out} (a link to {place})"


@contextmanager
def new_folder(out: Path, mark: str) -> Iterator[Path]:
    """A hidden folder beside `out`, to be filled; it takes the place of `out` at the end, or vanishes on an error.

    What lies in `out` already is replaced only if it holds the file `mark`.
    """
    check_replaceable(out, mark)
    place, partial = _behind(out), partial_folder(out)
    try:
        with _written(out, "start again"):
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            yield partial
            _put(partial, place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def growing_folder(out: Path, mark: str) -> Iterator[Path]:
    """As `new_folder`, but the hidden folder and its content outlive an error, and are given again at the next call."""
    check_replaceable(out, mark)
    place, partial = _behind(out), partial_folder(out)
    with _written(out, "start again to go on"):
        partial.mkdir(parents=True, exist_ok=True)
        yield partial
        _put(partial, place)


@contextmanager
def one_writer(out: Path) -> Iterator[None]:
    """Only one process at a time writes `out`: a second one gets a DgsctError. A killed process holds nothing."""
    place = _behind(out)
    path = place.with_name(f".{place.name}.lock")
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
        remedy = "check the folder and its rights"
        if error.errno in FULL:
            remedy = "free space"
        elif error.errno in FORBIDDEN:
            remedy = f"it must be allowed to write into {_behind(out).parent} too, beside it; {INSIDE}"
        elif error.errno == errno.EBUSY:
            remedy = f"it may be the root of a disk, which cannot be replaced; {INSIDE}"
        raise DgsctError(f"cannot write {_named(out)} ({error.strerror or error}); {remedy} and {then}") from error


def _put(partial: Path, out: Path) -> None:
    """`partial` becomes `out`; what was there goes."""
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    partial.rename(out)
    shutil.rmtree(old, ignore_errors=True)

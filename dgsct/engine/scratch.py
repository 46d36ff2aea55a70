"""A copy of packed data on this machine's own disk: made once, verified, shared by all runs here; equal to the bit.

Copies lie in `SCRATCH/dgsct-USER/SHA256/`, by the checksum of the manifest. Whoever finds none, or one that is not what the
manifest says, makes it under a lock while the others wait. Where there is no room, the shared disk is read instead.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dgsct.atomic import write_json_atomic
from dgsct.checksum import sha256_json
from dgsct.data.packed import AGAIN, read_manifest
from dgsct.engine.run_lock import machine
from dgsct.errors import DgsctError, MachineError, Stopped

PIECE = 1 << 24
POLL_SECONDS = 0.2


def local_copy(folder: Path, scratch: str, asked_to_stop: Callable[[], bool] = lambda: False) -> Path:
    """Where to read the packed set in `folder` from: its copy below `scratch`, or `folder` itself, said in one line.

    Variables such as $TMPDIR in `scratch` are this machine's. DgsctError if the set itself is damaged; Stopped if
    `asked_to_stop` says so while it is copied.
    """
    manifest = read_manifest(folder)
    place = os.path.expandvars(scratch)
    if "$" in place or not os.path.isabs(place):
        print(f"scratch {scratch} is no folder of this machine; reading {folder}", flush=True)
        return folder
    target = Path(place) / f"dgsct-{os.getuid()}" / sha256_json(manifest)
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(target.with_suffix(".lock"), asked_to_stop):
            if not _intact(target, manifest):
                _copy(Path(folder), target, manifest, asked_to_stop)
        return target
    except (OSError, MachineError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        print(f"no copy of {folder} below {place} ({reason}); reading the shared disk", flush=True)
        return folder


@contextlib.contextmanager
def _locked(path: Path, asked_to_stop: Callable[[], bool]) -> Iterator[None]:
    """The lock of a copy; the kernel gives it back when its holder dies."""
    with open(path, "w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                _go_on(asked_to_stop)
                time.sleep(POLL_SECONDS)
        yield


def _go_on(asked_to_stop: Callable[[], bool]) -> None:
    if asked_to_stop():
        raise Stopped("stopped while the packed data were copied to this machine's disk; start again to go on")


def _intact(target: Path, manifest: dict[str, Any]) -> bool:
    """Whether a copy is what the manifest says. Read whole once a job, later judged by the files' stamps."""
    try:
        noted = json.loads((target / "verified.json").read_text())
    except (OSError, ValueError):
        return False
    try:
        if noted == _stamps(target, manifest):
            return True
        good = all(_checksum(target / f"{name}.npy") == declared["sha256"] for name, declared in manifest["arrays"].items())
        good = good and sha256_json(read_manifest(target)) == sha256_json(manifest)
    except (OSError, ValueError, DgsctError):
        return False
    if good:
        write_json_atomic(target / "verified.json", _stamps(target, manifest))
    return good


def _stamps(target: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    files = {}
    for name in [*(f"{name}.npy" for name in manifest["arrays"]), "manifest.json"]:
        stat = (target / name).stat()
        files[name] = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
    return {"machine": machine(), "job": os.environ.get("SLURM_JOB_ID"), "files": files}


def _copy(folder: Path, target: Path, manifest: dict[str, Any], asked_to_stop: Callable[[], bool]) -> None:
    """Make the copy anew; it appears whole or not at all."""
    for leftover in target.parent.glob(f".{target.name}-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    if target.exists():
        shutil.rmtree(target)
    files = [folder / f"{name}.npy" for name in manifest["arrays"]]
    needed, free = sum(path.stat().st_size for path in files), shutil.disk_usage(target.parent).free
    if needed > free:
        raise MachineError(f"it takes {needed / 1e9:.2f} GB, {free / 1e9:.2f} GB are free")
    partial = target.with_name(f".{target.name}-{os.getpid()}")
    try:
        partial.mkdir()
        for path in (*files, folder / "manifest.json"):
            with open(path, "rb") as source, open(partial / path.name, "wb") as copy:
                while piece := source.read(PIECE):
                    copy.write(piece)
                    _go_on(asked_to_stop)
        for name, declared in manifest["arrays"].items():
            if _checksum(partial / f"{name}.npy") != declared["sha256"]:
                if _checksum(folder / f"{name}.npy") != declared["sha256"]:
                    raise DgsctError(f"{folder / name}.npy is not what its manifest says; {AGAIN}")
                raise MachineError(f"{name}.npy did not arrive as it was")
        write_json_atomic(partial / "verified.json", _stamps(partial, manifest))
        os.replace(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _checksum(path: Path) -> str:
    """sha256 of the data in a .npy file, as the manifest has it."""
    with open(path, "rb") as file:
        version = np.lib.format.read_magic(file)
        (np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0)(file)
        digest = hashlib.sha256()
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()

"""Checkpoints of a run: a folder that appears whole or not at all, and the lock that keeps a second copy away.

They live in `checkpoints/` inside the run's folder and are never a declared output of the DAG, which deletes those
before a job starts.
"""

import contextlib
import json
import os
import shutil
import socket
import time
from pathlib import Path
from typing import Any

from dgsct.errors import DgsctError

KEEP = 2
STALE_AFTER = 120.0
BEAT_EVERY = 5.0


def save_checkpoint(folder: Path, step: int, accelerator: Any, state: dict[str, Any]) -> Path:
    """Write `step-XXXXXXXX` below `folder` atomically: weights, optimiser, schedule and all RNGs by accelerate, plus
    `state` as JSON (floats survive exactly). The two newest are kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    final, partial = folder / f"step-{step:08d}", folder / f".partial-{step:08d}"
    for leftover in folder.glob(".partial-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        accelerator.save_state(str(partial))
        (partial / "state.json").write_text(json.dumps(state))
        _sync(partial)
        if final.exists():
            shutil.rmtree(final)
        os.replace(partial, final)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise DgsctError(f"cannot write checkpoint {final}: {error.strerror}; free space and start again") from error
    for old in sorted(folder.glob("step-*"))[:-KEEP]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def _sync(folder: Path) -> None:
    for path in (*folder.iterdir(), folder):
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


def latest_checkpoint(folder: Path, key: str) -> tuple[Path, dict[str, Any]] | None:
    """The newest readable checkpoint that belongs to `key`, with its state; older or foreign ones are passed over."""
    for path in sorted(folder.glob("step-*"), reverse=True):
        try:
            state = json.loads((path / "state.json").read_text())
        except (OSError, ValueError):
            continue
        if state.get("key") == key:
            return path, state
    return None


class RunLock:
    """A lock file with host, process and a heartbeat (its modification time); stale after two minutes of silence."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "lock.json"
        self._beaten = 0.0

    def __enter__(self) -> "RunLock":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(2):
            try:
                handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
            except FileExistsError:
                if not self._abandoned():
                    raise DgsctError(
                        f"{self.path} says that this run is being trained by {self._owner()}; wait for it, or delete the "
                        "file if that process is gone"
                    ) from None
                self.path.unlink(missing_ok=True)
                continue
            with os.fdopen(handle, "w") as file:
                json.dump({"host": socket.gethostname(), "pid": os.getpid(), "job": os.environ.get("SLURM_JOB_ID")}, file)
            return self
        raise DgsctError(f"cannot take {self.path}: another copy of this run took it first")

    def beat(self) -> None:
        """Show that the run is alive; cheap enough for every step."""
        now = time.monotonic()
        if now - self._beaten > BEAT_EVERY:
            self._beaten = now
            with contextlib.suppress(OSError):
                os.utime(self.path)

    def __exit__(self, *_: object) -> None:
        self.path.unlink(missing_ok=True)

    def _read(self) -> dict[str, Any]:
        try:
            return json.loads(self.path.read_text())
        except (OSError, ValueError):
            return {}

    def _owner(self) -> str:
        owner = self._read()
        return f"process {owner.get('pid', '?')} on {owner.get('host', '?')}"

    def _abandoned(self) -> bool:
        owner = self._read()
        if owner.get("host") == socket.gethostname() and "pid" in owner:
            return not Path(f"/proc/{owner['pid']}").exists()
        try:
            return time.time() - self.path.stat().st_mtime > STALE_AFTER
        except FileNotFoundError:
            return True

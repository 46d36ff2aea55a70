"""What a run leaves on the way: checkpoints that appear whole or not at all, its best weights, how it ended, its lock.

All of it lies in the run's folder and is no declared output of the DAG, which deletes those before a job starts:

    checkpoints/step-XXXXXXXX/   weights, optimiser, schedule, random generators, progress; the two newest
    checkpoints/best.safetensors the trained weights of the best epoch (frozen encoders are not repeated)
    checkpoints/finished.json    the outcome of a training that is over; the checkpoints are gone by then
    failed.json                  why the last attempt failed
    lock.json                    who is training, with a heartbeat
"""

import contextlib
import json
import os
import shutil
import socket
import time
from pathlib import Path
from typing import Any

from dgsct.atomic import write_bytes_atomic, write_json_atomic
from dgsct.errors import DgsctError

KEEP = 2
STALE_AFTER = 120.0
BEAT_EVERY = 5.0


def save_checkpoint(folder: Path, step: int, accelerator: Any, state: dict[str, Any]) -> Path:
    """Write `step-XXXXXXXX` below `folder` atomically: weights, optimiser, schedule and all RNGs by accelerate, plus
    `state` as JSON (floats survive exactly). The two newest are kept. Every process of a run calls it.
    """
    final, partial = folder / f"step-{step:08d}", folder / f".partial-{step:08d}"
    main = accelerator.is_main_process
    try:
        if main:
            folder.mkdir(parents=True, exist_ok=True)
            for leftover in folder.glob(".partial-*"):
                shutil.rmtree(leftover, ignore_errors=True)
        accelerator.wait_for_everyone()
        accelerator.save_state(str(partial))
        accelerator.wait_for_everyone()
        if main:
            (partial / "state.json").write_text(json.dumps(state))
            _sync(partial)
            if final.exists():
                shutil.rmtree(final)
            os.replace(partial, final)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        shutil.rmtree(partial, ignore_errors=True)
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise DgsctError(f"cannot write checkpoint {final}: {reason}; free space and start again") from error
    if main:
        for old in sorted(folder.glob("step-*"))[:-KEEP]:
            shutil.rmtree(old, ignore_errors=True)
    return final


def save_best(folder: Path, weights: dict[str, Any], key: str, epoch: int) -> None:
    """Write the best epoch's weights to `best.safetensors`, with the run's key and the epoch in its header."""
    from safetensors.torch import save

    content = save({k: t.contiguous() for k, t in weights.items()}, {"key": key, "epoch": str(epoch)})
    write_bytes_atomic(folder / "best.safetensors", content)


def finish(folder: Path, key: str, result: dict[str, Any]) -> None:
    """Note the outcome of a training and drop the checkpoints that led to it."""
    write_json_atomic(folder / "finished.json", {"key": key, "result": result})
    for old in folder.glob("step-*"):
        shutil.rmtree(old, ignore_errors=True)


def finished(folder: Path, key: str) -> dict[str, Any] | None:
    """The outcome noted by `finish` if it belongs to `key`."""
    try:
        noted = json.loads((folder / "finished.json").read_text())
        return noted["result"] if noted["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


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

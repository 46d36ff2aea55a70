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
import threading
import time
import uuid
from collections.abc import Iterator
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
    except Exception as error:
        shutil.rmtree(partial, ignore_errors=True)
        if not _of_the_disk(error):
            raise
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


def _of_the_disk(error: Exception) -> bool:
    """Whether writing failed; safetensors and torch say so in exceptions of their own."""
    told = type(error).__name__ == "SafetensorError" or "PytorchStreamWriter" in str(error)
    return isinstance(error, OSError) or told


def _sync(folder: Path) -> None:
    for path in (*folder.iterdir(), folder):
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


def checkpoints(folder: Path, key: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Checkpoints that belong to `key` with their states, newest first; unreadable and foreign ones are passed over."""
    for path in sorted(folder.glob("step-*"), reverse=True):
        try:
            state = json.loads((path / "state.json").read_text())
        except (OSError, ValueError):
            continue
        if isinstance(state, dict) and state.get("key") == key:
            yield path, state


class RunLock:
    """A lock file that says who trains, kept fresh by a thread; stale after two minutes without a beat.

    A dead process of this machine, and an earlier start of the same Slurm job, hold nothing.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "lock.json"
        self.token = uuid.uuid4().hex
        self._over = threading.Event()

    def __enter__(self) -> "RunLock":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self._take():
            owner = self._read()
            if not self._abandoned(owner):
                raise DgsctError(
                    f"{self.path} says that this run is being trained by process {owner.get('pid', '?')} on "
                    f"{owner.get('host', '?')}; wait for it, or delete the file if that process is gone"
                )
            self._set_aside(owner)
            if not self._take():
                raise DgsctError(f"cannot take {self.path}: another copy of this run took it first; wait for that one")
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._mine():
            self.path.unlink(missing_ok=True)

    def _take(self) -> bool:
        try:
            handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        owner = {"token": self.token, "host": socket.gethostname(), "pid": os.getpid(), "born": _born(os.getpid())}
        with os.fdopen(handle, "w") as file:
            json.dump({**owner, "job": os.environ.get("SLURM_JOB_ID")}, file)
        return True

    def _set_aside(self, owner: dict[str, Any]) -> None:
        """Remove the lock that was judged, and no other: one that appeared meanwhile is put back."""
        aside = self.path.with_name(f".lock-{self.token}")
        try:
            os.rename(self.path, aside)
            if json.loads(aside.read_text()).get("token") != owner.get("token"):
                os.link(aside, self.path)
        except (OSError, ValueError):
            pass
        finally:
            aside.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._over.wait(BEAT_EVERY):
            if self._mine():
                with contextlib.suppress(OSError):
                    os.utime(self.path)

    def _mine(self) -> bool:
        return self._read().get("token") == self.token

    def _read(self) -> dict[str, Any]:
        try:
            owner = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return {}
        return owner if isinstance(owner, dict) else {}

    def _abandoned(self, owner: dict[str, Any]) -> bool:
        job = os.environ.get("SLURM_JOB_ID")
        if owner.get("host") == socket.gethostname() and "pid" in owner:
            born = _born(owner["pid"])
            return born is None or born != owner.get("born", born)
        if job and owner.get("job") == job:
            return True
        try:
            return time.time() - self.path.stat().st_mtime > STALE_AFTER
        except FileNotFoundError:
            return True


def _born(pid: int) -> str | None:
    """When a process of this machine started, in clock ticks since boot (a number may be used again); None if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None

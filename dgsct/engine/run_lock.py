"""The lock of a run's folder: who is training there, with a heartbeat, so that no second copy writes beside it."""

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dgsct.atomic import make_folder
from dgsct.errors import DgsctError, Stopped

STALE_AFTER = 120.0
BEAT_EVERY = 5.0
REQUEUED_AFTER = 3 * BEAT_EVERY


class RunLock:
    """`lock.json` says who trains and is touched every few seconds; stale after two minutes without that.

    A process of this machine that is gone holds nothing. Of an earlier start of the same Slurm job three missed beats are
    enough. Ages are differences of the file system's own stamps: clocks of machines may differ.

    Where another holds it, entering raises DgsctError naming the owner; with `wait`, called every second, it stays until the
    owner is done or gone, as long as `wait` returns True, and then raises Stopped.
    """

    def __init__(self, folder: Path, wait: Callable[[], bool] | None = None) -> None:
        self.path, self.wait = folder / "lock.json", wait
        self.token = uuid.uuid4().hex
        self.lost = False
        self._over = threading.Event()

    def __enter__(self) -> "RunLock":
        announced = False
        while not self._try():
            owner = self._read() or {}
            who = f"process {owner.get('pid', '?')} on {owner.get('host', '?')}"
            if self.wait is None:
                raise DgsctError(
                    f"{self.path} says that this run is being trained by {who}; wait for it, or delete the file if that "
                    "process is gone"
                )
            if not announced:
                print(f"{who} trains this run ({self.path}); waiting for it", flush=True)
                announced = True
            time.sleep(1.0)
            if not self.wait():
                raise Stopped(f"stopped while {who} trains this run ({self.path}); start it again to go on")
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if (self._read() or {}).get("token") == self.token:
            self.path.unlink(missing_ok=True)

    def check(self) -> None:
        """To be called before anything is written: Stopped if another copy has taken the lock (this one was held up)."""
        owner = self._read()
        if self.lost or (owner is not None and owner.get("token") != self.token):
            self.lost = True
            raise Stopped(f"{self.path} was taken over by another copy of this run, as this one gave no sign of life")

    def _try(self) -> bool:
        make_folder(self.path.parent)
        if (kept := self.path.parent / "checkpoints").is_symlink():  # to another disk, where nothing may be yet
            make_folder(kept)
        if self._take():
            return True
        owner = self._read()
        if owner is None or not self._abandoned(owner):
            return False
        self._set_aside(owner)
        return self._take()

    def _take(self) -> bool:
        try:
            handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        owner = {"token": self.token, "host": socket.gethostname(), "machine": machine(), "pid": os.getpid()}
        with os.fdopen(handle, "w") as file:
            json.dump({**owner, "born": born(os.getpid()), **_job()}, file)
        return True

    def _set_aside(self, owner: dict[str, Any]) -> None:
        """Remove the lock that was judged, and no other: one that appeared meanwhile is put back."""
        aside = self.path.with_name(f".lock-{self.token}")
        try:
            os.rename(self.path, aside)
            if json.loads(aside.read_text()).get("token") != owner.get("token"):
                os.link(aside, self.path)
        except (OSError, ValueError, RecursionError):
            pass
        finally:
            aside.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._over.wait(BEAT_EVERY):
            owner = self._read()
            if owner is not None and owner.get("token") != self.token:
                self.lost = True
                return
            with contextlib.suppress(OSError):
                os.utime(self.path)

    def _read(self) -> dict[str, Any] | None:
        """The owner's note; {} if there is none or it cannot be understood, None if the disk does not answer."""
        try:
            owner = json.loads(self.path.read_text())
        except (FileNotFoundError, ValueError, RecursionError):
            return {}
        except OSError:
            return None
        return owner if isinstance(owner, dict) else {}

    def _abandoned(self, owner: dict[str, Any]) -> bool:
        if owner.get("machine") == machine() and "pid" in owner:
            since = born(owner["pid"])
            return since is None or since != owner.get("born", since)
        job = _job()
        again = job["job"] is not None and owner.get("job") == job["job"]
        if again and job["restart"] != owner.get("restart"):
            return True
        return self._age() > (REQUEUED_AFTER if again else STALE_AFTER)

    def _age(self) -> float:
        """Seconds since the last beat, by the clock of the file system."""
        probe = self.path.with_name(f".now-{self.token}")
        try:
            probe.touch()
            return probe.stat().st_mtime - self.path.stat().st_mtime
        except FileNotFoundError:
            return float("inf")
        except OSError:
            return 0.0
        finally:
            with contextlib.suppress(OSError):
                probe.unlink(missing_ok=True)


def _job() -> dict[str, str | None]:
    return {"job": os.environ.get("SLURM_JOB_ID"), "restart": os.environ.get("SLURM_RESTART_COUNT")}


def machine() -> str:
    """This boot of this machine, and the space in which its process numbers hold (containers have their own)."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def born(pid: int) -> str | None:
    """When a process of this machine started, in clock ticks since boot (a number may be used again); None if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None

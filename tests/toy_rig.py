"""Processes that know the toy method (`toy/`), results folders for its runs, and what is asked of them."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shared_rig import Shared

from dgsct.runs.run import Run

TESTS = Path(__file__).resolve().parent
ON_PATH = (TESTS / "toy", TESTS, TESTS.parent)
TIMES = ("seconds", "seconds_per_update", "provenance", "peak_memory_bytes")


def environment(once: Shared) -> dict[str, str]:
    """What differs in the environment of a process that knows the toy method: its path, and the place of its run server."""
    return {"PYTHONPATH": os.pathsep.join(map(str, ON_PATH)), "TMPDIR": str(once("tmp", lambda _: None))}


def clone(world: Path, target: Path) -> Path:
    """A results folder `target` that shares the prepared data and encoders of `world`, and has no runs."""
    target.mkdir(parents=True, exist_ok=True)
    for name in ("data", "encoders"):
        (target / name).symlink_to(world / name)
    return target


def worker(root: Path, run: Run, *options: str) -> list[str]:
    """The DAG's command for a run: the run server trains it."""
    return [sys.executable, "-m", "dgsct.engine.worker", "train", str(root / run.folder), *options]


def without_times(value: Any) -> Any:
    """A record without what the clock decides."""
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if k not in TIMES}
    return [without_times(v) for v in value] if isinstance(value, list) else value


def read(root: Path, run: Run) -> dict:
    """A run's record without what the clock decides."""
    return without_times(json.loads((root / run.folder / "record.json").read_text()))


def killed(root: Path, run: Run, number: int) -> None:
    """Send a signal to the process that trains a run, if there is one."""
    try:
        os.kill(json.loads((root / run.folder / "lock.json").read_text())["pid"], number)
    except (FileNotFoundError, ProcessLookupError):
        return


def wait_for(there: Callable[[], object], what: str, seconds: float = 300) -> None:
    """Look until it is there; AssertionError that names it otherwise."""
    over = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < over, f"no {what} after {seconds:.0f} s"
        time.sleep(0.01)

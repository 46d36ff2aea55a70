"""Processes that know the toy method (`toy/`), results folders for its runs, and what is asked of them."""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pixels import PIXELS
from shared_rig import Shared

from dgsct.methods import METHODS
from dgsct.methods.base import Method
from dgsct.runs.run import Run

TESTS = Path(__file__).resolve().parent
ON_PATH = (TESTS / "toy", TESTS, TESTS.parent)
EXPERIMENTS = TESTS / "toy" / "experiments"
DG_SCT = Run.make("ave", "dg-sct")  # the fixture `trained` has it
TIMES = ("seconds", "seconds_per_update", "provenance", "peak_memory_bytes")


@contextmanager
def known() -> Iterator[Method]:
    """Meanwhile this process and its forks know the toy method."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(METHODS, PIXELS.name, PIXELS)
        yield PIXELS


@contextmanager
def known_everywhere(once: Shared) -> Iterator[dict[str, str]]:
    """Meanwhile every process that is started knows it, too; yields the environment of such a process.

    Their run server is one of this session, so that everything is imported once.
    """
    folder = str(once("tmp", lambda _: None))
    with known(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, ON_PATH)))
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        yield dict(os.environ)


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
        time.sleep(0.02)

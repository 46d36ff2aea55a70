"""What takes seconds to make and is only read, made once for all processes of a test session."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


class Shared:
    """Folders that every process of this session sees; pytest-xdist gives each of them a base folder below a common one."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        base = factory.getbasetemp()
        self.root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def __call__(self, name: str, make: Callable[[Path], object]) -> Path:
        """The folder `name`, which `make(folder)` has filled for whoever came first; the others wait for it."""
        folder, made = self.root / name, self.root / f"{name}.made"
        with open(self.root / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                folder.mkdir()  # it is there where `make` has failed before: that fails again, and is not taken for whole
                make(folder)
                made.touch()
        return folder

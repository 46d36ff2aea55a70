"""Stand-ins for Slurm's programs where a real one cannot be made to hang or to talk nonsense."""

import os
from pathlib import Path

import pytest


def program(folder: Path, name: str, script: str) -> Path:
    """An executable shell script `name` in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def on_path(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Programs in `folder` are found first."""
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

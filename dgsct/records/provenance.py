"""Where and with what a result was made."""

import os
import platform
import subprocess
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import dgsct

LIBRARIES = ("torch", "torchvision", "torchaudio", "timm", "accelerate", "numpy")


def installed(name: str) -> str | None:
    """Version of an installed distribution; None if it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """Commit of the checkout, marked `-dirty` where the package differs from it; None outside a checkout."""
    here = Path(__file__).resolve().parents[1]
    # A hook or a script that works on another repository names that one (GIT_DIR and others).
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        done = subprocess.run(command, cwd=here, env=env, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        # Tables and records are made while runs go on; only code can make a result differ.
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain", "--", ".") else "")
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def processor() -> str:
    """Name of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def describe_environment(started: float, resumed: int, earlier: float = 0.0) -> dict[str, Any]:
    """Code, libraries, hardware and times of one run; `started` in seconds since the epoch.

    `wall_seconds` counts this attempt and `earlier`, the seconds of the attempts that it goes on from.
    """
    import torch

    processes = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    finished = time.time()
    return {
        "dgsct": dgsct.__version__,
        "git": _git_commit(),
        "python": platform.python_version(),
        "libraries": {name: installed(name) for name in LIBRARIES},
        "hardware": {"cpu": processor(), "gpu": gpu, "threads": torch.get_num_threads(), "processes": processes},
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "finished": datetime.fromtimestamp(finished, UTC).isoformat(timespec="seconds"),
        "wall_seconds": round(earlier + finished - started, 3),
        "resumed": resumed,
    }


def commit_words(provenance: Mapping[str, Any]) -> str:
    """The commit of a record's code, shortened: `13891e24a3`, or `13891e24a3-dirty`; `unknown` outside a checkout."""
    commit, dirty, _ = str(provenance.get("git") or "unknown").partition("-dirty")
    return f"{commit[:10]}{dirty}"


def hardware_words(provenance: Mapping[str, Any]) -> str:
    """What a record was made on: the GPU, else the processor and its threads; `unknown` where the record does not tell."""
    hardware = provenance.get("hardware") or {}
    if not (device := hardware.get("gpu") or hardware.get("cpu")):
        return "unknown"
    count, unit = (hardware.get("processes", 1), "process") if hardware.get("gpu") else (hardware.get("threads", 1), "thread")
    return f"{device}, {count} {unit}{'' if count == 1 else 'es' if unit == 'process' else 's'}"

"""What runs are expected to take, kept in `results/plan/runtime.json` for the DAG: `dgsct plan` writes, the Snakefile reads.

The Snakefile is parsed again inside every Slurm job, so reading is one small JSON file and imports nothing heavy.
"""

import json
from collections.abc import Mapping
from math import ceil, isfinite
from pathlib import Path
from typing import Any

from dgsct.atomic import write_json_atomic

SCHEMA_VERSION = 1
# A quarter for slower nodes and shared disks; five minutes for start and imports, and for the two that the trainer
# keeps in reserve before its time limit (`stopping.DEADLINE_MARGIN`).
MARGIN = 1.25
RESERVE_MINUTES = 5


def runtime_file(root: Path) -> Path:
    """Where the expectations lie below the results folder."""
    return Path(root) / "plan" / "runtime.json"


def read_runtimes(root: Path) -> dict[str, float]:
    """Run folder (`runs/...`) -> seconds that the run is expected to need at most; empty where nothing usable is there."""
    return {folder: entry["seconds"] for folder, entry in _entries(root).items()}


def write_runtimes(root: Path, planned: Mapping[str, tuple[float, str] | None]) -> Path:
    """Note seconds and their source for the planned run folders; None forgets a run, others stay as they are.

    DgsctError if the file cannot be written.
    """
    entries = _entries(root)
    for folder, value in planned.items():
        entries.pop(folder, None)
        if value is not None:
            entries[folder] = {"seconds": round(value[0], 1), "source": value[1]}
    path = runtime_file(root)
    write_json_atomic(path, {"schema": SCHEMA_VERSION, "runs": dict(sorted(entries.items()))})
    return path


def _entries(root: Path) -> dict[str, dict[str, Any]]:
    try:
        noted = json.loads(runtime_file(root).read_text(encoding="utf-8"))
        entries = noted["runs"].items() if noted["schema"] == SCHEMA_VERSION else ()
        return {folder: entry for folder, entry in entries if _usable(entry["seconds"])}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _usable(seconds: Any) -> bool:
    return isinstance(seconds, int | float) and not isinstance(seconds, bool) and isfinite(seconds) and seconds >= 0


def minutes_to_ask(seconds: float | None, attempt: int, limit: int) -> int:
    """Minutes that a job asks for at its `attempt` (1, 2, ...), at most the site's `limit`; that limit without an estimate."""
    if seconds is None:
        return limit
    return min(limit, (ceil(seconds * MARGIN / 60) + RESERVE_MINUTES) * attempt)

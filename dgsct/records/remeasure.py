"""Metrics computed again from what lies beside a record (`units.npz`): without training, without data. No torch.

A metric that a task declares from today on is thereby in records that are there already. Keys are never touched: a record
that was stale stays so.
"""

from collections.abc import Iterable, Mapping
from math import isnan
from pathlib import Path

from dgsct.data.units import NAME, Units, read_units
from dgsct.errors import DgsctError
from dgsct.records.results import State, read_record, validity, write_record
from dgsct.runs.run import Run
from dgsct.tasks import get_task


def recorded(results: Path) -> list[Path]:
    """The folders of all runs below the results folder that have a record."""
    return sorted(path.parent for path in Path(results).glob("runs/*/*/*/*/*/s*/record.json"))


def remeasure(folder: Path, stale: bool = False) -> str:
    """Write today's metrics into the record of a run's folder, where they differ or are new; says what changed, or why not.

    The file stays as it is to the byte where nothing differs. A record of another description, code or data is left alone
    unless `stale`. DgsctError if the folder has no readable record, or what it was measured from is gone or damaged.
    """
    run, path = Run.from_folder(folder), Path(folder) / "record.json"
    state = validity(run, Path(*Path(folder).parts[:-7]))
    if (left := _left(state, stale)) is not None:
        return left
    record = state.record or read_record(path)
    now = _measured(run, read_units(path.with_name(NAME), record["units"].get("sha256", "")), path)
    if record["reported"] not in now:
        raise DgsctError(f"{path} reports {record['reported']!r}, which task {run.task!r} measures no more; run it again")
    changes = list(_changes(record["metrics"], now))
    if changes:
        write_record(path, {**record, "metrics": now})
    return ", ".join(changes) or "nothing changed"


def _left(state: State, stale: bool) -> str | None:
    """Why a record is not to be measured again; None if it is, or if reading it will say what is wrong with it."""
    if state.name == "failed":
        return f"left as it is: the run has failed ({state.reason})"
    if state.name == "stale" and not stale:
        return f"left as it is: {state.reason}; --stale measures it all the same"
    return None


def _measured(run: Run, units: Units, path: Path) -> dict[str, float]:
    try:
        return get_task(run.task).measure_all(units)
    except (KeyError, IndexError, ValueError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise DgsctError(
            f"what {path.with_name(NAME)} holds is too little for today's metrics ({reason}); run it again"
        ) from error


def _changes(before: Mapping[str, float], now: Mapping[str, float]) -> Iterable[str]:
    """What differs, metric by metric, in words."""
    for name, value in now.items():
        if name not in before:
            yield f"{name} {value:.10g} (new)"
        elif before[name] != value and not (isnan(before[name]) and isnan(value)):
            yield f"{name} {before[name]:.10g} -> {value:.10g}"
    for name in sorted(before.keys() - now.keys()):
        yield f"{name} (not measured any more)"

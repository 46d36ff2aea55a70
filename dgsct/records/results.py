"""The record: one small JSON file a run, written last and at once, and the judgement whether it still holds.

Everything to the right of a record (tables, figures, status) reads records through this module. No torch, no pydantic:
the trainer on a bare GPU machine writes records with it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dgsct.atomic import write_json_atomic
from dgsct.checksum import sha256_json
from dgsct.closure import code_hash
from dgsct.errors import DgsctError
from dgsct.records.failures import given_up, read_failed_record, read_failure
from dgsct.records.failures import reason as reason_of_failure
from dgsct.runs.inputs import MISSING, inputs_of
from dgsct.runs.run import Run

SCHEMA_VERSION = 2
PLAN = "plan"  # beside the names of the inputs among a record's `key_parts`
FIELDS: dict[str, type | tuple[type, ...]] = {
    "schema": int,
    "run": dict,
    "resolved": dict,
    "key": str,
    "key_parts": dict,
    "metrics": dict,
    "reported": str,
    "best_epoch": (int, type(None)),
    "selection": (str, type(None)),
    "curve": list,
    "coverage": dict,
    "efficiency": dict,
    "provenance": dict,
    "units": dict,
}
STATES = ("ok", "failed", "stale", "missing", "corrupt")


@dataclass(frozen=True)
class State:
    """Whether a run's result can be shown: one of `STATES`, the record if it is readable, and why not if it is not.

    A failed run that is `given_up` is not tried again.
    """

    name: str
    record: dict[str, Any] | None = None
    reason: str = ""
    given_up: bool = False


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Check a record's form and write it; ValueError if a field is missing or of the wrong type."""
    problem = _problem(record)
    if problem:
        raise ValueError(f"record for {path}: {problem}")
    write_json_atomic(path, record)


def _problem(record: Any) -> str | None:
    if not isinstance(record, dict):
        return "it is not a JSON object"
    if "schema" in record and record["schema"] != SCHEMA_VERSION:
        return f"its schema is {record['schema']}, this version reads {SCHEMA_VERSION}"
    for name, kind in FIELDS.items():
        if name not in record:
            return f"the field {name!r} is missing"
        if not isinstance(record[name], kind) or isinstance(record[name], bool):
            return f"the field {name!r} has the wrong type"
    if not isinstance(record["key_parts"].get(PLAN), str):
        return f"the checksum {PLAN!r} is missing in 'key_parts'"
    for name, value in record["metrics"].items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return f"the metric {name!r} is no number"
    if record["reported"] not in record["metrics"]:
        return f"the reported metric {record['reported']!r} is missing"
    return None


def read_record(path: Path) -> dict[str, Any]:
    """A checked record; DgsctError names the file, what is wrong with it, and what to do (GivenUp for a failed one)."""
    path = Path(path)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DgsctError(f"{path} does not exist; run `snakemake {path}` to make it") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DgsctError(f"{path} is not a readable record ({error}); delete it and run again") from None
    if (failed := read_failed_record(path)) is not None:
        raise given_up(path, failed)
    problem = _problem(record)
    if problem:
        raise DgsctError(f"{path} is not a valid record: {problem}; delete it and run again")
    return record


def _json_or_none(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise DgsctError(f"{path} cannot be read: {error.strerror}; check the folder's permissions") from None


def validity(run: Run, root: Path) -> State:
    """Judge a run's record against today's code and inputs.

    Where an input is absent on this machine the record's own checksum stands in for it.
    """
    root = Path(root)
    folder = root / run.folder
    record = None
    failed = read_failed_record(folder / "record.json")
    if failed is None and _there(folder / "record.json"):
        try:
            record = read_record(folder / "record.json")
        except DgsctError as error:
            return State("corrupt", reason=str(error))
    known = record or failed
    parts = known["key_parts"] if known else {}
    now = {one.name: one.checksum or parts.get(one.name, MISSING) for one in inputs_of(run, root)}
    key = run.key(now)
    if failed is not None and failed["key"] == key:
        return State("failed", reason=reason_of_failure(failed), given_up=True)
    if record is None or record["key"] != key:
        failure = read_failure(folder, key)
        if failure is not None:
            return State("failed", reason=str(failure.get("error")))
    if record is None:
        return State("missing", reason="not run yet")
    if record["key"] != key:
        return State("stale", record, f"{_changed(parts, {PLAN: run.plan_key(), **now})} changed since this run")
    return State("ok", record)


def _changed(before: dict[str, str], now: dict[str, str]) -> str:
    """What differs, in words: `the run's description or code and the data (ave)`."""
    words = {"data": "the data", "encoders": "the encoder", "features": "the features", "runs": "the weights of its parent"}

    def described(name: str) -> str:
        kind, _, which = name.partition("/")
        return "the run's description or code" if name == PLAN else f"{words[kind]} ({which})"

    return " and ".join(described(name) for name in now if before.get(name) != now[name]) or "the key"


def efficiency_key(method: str, scale: str = "paper") -> str:
    """Hash of what a count of Table 6 depends on: the model's description, and the code that counts."""
    run = Run.make("ave", method, scale=scale)
    described = {name: run.resolved()[name] for name in ("options", "sizes")}
    return sha256_json({**described, "code": code_hash("dgsct.engine.efficiency", run.part.module)})


def efficiency_state(method: str, root: Path) -> State:
    """Judge `efficiency/{method}.json` as `validity` judges a record."""
    path = Path(root) / "efficiency" / f"{method}.json"
    if not _there(path):
        return State("missing", reason="not counted yet")
    counted = _json_or_none(path)
    if not isinstance(counted, dict) or "key" not in counted:
        return State("corrupt", reason=f"{path} is not a readable count")
    if counted["key"] != efficiency_key(method):
        return State("stale", counted, "the model's description or code changed since this count")
    return State("ok", counted)


def judged(path: Path, state: State) -> bool | None:
    """What the DAG is to think of the file at `path`, whatever its age: True, it holds; False, it is to be made again.

    None where ages decide: nothing is there, or it is corrupt, as the remedy of that is to look at it.
    """
    if state.name == "corrupt" or not _there(path):
        return None
    return state.name == "ok" or state.given_up

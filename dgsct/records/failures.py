"""How runs fail: what is noted of a failure, when two are the same, and the record of a run that is given up.

A run that is stopped or killed, and a machine or disk at fault, are no failure of the run: it goes on at the next start. A
failure is noted in `failed.json` beside the record's place. The second equal one in a row of the same run, code, data and
encoders makes a *failed record*: the DAG goes on, tables and status show the reason, and the run is not tried again before
what it depends on changes or `clear` is called. No torch here: whoever reads records may ask.
"""

import json
import os
import re
import socket
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dgsct.atomic import write_json_atomic
from dgsct.errors import DgsctError, GivenUp, Stopped, UsageError
from dgsct.records.faults import of_the_machine
from dgsct.runs.run import Run

SCHEMA_VERSION = 1
GIVE_UP_AFTER = 2


def counts(error: BaseException) -> bool:
    """Whether an error is the run's own failure, rather than a stop or the machine's (`dgsct.records.faults`)."""
    return isinstance(error, Exception) and not (isinstance(error, Stopped) or of_the_machine(error))


def sentence(error: BaseException) -> str:
    """A user's error as it is, any other with its type."""
    return str(error) if isinstance(error, DgsctError) else f"{type(error).__name__}: {error}"


def signature(error: BaseException) -> str:
    """What two equal failures share: type, place in this package, and message but for its numbers.

    Memory may run out anywhere and with any figures, so that its type says all.
    """
    kind = type(error).__name__
    if kind in ("OutOfMemoryError", "MemoryError"):
        return kind
    package = str(Path(__file__).parents[1])
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(package)]
    place = f"{Path(frames[-1].filename).name} {frames[-1].name}" if frames else ""
    return f"{kind} | {place} | {re.sub(r'[0-9.]+', '#', str(error))}"


def read_failure(folder: Path, key: str) -> dict[str, Any] | None:
    """What `failed.json` of a run's folder says, if it belongs to `key`."""
    noted = _json_or_none(Path(folder) / "failed.json")
    return noted if isinstance(noted, dict) and noted.get("key") == key else None


def note_failure(folder: Path, key: str, error: BaseException) -> int:
    """Note why a run failed; returns how many equal failures in a row there are now, 0 for what does not count.

    Processes of one run that fail alike in one attempt count once: the first to note it. Where even that cannot be
    written, the error itself goes on alone.
    """
    before, this, attempt = read_failure(folder, key) or {}, signature(error), _attempt()
    if attempt is not None and before.get("attempt") == attempt and before.get("count"):
        return 0
    again = before.get("count", 0) if before.get("signature") == this else 0
    count = again + 1 if counts(error) else 0
    value = {"schema": SCHEMA_VERSION, "key": key, "error": sentence(error), "signature": this, "count": count}
    value |= {} if attempt is None else {"attempt": attempt}
    if not count and before.get("count"):  # a full disk between two failures does not make them two kinds
        return 0
    try:
        write_json_atomic(Path(folder) / "failed.json", value)
    except DgsctError:
        return 0
    return count


def _attempt() -> str | None:
    """What the processes of one attempt at a run share, and no other attempt: their launcher. None where there is one."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return None
    return f"{socket.gethostname()} {os.getppid()} {os.environ.get('MASTER_PORT', '')}"


def failed_record(run: Run, key: str, parts: dict[str, str], error: BaseException, count: int) -> dict[str, Any]:
    """The record of a run that is given up."""
    failed = {"error": sentence(error), "attempts": count}
    return {"schema": SCHEMA_VERSION, "run": run.to_dict(), "key": key, "key_parts": parts, "failed": failed}


def read_failed_record(path: Path) -> dict[str, Any] | None:
    """A failed record, or None where there is another one or none."""
    record = _json_or_none(Path(path))
    failed = record.get("failed") if isinstance(record, dict) else None
    good = isinstance(failed, dict) and isinstance(failed.get("error"), str) and isinstance(record.get("key"), str)
    good = good and isinstance(record.get("key_parts"), dict) and "plan" in record["key_parts"]
    return record if good else None


def given_up(path: Path, record: dict[str, Any]) -> GivenUp:
    """The sentence of a failed record."""
    folder, failed = Path(path).parent, record["failed"]
    return GivenUp(
        f"{folder} has failed twice in the same way ({failed['error']}) and is not tried again; mend that, then "
        f"`dgsct retry {folder}`"
    )


def reason(record: dict[str, Any]) -> str:
    """What tables and status say of a failed record."""
    return f"{record['failed']['error']} (twice; `dgsct retry` clears it)"


def clear(folders: Iterable[Path], results: Path) -> list[Path]:
    """Forget the failures of the runs in `folders`, or of all below `results` where none is named; returns which had any.

    A good record and checkpoints stay. UsageError for a folder that is none of a run.
    """
    chosen = list(folders)
    for folder in chosen:
        Run.from_folder(folder)
        if not folder.is_dir():
            raise UsageError(f"{folder} does not exist; name the folder of a run, or none for all")
    cleared = []
    for folder in chosen or sorted(set(_noted(Path(results)))):
        paths = [folder / "failed.json", folder / "record.json"]
        there = [p for p in paths if (p.name == "failed.json" or read_failed_record(p)) and p.exists()]
        for path in there:
            path.unlink()
        cleared += [folder] if there else []
    return cleared


def _noted(results: Path) -> Iterable[Path]:
    for path in (*results.glob("runs/*/*/*/*/*/s*/failed.json"), *results.glob("runs/*/*/*/*/*/s*/record.json")):
        if path.name == "failed.json" or read_failed_record(path):
            yield path.parent


def _json_or_none(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None

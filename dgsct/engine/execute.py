"""One run from its description to its record: build, train, checkpoint, resume, evaluate, write.

The trainer's contract: checkpoints are atomic and sit beside the declared output; SIGTERM, SIGUSR1 or the run's own
deadline lead to a checkpoint and exit code 75; the record is written last, at once; the same seed gives the same
metrics on one kind of machine, in one go or killed and resumed at any moment. What a run survives: docs/runs.md.
"""

import argparse
import contextlib
import math
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dgsct.atomic import write_bytes_atomic, write_json_atomic
from dgsct.data.units import NAME as UNITS
from dgsct.data.units import Units, checksum, read_units, to_bytes
from dgsct.engine.checkpoint import drop_weights, finish, finished
from dgsct.engine.execution import HERE, Execution, execution_of, execution_parser
from dgsct.engine.run_lock import RunLock
from dgsct.engine.stopping import StopRequest
from dgsct.engine.training import Training, accelerator_of, open_view, predictions, start_model
from dgsct.errors import DgsctError, GivenUp, Stopped, exit_code
from dgsct.ops.numerics import exact_numerics
from dgsct.progress import display
from dgsct.records.failures import (
    GIVE_UP_AFTER,
    counts,
    failed_record,
    given_up,
    note_failure,
    read_failed_record,
    read_failure,
)
from dgsct.records.provenance import describe_environment
from dgsct.records.results import PLAN, SCHEMA_VERSION, read_record, write_record
from dgsct.runs.inputs import MISSING, Input, inputs_of
from dgsct.runs.run import Run
from dgsct.tasks import get_task
from dgsct.tasks.base import View

ALONE_AFTER = 3.0  # seconds in which the first process of a run would have noted a failure of all processes
UNTRAINED = {"parameters": 0, "trainable": 0, "seconds_per_update": None, "peak_memory_bytes": None}


def _ended(run: Run, root: Path, key: str) -> tuple[dict[str, Any], Units] | None:
    """The outcome of a training that had ended before its record was written, or whose record is gone, measured as today.

    What it is measured from lies beside it, and a copy beside the record. None where the outcome or both are gone or damaged.
    """
    folder = root / run.folder
    if (result := finished(folder / "checkpoints", key)) is None:
        return None
    for path in (folder / "checkpoints" / UNITS, folder / UNITS):
        with contextlib.suppress(DgsctError):
            units = read_units(path, result["units"]["sha256"])
            return {**result, "metrics": get_task(run.task).measure_all(units)}, units
    print(f"{folder / UNITS} is gone or damaged: the run is trained again", file=sys.stderr, flush=True)
    return None


def _trained(
    run: Run, root: Path, key: str, stop: StopRequest, started: float, execution: Execution
) -> tuple[dict[str, Any], Units | None]:
    """Train to the end, or take up what a training has ended with. Of several processes only the first reads the units of
    what was just trained: it may drop them when the others come to it.
    """
    folder = root / run.folder / "checkpoints"
    if (outcome := _ended(run, root, key)) is not None:
        return outcome
    training = Training(run, root, key, stop, execution)
    notice = training.resume()
    p, recipe = training.progress, training.recipe
    earlier = p.wall
    steps = recipe.epochs * recipe.steps(len(training.view.splits["train"]))
    with display(str(run.folder), steps, p.step, show=training.accelerator.is_main_process) as show:
        if notice:
            show.say(notice)
        while not training.over:
            training.train_epoch(show)
            p.wall = earlier + time.time() - started
            training.save()  # before the evaluation, which a stopped run repeats
            training.end_epoch(show)
    seconds = sum(e["seconds"] for e in p.curve)
    result = {
        "metrics": p.best_metrics,
        "best_epoch": p.best_epoch,
        "curve": p.curve,
        "coverage": training.view.data.coverage,
        "units": {"sha256": p.best_units},
        "efficiency": {
            **training.parameters,
            "seconds_per_update": seconds / max(p.updates, 1),
            "peak_memory_bytes": _peak_memory(),
        },
        "provenance": describe_environment(started, p.resumed, earlier),
    }
    if training.accelerator.is_main_process:
        stop.may_write()
        finish(folder, key, result)
    return result, read_units(folder / UNITS, p.best_units) if _first() else None


def _peak_memory() -> int | None:
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None


def _frozen(run: Run, root: Path, stop: StopRequest, started: float, execution: Execution) -> tuple[dict[str, Any], Units]:
    """Evaluate a model that nothing is trained of: its encoders' files, and its parents' weights where it has any."""
    exact_numerics(run.recipe.threads)
    accelerator, view = accelerator_of(run), open_view(run, root, execution.scratch, stop)
    plain: Any = start_model(run, root)
    rows = view.splits["test"]

    def go_on(_done: int) -> None:
        if stop:
            raise Stopped(f"{run.folder} stopped in its evaluation; start it again")

    kept = predictions(accelerator.prepare(plain), plain, view, rows, run, accelerator.device, go_on)
    counted = {"parameters": sum(p.numel() for p in plain.parameters()), "peak_memory_bytes": _peak_memory()}
    return _untrained(run, view, view.units(kept, rows, run.recipe.batch_size), started, {**UNTRAINED, **counted})


def _yardstick(run: Run, root: Path, stop: StopRequest, started: float, execution: Execution) -> tuple[dict[str, Any], Units]:
    view = open_view(run, root, execution.scratch, stop)
    rows, size = view.splits["test"], run.recipe.batch_size
    predict = get_task(run.task).room("yardsticks").fit(run.method, view)
    kept = [view.keep(predict(some), some) for some in np.split(rows, range(size, len(rows), size))]
    whole = {name: np.concatenate([part[name] for part in kept]) for name in kept[0]}
    return _untrained(run, view, view.units(whole, rows, size), started, UNTRAINED)


def _untrained(run: Run, view: View, units: Units, started: float, efficiency: dict[str, Any]) -> tuple[dict[str, Any], Units]:
    result = {
        "metrics": get_task(run.task).measure_all(units),
        "best_epoch": None,
        "curve": [],
        "coverage": view.data.coverage,
        "units": {"sha256": checksum(to_bytes(units))},
        "efficiency": efficiency,
        "provenance": describe_environment(started, 0),
    }
    return result, units


def execute(run: Run, root: Path, execution: Execution = HERE) -> Path:
    """Train (or compute) `run` below the results folder `root` and write its record; returns the record's path.

    A valid record is left as it is. Raises Stopped (resumable), GivenUp (its record says that it failed twice in the same
    way) or another DgsctError; nothing half-written stays, and the reason of a failure is noted in `failed.json` beside the
    record's place. Under `torchrun` every process calls it.
    """
    started = time.time()
    folder = root / run.folder
    inputs = inputs_of(run, root)
    sums = {one.name: one.checksum or MISSING for one in inputs}
    key, parts = run.key(sums), {PLAN: run.plan_key(), **sums}
    path = folder / "record.json"
    if _done(path, key):
        _retain(folder, execution)
        return path
    for one in inputs:
        if one.checksum is None:
            raise _missing(run, path, key, parts, one)
    stop = StopRequest(execution.deadline)
    if not _first():
        return _beside(run, root, key, parts, stop, started, execution)
    with RunLock(folder, (lambda: not stop) if execution.waits else None) as stop.lock:
        if _done(path, key):  # by the copy that was waited for
            _retain(folder, execution)
            return path
        for name in ("record.json", "failed.json", UNITS):
            for leftover in folder.glob(f".{name}.*"):
                leftover.unlink(missing_ok=True)
        try:
            result, units = _result(run, root, key, stop, started, execution)
            _measured(run, result)
        except Stopped:
            raise
        except Exception as error:
            stop.may_write()
            if not stop.asked:
                _note(run, path, key, parts, error)
            raise
        stop.may_write()
        write_bytes_atomic(folder / UNITS, to_bytes(units))
        write_record(path, _record(run, key, parts, result))
        (folder / "failed.json").unlink(missing_ok=True)
        _retain(folder, execution)
        metrics = "  ".join(f"{name} {value:.2f}" for name, value in result["metrics"].items())
        print(f"{run.folder}: {metrics}", flush=True)
    return path


def _missing(run: Run, path: Path, key: str, parts: dict[str, str], absent: Input) -> DgsctError:
    """What to raise where an input is absent. Where it is a run that is given up, this one fails with it, which is noted, so
    that the DAG goes on.
    """
    error = DgsctError(absent.problem)
    if absent.given_up and _first():
        with RunLock(path.parent):
            _note(run, path, key, parts, error)
    return error


def _retain(folder: Path, execution: Execution) -> None:
    """Drop what is not to stay of a run whose record is there."""
    if execution.keep == "record":
        drop_weights(folder / "checkpoints")


def _note(run: Run, path: Path, key: str, parts: dict[str, str], error: Exception) -> None:
    """Note a failure. GivenUp, with a record in place of the good one, where it is the second equal one."""
    count = note_failure(path.parent, key, error)
    if count < GIVE_UP_AFTER:
        return
    if not isinstance(error, DgsctError):
        traceback.print_exc()
    record = failed_record(run, key, parts, error, count)
    write_json_atomic(path, record)
    raise given_up(path, record) from error


def _beside(
    run: Run, root: Path, key: str, parts: dict[str, str], stop: StopRequest, started: float, execution: Execution
) -> Path:
    """What every process but the first does. One that fails alone, while the first waits for it, notes it in its stead."""
    path = root / run.folder / "record.json"
    before = read_failure(path.parent, key)
    try:
        _result(run, root, key, stop, started, execution)
    except Exception as error:
        if not counts(error) or stop.asked:
            raise
        patience = time.monotonic() + ALONE_AFTER
        while (noted := read_failure(path.parent, key)) == before:
            if time.monotonic() > patience:
                _note(run, path, key, parts, error)
                raise
            time.sleep(0.1)
        if noted and noted["count"] >= GIVE_UP_AFTER:
            raise GivenUp(f"{run.folder} has failed so before") from error
        raise
    return path


def _done(path: Path, key: str) -> bool:
    """Whether the record of `key` is there. GivenUp if it is a failed one; another key's is to be made again."""
    failed = read_failed_record(path)
    if failed is not None:
        if failed["key"] == key:
            raise given_up(path, failed)
        return False
    if not path.exists() or read_record(path)["key"] != key:
        return False
    print(f"{path.parent} is already done", flush=True)
    return True


def _result(
    run: Run, root: Path, key: str, stop: StopRequest, started: float, execution: Execution
) -> tuple[dict[str, Any], Units | None]:
    """The outcome of a run, and what its metrics are computed from (None in processes that do not write it)."""
    match run.kind:
        case "trained":
            return _trained(run, root, key, stop, started, execution)
        case "frozen":
            return _frozen(run, root, stop, started, execution)
        case _:
            return _yardstick(run, root, stop, started, execution)


def _first() -> bool:
    return not int(os.environ.get("RANK", "0"))


def _measured(run: Run, result: dict[str, Any]) -> None:
    """DgsctError where the number that tables show is none: there is nothing to record then."""
    value = result["metrics"].get(run.reported)
    if value is None or not math.isfinite(value):
        problem = f"{run.folder}: {run.reported} is {value}, which is no number"
        raise DgsctError(f"{problem}; look at the prepared set's splits with `dgsct doctor`")


def _record(run: Run, key: str, parts: dict[str, str], result: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema": SCHEMA_VERSION,
        "run": run.to_dict(),
        "resolved": run.resolved(),
        "key": key,
        "key_parts": parts,
        "reported": run.reported,
        "selection": run.options.selection if run.kind == "trained" else None,
        **result,
    }


def main(argv: list[str] | None = None) -> int:
    """`python -m dgsct.engine.execute RUN_FOLDER [OPTIONS]`: one run in this process. A failed record is a record: code 0."""
    parser = argparse.ArgumentParser(prog="python -m dgsct.engine.execute", parents=[execution_parser()])
    parser.add_argument("folder", type=Path, help="RESULTS/runs/SCALE/PROTOCOL/TASK/METHOD/SETTING/sSEED")
    args = parser.parse_args(sys.argv[1:] if argv is None else argv)

    def work() -> None:
        try:
            execute(Run.from_folder(args.folder), Path(*args.folder.parts[:-7]), execution_of(args))
        except GivenUp as sentence:
            print(f"dgsct: {sentence}", file=sys.stderr, flush=True)

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())

"""One run from its description to its record: build, train, checkpoint, resume, evaluate, write.

The trainer's contract: checkpoints are atomic and sit beside the declared output; SIGTERM, SIGUSR1 or the run's own
deadline lead to a checkpoint and exit code 75; the record is written last, at once; the same seed gives the same
metrics on one kind of machine, in one go or killed and resumed at any moment. What a run survives: docs/runs.md.
"""

import argparse
import os
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dgsct.atomic import write_json_atomic
from dgsct.engine.checkpoint import drop_weights, finish, finished
from dgsct.engine.execution import HERE, Execution, execution_of, execution_parser
from dgsct.engine.run_lock import RunLock
from dgsct.engine.stopping import StopRequest
from dgsct.engine.training import Training, open_task
from dgsct.errors import DgsctError, GivenUp, Stopped, exit_code
from dgsct.methods import get_method
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
from dgsct.records.results import (
    SCHEMA_VERSION,
    data_checksum,
    encoders_checksum,
    read_record,
    write_record,
)
from dgsct.runs.resolve import resolve_options
from dgsct.runs.run import Run
from dgsct.settings.scales import get_scale
from dgsct.tasks import get_task

ALONE_AFTER = 3.0  # seconds in which the first process of a run would have noted a failure of all processes


def _train(run: Run, root: Path, key: str, stop: StopRequest, started: float, execution: Execution) -> dict[str, Any]:
    """Train to the end, or take up the outcome of a training that had ended before its record was written."""
    folder = root / run.folder / "checkpoints"
    if (result := finished(folder, key)) is not None:
        return result
    training = Training(run, root, key, stop, execution)
    told = training.resume()
    p, epochs = training.progress, training.recipe.epochs
    earlier = p.wall
    steps = -(-len(training.task.splits["train"]) // training.recipe.batch_size)
    over = p.epoch >= epochs or p.below_best >= training.recipe.patience
    with display(str(run.folder), epochs * steps, p.step, show=training.accelerator.is_main_process) as show:
        if told:
            show.say(told)
        while not over:
            training.train_epoch(show)
            p.wall = earlier + time.time() - started
            training.save()  # before the evaluation, which a stopped run repeats
            over = training.end_epoch(show)
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
    seconds = sum(e["seconds"] for e in p.curve)
    result = {
        "metrics": p.best_metrics,
        "best_epoch": p.best_epoch,
        "curve": p.curve,
        "coverage": training.task.packed.coverage,
        "efficiency": {
            **training.parameters,
            "seconds_per_update": seconds / max(p.updates, 1),
            "peak_memory_bytes": peak,
        },
        "provenance": describe_environment(started, p.resumed, earlier),
    }
    if training.accelerator.is_main_process:
        stop.may_write()
        finish(folder, key, result)
    return result


def _yardstick(run: Run, root: Path, stop: StopRequest, started: float, execution: Execution) -> dict[str, Any]:
    scale = get_scale(run.scale)
    module = import_module(get_method(run.method).module_for(run.task))
    task = open_task(run, root, execution.scratch, stop)
    rows = task.splits["test"]
    size = scale.recipe(run.task, run.method).batch_size
    predict = module.fit(run.method, task)
    measured = np.concatenate([task.measured(predict(some), some) for some in np.split(rows, range(size, len(rows), size))])
    return {
        "metrics": task.metrics(measured, rows, size),
        "best_epoch": None,
        "curve": [],
        "coverage": task.packed.coverage,
        "efficiency": {"parameters": 0, "trainable": 0, "seconds_per_update": None, "peak_memory_bytes": None},
        "provenance": describe_environment(started, 0),
    }


def execute(run: Run, root: Path, execution: Execution = HERE) -> Path:
    """Train (or compute) `run` below the results folder `root` and write its record; returns the record's path.

    A valid record is left as it is. Raises Stopped (resumable), GivenUp (its record says that it failed twice in the same
    way) or another DgsctError; nothing half-written stays, and the reason of a failure is noted in `failed.json` beside the
    record's place. Under `torchrun` every process calls it.
    """
    started = time.time()
    folder = root / run.folder
    parts = {
        "plan": run.plan_key(),
        "data": data_checksum(root, run.scale, run.task),
        "encoders": encoders_checksum(root, run.scale, run.method),
    }
    key = run.key(parts["data"], parts["encoders"])
    path = folder / "record.json"
    if _done(path, key):
        _retain(folder, execution)
        return path
    stop = StopRequest(execution.deadline)
    if int(os.environ.get("RANK", "0")):
        return _beside(run, root, key, parts, stop, started, execution)
    with RunLock(folder, (lambda: not stop) if execution.waits else None) as stop.lock:
        if _done(path, key):  # by the copy that was waited for
            return path
        for leftover in (*folder.glob(".record.json.*"), *folder.glob(".failed.json.*")):
            leftover.unlink(missing_ok=True)
        try:
            result = _result(run, root, key, stop, started, execution)
        except Stopped:
            raise
        except Exception as error:
            stop.may_write()
            if not stop.asked:
                _note(run, path, key, parts, error)
            raise
        stop.may_write()
        write_record(path, _record(run, key, parts, result))
        (folder / "failed.json").unlink(missing_ok=True)
        _retain(folder, execution)
        metrics = "  ".join(f"{name} {value:.2f}" for name, value in result["metrics"].items())
        print(f"{run.folder}: {metrics}", flush=True)
    return path


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


def _result(run: Run, root: Path, key: str, stop: StopRequest, started: float, execution: Execution) -> dict[str, Any]:
    if get_method(run.method).trains:
        return _train(run, root, key, stop, started, execution)
    return _yardstick(run, root, stop, started, execution)


def _record(run: Run, key: str, parts: dict[str, str], result: dict[str, Any]) -> dict[str, Any]:
    options = resolve_options(run.task, run.method, run.protocol, dict(run.overrides))
    return {
        "schema": SCHEMA_VERSION,
        "run": run.to_dict(),
        "resolved": run.resolved(),
        "key": key,
        "key_parts": parts,
        "reported": get_task(run.task).metric("reported", options),
        "selection": options.selection if get_method(run.method).trains else None,
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

"""One run from its description to its record: build, train, checkpoint, resume, evaluate, write.

The trainer's contract: checkpoints are atomic and sit beside the declared output; SIGTERM, SIGUSR1 or the run's own
deadline lead to a checkpoint and exit code 75; the record is written last, at once; the same seed gives the same
metrics on one kind of machine, in one go or killed and resumed at any moment.
"""

import os
import sys
import time
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dgsct.checkpoint import RunLock, finish, finished
from dgsct.errors import Stopped, exit_code
from dgsct.methods import get_method, resolve_options
from dgsct.progress import display
from dgsct.provenance import describe_environment
from dgsct.results import (
    SCHEMA_VERSION,
    data_checksum,
    encoders_checksum,
    read_record,
    write_failure,
    write_record,
)
from dgsct.runs import Run
from dgsct.scales import get_scale
from dgsct.stopping import StopRequest
from dgsct.tasks import get_task
from dgsct.training import Training, open_task


def _train(run: Run, root: Path, key: str, stop: StopRequest, started: float) -> dict[str, Any]:
    """Train to the end, or take up the outcome of a training that had ended before its record was written."""
    folder = root / run.folder / "checkpoints"
    if (result := finished(folder, key)) is not None:
        return result
    training = Training(run, root, key, stop)
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
        finish(folder, key, result)
    return result


def _yardstick(run: Run, root: Path, started: float) -> dict[str, Any]:
    scale = get_scale(run.scale)
    module = import_module(get_method(run.method).module_for(run.task))
    task = open_task(run, root)
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


def execute(run: Run, root: Path, budget_minutes: float | None = None) -> Path:
    """Train (or compute) `run` below the results folder `root` and write its record; returns the record's path.

    A valid record is left as it is. Raises Stopped (resumable) or another DgsctError; nothing half-written stays, and
    the reason of a failure is noted in `failed.json` beside the record's place. Under `torchrun` every process calls it.
    """
    started = time.time()
    folder = root / run.folder
    trains = get_method(run.method).trains
    parts = {
        "plan": run.plan_key(),
        "data": data_checksum(root, run.scale, run.task),
        "encoders": encoders_checksum(root, run.scale, run.method),
    }
    key = run.key(parts["data"], parts["encoders"])
    path = folder / "record.json"
    if path.exists() and read_record(path)["key"] == key:
        print(f"{run.folder} is already done", flush=True)
        return path
    stop = StopRequest(budget_minutes)
    main_process = int(os.environ.get("RANK", "0")) == 0
    with RunLock(folder) if main_process else nullcontext():
        failure = folder / "failed.json"
        failure.unlink(missing_ok=True)
        try:
            result = _train(run, root, key, stop, started) if trains else _yardstick(run, root, started)
        except Stopped:
            raise
        except Exception as error:
            if main_process:
                write_failure(failure, key, error)
            raise
        if main_process:
            write_record(path, _record(run, key, parts, result))
            metrics = "  ".join(f"{name} {value:.2f}" for name, value in result["metrics"].items())
            print(f"{run.folder}: {metrics}", flush=True)
    return path


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
    """`python -m dgsct.engine RUN_FOLDER [MINUTES]`: one run in this process."""
    argv = sys.argv[1:] if argv is None else argv
    folder = Path(argv[0])
    root = Path(*folder.parts[:-7])
    return exit_code(lambda: execute(Run.from_folder(folder), root, float(argv[1]) if len(argv) > 1 else None))


if __name__ == "__main__":
    sys.exit(main())

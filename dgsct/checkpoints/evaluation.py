"""One checkpoint on the test split: the record's metrics, and what its task tells beside them (by class, by clip).

What a task tells lies in a module of its own: `details.py` of its folder.
"""

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dgsct.atomic import write_bytes_atomic, write_json_atomic, write_text_atomic
from dgsct.checksum import sha256_file
from dgsct.data.batch import Arrays
from dgsct.errors import DgsctError, UsageError
from dgsct.progress import counted
from dgsct.runs.run import Run
from dgsct.tasks import get_task
from dgsct.tasks.base import View

Keep = Callable[[Arrays, np.ndarray], Arrays]


@dataclass(frozen=True)
class Evaluation:
    """What a checkpoint gives on the test split; `details` is what the task tells beside the metrics."""

    run: Run
    checkpoint: Path
    metrics: dict[str, float]
    coverage: dict[str, Any]
    details: Any

    @property
    def heading(self) -> str:
        """What was evaluated, in a line."""
        return f"{self.checkpoint.name}: {self.run.task} {self.run.method} ({self.run.setting}, {self.run.scale} scale)"


def on_test_split(run: Run, checkpoint: Path, results: Path, keep: Keep | None = None) -> tuple[View, Arrays]:
    """Load `checkpoint` strictly and run the test split of the prepared data below `results`, on a GPU if there is one.

    Returns the task on its data, and what `keep(predictions, rows)` keeps of every batch: by default what the measures need.
    Precision, batches and measures are those of the training's own evaluation: the same weights give the same numbers.
    """
    from dgsct.checkpoints.convert import checkpoint_state, start_of
    from dgsct.engine.recipe import DTYPES
    from dgsct.engine.training import accelerator_of, open_view, predictions
    from dgsct.ops.numerics import exact_numerics

    if run.kind == "yardstick":
        raise UsageError(f"method {run.method!r} is a yardstick without a checkpoint; choose one that trains")
    if not Path(checkpoint).is_file():
        raise DgsctError(f"{checkpoint} does not exist; give a checkpoint file")
    recipe = run.recipe
    view = open_view(run, results)
    exact_numerics(recipe.threads)
    model: Any = start_of(run)
    model.load_state_dict(checkpoint_state(model, checkpoint, run.scale, results))
    model.to(DTYPES[recipe.dtype])
    accelerator = accelerator_of(run)
    rows = view.splits["test"]
    if not len(rows):
        raise DgsctError(f"the prepared {run.dataset} set holds no test clip; prepare the data again")
    steps = counted(-(-len(rows) // recipe.batch_size), f"evaluate {Path(checkpoint).name}", "batches")
    kept = predictions(accelerator.prepare(model), model, view, rows, run, accelerator.device, lambda _: next(steps), keep)
    next(steps, None)  # the last batch is done
    return view, kept


def evaluate(run: Run, checkpoint: Path, results: Path) -> Evaluation:
    """Metrics and details of `checkpoint` on the test split of the prepared data below `results`."""
    task = get_task(run.task)
    view, kept = on_test_split(run, checkpoint, results)
    units = view.units(kept, view.splits["test"], run.recipe.batch_size)
    details = task.room("details").details(view.data.manifest, units)
    return Evaluation(run, Path(checkpoint), task.measure_all(units), view.data.coverage, details)


def default_folder(run: Run, checkpoint: Path, results: Path) -> Path:
    """Where an evaluation is written unless a folder is given: beside nothing that a run or the DAG owns."""
    stem = Path(checkpoint).stem
    return results / "evaluations" / ("-".join(run.folder.parts[1:]) if stem == "best" else stem)


def print_evaluation(evaluation: Evaluation) -> None:
    """Metrics and the task's own table: framed in a terminal, aligned lines in a pipe or a log."""
    from rich.console import Console
    from rich.table import Table

    console, details = Console(), evaluation.details
    if console.is_terminal:
        table = Table(*details.heads, title=details.title)
        for column in table.columns[1:]:
            column.justify = "right"
        for row in details.lines:
            table.add_row(*row)
        console.print(table, highlight=False)
    else:
        lines = [details.heads, *details.lines]
        first, *others = ([len(line[i]) for line in lines] for i in range(len(details.heads)))
        widths = [max(first), *(max(width) for width in others)]
        for name, *numbers in lines:
            cells = (f"{text:>{width}}" for text, width in zip(numbers, widths[1:], strict=True))
            print("  ".join([f"{name:<{widths[0]}}", *cells]))
    there = evaluation.coverage["test"]
    if there["present"] < there["total"]:
        print(f"{there['present']} of {there['total']} annotated test clips are present; the numbers are over these")
    for name, value in evaluation.metrics.items():
        console.print(f"{name} {value:.4f}", highlight=False)


def write_evaluation(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write `evaluation.json` and the task's tables (CSV) into `folder`, then its pictures (PNG); returns their paths.

    DgsctError where these cannot be drawn: the numbers stay.
    """
    folder, details = Path(folder), evaluation.details
    value = {
        "schema": 1,
        "run": evaluation.run.to_dict(),
        "checkpoint": evaluation.checkpoint.name,
        "checkpoint_sha256": sha256_file(evaluation.checkpoint),
        "split": "test",
        "metrics": evaluation.metrics,
        "coverage": evaluation.coverage,
        **details.described,
    }
    tables = details.tables
    write_json_atomic(folder / "evaluation.json", value)
    for name, lines in tables.items():
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows(lines)
        write_text_atomic(folder / name, buffer.getvalue())
    try:
        pictures = details.pictures(evaluation.heading, evaluation.metrics)
    except Exception as error:
        reason = str(error) if isinstance(error, DgsctError) else f"{type(error).__name__}: {error}"
        there = f"numbers and tables are in {folder}; mend that and run the same command again for the pictures"
        raise DgsctError(f"the pictures were not drawn ({reason}); {there}") from error
    for name, picture in pictures.items():
        write_bytes_atomic(folder / name, picture)
    return [folder / name for name in ("evaluation.json", *tables, *pictures)]

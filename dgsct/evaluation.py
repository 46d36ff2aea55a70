"""One checkpoint on the test split: the record's metrics, accuracy by class, and the confusion matrix as a picture."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from dgsct.atomic import write_bytes_atomic, write_json_atomic, write_text_atomic
from dgsct.checksum import sha256_file
from dgsct.errors import DgsctError, UsageError
from dgsct.methods import get_method, resolve_options
from dgsct.progress import counted
from dgsct.runs import Run
from dgsct.scales import get_scale
from dgsct.tasks import get_task

FILES = ("evaluation.json", "per_class.csv", "confusion.csv", "confusion.png")


@dataclass(frozen=True)
class ClassResult:
    """One class (background comes last): its segments in the split, those that are right, those predicted to be of it."""

    name: str
    segments: int
    right: int
    predicted: int

    @property
    def accuracy(self) -> float | None:
        """Percent of the class's segments that are right; None where the split has none."""
        return 100.0 * self.right / self.segments if self.segments else None


@dataclass(frozen=True)
class Evaluation:
    """What a checkpoint gives on the test split; `confusion` [K, K] counts segments by true (row) and predicted class."""

    run: Run
    checkpoint: Path
    metrics: dict[str, float]
    coverage: dict[str, Any]
    classes: tuple[ClassResult, ...]
    confusion: np.ndarray


def confusion_matrix(predicted: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Counts [classes, classes] of segments by true (row) and predicted (column) class; arrays of class indices."""
    flat = labels.astype(np.int64).ravel() * classes + predicted.astype(np.int64).ravel()
    return np.bincount(flat, minlength=classes * classes).reshape(classes, classes)


def evaluate(run: Run, checkpoint: Path, results: Path) -> Evaluation:
    """Load `checkpoint` strictly and run the test split of the prepared data below `results`, on a GPU if there is one.

    Precision, batches and measures are those of the training's own evaluation: the same weights give the same numbers.
    """
    import torch
    from accelerate import Accelerator

    from dgsct.convert import build_model, checkpoint_state
    from dgsct.training import predictions

    if not get_method(run.method).trains:
        raise UsageError(f"method {run.method!r} is a yardstick without a checkpoint; choose one that trains")
    if not Path(checkpoint).is_file():
        raise DgsctError(f"{checkpoint} does not exist; give a checkpoint file")
    scale, options = get_scale(run.scale), resolve_options(run.task, run.method, run.protocol, dict(run.overrides))
    recipe = scale.recipe(run.task)
    folder = results / "data" / run.scale / run.task / "packed"
    task = import_module(get_task(run.task).module).open_task(folder, scale, options)
    names = (*task.packed.manifest["categories"], "background")
    if len(names) != task.background + 1:
        raise DgsctError(f"{folder} has {len(names) - 1} classes, scale {run.scale} {task.background}; prepare the right set")
    torch.backends.cudnn.allow_tf32 = False
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    model: Any = build_model(run)
    model.load_state_dict(checkpoint_state(model, checkpoint, run.scale, results))
    mixed = {"fp32": "no", "bf16": "bf16"}[options.precision]
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=mixed)
    rows = task.splits["test"]
    if not len(rows):
        raise DgsctError(f"{folder} holds no test clip; prepare the data again")
    size = recipe.batch_size
    steps = counted(-(-len(rows) // size), f"evaluate {Path(checkpoint).name}", "batches")
    predicted = predictions(
        accelerator.prepare(model), model.predict, task, rows, size, accelerator.device, lambda _: next(steps)
    )
    next(steps, None)  # the last batch is done
    confusion = confusion_matrix(predicted, task.labels(rows), len(names))
    classes = tuple(
        ClassResult(name, int(confusion[i].sum()), int(confusion[i, i]), int(confusion[:, i].sum()))
        for i, name in enumerate(names)
    )
    return Evaluation(run, Path(checkpoint), task.metrics(predicted, rows, size), task.packed.coverage, classes, confusion)


def default_folder(run: Run, checkpoint: Path, results: Path) -> Path:
    """Where an evaluation is written unless a folder is given: beside nothing that a run or the DAG owns."""
    stem = Path(checkpoint).stem
    return results / "evaluations" / ("-".join(run.folder.parts[1:]) if stem == "best" else stem)


def print_evaluation(evaluation: Evaluation) -> None:
    """Metrics and accuracy by class: a table in a terminal, aligned lines in a pipe or a log."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    rows = [
        (c.name, str(c.segments), "-" if c.accuracy is None else f"{c.accuracy:.2f}", str(c.predicted))
        for c in evaluation.classes
    ]
    heads = ("class", "segments", "right (%)", "predicted")
    if console.is_terminal:
        table = Table(*heads, title="accuracy by class, test split")
        for column in table.columns[1:]:
            column.justify = "right"
        for row in rows:
            table.add_row(*row)
        console.print(table, highlight=False)
    else:
        width = max(len(row[0]) for row in rows)
        print("\n".join(f"{a:<{width}}  {b:>8}  {c:>9}  {d:>9}" for a, b, c, d in (heads, *rows)))
    there = evaluation.coverage["test"]
    if there["present"] < there["total"]:
        print(f"{there['present']} of {there['total']} annotated test clips are present; the numbers are over these")
    for name, value in evaluation.metrics.items():
        console.print(f"{name} {value:.4f}", highlight=False)


def write_evaluation(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write `FILES` into `folder`; returns their paths."""
    names = [c.name for c in evaluation.classes]
    value = {
        "schema": 1,
        "run": evaluation.run.to_dict(),
        "checkpoint": evaluation.checkpoint.name,
        "checkpoint_sha256": sha256_file(evaluation.checkpoint),
        "split": "test",
        "metrics": evaluation.metrics,
        "coverage": evaluation.coverage,
        "classes": [{**asdict(c), "accuracy": c.accuracy} for c in evaluation.classes],
        "confusion": evaluation.confusion.tolist(),
    }
    per_class = [[c.name, c.segments, c.right, c.accuracy, c.predicted] for c in evaluation.classes]
    matrix = [[name, *row] for name, row in zip(names, evaluation.confusion.tolist(), strict=True)]
    paths = [Path(folder) / name for name in FILES]
    write_json_atomic(paths[0], value)
    write_text_atomic(paths[1], _csv([["class", "segments", "right", "accuracy", "predicted"], *per_class]))
    write_text_atomic(paths[2], _csv([["true \\ predicted", *names], *matrix]))
    write_bytes_atomic(paths[3], confusion_picture(evaluation))
    return paths


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def confusion_picture(evaluation: Evaluation) -> bytes:
    """PNG of the confusion matrix: colours are percent of the true class's segments, numbers from 1 % on."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import seaborn as sns

    counts = evaluation.confusion
    totals = counts.sum(axis=1, keepdims=True)
    share = np.divide(100.0 * counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    text = np.where(np.nan_to_num(share) >= 1, np.char.mod("%.0f", np.nan_to_num(share)), "")
    names = [c.name for c in evaluation.classes]
    side = 3.2 + 0.3 * len(names)
    with sns.axes_style("white"), matplotlib.rc_context({"font.family": "DejaVu Sans"}):
        figure, axes = plt.subplots(figsize=(side + 0.8, side))
        sns.heatmap(
            share, annot=text, fmt="", annot_kws={"fontsize": 7}, cmap="Blues", vmin=0, vmax=100, square=True,
            linewidths=0.4, linecolor="0.9", cbar_kws={"label": "percent of the true class's segments", "shrink": 0.6},
            xticklabels=names, yticklabels=[f"{c.name} ({c.segments})" for c in evaluation.classes], ax=axes,
        )  # fmt: skip
        axes.tick_params(labelsize=8, length=0)
        plt.setp(axes.get_xticklabels(), rotation=45, ha="right", rotation_mode="anchor")
        axes.set_xlabel("predicted")
        axes.set_ylabel("true (segments in the test split)")
        told = "   ".join(f"{name} {evaluation.metrics[name]:.2f} %" for name in ("acc_exact", "acc_batch8"))
        run = evaluation.run
        title = f"{evaluation.checkpoint.name}: {run.task} {run.method} ({run.setting}, {run.scale} scale)"
        axes.set_title(f"{title}\n{told}", fontsize=10, loc="left")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=150, bbox_inches="tight", metadata={"Software": None})
        plt.close(figure)
    return buffer.getvalue()

"""What an AVE evaluation tells beside its metrics: accuracy by class, and the confusion matrix as a picture."""

import io
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dgsct.data.units import Units


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
class Details:
    """Results by class; `confusion` [K, K] counts segments by true (row) and predicted class."""

    classes: tuple[ClassResult, ...]
    confusion: np.ndarray

    title = "accuracy by class, test split"
    heads = ("class", "segments", "right (%)", "predicted")

    @property
    def lines(self) -> list[tuple[str, ...]]:
        """The table that is printed."""
        return [
            (c.name, str(c.segments), "-" if c.accuracy is None else f"{c.accuracy:.2f}", str(c.predicted))
            for c in self.classes
        ]

    @property
    def described(self) -> dict[str, Any]:
        """What goes into `evaluation.json`."""
        return {
            "classes": [{**asdict(c), "accuracy": c.accuracy} for c in self.classes],
            "confusion": self.confusion.tolist(),
        }

    @property
    def tables(self) -> dict[str, list[list[Any]]]:
        """CSV files by name, heads first."""
        names = [c.name for c in self.classes]
        per_class = [[c.name, c.segments, c.right, c.accuracy, c.predicted] for c in self.classes]
        matrix = [[name, *row] for name, row in zip(names, self.confusion.tolist(), strict=True)]
        return {
            "per_class.csv": [["class", "segments", "right", "accuracy", "predicted"], *per_class],
            "confusion.csv": [["true \\ predicted", *names], *matrix],
        }

    def pictures(self, heading: str, metrics: dict[str, float]) -> dict[str, bytes]:
        """PNG files by name; `heading` says what was evaluated."""
        return {"confusion.png": confusion_picture(self, heading, metrics)}


def details(manifest: dict[str, Any], units: Units) -> Details:
    """Results by class of an evaluated split."""
    names = (*manifest["categories"], "background")
    confusion = confusion_matrix(units["segments"], units["labels"], len(names))
    classes = (
        ClassResult(name, int(confusion[i].sum()), int(confusion[i, i]), int(confusion[:, i].sum()))
        for i, name in enumerate(names)
    )
    return Details(tuple(classes), confusion)


def confusion_matrix(predicted: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Counts [classes, classes] of segments by true (row) and predicted (column) class; arrays of class indices."""
    flat = labels.astype(np.int64).ravel() * classes + predicted.astype(np.int64).ravel()
    return np.bincount(flat, minlength=classes * classes).reshape(classes, classes)


def confusion_picture(details: Details, heading: str, metrics: dict[str, float]) -> bytes:
    """PNG of the confusion matrix: colours are percent of the true class's segments, numbers from 1 % on."""
    from dgsct.drawing import FONT, plain, plt, sns

    counts = details.confusion
    totals = counts.sum(axis=1, keepdims=True)
    share = np.divide(100.0 * counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    text = np.where(np.nan_to_num(share) >= 1, np.char.mod("%.0f", np.nan_to_num(share)), "")
    names = [c.name for c in details.classes]
    side = 3.2 + 0.3 * len(names)
    with plain(), sns.axes_style("white", FONT):
        figure, axes = plt.subplots(figsize=(side + 0.8, side))
        sns.heatmap(
            share, annot=text, fmt="", annot_kws={"fontsize": 7}, cmap="Blues", vmin=0, vmax=100, square=True,
            linewidths=0.4, linecolor="0.9", cbar_kws={"label": "percent of the true class's segments", "shrink": 0.6},
            xticklabels=names, yticklabels=[f"{c.name} ({c.segments})" for c in details.classes], ax=axes,
        )  # fmt: skip
        axes.tick_params(labelsize=8, length=0)
        plt.setp(axes.get_xticklabels(), rotation=45, ha="right", rotation_mode="anchor")
        axes.set_xlabel("predicted")
        axes.set_ylabel("true (segments in the test split)")
        numbers = "   ".join(f"{name} {metrics[name]:.2f} %" for name in ("acc_exact", "acc_batch8"))
        axes.set_title(f"{heading}\n{numbers}", fontsize=10, loc="left")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=150, bbox_inches="tight", metadata={"Software": None})
        plt.close(figure)
    return buffer.getvalue()

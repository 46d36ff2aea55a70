"""The task's side of the seam: what a task declares before anything is imported, and what it is once its data are open.

A data set is prepared once; a task is a view on it: splits, labels, what a batch is, how predictions are measured. It knows
no model. No torch here: the DAG and the command line read declarations.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from dgsct.errors import UsageError
from dgsct.settings.options import Options
from dgsct.settings.recipe import Recipe
from dgsct.settings.resources import Resources
from dgsct.settings.scales import Scale
from dgsct.tasks.metric import Metric

if TYPE_CHECKING:
    import numpy as np

    from dgsct.data.batch import Arrays, Batch
    from dgsct.data.prepared import Prepared
    from dgsct.data.units import Units


class View(Protocol):
    """A task on its prepared data: what `open_task(data, scale, options, inputs)` of a task's module returns.

    `data` is where its arrays come from; `splits` maps train, val and test to row indices [n] int64 whose data are present.
    """

    data: "Prepared"
    splits: "dict[str, np.ndarray]"

    def batch(self, rows: "np.ndarray", draw: "np.random.Generator") -> "Batch":
        """Rows [B] -> their inputs and targets. What is drawn (negatives, a template) is drawn from `draw` alone, which the
        engine seeds by the run's seed, the epoch and the batch: a stopped run that goes on sees the same.
        """

    def keep(self, predicted: "Arrays", rows: "np.ndarray") -> "Arrays":
        """What is kept of a batch's predictions, [B, ...] by name: little enough that a split fits in memory."""

    def units(self, kept: "Arrays", rows: "np.ndarray", batch_size: int) -> "Units":
        """The units of a split from what was kept of its rows, in their order; `batch_size` is that of the evaluation."""


@dataclass(frozen=True)
class Yardstick:
    """A prediction that needs no training and keeps a table's readers honest: `fit(name, view)` of the task's `yardsticks`."""

    name: str
    summary: str
    sees_test_labels: bool = False


@dataclass(frozen=True)
class Task:
    """What the harness knows of a task before it imports it.

    `folder` is its room below `dgsct/tasks`; `dataset` names the prepared set that it is a view on. `arrays` are those that
    its own targets and measures read; `inputs`, `targets` and `predictions` say what each key of a batch and of a
    prediction is (shape, unit). `measure` is the option that says how it is measured; `metrics` what is reported.
    `classes` and `sets` are its sizes: number of classes by scale, and sizes that it sets in place of a scale's own.
    `presets` are the options that it sets at a scale in place of the protocol's, by scale (docs/mini_world.md says why).
    `recipes` is what its methods train by, where they bring nothing of their own; `shared` are the options that every
    method has on it. `keeps_last`: which of two equally good epochs is selected.
    """

    name: str
    summary: str
    folder: str
    dataset: str
    options: type[Options]
    measure: str
    metrics: tuple[Metric, ...]
    recipes: Mapping[str, Recipe]
    arrays: tuple[str, ...]
    inputs: Mapping[str, str]
    targets: Mapping[str, str]
    predictions: Mapping[str, str]
    classes: Mapping[str, int] = field(default_factory=dict)
    sets: Mapping[str, Any] = field(default_factory=dict)
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    shared: tuple[str, ...] = ()
    keeps_last: bool = False
    yardsticks: tuple[Yardstick, ...] = ()
    resources: Resources = Resources()

    @property
    def module(self) -> str:
        """The module with `open_task`."""
        return f"dgsct.tasks.{self.folder}.task"

    def room(self, name: str) -> Any:
        """The module `name` of the task's folder: `details`, `yardsticks`, `task` ..."""
        return import_module(f"dgsct.tasks.{self.folder}.{name}")

    def at(self, scale: Scale) -> Scale:
        """The scale as this task has it: with its classes, and with the sizes that it sets."""
        return replace(scale, classes=self.classes.get(scale.name, 0), **self.sets)

    def measured(self, name: str) -> Metric:
        """The metric of that name in records; UsageError that lists them."""
        found = next((metric for metric in self.metrics if metric.name == name), None)
        if found is None:
            raise UsageError(f"task {self.name!r} has no metric {name!r}; it has: {', '.join(m.name for m in self.metrics)}")
        return found

    def metric(self, name: str, options: Options) -> str:
        """The record's name of the metric that tables call `name`, as a run with `options` measures it.

        `reported` is the one by which epochs are selected. Other names stand for themselves.
        """
        return next((metric.name for metric in self.metrics if metric.meant(name, options)), name)

    def measure_all(self, units: "Units") -> dict[str, float]:
        """Every metric that these units report, by name."""
        values = ((metric.name, metric.from_units(units)) for metric in self.metrics)
        return {name: value for name, value in values if value is not None}

"""What a reported number is: declared by the task, read by tables, figures, the gate and whoever measures again.

What computes it lies in the task's `measures` (`MEASURES`, by name), which is imported when a number is asked for: neither
torch nor NumPy here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dgsct.data.units import Units


@dataclass(frozen=True)
class Metric:
    """One number that a task reports of a split.

    `from_units(units)` computes it from what a record keeps of each clip, None where it is not reported (no clip is absent,
    no id stands in two splits). `label` and `unit` are what tables and axes show; `higher`: more is better; `bounds` is what
    the number can be at all.
    `called`: the names under which experiments ask for it, as long as the run's options are among those of `when`
    (`reported` is the one that selects epochs). `bounded_by` names the metric whose `_lower` and `_upper` bound it over all
    annotated clips where some are absent. `how` says in half a sentence how it is measured. `remarks`: values of this metric
    that readers of a trained run's other numbers must know of, each with the sentence that tables print below them.
    """

    name: str
    label: str
    measures: str  # the module that computes it
    unit: str = "%"
    higher: bool = True
    bounds: tuple[float, float] | None = (0.0, 100.0)
    called: tuple[str, ...] = ()
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    bounded_by: str | None = None
    how: str = ""
    remarks: Mapping[float, str] = field(default_factory=dict)

    def from_units(self, units: "Units") -> float | None:
        """The metric of the split that `units` keep."""
        return import_module(self.measures).MEASURES[self.name](units)

    def meant(self, name: str, options: Any) -> bool:
        """Whether an experiment that asks for `name` means this metric in a run with these options."""
        return name in self.called and all(getattr(options, option) in values for option, values in self.when.items())


def declare(measures: str, **metrics: Mapping[str, Any]) -> tuple[Metric, ...]:
    """A task's metrics: `measures` is the module that computes them, `metrics` what is declared of each."""
    return tuple(Metric(name, measures=measures, **facts) for name, facts in metrics.items())

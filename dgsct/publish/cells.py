"""Cells: what stands behind each number of a table and each point of a figure, from what lies in the results folder.

    for cell in cells_of(load_experiments()["table1"], Settings(), Path("results")):
        print(cell.row, cell.column, cell.state, cell.mean, cell.spread, cell.n)

Whoever publishes a number reads cells; only this module reads records and counts and asks whether they still hold. It
always answers, whatever is missing.
"""

import os
import re
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dgsct.methods import METHODS
from dgsct.records.results import efficiency_state, validity
from dgsct.runs.experiments import ROOT, Experiment, Published, Settings, expand
from dgsct.runs.experiments import Cell as Wanted
from dgsct.runs.run import Run
from dgsct.settings.options import Options
from dgsct.settings.scales import get_scale
from dgsct.tasks import TASKS

if TYPE_CHECKING:
    import pandas as pd

# ok: all seeds. partial: some seeds, `reasons` says why not the others. planned: nothing in the harness can fill it.
# none: there is no such run.
CellState = Literal["ok", "partial", "stale", "failed", "corrupt", "missing", "planned", "none"]
# The first of these that occurs names a cell without any good seed.
WORST_FIRST: tuple[CellState, ...] = ("failed", "corrupt", "stale", "missing")
MINI_STAMP = "mini scale: generated clips, tiny encoders; not a reproduction of the published numbers"
COUNTED_STAMP = "paper scale, protocol release: counted, nothing trained"


@dataclass(frozen=True)
class Source:
    """One run behind a cell: where its record lies (`from_root`), and whether it counts.

    `remark`: what its task says of such a run (`remarks` of a metric), such as a collapsed one.
    """

    record: str
    key: str | None
    seed: int | None
    state: str
    value: float | None
    reason: str = ""
    # Split -> present and total, where a clip is absent; then also the bounds of the exact metric over all test clips.
    coverage: dict[str, dict[str, int]] | None = None
    bounds: tuple[float, float] | None = None
    remark: str = ""


@dataclass(frozen=True)
class Cell:
    """One cell of a table or one point of a figure, and what fills it.

    `metric` is its name in records (of a count, what is counted). `runs` are the runs behind it, one for each of
    `sources`; a count has a source only. `why_planned` says why there is no source; with `no_run` there can be none.
    `exact` and `remark`: the whole number behind a count, and what must be known to read it. `stamp` says what the numbers
    are not.
    """

    experiment: str
    row: str
    column: str
    task: str | None = None
    method: str | None = None
    metric: str | None = None
    scale: str = ""
    protocol: str = ""
    stamp: str = ""
    sources: tuple[Source, ...] = ()
    runs: tuple[Run, ...] = ()
    published: Published | None = None
    why_planned: str = ""
    no_run: bool = False
    exact: int | None = None
    remark: str = ""

    @property
    def good(self) -> tuple[Source, ...]:
        """The sources that count."""
        return tuple(s for s in self.sources if s.state == "ok" and s.value is not None)

    @property
    def state(self) -> CellState:
        """State of the cell from the states of its sources."""
        names = {source.state for source in self.sources}
        if not names:
            return "none" if self.no_run else "planned"
        if names == {"ok"}:
            return "ok"
        return "partial" if "ok" in names else next(name for name in WORST_FIRST if name in names)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why seeds are not there, each reason once; of a planned cell, why none is."""
        if not self.sources:
            return (self.why_planned,)
        return tuple(dict.fromkeys(s.reason for s in self.sources if s.state != "ok"))

    @property
    def values(self) -> dict[int | None, float]:
        """The good values by seed; a count has the seed None."""
        return {s.seed: s.value for s in self.good if s.value is not None}

    @property
    def n(self) -> int:
        """Number of good seeds."""
        return len(self.good)

    @property
    def n_wanted(self) -> int:
        """Number of seeds that the settings ask for; one for what does not train, zero for a planned cell."""
        return len(self.sources)

    @property
    def mean(self) -> float | None:
        """Mean over the good seeds."""
        return statistics.fmean(self.values.values()) if self.values else None

    @property
    def spread(self) -> float | None:
        """Sample standard deviation over the good seeds; none below two."""
        return statistics.stdev(self.values.values()) if self.n > 1 else None

    @property
    def coverage(self) -> dict[str, dict[str, int]] | None:
        """Coverage behind the number, where a clip is absent: of the first good seed that lacks one."""
        return next((s.coverage for s in self.good if s.coverage), None)

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Lower and upper bound over all test clips, means over the good seeds that have them."""
        ends = [s.bounds for s in self.good if s.bounds]
        return (sum(low for low, _ in ends) / len(ends), sum(up for _, up in ends) / len(ends)) if ends else None

    @property
    def setting(self) -> str | None:
        """Readable name of the runs' overrides, such as `C=off+S=off`; None where there is no run."""
        return self.runs[0].setting if self.runs else None


def cells_of(experiment: Experiment, settings: Settings, results_root: Path) -> list[Cell]:
    """The cells of an experiment in the order of its file, from the records and counts in the results folder."""
    return [_cell(experiment, wanted, settings, Path(results_root)) for wanted in expand(experiment, settings)]


def _cell(experiment: Experiment, wanted: Wanted, settings: Settings, root: Path) -> Cell:
    task, method = wanted.task, wanted.method
    cell = Cell(wanted.experiment, wanted.row, wanted.column, task, method, wanted.metric, published=wanted.published)
    if experiment.kind == "efficiency":
        return _counted(cell, root)
    return replace(
        cell,
        scale=settings.scale,
        protocol=settings.protocol,
        stamp=stamp(settings.scale, settings.protocol),
        sources=tuple(source_of(run, str(wanted.metric), root) for run in wanted.runs),
        runs=wanted.runs,
        why_planned="" if wanted.runs else wanted.no_run or _why_planned(task, method),
        no_run=bool(wanted.no_run),
    )


def _why_planned(task: str | None, method: str | None) -> str:
    """Why nothing is planned for a cell: harness or filters."""
    if task is None and method is None:
        return "not run yet: data sets are not counted in the harness yet; only printed numbers are shown"
    if task is not None and task not in TASKS:
        return "not run yet: this task is not in the harness yet; only printed numbers are shown"
    if method in METHODS and task is None:
        return "not run yet: this method is not counted yet; only the printed number is shown"
    if method not in METHODS:
        return "not run yet: this method is not in the harness yet; only the printed number is shown"
    if task is not None and task not in METHODS[method].tasks:
        return "not run yet: this method is not in the harness for this task yet; only printed numbers are shown"
    return "not run yet: left out by the filters (tasks, methods) of this command"


def source_of(run: Run, metric: str, root: Path) -> Source:
    """What a run contributes to a cell: its value, or its state and why there is none."""
    state = validity(run, root)
    path, name = from_root(root / run.folder / "record.json"), in_prose(f"{root / run.folder}/record.json", root)
    if state.record is None:
        return Source(path, None, run.seed, state.name, None, in_prose(state.reason, root))
    key, value = state.record["key"], state.record["metrics"].get(metric)
    if state.name == "ok" and value is None:
        return Source(path, key, run.seed, "corrupt", None, f"{name} has no metric {metric!r}; dgsct remeasure adds it")
    if state.name == "ok" and not isfinite(value):
        return Source(path, key, run.seed, "corrupt", None, f"{name} has no finite metric {metric!r}")
    absent = _absent_clips(state.record, bounded_by(run.task, metric))
    return Source(path, key, run.seed, state.name, value, in_prose(state.reason, root), *absent, _remark(run, state.record))


def _remark(run: Run, record: dict) -> str:
    """What the task says of a trained run whose metrics have such values; a yardstick is what it is."""
    if run.kind == "yardstick":
        return ""
    remarks = (one.remarks.get(record["metrics"].get(one.name), "") for one in TASKS[run.task].metrics)
    return "; ".join(filter(None, remarks))


def _absent_clips(record: dict, bounded: str) -> tuple[dict[str, dict[str, int]] | None, tuple[float, float] | None]:
    """Coverage of a record's splits, where a clip is absent, and the bounds over all test clips; else None."""
    coverage, metrics = record["coverage"], record["metrics"]
    if all(of["present"] == of["total"] for of in coverage.values()):
        return None, None
    lower, upper = (metrics.get(f"{bounded}_{end}") for end in ("lower", "upper"))
    return coverage, None if lower is None or upper is None else (lower, upper)


def from_root(path: Path) -> str:
    """A path as it is published, for programs: from the repository's root where it lies in there, else whole."""
    whole = Path(path).absolute()
    return (whole.relative_to(ROOT) if whole.is_relative_to(ROOT) else whole).as_posix()


def in_prose(text: str, root: Path) -> str:
    """A sentence whose files lie below the results folder `root`, as it is published: they stand from the repository's root.

    Where `root` lies elsewhere they stand relative to it, so that no table names the folders of a machine.
    """
    where = from_root(root)
    place = "" if os.path.isabs(where) else f"{where}/"
    return re.sub(rf"(?<![\w./-]){re.escape(str(root))}/", lambda _: place, text)


def _counted(cell: Cell, root: Path) -> Cell:
    """A cell of Table 6, counted at full size whatever the settings; so there are no seeds."""
    cell = replace(cell, scale="paper", protocol="release", stamp=COUNTED_STAMP)
    if cell.method not in METHODS or not METHODS[cell.method].counted:
        return replace(cell, why_planned=_why_planned(None, cell.method))
    source, exact, remark = _count_of(cell.method, str(cell.metric), root)
    return replace(cell, sources=(source,), exact=exact, remark=remark)


def _count_of(method: str, metric: str, root: Path) -> tuple[Source, int | None, str]:
    """The source of a count with its exact number and remark."""
    state = efficiency_state(method, root)
    file = root / "efficiency" / f"{method}.json"
    path, reason = from_root(file), in_prose(state.reason, root)
    counted = state.record or {}
    if state.name in ("missing", "stale"):
        return Source(path, counted.get("key"), None, state.name, None, reason), None, ""
    try:
        value, exact, remark = _count(counted, metric)
    except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        what = reason or in_prose(f"{file} has no readable {metric} ({type(error).__name__})", root)
        return Source(path, counted.get("key"), None, "corrupt", None, what), None, ""
    return Source(path, counted["key"], None, "ok", value), exact, remark


def _count(counted: dict, metric: str) -> tuple[float, int | None, str]:
    """Value in the table's unit, exact count where it is worth reading, and what else must be known."""
    total, trainable = counted["parameters"]["total"], counted["parameters"]["trainable"]
    if metric == "params_m":
        return total / 1e6, total, ""
    if metric == "trainable_percent":
        main = counted["trainable_parts"]["conv_linear"]
        parts = f"{100 * main / total:.1f} + {100 * (trainable - main) / total:.1f}"
        unused = counted["parameters"]["without_gradient"]
        text = f"counted {parts}: {main:,} in token convolutions and linear layers, {trainable - main:,} elsewhere"
        return 100 * trainable / total, trainable, f"{text}; {unused:,} of the trainable never get a gradient"
    macs = counted["macs"]
    name = metric.removeprefix("macs_").removesuffix("_g")
    remark = f"as computed here: {macs['ours'] / 1e9:.1f} G, FFT not counted" if name == "release_order" else ""
    return macs[name] / 1e9, None, remark


def stamp(scale: str, protocol: str) -> str:
    """What stands on every rendering, so that a number of a small scale is never read as a reproduction."""
    what = MINI_STAMP if get_scale(scale).generated_data else f"{scale} scale"
    return f"{what}; protocol {protocol}"


def fill_command(experiment: Experiment, settings: Settings) -> str:
    """The command that makes what is missing in an experiment's table or figure."""
    seeds = "" if settings.seeds is None else f" seeds={settings.seeds}"
    return f"snakemake {experiment.name} --config scale={settings.scale} protocol={settings.protocol}{seeds}"


def label_of(task: str, metric: str | None) -> str:
    """What an axis shows of a task's metric (its name in records), with its unit; empty where the task is not here yet."""
    if task not in TASKS or not metric:
        return ""
    shown = TASKS[task].measured(metric)
    return f"{shown.label} ({shown.unit})" if shown.unit else shown.label


def bounded_by(task: str, metric: str) -> str:
    """The metric whose `_lower` and `_upper` bound a task's metric over all annotated clips."""
    return TASKS[task].measured(metric).bounded_by or metric


def measured_how(task: str, options: Options) -> str:
    """Half a sentence on how a task is measured in a run with these options."""
    return TASKS[task].measured(TASKS[task].metric("reported", options)).how


# Columns of `frame`; text is None where there is none.
KINDS = {
    "experiment": "str", "row": "str", "column": "str", "task": "str", "method": "str", "setting": "str", "seed": "Int64",
    "metric": "str", "value": "float64", "state": "str", "reason": "str", "present": "Int64", "total": "Int64",
    "lower": "float64", "upper": "float64", "published": "float64", "published_source": "str", "published_note": "str",
    "scale": "str", "protocol": "str", "record": "str", "key": "str", "stamp": "str",
}  # fmt: skip


def frame(cells: Iterable[Cell]) -> "pd.DataFrame":
    """The cells as a flat table for statistics: one line a cell and seed, one line without a seed for a planned cell.

    `value` is there for good seeds only (`state` is the seed's own). `published` is NaN where the paper prints text or
    nothing. `present` and `total` count test clips where one is absent, `lower` and `upper` bound the value over all.
    """
    import pandas as pd

    lines = [_line(cell, source) for cell in cells for source in (cell.sources or (None,))]
    kinds = {name: kind for name, kind in KINDS.items() if kind != "str"}
    return pd.DataFrame(lines, columns=list(KINDS)).astype(kinds)


def _line(cell: Cell, source: Source | None) -> dict[str, Any]:
    """One line of `frame`; without a source, that of a planned cell."""
    shown, published = source or Source("", None, None, "planned", None, cell.why_planned), cell.published
    lower, upper = shown.bounds or (None, None)
    return {
        **{name: getattr(cell, name) for name in ("experiment", "row", "column", "task", "method", "setting", "metric")},
        **{name: getattr(cell, name) for name in ("scale", "protocol", "stamp")},
        **{name: getattr(shown, name) for name in ("seed", "state", "reason", "key")},
        "record": shown.record or None,
        "value": shown.value if shown.state == "ok" else None,
        **(shown.coverage or {}).get("test", {}),
        "lower": lower,
        "upper": upper,
        "published": None if published is None or isinstance(published.value, str) else published.value,
        "published_source": published and published.source,
        "published_note": published and published.note,
    }


def as_dict(cell: Cell) -> dict[str, Any]:
    """A cell with all it rests on, for JSON."""
    names = (
        "experiment", "row", "column", "task", "method", "setting", "metric", "scale", "protocol", "stamp", "state", "reasons",
        "mean", "spread", "n", "n_wanted", "exact", "remark", "coverage", "bounds",
    )  # fmt: skip
    published = None if cell.published is None else asdict(cell.published)
    sources = [asdict(source) for source in cell.sources]
    return {**{name: getattr(cell, name) for name in names}, "published": published, "sources": sources}

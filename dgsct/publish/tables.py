"""Tables from records: each cell of an experiment becomes our number, the printed one, and what fills an empty one.

Reads records (and the efficiency files) only; always builds, whatever is missing.
"""

import re
import statistics
from collections.abc import Iterable
from dataclasses import replace
from math import isfinite
from pathlib import Path

from dgsct.methods import METHODS
from dgsct.publish.render import Cell, Column, Row, Source, Table
from dgsct.publish.render.model import CellState, number
from dgsct.records.results import efficiency_state, validity
from dgsct.runs.experiments import Cell as Wanted
from dgsct.runs.experiments import Column as WantedColumn
from dgsct.runs.experiments import Experiment, Settings, expand
from dgsct.runs.experiments import Row as WantedRow
from dgsct.runs.protocols import option_values
from dgsct.runs.run import Run
from dgsct.settings.scales import get_scale
from dgsct.tasks import TASKS

# The first of these that occurs names a cell without any good seed.
WORST_FIRST: tuple[CellState, ...] = ("failed", "corrupt", "stale", "missing")
MINI_STAMP = "mini scale: generated clips, tiny encoders; not a reproduction of the published numbers"


class Footnotes:
    """The footnotes of one table, each text once, numbered in order of first use."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, *texts: str) -> tuple[int, ...]:
        """Numbers of the texts that are not empty."""
        for text in texts:
            if text and text not in self.texts:
                self.texts.append(text)
        return tuple(dict.fromkeys(self.texts.index(text) for text in texts if text))


def stamp(scale: str, protocol: str) -> str:
    """What stands on every rendering, so that a number of a small scale is never read as a reproduction."""
    what = MINI_STAMP if get_scale(scale).generated_data else f"{scale} scale"
    return f"{what}; protocol {protocol}"


def fill_command(experiment: Experiment, settings: Settings) -> str:
    """The command that makes what is missing in an experiment's table or figure."""
    config = f"scale={settings.scale} protocol={settings.protocol} seeds={settings.seeds}"
    return f"snakemake {experiment.name} --config {config}"


def source_of(run: Run, metric: str, root: Path) -> Source:
    """What a run contributes to a cell: its value, or its state and why there is none."""
    state = validity(run, root)
    path = (run.folder / "record.json").as_posix()
    if state.record is None:
        return Source(path, None, run.seed, state.name, None, _relative(state.reason, root))
    key, value = state.record["key"], state.record["metrics"].get(metric)
    if state.name == "ok" and (value is None or not isfinite(value)):
        return Source(path, key, run.seed, "corrupt", None, f"{path} has no finite metric {metric!r}")
    return Source(path, key, run.seed, state.name, value, _relative(state.reason, root), *absent_clips(state.record, metric))


# The metric that bounds over all annotated clips are known of, where it is not the metric itself.
BOUNDED = {"acc_batch8": "acc_exact", "miou_batch4": "miou"}


def absent_clips(record: dict, metric: str) -> tuple[dict[str, dict[str, int]] | None, tuple[float, float] | None]:
    """Coverage of a record's splits, where a clip is absent, and the metric's bounds over all test clips; else None."""
    coverage, metrics = record["coverage"], record["metrics"]
    if all(of["present"] == of["total"] for of in coverage.values()):
        return None, None
    bounds = [metrics.get(f"{BOUNDED.get(metric, metric)}_{end}") for end in ("lower", "upper")]
    return coverage, None if None in bounds else tuple(bounds)


def coverage_notes(cell: Cell) -> list[str]:
    """Footnotes of a number behind which clips are absent: how many, and between which bounds it lies over all."""
    if cell.mean is None or not cell.coverage:
        return []
    words = {"train": "training", "val": "validation", "test": "test"}
    told = {
        split: f"{of['present']:,} of {of['total']:,} {words.get(split, split)} clips"
        for split, of in cell.coverage.items()
        if of["present"] < of["total"]
    }
    test = told.pop("test", None)
    others = ", ".join(told.values())
    if not test:
        return [f"{others} present, and all test clips"]
    of = cell.coverage["test"]
    # 99.96 % is not all.
    share = min(100 * of["present"] / of["total"], 99.9)
    notes = [f"{test} present ({share:.1f} %{'; ' * bool(others)}{others}): the number is over present clips"]
    if cell.bounds:
        lower, upper = map(number, cell.bounds)
        notes.append(f"over all {of['total']:,} test clips between {lower} and {upper} (exact)")
    return notes


def _relative(text: str, root: Path) -> str:
    """Reasons name files; in a table they stand relative to the results folder."""
    return re.sub(rf"(?<![\w./-]){re.escape(str(root))}/", "", text)


def mean_and_spread(sources: Iterable[Source]) -> tuple[float | None, float | None]:
    """Mean and sample standard deviation over the good seeds; no deviation below two."""
    values = [s.value for s in sources if s.state == "ok" and s.value is not None]
    if not values:
        return None, None
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def state_of(sources: tuple[Source, ...]) -> CellState:
    """State of a cell from the states of its runs."""
    names = {source.state for source in sources}
    if not names:
        return "planned"
    if names == {"ok"}:
        return "ok"
    return "partial" if "ok" in names else next(name for name in WORST_FIRST if name in names)


def state_notes(sources: tuple[Source, ...], command: str) -> list[str]:
    """Footnotes of a cell that lacks a seed: what is wrong and what fills it."""
    notes = []
    good = sum(source.state == "ok" for source in sources)
    bad = [source for source in sources if source.state != "ok"]
    if good and bad:
        gone = ", ".join(f"seed {s.seed} {s.state}" for s in bad)
        notes.append(f"mean of {good} of {good + len(bad)} seeds ({gone})")
    for source in bad:
        if source.state == "missing":
            notes.append(f"missing: fill with {command}")
        elif source.state == "stale":
            notes.append(f"stale: {source.reason}; make it again with {command}")
        elif source.state == "corrupt":
            reason = source.reason.removesuffix("; delete it and run again")
            notes.append(f"corrupt: {reason}; delete it in the results folder, then {command}")
        else:
            notes.append(f"failed: {source.reason}; mend that, then {command}")
    return list(dict.fromkeys(notes))


def _planned_note(task: str | None, method: str | None) -> str:
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


def _accuracy_cell(wanted: Wanted, row: WantedRow, column: WantedColumn, root: Path, command: str, note: Footnotes) -> Cell:
    sources = tuple(source_of(run, str(wanted.metric), root) for run in wanted.runs)
    mean, std = mean_and_spread(sources)
    texts = state_notes(sources, command) if sources else [_planned_note(column.task, row.method)]
    cell = Cell(state_of(sources), mean, std, sources, **_published(wanted, note))
    return replace(cell, notes=note(*texts, *coverage_notes(cell)))


def _published(wanted: Wanted, note: Footnotes) -> dict:
    if wanted.published is None:
        return {}
    found = wanted.published
    return {"published": found.value, "published_source": found.source, "published_notes": note(found.note)}


def _efficiency_cell(wanted: Wanted, row: WantedRow, root: Path, command: str, note: Footnotes) -> Cell:
    """One number of Table 6; counted, so there are no seeds."""
    published = _published(wanted, note)
    if row.method not in METHODS or not METHODS[row.method].counted:
        return Cell("planned", notes=note(_planned_note(None, row.method)), **published)
    path = Path("efficiency", f"{row.method}.json")
    state = efficiency_state(str(row.method), root)
    if state.name == "missing":
        return Cell("missing", notes=note(f"missing: fill with {command}"), **published)
    if state.name == "stale":
        return Cell("stale", notes=note(f"stale: {state.reason}; make it again with {command}"), **published)
    counted, reason = state.record or {}, _relative(state.reason, root)
    try:
        value, exact, remark = _count(counted, str(wanted.metric))
    except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        what = reason or f"{path} has no readable {wanted.metric} ({type(error).__name__})"
        text = f"corrupt: {what}; delete it in the results folder, then {command}"
        return Cell("corrupt", notes=note(text), **published)
    source = Source(path.as_posix(), counted["key"], None, "ok", value)
    return Cell("ok", value, None, (source,), exact=exact, notes=note(remark), **published)


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


def _columns(experiment: Experiment, cells: dict[tuple[str, str], Cell], note: Footnotes) -> tuple[Column, ...]:
    columns = []
    for c in experiment.columns:
        mine = [cells[row.id, c.id] for row in experiment.rows]
        measured = any(cell.state != "planned" for cell in mine)
        # A column that only shows print carries its footnote once, at its head.
        why = () if measured else tuple(dict.fromkeys(n for cell in mine for n in cell.notes))
        exact = any(cell.exact is not None for cell in mine)
        columns.append(Column(c.id, c.label, c.group, measured, exact, tuple(sorted({*note(c.note), *why})), c.design))
    return tuple(columns)


def _rows(experiment: Experiment, cells: dict[tuple[str, str], Cell], note: Footnotes) -> tuple[Row, ...]:
    rows = []
    previous = experiment.rows[0].group
    for row in experiment.rows:
        mine = {c.id: cells[row.id, c.id] for c in experiment.columns}
        texts = {name.capitalize(): text for name, text in row.encoders.items()}
        rule = row.group != previous
        rows.append(Row(row.id, row.label, mine, texts, dict(row.marks), row.group, rule, note(row.note), row.design))
        previous = row.group
    return tuple(rows)


def _in_reading_order(table: Table) -> Table:
    """The same table with footnotes numbered from the head down, left to right."""
    order: list[int] = [n for column in table.columns for n in column.notes]
    for row in table.rows:
        order += row.notes
        for cell in row.cells.values():
            order += [*cell.notes, *cell.published_notes]
    used = list(dict.fromkeys(order))
    new = {old: position for position, old in enumerate(used)}

    def move(notes: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(new[n] for n in notes))

    def moved(cell: Cell) -> Cell:
        return replace(cell, notes=move(cell.notes), published_notes=move(cell.published_notes))

    rows = (
        replace(row, notes=move(row.notes), cells={name: moved(cell) for name, cell in row.cells.items()}) for row in table.rows
    )
    columns = (replace(column, notes=move(column.notes)) for column in table.columns)
    texts = tuple(table.footnotes[n] for n in used)
    return replace(table, columns=tuple(columns), rows=tuple(rows), footnotes=texts)


MEASURED = {
    ("accuracy", "batch8"): "AVE accuracy is the mean over test batches of 8",
    ("accuracy", "exact"): "AVE accuracy is over all test segments",
    ("f_protocol", "batch4"): "mIoU and F-score of AVS are means over test batches of 4 clips, each with its own best "
    "threshold of the F-score",
    (
        "f_protocol",
        "frame",
    ): "mIoU and F-score of AVS are over all test frames, the latter over those with an object and at one threshold",
}


def _measured_how(experiment: Experiment, settings: Settings) -> str:
    """How the protocol selects and reports what is measured here; the published numbers are read the same way."""
    told = []
    for task in dict.fromkeys(c.task for c in experiment.columns if c.task in TASKS):
        chosen = option_values(settings.protocol, str(task))
        split = {"test": "test split, as in the release", "val": "validation split"}[chosen["selection"]]
        measure = TASKS[str(task)].measure
        told.append(f"{MEASURED[measure, chosen[measure]]}, at the best epoch on the {split}")
    return f"protocol {settings.protocol}: {'; '.join(dict.fromkeys(told))}" if told else ""


def _how_many_seeds(experiment: Experiment, settings: Settings) -> str:
    """Over how many seeds our numbers are means; columns may have fewer."""
    counts: dict[int, list[str]] = {}  # empty where no task of the table is in the harness
    for column in experiment.columns:
        if column.task in TASKS:
            counts.setdefault(experiment.count_seeds(settings, column), []).append(column.group or column.label)
    words = {n: f"mean ± sample standard deviation over {n} seeds" if n > 1 else "one seed" for n in counts}
    if not counts:
        return ""
    if len(counts) == 1:
        return f"ours: {next(iter(words.values()))}"
    return "ours: " + "; ".join(f"{', '.join(dict.fromkeys(names))} {words[n]}" for n, names in counts.items())


def build_table(experiment: Experiment, settings: Settings, results_root: Path) -> Table:
    """The neutral table of an experiment (kind `table` or `efficiency`) from what lies in the results folder."""
    root, note, cells = Path(results_root), Footnotes(), {}
    command = fill_command(experiment, settings)
    rows, columns = {r.id: r for r in experiment.rows}, {c.id: c for c in experiment.columns}
    counted = experiment.kind == "efficiency"
    for wanted in expand(experiment, settings):
        row, column = rows[wanted.row], columns[wanted.column]
        cells[wanted.row, wanted.column] = (
            _efficiency_cell(wanted, row, root, command, note)
            if counted
            else _accuracy_cell(wanted, row, column, root, command, note)
        )
    encoders = [name for name in ("visual", "audio") if any(name in row.encoders for row in experiment.rows)]
    how = "ours: counted at full size, without data or weights; exact counts in brackets"
    how = how if counted else _how_many_seeds(experiment, settings)
    what = "" if counted else _measured_how(experiment, settings)
    names = ""
    if encoders and not counted and get_scale(settings.scale).generated_data:
        names = f"encoders are named as in the paper; at scale {settings.scale} tiny ones of the same classes stand in"
    table = Table(
        name=experiment.name,
        title=experiment.title,
        source=experiment.source,
        scale="paper" if counted else settings.scale,
        protocol="release" if counted else settings.protocol,
        stamp="paper scale, protocol release: counted, nothing trained"
        if counted
        else stamp(settings.scale, settings.protocol),
        columns=_columns(experiment, cells, note),
        rows=_rows(experiment, cells, note),
        footnotes=tuple(note.texts),
        remarks=tuple(text for text in (how, what, names, experiment.note) if text),
        text_columns=tuple(name.capitalize() for name in encoders),
        mark_columns=tuple(dict.fromkeys(mark for row in experiment.rows for mark in row.marks)),
    )
    return _in_reading_order(table)

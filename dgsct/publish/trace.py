"""From a cell to its command: what a row of a table, or a line of a figure, is made from, and how to make it again.

    print_trace(trace(load_experiments()["table1"], "dg-sct", "ave", Settings(), Path("results")))

It reads what lies in the results folder and changes nothing. No torch.
"""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dgsct.data.units import NAME as UNITS
from dgsct.errors import DgsctError, UsageError
from dgsct.publish.cells import Cell, as_dict, cells_of, fill_command, from_root, in_prose, label_of
from dgsct.publish.render.json_sidecar import finite
from dgsct.records.masks import masks_path, masks_state
from dgsct.records.results import PLAN, State, read_record, validity
from dgsct.runs.experiments import Experiment, Settings
from dgsct.runs.inputs import BEST, inputs_of, with_parents
from dgsct.runs.run import Run, format_value
from dgsct.tasks import TASKS

SCHEMA = 1
RESULTS = "results"  # the folder that Snakemake fills


@dataclass(frozen=True)
class TracedInput:
    """One thing that a run starts from: its file, the checksum that its record holds, and that of what lies here today."""

    name: str
    path: str
    recorded: str | None
    here: str | None
    problem: str = ""


@dataclass(frozen=True)
class TracedRun:
    """One run behind a row: its record with its state, what it starts from, its files that are there, and its commands.

    `changes` says what differs between the description in the record and today's, as `recipe.epochs: 10 -> 6`; or that it is
    the code. `masks` is the state of its predicted masks, of a figure that shows them.
    """

    run: Run
    state: State
    record: Mapping[str, Any] | None
    inputs: tuple[TracedInput, ...]
    files: tuple[str, ...]
    commands: tuple[str, ...]
    changes: tuple[str, ...] = ()
    masks: State | None = None

    @property
    def provenance(self) -> dict[str, Any]:
        """Code, libraries, hardware and times of its record; empty where there is none."""
        return dict(self.record["provenance"]) if self.record else {}


@dataclass(frozen=True)
class Trace:
    """A row of an experiment, or one cell of it, with every run behind it, each once.

    `label` is the row's name for readers. `commands` make counts again, which no run is behind; `fill` makes the whole table,
    and `notes` say what must be known of it.
    """

    experiment: Experiment
    settings: Settings
    label: str
    cells: tuple[Cell, ...]
    runs: tuple[TracedRun, ...]
    commands: tuple[str, ...]
    fill: str
    notes: tuple[str, ...] = ()

    def runs_of(self, cell: Cell) -> tuple[TracedRun, ...]:
        """The runs behind one of the cells."""
        return tuple(one for one in self.runs if one.run in cell.runs)


def trace(experiment: Experiment, row: str | None, column: str | None, settings: Settings, root: Path) -> Trace:
    """Trace a row (of a figure `PANEL.LINE`), or one cell of it; UsageError lists the rows or columns that there are."""
    cells = _chosen(experiment, row, column, cells_of(experiment, settings, root))
    runs = dict.fromkeys(run for cell in cells for run in cell.runs)
    counts = dict.fromkeys(source.record for cell in cells for source in cell.sources if not cell.runs)
    counting = (f"dgsct efficiency {Path(path).stem} --out {shlex.quote(path)}" for path in counts)
    traced = tuple(_traced(run, Path(root), experiment.kind == "masks") for run in runs)
    absent = any(one.here is None for run in traced for one in run.inputs)
    notes = ["Snakemake makes what is not here, too."] if absent else []
    notes += [f"Snakemake fills the folder {RESULTS}, not {from_root(root)}."] if from_root(root) != RESULTS else []
    label, fill = _label(experiment, cells[0].row), fill_command(experiment, settings)
    return Trace(experiment, settings, label, cells, traced, tuple(counting), fill, tuple(notes))


def _chosen(experiment: Experiment, row: str | None, column: str | None, cells: list[Cell]) -> tuple[Cell, ...]:
    rows = list(dict.fromkeys(cell.row for cell in cells))
    if row not in rows:
        wrong = "needs a row" if row is None else f"has no row {row!r}"
        raise UsageError(f"{experiment.name} {wrong}; known: {', '.join(rows)}")
    mine = [cell for cell in cells if cell.row == row]
    columns = [cell.column for cell in mine]
    if column is not None and column not in columns:
        raise UsageError(f"row {row!r} of {experiment.name} has no column {column!r}; known: {', '.join(columns)}")
    return tuple(cell for cell in mine if column in (None, cell.column))


def _label(experiment: Experiment, row: str) -> str:
    """What readers see of a row: its label, or those of its panel and line."""
    labels = {one.id: one.label for one in experiment.rows}
    labels |= {f"{panel.id}.{line.id}": f"{panel.label}, {line.label}" for panel in experiment.panels for line in panel.lines}
    return labels[row]


def _traced(run: Run, root: Path, masks: bool) -> TracedRun:
    folder, state = root / run.folder, validity(run, root)
    record = state.record or _readable(folder / "record.json")
    recorded = record["key_parts"] if record else {}
    inputs = tuple(
        TracedInput(one.name, from_root(root / one.path), recorded.get(one.name), one.checksum, in_prose(one.problem, root))
        for one in inputs_of(run, root)
    )
    paths = [folder / name for name in ("record.json", UNITS, BEST, "failed.json")]
    paths += [root / masks_path(run)] if masks else []
    return TracedRun(
        run,
        State(state.name, None, in_prose(state.reason, root), state.given_up),
        record,
        inputs,
        tuple(from_root(path) for path in paths if path.is_file()),
        tuple(_commands(run, root, state, masks)),
        tuple(_changes(run, record)) if record else (),
        masks_state(run, root) if masks else None,
    )


def _readable(path: Path) -> dict[str, Any] | None:
    """A record that does not count, as its run has failed since."""
    try:
        return read_record(path)
    except DgsctError:
        return None


def _changes(run: Run, record: Mapping[str, Any]) -> Iterator[str]:
    """What differs between the description that a record holds and today's; where nothing does, the code may."""
    before, now = dict(_flat(record["resolved"])), dict(_flat(run.resolved()))
    different = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    yield from (f"{name}: {before.get(name, 'nothing')} -> {now.get(name, 'nothing')}" for name in different)
    if not different and record["key_parts"][PLAN] != run.plan_key():
        yield "the code"


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """`{"recipe": {"epochs": 6}}` -> `("recipe.epochs", 6)`."""
    if not isinstance(value, dict):
        yield name, value
        return
    for key, below in value.items():
        yield from _flat(below, f"{name}.{key}" if name else key)


def run_command(run: Run, root: Path) -> str:
    """The command that carries out one run below the results folder `root`; what is the default is left out."""
    words = ["dgsct", "run", run.task, run.method]
    for name, value in run.overrides:
        words += ["--set", f"{name}={format_value(value)}"]
    words += ["--seed", str(run.seed)] if run.kind == "trained" else []
    words += ["--scale", run.scale] if run.scale != Run.scale else []
    words += ["--protocol", run.protocol] if run.protocol != Run.protocol else []
    place = from_root(root)
    return shlex.join(words + (["--results", place] if place != RESULTS else []))


def _commands(run: Run, root: Path, state: State, masks: bool) -> Iterator[str]:
    """What makes a run again, in its order: beside a record that holds, else in its place, after what stands in the way."""
    for parent in with_parents(run.parents.values()):
        if validity(parent, root).name != "ok":
            yield run_command(parent, root)
    folder = shlex.quote(from_root(root / run.folder))
    if state.given_up:
        yield f"dgsct retry {folder}"
    elif state.name == "corrupt":
        yield f"rm {folder}/record.json"
    yield run_command(run, root) + (" --again" if state.name == "ok" else "")
    if masks:
        yield f"dgsct masks {folder}"


def how_made(cell: Cell) -> str:
    """How a cell's value is made from its runs, in words."""
    if not cell.runs:
        return "counted at full size, without data or weights" if cell.n else ""
    if cell.n < 2:
        return "one run" if cell.n else ""
    values = ", ".join(f"{value:.4f}" for value in cell.values.values())
    return f"mean ± sample standard deviation over {cell.n} seeds: {values}"


def how_measured(cell: Cell) -> str:
    """What a cell's metric is and which epoch it is taken from; empty for a count."""
    if cell.task not in TASKS or not cell.runs or cell.metric is None:
        return ""
    run = cell.runs[0]
    how = TASKS[cell.task].measured(cell.metric).how or label_of(cell.task, cell.metric)
    if run.kind != "trained":
        return f"{how}; nothing is trained"
    split = {"test": "test", "val": "validation"}[run.options.selection]
    return f"{how}; epoch chosen on the {split} split"


def trace_json(traced: Trace) -> dict[str, Any]:
    """The trace in plain JSON types; paths lead from the repository's root (whole where the results lie outside it)."""
    value = {
        "schema": SCHEMA,
        "experiment": traced.experiment.name,
        "source": traced.experiment.source,
        "row": traced.cells[0].row,
        "label": traced.label,
        "cells": [{**as_dict(cell), "how": how_made(cell), "measured": how_measured(cell)} for cell in traced.cells],
        "runs": [_run_json(one) for one in traced.runs],
        "commands": {"counts": list(traced.commands), "experiment": traced.fill},
    }
    return finite(value)


def _run_json(one: TracedRun) -> dict[str, Any]:
    record = one.record or {}
    return {
        **one.run.to_dict(),
        "folder": one.run.folder.as_posix(),
        "state": one.state.name,
        "reason": one.state.reason,
        "changes": list(one.changes),
        "resolved": one.run.resolved(),
        **{name: record.get(name) for name in ("key", "metrics", "best_epoch", "selection", "coverage", "units")},
        "provenance": one.provenance,
        "inputs": [asdict(each) for each in one.inputs],
        "files": list(one.files),
        "masks": one.masks and one.masks.name,
        "commands": list(one.commands),
    }

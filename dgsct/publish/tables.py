"""Tables from cells: each becomes the harness's number, the printed one, and what fills an empty one."""

from dataclasses import replace
from pathlib import Path

from dgsct.publish.cells import COUNTED_STAMP, cells_of, fill_command, measured_how, stamp
from dgsct.publish.cells import Cell as Filled
from dgsct.publish.render import Cell, Column, Row, Table
from dgsct.publish.render.model import number
from dgsct.runs.experiments import Experiment, Settings
from dgsct.runs.protocols import option_values
from dgsct.runs.run import format_value
from dgsct.settings.scales import get_scale
from dgsct.tasks import TASKS


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


def coverage_notes(cell: Filled) -> list[str]:
    """Footnotes of a number behind which clips are absent: how many, and between which bounds it lies over all."""
    if cell.mean is None or not cell.coverage:
        return []
    words = {"train": "training", "val": "validation", "test": "test"}
    present = {
        split: f"{of['present']:,} of {of['total']:,} {words.get(split, split)} clips"
        for split, of in cell.coverage.items()
        if of["present"] < of["total"]
    }
    test = present.pop("test", None)
    others = ", ".join(present.values())
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


def run_notes(cell: Filled) -> list[str]:
    """Footnotes on what the task says of runs behind a number, such as a collapsed one; the seeds, where not all are."""
    seeds: dict[str, list[str]] = {}
    for source in cell.good:
        if source.remark:
            seeds.setdefault(source.remark, []).append(str(source.seed))
    return [text if len(of) == cell.n else f"seed {', '.join(of)}: {text}" for text, of in seeds.items()]


def state_notes(cell: Filled, command: str) -> list[str]:
    """Footnotes of a cell that lacks a seed: what is wrong and what fills it; of one without any, why it is empty."""
    if cell.state in ("planned", "none"):
        return [cell.why_planned]
    notes = []
    bad = [source for source in cell.sources if source.state != "ok"]
    if cell.n and bad:
        gone = ", ".join(f"seed {s.seed} {s.state}" for s in bad)
        notes.append(f"mean of {cell.n} of {cell.n_wanted} seeds ({gone})")
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


def _cell(filled: Filled, command: str, compared: bool, note: Footnotes) -> Cell:
    """A cell as it is rendered, its texts as footnotes."""
    published = filled.published
    published_notes = note(published.note) if published else ()
    return Cell(
        filled.state,
        filled.mean,
        filled.spread,
        # A count that does not hold is no run whose value a reader could look at.
        filled.sources if filled.runs else filled.good,
        published.value if published else None,
        published.source if published else "",
        note(*state_notes(filled, command), filled.remark, *run_notes(filled), *coverage_notes(filled)),
        published_notes,
        filled.exact,
        filled.n,
        filled.coverage,
        filled.bounds,
        compared,
    )


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


def _measured_how(experiment: Experiment, settings: Settings) -> str:
    """How the protocol selects and reports what is measured here; the published numbers are read the same way. And what a task
    sets at this scale in place of the protocol's."""
    how, presets = [], {}
    for task in dict.fromkeys(c.task for c in experiment.columns if c.task in TASKS):
        options = TASKS[str(task)].options()
        chosen = {n: v for n, v in option_values(settings.protocol, str(task)).items() if n in options.names()}
        options = options.replace(**chosen)
        here = TASKS[str(task)].presets.get(settings.scale, {})
        presets |= {name: value for name, value in here.items() if getattr(options, name) != value}
        split = {"test": "test split, as in the release", "val": "validation split"}[options.selection]
        how.append(f"{measured_how(str(task), options)}, at the best epoch on the {split}")
    how += [
        f"at {settings.scale} scale {name}={format_value(value)} in place of the protocol's value"
        for name, value in presets.items()
    ]
    return f"protocol {settings.protocol}: {'; '.join(dict.fromkeys(how))}" if how else ""


def _how_many_seeds(cells: list[Filled]) -> str:
    """Over how many seeds the harness's numbers are means; rows may have different numbers."""
    counts = sorted({cell.n_wanted for cell in cells if cell.runs and cell.runs[0].kind != "yardstick"})
    if not counts:
        return ""
    if counts == [1]:
        return "this harness: one seed"
    several = " or ".join(str(n) for n in counts if n > 1)
    words = f"this harness: mean ± sample standard deviation over {several} seeds"
    return f"{words}; a number without ± is that of one run" if counts[0] == 1 else words


def build_table(experiment: Experiment, settings: Settings, results_root: Path) -> Table:
    """The neutral table of an experiment (kind `table` or `efficiency`) from what lies in the results folder."""
    note, command = Footnotes(), fill_command(experiment, settings)
    filled, counted = cells_of(experiment, settings, results_root), experiment.kind == "efficiency"
    generated = get_scale(settings.scale).generated_data and not counted
    cells = {(c.row, c.column): _cell(c, command, not generated, note) for c in filled}
    encoders = [name for name in ("visual", "audio") if any(name in row.encoders for row in experiment.rows)]
    how = "this harness: counted at full size, without data or weights; exact counts in brackets"
    how = how if counted else _how_many_seeds(filled)
    what = "" if counted else _measured_how(experiment, settings)
    names = ""
    if encoders and generated:
        names = f"encoders are named as in the paper; at scale {settings.scale} tiny ones of the same classes stand in"
    table = Table(
        name=experiment.name,
        title=experiment.title,
        source=experiment.source,
        scale="paper" if counted else settings.scale,
        protocol="release" if counted else settings.protocol,
        stamp=COUNTED_STAMP if counted else stamp(settings.scale, settings.protocol),
        columns=_columns(experiment, cells, note),
        rows=_rows(experiment, cells, note),
        footnotes=tuple(note.texts),
        remarks=tuple(text for text in (how, what, names, experiment.note) if text),
        text_columns=tuple(name.capitalize() for name in encoders),
        mark_columns=tuple(dict.fromkeys(mark for row in experiment.rows for mark in row.marks)),
    )
    return _in_reading_order(table)

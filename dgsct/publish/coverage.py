"""What the harness covers: the paper's 25 settings, every system, table and figure, and which of them a run can fill.

All of it is derived: printed numbers and the settings that count from the experiment files, what is runnable from the
registries of tasks and methods, results from records. The decomposition of the paper's "25 experimental settings" into
1 (Table 1) + 10 (Table 2) + 4 (Table 3) + 4 (Table 4) + 6 (Figure 4: three tasks at 0 and 16 shots) is inferred.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dgsct.methods import METHODS
from dgsct.publish.cells import Cell, CellState, cells_of, stamp
from dgsct.publish.render.json_sidecar import finite
from dgsct.publish.render.markdown import escape
from dgsct.publish.render.model import INFERRED_MARK, INFERRED_NOTE, Design
from dgsct.runs.experiments import Experiment, Line, Row, Settings

DECOMPOSITION = "the decomposition into 25 is inferred"
HEADS = ("", "all runnable", "cells", "filled", "settings", "best as printed", "title")
CELLS_NOTE = "cells: printed numbers that a run can fill, of all; filled: those with a result"


@dataclass(frozen=True)
class Setting:
    """One of the 25: a printed number, whether no other that is printed in its column is higher, and the result, `ours`."""

    id: str
    where: str
    task: str
    metric: str
    published: float
    best_as_printed: bool
    runnable: bool
    ours: float | None
    state: CellState
    design: Design


@dataclass(frozen=True)
class System:
    """A row of a table, or a line of a figure, on one task; `published` and results, `ours`, by column or grid value."""

    name: str
    task: str
    where: str
    runnable: bool
    method: str | None
    group: str
    design: Design
    published: dict[str, float | str]
    ours: dict[str, float]


@dataclass(frozen=True)
class Page:
    """A table or figure: how many numbers it prints, and how many of them a run can fill; runnable where it is all.

    A figure without printed numbers (masks) counts all its cells. `rows` holds the label of every row or line that prints
    something, and whether a run can fill any of it.
    """

    id: str
    title: str
    runnable: bool
    source: str
    cells: int
    cells_runnable: int
    cells_filled: int
    rows: dict[str, bool]


@dataclass(frozen=True)
class Coverage:
    """All that is covered, at one scale under one protocol."""

    scale: str
    protocol: str
    stamp: str
    settings: tuple[Setting, ...]
    systems: tuple[System, ...]
    tables: tuple[Page, ...]
    figures: tuple[Page, ...]

    @property
    def pages(self) -> tuple[Page, ...]:
        """Tables, then figures."""
        return self.tables + self.figures

    def settings_on(self, page: Page) -> list[Setting]:
        """Those of the 25 that a table or figure holds."""
        return [setting for setting in self.settings if setting.where == page.source]


class _Covered:
    """One experiment with its cells, and what the records say of them."""

    def __init__(self, experiment: Experiment, settings: Settings, root: Path) -> None:
        self.experiment = experiment
        self.cells = cells_of(experiment, settings, root)
        lines = {f"{panel.id}.{line.id}": line for panel in experiment.panels for line in panel.lines}
        self.rows: dict[str, Row | Line] = {row.id: row for row in experiment.rows} | lines

    def can_run(self, cell: Cell) -> bool:
        """Whether the harness has what fills a cell."""
        if self.experiment.kind == "efficiency":
            return cell.method in METHODS and METHODS[str(cell.method)].counted
        return bool(cell.runs)

    def is_printed(self, cell: Cell) -> bool:
        """Whether the paper prints a number in this very table or figure: some rows quote other publications."""
        return cell.published is not None and f"{cell.published.source} ".startswith(f"{self.experiment.source} ")

    def page(self) -> Page:
        """The experiment as a whole."""
        counted = [cell for cell in self.cells if self.is_printed(cell)] or self.cells
        able = [cell for cell in counted if self.can_run(cell)]
        filled = {_label(self.rows[cell.row]) for cell in able}
        return Page(
            id=self.experiment.name,
            title=self.experiment.title,
            runnable=len(able) == len(counted),
            source=self.experiment.source,
            cells=len(counted),
            cells_runnable=len(able),
            cells_filled=sum(cell.mean is not None for cell in counted),
            rows={label: label in filled for label in (_label(self.rows[cell.row]) for cell in counted)},
        )

    def systems(self) -> list[System]:
        """Every row or line on every task that it is about; the rows of data-set statistics are no systems."""
        systems = []
        for name, task in dict.fromkeys((cell.row, cell.task) for cell in self.cells if cell.task and not cell.no_run):
            row, mine = self.rows[name], [cell for cell in self.cells if (cell.row, cell.task) == (name, task)]
            numbers = {cell.column: cell.mean for cell in mine}
            system = System(
                name=row.label,
                task=task,
                where=self.experiment.source,
                runnable=all(map(self.can_run, mine)),
                method=row.method,
                group=row.group if isinstance(row, Row) else "baseline",
                design=row.design,
                published={cell.column: cell.published.value for cell in mine if cell.published},
                ours={column: mean for column, mean in numbers.items() if mean is not None},
            )
            systems.append(system)
        return systems

    def paper_settings(self) -> list[Setting]:
        """Those of the 25 that stand here."""
        wanted = self.experiment.paper_settings
        columns = [f"{x:g}" if isinstance(x, (int, float)) else x for x in wanted.columns] if wanted else []
        mine = [cell for cell in self.cells if wanted and self._place(cell)[1] == wanted.row and cell.column in columns]
        return [self._setting(cell, float(cell.published.value)) for cell in mine if cell.published]

    def _place(self, cell: Cell) -> tuple[str, str]:
        """The panel of a cell, if it has one, and its row or line."""
        panel, _, line = cell.row.partition(".") if self.experiment.panels else ("", "", cell.row)
        return panel, line

    def _setting(self, cell: Cell, own: float) -> Setting:
        beside = [c for c in self.cells if c.column == cell.column and self._place(c)[0] == self._place(cell)[0]]
        numbers = [c.published.value for c in beside if c.published and self.is_printed(c)]
        panels = {panel.id: panel.metric for panel in self.experiment.panels}
        columns = {column.id: column.metric for column in self.experiment.columns}
        return Setting(
            id=f"{cell.experiment}.{cell.row}.{cell.column}",
            where=self.experiment.source,
            task=str(cell.task),
            metric=panels[self._place(cell)[0]] if panels else columns[cell.column],
            published=own,
            # All metrics of the 25 are percentages of which more is better.
            best_as_printed=own >= max(value for value in numbers if not isinstance(value, str)),
            runnable=self.can_run(cell),
            ours=cell.mean,
            state=cell.state,
            design=self.rows[cell.row].design,
        )


def _label(row: Row | Line) -> str:
    return f"{row.label}{INFERRED_MARK if row.design == 'inferred' else ''}"


def coverage(experiments: Mapping[str, Experiment], settings: Settings, results_root: Path) -> Coverage:
    """The coverage of these experiments; `settings` should have no filters, which would hide what is runnable."""
    chosen = sorted(experiments.values(), key=lambda experiment: experiment.drawn)  # tables first
    covered = [_Covered(experiment, settings, Path(results_root)) for experiment in chosen]
    return Coverage(
        scale=settings.scale,
        protocol=settings.protocol,
        stamp=stamp(settings.scale, settings.protocol),
        settings=tuple(setting for one in covered for setting in one.paper_settings()),
        systems=tuple(system for one in covered for system in one.systems()),
        tables=tuple(one.page() for one in covered if not one.experiment.drawn),
        figures=tuple(one.page() for one in covered if one.experiment.drawn),
    )


def coverage_json(covered: Coverage) -> dict[str, Any]:
    """The coverage as plain JSON values."""
    return finite(asdict(covered))


def summary(covered: Coverage) -> str:
    """The 25 settings in one sentence."""
    able = sum(setting.runnable for setting in covered.settings)
    best = sum(setting.best_as_printed for setting in covered.settings)
    ours = sum(setting.ours is not None for setting in covered.settings)
    count = len(covered.settings)
    return f"settings: {able} of {count} runnable, {ours} with a result; {best} of {count} best as printed ({DECOMPOSITION})"


def _counts(settings: list[Setting]) -> tuple[str, str]:
    """How many of these settings are runnable, and how many best as printed; dashes where there are none."""
    flags = ([s.runnable for s in settings], [s.best_as_printed for s in settings])
    runnable, best = (f"{sum(flag)}/{len(flag)}" if flag else "–" for flag in flags)
    return runnable, best


def _lines(covered: Coverage) -> list[tuple[str, ...]]:
    """A line for each table and figure, as `HEADS` says."""
    lines: list[tuple[str, ...]] = []
    for page in covered.pages:
        cells, counts = f"{page.cells_runnable}/{page.cells}", _counts(covered.settings_on(page))
        lines.append((page.id, "yes" if page.runnable else "no", cells, str(page.cells_filled), *counts, page.title))
    return lines


def plain_coverage(covered: Coverage) -> str:
    """The coverage as lines of plain text, columns aligned by spaces."""
    lines = [HEADS, *_lines(covered)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADS))]
    text = ["  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([*text, CELLS_NOTE, summary(covered), covered.stamp])


def print_coverage(covered: Coverage) -> None:
    """Print the coverage: a table in a terminal, plain lines in a pipe or a log."""
    from rich.console import Console
    from rich.markup import escape as escape_markup
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        print(plain_coverage(covered))
        return
    table = Table(*HEADS, box=None, header_style="bold")
    for page, line in zip(covered.pages, _lines(covered), strict=True):
        color = "green" if page.runnable else "yellow" if page.cells_runnable else "dim"
        table.add_row(line[0], f"[{color}]{line[1]}[/]", *map(escape_markup, line[2:]))
    console.print(table)
    console.print(CELLS_NOTE, style="dim", highlight=False, markup=False, soft_wrap=True)
    console.print(summary(covered), style="bold", highlight=False, markup=False, soft_wrap=True)
    console.print(covered.stamp, style="dim", highlight=False, markup=False, soft_wrap=True)


def coverage_markdown(covered: Coverage) -> str:
    """What README says of it: tables and figures, and the settings; nothing that depends on records."""
    heads = ["", "", "printed cells that a run can fill", "in these rows", "of the 25 settings", "best as printed"]
    lines = [f"| {' | '.join(heads)} |", "| :-- | :-- | --: | :-- | --: | --: |"]
    for page in covered.pages:
        there = [escape(label) for label, runnable in page.rows.items() if runnable]
        rows = "all" if len(there) == len(page.rows) else ", ".join(there) or "none"
        words = [page.source, escape(page.title), f"{page.cells_runnable}/{page.cells}", rows]
        lines.append(f"| {' | '.join([*words, *_counts(covered.settings_on(page))])} |")
    (runnable, best), count = _counts(list(covered.settings)), len(covered.settings)
    lines.append(f"| **all** | the {count} settings that the paper counts; {DECOMPOSITION} | | | **{runnable}** | **{best}** |")
    return "\n".join([*lines, "", f"{INFERRED_MARK} {INFERRED_NOTE}."]) + "\n"

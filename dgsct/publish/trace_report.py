"""A trace as text: readable in 80 columns, with paths and commands on lines of their own, so that they can be copied."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from dgsct.publish.cells import Cell
from dgsct.publish.render.model import number, printed
from dgsct.publish.trace import Trace, TracedInput, TracedRun, how_made, how_measured
from dgsct.records.provenance import commit_words, hardware_words
from dgsct.runs.run import format_value

if TYPE_CHECKING:
    from rich.console import Console

FRESH = {"ok": "fresh"}  # what the state of a record is called here
SHORT = 12  # digits of a checksum; --json has them all


def print_trace(traced: Trace) -> None:
    """Print the row, then its cells with their runs; cells of the same runs stand together."""
    from rich.console import Console

    console, experiment = Console(highlight=False), traced.experiment
    console.print(f"[bold]{experiment.source}[/], row [bold]{traced.cells[0].row}[/]:", end=" ")
    console.print(traced.label, markup=False, soft_wrap=True)
    console.print(next((c.stamp for c in traced.cells if c.stamp), ""), style="red", markup=False)
    groups: dict[tuple, list[Cell]] = {}
    for cell in traced.cells:
        groups.setdefault(cell.runs or (cell.column,), []).append(cell)
    for cells in groups.values():
        console.print()
        _print_cells(console, cells)
        if runs := traced.runs_of(cells[0]):
            _print_runs(console, cells, runs)
            _print_description(console, runs)
            _print_inputs(console, runs)
            _print_lines(console, "files", (path for one in runs for path in one.files))
            _print_lines(console, "make again", (command for one in runs for command in one.commands))
    console.print()
    _print_lines(console, "count again", traced.commands)
    _print_lines(console, f"all of {experiment.name}", [traced.fill])
    for note in traced.notes:
        console.print(f"    {note}", markup=False)


def _pairs(console: "Console", pairs: Iterable[tuple[str, str]]) -> None:
    """Lines of a name and a text that may go on below itself."""
    from rich.markup import escape
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(min_width=11)
    for name, text in pairs:
        if text:
            grid.add_row(f"  [cyan]{name}[/]", escape(text))
    console.print(grid)


def _print_lines(console: "Console", name: str, lines: Iterable[str]) -> None:
    """A name above lines that are never broken."""
    for i, line in enumerate(lines):
        if not i:
            console.print(f"  [cyan]{name}[/]")
        console.print(f"    {line}", markup=False, soft_wrap=True)


def _print_cells(console: "Console", cells: list[Cell]) -> None:
    for cell in cells:
        console.print(f"column [bold]{cell.column}[/]")
        spread = "" if cell.spread is None else f" ± {number(cell.spread)}"
        state = {"ok": "", "planned": "", "none": ""}.get(cell.state, cell.state)
        value = "" if cell.mean is None else f"{number(cell.mean)}{spread}"
        exact = "" if cell.exact is None else f"exactly {cell.exact:,}"
        published = cell.published
        shown = [f"{printed(published.value)} ({published.source})", published.note] if published else []
        _pairs(
            console,
            [
                ("value", ", ".join(part for part in (value, exact, how_made(cell)) if part)),
                ("state", "; ".join(part for part in (state, *cell.reasons) if part)),
                ("metric", ": ".join(part for part in (cell.metric, how_measured(cell)) if part) if cell.sources else ""),
                ("remark", cell.remark),
                ("published", "; ".join(part for part in shown if part)),
            ],
        )
        _print_lines(console, "file", [source.record for source in cell.sources if not cell.runs])


def _print_runs(console: "Console", cells: list[Cell], runs: tuple[TracedRun, ...]) -> None:
    from rich.table import Table

    metrics = list(dict.fromkeys(str(cell.metric) for cell in cells))
    table = Table("  seed", "record", *metrics, "epoch", "made", "commit", box=None, pad_edge=False)
    for one in runs:
        record = one.record or {}
        values = [f"{record['metrics'][m]:.4f}" if m in record.get("metrics", {}) else "-" for m in metrics]
        made = str(one.provenance.get("finished", "-"))[:10]
        epoch, commit = record.get("best_epoch") or "-", commit_words(one.provenance) if one.record else "-"
        state = FRESH.get(one.state.name, one.state.name)
        table.add_row(f"  {one.run.seed}", state, *values, str(epoch), made, commit)
    console.print(table)
    hardware = dict.fromkeys(hardware_words(one.provenance) for one in runs if one.record)
    masks = dict.fromkeys(FRESH.get(one.masks.name, one.masks.name) for one in runs if one.masks)
    _pairs(
        console,
        [
            ("hardware", "; ".join(hardware)),
            ("masks", "; ".join(masks)),
            *(("changed", change) for change in dict.fromkeys(change for one in runs for change in one.changes)),
        ],
    )


def _print_description(console: "Console", runs: tuple[TracedRun, ...]) -> None:
    """What the runs are but for their seeds: the same for all of a cell."""
    run, resolved = runs[0].run, runs[0].run.resolved()

    def listed(values: dict) -> str:
        return " ".join(f"{name}={format_value(value)}" for name, value in values.items())

    _pairs(
        console,
        [
            ("run", f"{run.task} {run.method}, scale {run.scale}, protocol {run.protocol}"),
            ("overrides", listed(dict(run.overrides)) or "none"),
            ("options", listed(resolved["options"])),
            ("recipe", listed(resolved["recipe"]) if run.kind == "trained" else ""),
        ],
    )


def _print_inputs(console: "Console", runs: tuple[TracedRun, ...]) -> None:
    inputs = dict.fromkeys(f"{one.name} {_checksums(one)}\n      {one.path}" for run in runs for one in run.inputs)
    _print_lines(console, "starts from", inputs)


def _checksums(one: TracedInput) -> str:
    """The recorded checksum of an input against that of what lies here."""
    recorded, here = (sum_ and sum_[:SHORT] for sum_ in (one.recorded, one.here))
    if recorded and here:
        return f"{recorded}, as it is here" if one.recorded == one.here else f"{recorded}; here it is {here}"
    return f"{recorded}; it is not here" if recorded else f"{here}" if here else "is not here"

"""Commands that write or print results and what is known without a run: tables, figures, coverage, Table 6, the
ledger."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dgsct.cli.common import (
    Experiments,
    Out,
    Protocol,
    Results,
    Scale,
    Seeds,
    app,
    echo_paths,
    experiments_of,
    settings_of,
    some_path,
)
from dgsct.errors import UsageError

if TYPE_CHECKING:
    from dgsct.publish.cells import Cell

GROUP = "Results"


@app.command("ls", rich_help_panel=GROUP)
def list_everything() -> None:
    """Tasks, methods, experiments and protocols, one line each."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from dgsct.methods import METHODS
    from dgsct.runs.experiments import load_experiments
    from dgsct.runs.protocols import SUMMARIES
    from dgsct.tasks import TASKS

    groups = {
        "tasks": {name: t.summary for name, t in TASKS.items()},
        "methods": {name: m.summary for name, m in METHODS.items()},
        "experiments": {name: f"{e.source}: {e.title}" for name, e in load_experiments().items()},
        "protocols": dict(SUMMARIES),
    }
    console = Console()
    for title, entries in groups.items():
        table = Table.grid(padding=(0, 2))
        for name, summary in entries.items():
            table.add_row(f"  [bold]{name}[/]", escape(summary))
        console.print(f"[bold cyan]{title}[/]")
        console.print(table)


@app.command(rich_help_panel=GROUP)
def efficiency(
    method: Annotated[str, typer.Argument(help="dg-sct or lavish-star")] = "dg-sct",
    scale: Scale = "paper",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    out: Annotated[Path | None, typer.Option(parser=some_path, help="write the JSON to this file")] = None,
) -> None:
    """Parameters, trainable share and MACs of one clip, counted without weights (Table 6)."""
    from dgsct.methods import get_method

    get_method(method)
    from dgsct.engine.efficiency import efficiency as count

    result = count(method, scale)
    if out:
        from dgsct.atomic import write_json_atomic

        write_json_atomic(out, result)
    if as_json:
        typer.echo(json.dumps(result, indent=2))
    elif not out:
        _print_efficiency(result)


def _print_efficiency(result: dict) -> None:
    from rich.console import Console
    from rich.table import Table

    parameters = result["parameters"]
    total = parameters["total"]
    rows = [("parameters", total), ("trainable", parameters["trainable"])]
    rows += [("trainable, without gradient", parameters["without_gradient"])]
    rows += [(f"  {name}", value) for name, value in parameters["components"].items()]
    table = Table("", "count", "% of all", title=f"{result['method']} at {result['scale']} scale")
    table.columns[1].justify = table.columns[2].justify = "right"
    for name, value in rows:
        table.add_row(name, f"{value:,}", f"{100 * value / total:.2f}")
    for name, value in result["macs"].items():
        table.add_row(f"MACs, {name.replace('_', ' ')}", f"{value:,}", "")
    Console().print(table)


@app.command(rich_help_panel=GROUP)
def tables(
    names: Annotated[list[str] | None, typer.Argument(help="experiments (default: all tables)")] = None,
    scale: Scale = "mini",
    protocol: Protocol = "release",
    seeds: Seeds = None,
    out: Out = None,
    results: Results = Path("results"),
    experiments: Experiments = None,
) -> None:
    """Write tables (LaTeX, Markdown, CSV, HTML, JSON) from the records that are there."""
    chosen = experiments_of(names, experiments, figures=False)
    from dgsct.publish.render import write_table
    from dgsct.publish.tables import build_table

    folder, settings = out or Path("paper_tables", scale, protocol), settings_of(scale, protocol, seeds)
    for experiment in chosen.values():
        echo_paths(write_table(build_table(experiment, settings, results), folder))


@app.command(rich_help_panel=GROUP)
def figures(
    names: Annotated[list[str] | None, typer.Argument(help="experiments (default: all figures)")] = None,
    scale: Scale = "mini",
    protocol: Protocol = "release",
    seeds: Seeds = None,
    out: Out = None,
    results: Results = Path("results"),
    experiments: Experiments = None,
) -> None:
    """Draw figures from the records that are there."""
    chosen = experiments_of(names, experiments, figures=True)
    from dgsct.publish.figures import write_figure

    folder, settings = out or Path("paper_tables", scale, protocol), settings_of(scale, protocol, seeds)
    for experiment in chosen.values():
        echo_paths(write_figure(experiment, settings, results, folder))


@app.command(rich_help_panel=GROUP)
def coverage(
    scale: Scale = "mini",
    protocol: Protocol = "release",
    seeds: Seeds = None,
    results: Results = Path("results"),
    experiments: Experiments = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON, with every setting and every system")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="print README's table of what is there")] = False,
) -> None:
    """What can be run: the paper's 25 settings, every table and figure, and the results where there is a record."""
    from dgsct.publish.coverage import coverage as cover
    from dgsct.publish.coverage import coverage_json, coverage_markdown, print_coverage

    if as_json and as_markdown:
        raise UsageError("--json and --markdown print different things; give one of them")
    covered = cover(experiments_of(None, experiments), settings_of(scale, protocol, seeds), results)
    if as_json:
        typer.echo(json.dumps(coverage_json(covered), indent=2, ensure_ascii=False))
    elif as_markdown:
        typer.echo(coverage_markdown(covered), nl=False)
    else:
        print_coverage(covered)


@app.command(rich_help_panel=GROUP)
def cells(
    names: Annotated[list[str] | None, typer.Argument(help="experiments (default: all)")] = None,
    scale: Scale = "mini",
    protocol: Protocol = "release",
    seeds: Seeds = None,
    as_json: Annotated[bool, typer.Option("--json", help="print all that each cell rests on, as JSON")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="print CSV, one line a cell and seed")] = False,
    results: Results = Path("results"),
    experiments: Experiments = None,
) -> None:
    """Print the numbers behind tables and figures: state, mean, spread and seeds of each cell, and what is printed."""
    if as_json and as_csv:
        raise UsageError("--json and --csv exclude each other; give one of them")
    chosen, settings = experiments_of(names, experiments), settings_of(scale, protocol, seeds)
    from dgsct.publish.cells import as_dict, cells_of, frame
    from dgsct.publish.render.json_sidecar import finite

    listed = [cell for experiment in chosen.values() for cell in cells_of(experiment, settings, results)]
    if as_json:
        typer.echo(json.dumps(finite([as_dict(cell) for cell in listed]), indent=1, ensure_ascii=False))
    elif as_csv:
        typer.echo(frame(listed).to_csv(index=False, lineterminator="\n"), nl=False)
    else:
        _print_cells(listed)


def _print_cells(listed: "list[Cell]") -> None:
    """One line a cell; the stamp of its numbers stands above each experiment."""
    from itertools import groupby

    from dgsct.publish.render.model import STATE_WORDS, number, printed

    for (name, stamp), group in groupby(listed, key=lambda cell: (cell.experiment, cell.stamp)):
        typer.echo(f"{name}: {stamp}")
        for cell in group:
            spread = "" if cell.spread is None else f" ± {number(cell.spread)}"
            text = STATE_WORDS.get(cell.state, cell.state) if cell.mean is None else f"{number(cell.mean)}{spread} {cell.state}"
            parts = [f"{text} ({cell.n} of {cell.n_wanted})" if cell.n_wanted else text]
            parts += [f"printed {printed(cell.published.value)}"] if cell.published else []
            parts += dict.fromkeys(s.reason for s in cell.sources if s.state not in ("ok", "missing"))
            typer.echo(f"  {cell.row:24} {cell.column:12} {'; '.join(parts)}")


@app.command(rich_help_panel=GROUP)
def report(
    scale: Scale = "mini",
    protocol: Protocol = "release",
    seeds: Seeds = None,
    out: Out = None,
) -> None:
    """Collect the tables and figures of a folder in one PDF (needs pdflatex)."""
    from dgsct.publish.report import write_report

    settings = settings_of(scale, protocol, seeds)
    typer.echo(write_report(out or Path("paper_tables", scale, protocol), settings.scale, settings.protocol))


@app.command(rich_help_panel=GROUP)
def ledger() -> None:
    """The deviation ledger: paper against release, and what each protocol picks."""
    from dgsct.runs.protocols import ledger_markdown

    typer.echo(ledger_markdown(), nl=False)

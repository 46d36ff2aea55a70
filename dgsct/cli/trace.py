"""The command that leads from a cell to its runs and to the command that makes it again."""

import json
from pathlib import Path
from typing import Annotated

import typer

from dgsct.cli.common import Experiments, Protocol, Results, Scale, Seeds, app, experiments_of, settings_of


@app.command(rich_help_panel="Results")
def trace(
    experiment: Annotated[str, typer.Argument(help="a table or figure, such as table1")],
    row: Annotated[
        str | None, typer.Argument(help="a row, such as dg-sct; of a figure PANEL.LINE, such as alpha.dg-sct")
    ] = None,
    column: Annotated[str | None, typer.Argument(help="a column, such as ave, or a figure's value (default: all)")] = None,
    scale: Scale = "mini",
    protocol: Protocol = "release",
    seeds: Seeds = 3,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON, with whole checksums and records' provenance")] = False,
    results: Results = Path("results"),
    experiments: Experiments = None,
) -> None:
    """From a cell to its command: its runs, seeds, options, data and weights with checksums, commit, hardware, files, and
    the commands that make it again."""
    (chosen,), settings = experiments_of([experiment], experiments).values(), settings_of(scale, protocol, seeds)
    from dgsct.publish.trace import trace as follow
    from dgsct.publish.trace import trace_json
    from dgsct.publish.trace_report import print_trace

    traced = follow(chosen, row, column, settings, results)
    if as_json:
        typer.echo(json.dumps(trace_json(traced), indent=1, ensure_ascii=False))
    else:
        print_trace(traced)

"""What the groups of commands share: the application, the options that many commands take, and what they mean."""

import math
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dgsct.errors import UsageError, reason_of

if TYPE_CHECKING:
    from dgsct.runs.experiments import Settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Reproducibility benchmark harness for DG-SCT. The whole benchmark: `snakemake all_tables`.",
)


def some_path(value: str | Path) -> Path:
    """A path of the command line; UsageError where it is empty, as an unset variable of a shell is."""
    if not str(value):
        raise UsageError("a path is empty; give a file or folder, or `.` for this one")
    return Path(value)


def some_folder(value: str | Path) -> Path:
    """A folder that is there or can be made; UsageError where something else is there, or it can neither be read nor made."""
    path = some_path(value)
    try:
        if stat.S_ISDIR(os.stat(path).st_mode):
            return path
    except FileNotFoundError:
        return path
    except OSError as error:
        raise UsageError(f"{path}: {reason_of(error)}") from None
    raise UsageError(f"{path} is no folder; give one")


def new_file(value: str | Path) -> Path:
    """A file to be written; UsageError where a folder stands there."""
    path = some_path(value)
    if os.path.isdir(path):
        raise UsageError(f"{path} is a folder; give the file to write")
    return path


def finite(value: float | None) -> float | None:
    """A number of the command line; UsageError where it is none to reckon with."""
    if value is not None and not math.isfinite(value):
        raise UsageError(f"{value} must be a finite number")
    return value


Scale = Annotated[str, typer.Option(help="paper (full size) or mini")]
Protocol = Annotated[str, typer.Option(help="release, paper or clean")]
Seeds = Annotated[int | None, typer.Option(min=1, help="seeds 0 ... N-1 of every cell; else as the experiment files say")]
Results = Annotated[Path, typer.Option(parser=some_folder, help="folder of data, encoders and records")]
Experiments = Annotated[Path | None, typer.Option(parser=some_folder, help="folder of experiment files")]
Targets = Annotated[list[str] | None, typer.Argument(help="all_tables (default), all_figures, experiments, or run folders")]
Tasks = Annotated[str, typer.Option(help="only these tasks, with commas")]
Methods = Annotated[str, typer.Option(help="only these methods, with commas")]
SiteFile = Annotated[
    Path | None, typer.Option("--site", parser=some_path, help="site file (default: workflow/config/site.yaml)")
]
Out = Annotated[Path | None, typer.Option(parser=some_folder, help="default: paper_tables/SCALE/PROTOCOL")]


def settings_of(scale: str, protocol: str, seeds: int | None, tasks: str = "", methods: str = "") -> "Settings":
    """Checked settings of these options; UsageError names a wrong one."""
    from dgsct.runs.experiments import make_settings

    return make_settings({"scale": scale, "protocol": protocol, "seeds": seeds, "tasks": tasks, "methods": methods})


def experiments_of(names: list[str] | None, folder: Path | None, figures: bool | None = None) -> dict:
    """The experiments by these names (default: all); with `figures` given, figures only or tables only."""
    from dgsct.runs.experiments import EXPERIMENTS, load_experiments

    known = load_experiments(folder or EXPERIMENTS)
    for name in names or []:
        if name not in known:
            raise UsageError(f"unknown experiment {name!r}; known: {', '.join(known)}")
        if figures is not None and known[name].drawn != figures:
            this, other = ("figure", "tables") if figures else ("table", "figures")
            raise UsageError(f"{name} is no {this}; use `dgsct {other} {name}`")
    chosen = names or [n for n, e in known.items() if figures is None or e.drawn == figures]
    return {name: known[name] for name in chosen}


def options_of(items: list[str] | None) -> dict[str, str] | None:
    """`--set` items as options; None where none is given."""
    overrides = {}
    for item in items or []:
        name, equals, value = item.partition("=")
        if not equals:
            raise UsageError(f"--set {item!r} must have the form NAME=VALUE, for example --set S=off")
        overrides[name] = value
    return overrides or None


def echo_paths(paths: list[Path]) -> None:
    """Print what was written, a path a line."""
    for path in paths:
        typer.echo(path)

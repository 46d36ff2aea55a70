"""Experiments: the tables and figures of the paper as YAML files (`dgsct.runs.schema`), and the Runs that they need.

The files in `workflow/experiments/` are the source of truth: the DAG, the tables and the figures are derived from
`expand` and `all_runs`. A cell without runs is "not run yet"; a name that nobody knows is an error.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from dgsct.errors import UsageError
from dgsct.methods import METHODS
from dgsct.runs.protocols import check_protocol
from dgsct.runs.resolve import option_names, options_class, resolve_options
from dgsct.runs.run import Run, format_value
from dgsct.runs.schema import (
    PLANNED_OPTIONS,
    Column,
    Experiment,
    Line,
    Panel,
    PublishedValue,
    Row,
    Settings,
    check_method,
    check_name,
    check_task,
)
from dgsct.settings.scales import get_scale
from dgsct.tasks import TASKS

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENTS = ROOT / "workflow" / "experiments"


@dataclass(frozen=True)
class Published:
    """A number as printed in the paper, where it stands, and what must be known to read it.

    `read_off` is the half-width of a number that was read off a drawn curve.
    """

    value: float | str
    source: str
    note: str = ""
    read_off: float | None = None


@dataclass(frozen=True)
class Cell:
    """One cell of a table or one point of a figure; no runs means "not run yet", or that there is no such run.

    Of a figure, the row is `PANEL.LINE` and the column the value on the grid. `no_run` says why there is no such run: an
    option of the row that its method does not have on the column's task.
    """

    experiment: str
    row: str
    column: str
    task: str | None
    method: str | None
    runs: tuple[Run, ...]
    metric: str | None
    published: Published | None
    no_run: str = ""


class _Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # the fast one where there is libyaml
    """Safe YAML that refuses a key given twice instead of taking the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                continue
            if key_node.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key_node.value!r} appears twice", key_node.start_mark
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def _read(path: Path) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path}: cannot be read ({error}); give an experiment file") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "malformed text"
        raise UsageError(f"{path}{where}: not valid YAML ({problem}); mend that line") from None


# Lists of named parts, and the models of their entries.
PARTS: dict[str, type[BaseModel]] = {"rows": Row, "columns": Column, "panels": Panel, "lines": Line}


def _place(data: Any, location: tuple[Any, ...]) -> tuple[str, type[BaseModel], tuple[Any, ...]]:
    """Where in a file an error lies: its part in words (`, panel 'ave', line 'coop'`), that part's model, the keys below."""
    words, rest, entry = "", location, data
    model: type[BaseModel] = Experiment
    while len(rest) > 1 and rest[0] in PARTS and isinstance(rest[1], int):
        key, number, *below = rest
        entry = entry[key][number]
        name = entry.get("id", f"number {number + 1}") if isinstance(entry, dict) else f"number {number + 1}"
        words, model, rest = f"{words}, {key[:-1]} {name!r}", PARTS[key], tuple(below)
    return words, (PublishedValue if "published" in rest[:-1] else model), rest


def _sentence(path: Path, data: Any, error: ValidationError) -> str:
    """The first schema error as one sentence that names file, part, key and remedy.

    A misspelt key goes before the key that it leaves missing.
    """
    errors = error.errors(include_url=False)
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    part, model, rest = _place(data, first["loc"])
    words = [str(k) for k in rest if not str(k).startswith("function-") and str(k) not in ("float", "int", "str")]
    key = f", key {'.'.join(words)!r}" if words else ""
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        keys = list(model.model_fields)
        close = difflib.get_close_matches(str(rest[-1]), keys, n=1, cutoff=0.5)
        message = "unknown key; " + (f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(keys)}")
    elif first["type"] == "missing":
        message = "this key is missing; add it"
    elif not message.endswith("?") and ";" not in message:
        message = f"{message[0].lower()}{message[1:]}, not {first['input']!r}; change the value"
    return f"{path}{part}{key}: {message}"


def _check_options(path: Path, experiment: Experiment) -> None:
    """Overrides must be options of their method, with values of the right type."""
    on = [column.task for column in experiment.columns]
    parts = [(f"row {row.id!r}", "overrides", row.method, row.overrides, on) for row in experiment.rows]
    for panel in experiment.panels:
        for line in panel.lines:
            where = f"panel {panel.id!r}, line {line.id!r}"
            grid = panel.values if line.grid is None else line.grid
            values = [{**line.overrides, panel.option: x} for x in grid]
            parts += [(where, "option", line.method, value, [panel.task]) for value in values]
    for where, key, method, overrides, tasks in parts:
        try:
            if method in METHODS:
                _check_overrides(method, overrides, tasks)
        except (ValueError, UsageError) as error:
            raise UsageError(f"{path}, {where}, key {key!r}: {error}") from None


def _check_overrides(method: str, overrides: Mapping[str, Any], tasks: list[str | None]) -> None:
    """Overrides of a method of the harness; of its tasks to come, only names and values can be checked."""
    chosen = [task for task in dict.fromkeys(tasks) if task in METHODS[method].tasks]
    classes = [options_class(task, method) for task in METHODS[method].tasks]
    known = {name: options for options in classes for name in options.names()}
    for option, value in overrides.items():
        check_name(option, "option", known if chosen else (*known, *PLANNED_OPTIONS))
        if option in known:
            known[option].parse(option, value)
    fitting = [task for task in chosen if not _no_run(task, method, overrides)]
    for task in fitting or chosen:  # options that one of the tasks has leave the cells of the others empty
        resolve_options(task, method, "release", dict(overrides))


def _no_run(task: str | None, method: str | None, overrides: Mapping[str, Any]) -> str:
    """Why there is no such run: options that a method of the harness does not have on a task that it does; else empty."""
    if method not in METHODS or task not in METHODS[method].tasks:
        return ""
    lacks = [name for name in overrides if name not in option_names(task, method)]
    return f"there is no such run: {method} has no option {', '.join(lacks)} on {task}" if lacks else ""


def load_experiment(path: str | Path) -> Experiment:
    """The experiment in a YAML file, checked; UsageError names file, row, key and remedy."""
    path = Path(path)
    data = _read(path)
    if not isinstance(data, dict):
        raise UsageError(f"{path}: an experiment file must hold keys such as name, kind, columns, rows; it does not")
    try:
        experiment = Experiment.model_validate(data)
    except ValidationError as error:
        raise UsageError(_sentence(path, data, error)) from None
    if experiment.name != path.stem:
        raise UsageError(f"{path}, key 'name': {experiment.name!r} must equal the file's name {path.stem!r}")
    _check_options(path, experiment)
    return experiment


def load_experiments(folder: str | Path | None = None) -> dict[str, Experiment]:
    """All experiments of a folder (default: `workflow/experiments` of the repository) by name, sorted."""
    folder = Path(folder) if folder is not None else EXPERIMENTS
    paths = sorted(folder.glob("*.yaml"))
    if not paths:
        raise UsageError(f"{folder}: no experiment files (*.yaml) there; give the folder that holds them")
    return {e.name: e for e in map(load_experiment, paths)}


def make_settings(config: Mapping[str, Any]) -> Settings:
    """Checked Settings from configuration values; filters may be lists or text with commas."""

    def names(key: str) -> tuple[str, ...]:
        value = config.get(key) or ()
        value = value.split(",") if isinstance(value, str) else value
        return tuple(str(v).strip() for v in value if str(v).strip())

    try:
        for key in config:
            check_name(key, "setting", [f.name for f in fields(Settings)])
        for task in names("tasks"):
            check_task(task)
        for method in names("methods"):
            check_method(method)
    except ValueError as error:
        raise UsageError(f"configuration: {error}") from None
    seeds = config.get("seeds")
    if seeds is not None and (isinstance(seeds, bool) or not re.fullmatch(r"0*[1-9][0-9]{0,3}", str(seeds))):
        raise UsageError(f"configuration: seeds={seeds!r} must be a whole number of at least 1 and at most 9999")
    scale = get_scale(str(config.get("scale", Settings.scale))).name
    protocol = check_protocol(str(config.get("protocol", Settings.protocol)))
    return Settings(scale, protocol, None if seeds is None else int(seeds), names("tasks"), names("methods"))


def _runs(count: int, settings: Settings, task: str | None, method: str | None, overrides: dict[str, Any]) -> tuple[Run, ...]:
    """The runs of one cell; none where task or method is not in the harness yet, do not fit, or are filtered out."""
    if method not in METHODS or task not in METHODS[method].tasks or _no_run(task, method, overrides):
        return ()
    if (settings.tasks and task not in settings.tasks) or (settings.methods and method not in settings.methods):
        return ()
    runs = (Run.make(task, method, overrides, settings.protocol, settings.scale, seed) for seed in range(count))
    return tuple(dict.fromkeys(runs))


def _metric(settings: Settings, metric: str, task: str | None, method: str | None, overrides: dict[str, Any]) -> str | None:
    """Name of a cell's metric in records, under the run's options; None for `reported` where there is no run."""
    if task not in TASKS or method not in METHODS or task not in METHODS[method].tasks or _no_run(task, method, overrides):
        return None if metric == "reported" else metric
    return TASKS[task].metric(metric, resolve_options(task, method, settings.protocol, overrides, settings.scale))


def _as_published(experiment: Experiment, value: PublishedValue | None) -> Published | None:
    return None if value is None else Published(value.value, value.source or experiment.source, value.note, value.read_off)


def _cells(experiment: Experiment, settings: Settings) -> Iterator[Cell]:
    for row in experiment.rows:
        for column in experiment.columns:
            what = (column.task, row.method, row.overrides)
            seeds = experiment.count_seeds(settings, row, column.task)
            runs = () if experiment.kind == "efficiency" else _runs(seeds, settings, *what)
            published = _as_published(experiment, row.published.get(column.id))
            metric = _metric(settings, column.metric, *what)
            where = (experiment.name, row.id, column.id, column.task, row.method)
            yield Cell(*where, runs, metric, published, _no_run(*what))
    for panel in experiment.panels:
        for line in panel.lines:
            for x in panel.grid_of(line, settings.scale):
                what = (panel.task, line.method, {**line.overrides, panel.option: x})
                runs = _runs(experiment.count_seeds(settings), settings, *what)
                published = _as_published(experiment, line.published.get(x))
                name, metric = f"{panel.id}.{line.id}", _metric(settings, panel.metric, *what)
                value = format_value(float(x))
                yield Cell(experiment.name, name, value, panel.task, line.method, runs, metric, published)


def expand(experiment: Experiment, settings: Settings) -> list[Cell]:
    """All cells in the order of the file: rows then columns; of a figure: panels, lines, grid values."""
    return list(_cells(experiment, settings))


def all_runs(experiments: Mapping[str, Experiment] | Iterable[Experiment], settings: Settings) -> list[Run]:
    """The runs that the experiments need, each once, in the order of first use."""
    chosen = experiments.values() if isinstance(experiments, Mapping) else experiments
    return list(dict.fromkeys(run for e in chosen for cell in expand(e, settings) for run in cell.runs))

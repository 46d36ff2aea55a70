"""Experiments: the tables and figures of the paper as YAML files, their schema, and the Runs that they need.

The files in `workflow/experiments/` are the source of truth: the DAG, the tables and the figures are derived from
`expand` and `all_runs`. A cell without runs is "not run yet"; a name that nobody knows is an error.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from dgsct.errors import UsageError
from dgsct.methods import METHODS
from dgsct.runs.protocols import check_protocol
from dgsct.runs.resolve import resolve_options
from dgsct.runs.run import Run, format_value
from dgsct.settings.options import OPTION_NAMES
from dgsct.settings.scales import SCALES, get_scale
from dgsct.tasks import TASKS

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENTS = ROOT / "workflow" / "experiments"

PLANNED_TASKS: tuple[str, ...] = (
    "avvp", "avqa", "fewshot-ave", "zeroshot-ave", "classification-ave", "classification-llp",
)  # fmt: skip
PLANNED_METHODS: tuple[str, ...] = (
    "avel", "avel-att", "avsdn", "cman", "dam", "cmran", "psp", "cmbs", "lavish", "mgn", "han", "st-avqa",
    "avsd", "pano-avqa", "coop", "cocoop", "clip-adapter", "maple",
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """What the caller asks for: scale, protocol, number of seeds, and filters (empty = everything)."""

    scale: str = "mini"
    protocol: str = "release"
    seeds: int = 3
    tasks: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()


@dataclass(frozen=True)
class Published:
    """A number as printed in the paper, where it stands, and what must be known to read it."""

    value: float | str
    source: str
    note: str = ""


@dataclass(frozen=True)
class Cell:
    """One cell of a table or one point of a figure; no runs means "not run yet"."""

    experiment: str
    row: str
    column: str
    runs: tuple[Run, ...]
    metric: str | None
    published: Published | None


def _known(name: Any, kind: str, names: Iterable[str]) -> str:
    """`name` if it is one of `names`; else a ValueError with the closest one."""
    names = list(names)
    if not isinstance(name, str):
        raise ValueError(f"{name!r} is no name of a {kind}; put it in quotes or use one of: {', '.join(names)}")
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        remedy = f"did you mean {close[0]!r}?" if close else f"use one of: {', '.join(names)}"
        raise ValueError(f"unknown {kind} {name!r}; {remedy}")
    return name


def _task(name: str) -> str:
    return _known(name, "task", (*TASKS, *PLANNED_TASKS))


def _method(name: str | None) -> str | None:
    return name if name is None else _known(name, "method", (*METHODS, *PLANNED_METHODS))


def _published(value: Any) -> Any:
    return value if isinstance(value, Mapping) else {"value": value}


def _overrides(values: Any) -> Any:
    """YAML reads a bare `on` or `off` as a boolean; options know both words, whatever their type."""
    if not isinstance(values, Mapping):
        return values
    return {k: {True: "on", False: "off"}[v] if isinstance(v, bool) else v for k, v in values.items()}


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PublishedValue(_Model):
    """A published number; `source` defaults to the experiment's."""

    value: float | int | str
    source: str | None = None
    note: str = ""


TaskName = Annotated[str, BeforeValidator(_task)]
MethodName = Annotated[str | None, BeforeValidator(_method)]
Number = Annotated[PublishedValue, BeforeValidator(_published)]
Overrides = Annotated[dict[str, Any], BeforeValidator(_overrides)]


class Column(_Model):
    """A column of a table: a task's metric, or (kind `efficiency`) a field of the efficiency file."""

    id: str = Field(min_length=1)
    label: str
    metric: str
    task: TaskName | None = None
    group: str = ""
    note: str = ""
    seeds: dict[str, int] = {}


class Row(_Model):
    """A row of a table: a method with its overrides, and the published numbers beside it."""

    id: str = Field(min_length=1)
    label: str
    method: MethodName = None
    overrides: Overrides = {}
    encoders: dict[Literal["visual", "audio"], str] = {}
    published: dict[str, Number] = {}
    group: Literal["ablation", "baseline", "yardstick", "reference"] = "baseline"
    marks: dict[str, bool] = {}
    note: str = ""


class Panel(_Model):
    """A panel of a figure: one option varied over a grid, everything else as it is."""

    id: str = Field(min_length=1)
    label: str
    option: str
    grid: list[float | int] = Field(min_length=1)
    optimum: float | int | None = None
    published: dict[float | int, Number] = {}
    task: TaskName = "ave"
    method: MethodName = "dg-sct"
    metric: str = "reported"
    overrides: Overrides = {}
    note: str = ""

    @model_validator(mode="after")
    def _points_on_grid(self) -> "Panel":
        for x in [*self.published, *([] if self.optimum is None else [self.optimum])]:
            if x not in self.grid:
                raise ValueError(f"the value {x:g} is not on the grid of panel {self.id!r}; add it to `grid`")
        return self


class Experiment(_Model):
    """One table or figure of the paper."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    kind: Literal["table", "efficiency", "figure", "masks"]
    title: str
    source: str
    note: str = ""
    seeds: dict[str, int] = {}
    columns: list[Column] = []
    rows: list[Row] = []
    panels: list[Panel] = []

    @model_validator(mode="after")
    def _consistent(self) -> "Experiment":
        for seeds in (self.seeds, *(column.seeds for column in self.columns)):
            for scale, count in seeds.items():
                _known(scale, "scale", SCALES)
                if count < 1:
                    raise ValueError(f"seeds of scale {scale!r} must be at least 1, not {count}")
        wanted, unwanted = (("panels",), ("columns", "rows")) if self.kind == "figure" else (("columns", "rows"), ("panels",))
        for key in wanted:
            if not getattr(self, key):
                raise ValueError(f"kind {self.kind!r} needs the key {key!r}")
        for key in unwanted:
            if getattr(self, key):
                raise ValueError(f"kind {self.kind!r} has no key {key!r}; remove it")
        for key in ("columns", "rows", "panels"):
            ids = [part.id for part in getattr(self, key)]
            if twice := sorted({i for i in ids if ids.count(i) > 1}):
                raise ValueError(f"the id {twice[0]!r} appears twice in {key}; rename one")
        for column in self.columns:
            if self.kind in ("table", "masks") and column.task is None:
                raise ValueError(f"column {column.id!r} needs the key 'task'")
        for row in self.rows:
            for column_id in row.published:
                try:
                    _known(column_id, "column", [c.id for c in self.columns])
                except ValueError as error:
                    raise ValueError(f"row {row.id!r}, key 'published': {error}") from None
        return self

    @property
    def drawn(self) -> bool:
        """Whether it is a figure: curves over an option (kind `figure`), or masks beside frames (`masks`)."""
        return self.kind in ("figure", "masks")

    def count_seeds(self, settings: Settings, column: Column | None = None) -> int:
        """Number of seeds at the settings' scale: the settings' own, or fewer where the experiment or the column says so.

        Masks are those of the first seed.
        """
        if self.kind == "masks":
            return 1
        said = [self.seeds, column.seeds if column else {}]
        return min(settings.seeds, *(seeds.get(settings.scale, settings.seeds) for seeds in said))


class _Loader(yaml.SafeLoader):
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
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error}); give an experiment file") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "malformed text"
        raise UsageError(f"{path}{where}: not valid YAML ({problem}); mend that line") from None


def _keys_of(data: Any, location: tuple[Any, ...]) -> list[str]:
    """The keys that the schema allows at `location` (rows, columns, panels or the experiment itself)."""
    models = {"rows": Row, "columns": Column, "panels": Panel}
    model: type[BaseModel] = models.get(location[0], Experiment) if len(location) > 2 else Experiment
    return list((PublishedValue if "published" in location[:-1] else model).model_fields)


def _sentence(path: Path, data: Any, error: ValidationError) -> str:
    """The first schema error as one sentence that names file, part, key and remedy.

    A misspelt key goes before the key that it leaves missing.
    """
    errors = error.errors(include_url=False)
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    location, part, key = first["loc"], "", ""
    if len(location) > 1 and location[0] in ("rows", "columns", "panels") and isinstance(location[1], int):
        entry = data[location[0]][location[1]]
        name = entry.get("id", f"number {location[1] + 1}") if isinstance(entry, dict) else f"number {location[1] + 1}"
        part = f", {location[0][:-1]} {name!r}"
        rest: tuple[Any, ...] = location[2:]
    else:
        rest = location
    words = [str(k) for k in rest if not str(k).startswith("function-") and str(k) not in ("float", "int", "str")]
    key = f", key {'.'.join(words)!r}" if words else ""
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        keys = _keys_of(data, location)
        close = difflib.get_close_matches(str(location[-1]), keys, n=1, cutoff=0.5)
        message = "unknown key; " + (f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(keys)}")
    elif first["type"] == "missing":
        message = "this key is missing; add it"
    elif not message.endswith("?") and ";" not in message:
        message = f"{message[0].lower()}{message[1:]}, not {first['input']!r}; change the value"
    return f"{path}{part}{key}: {message}"


def _check_options(path: Path, experiment: Experiment) -> None:
    """Overrides must be options of their method, with values of the right type."""
    parts = [("row", r.id, r.method, r.overrides, [c.task for c in experiment.columns]) for r in experiment.rows]
    for p in experiment.panels:
        parts += [("panel", p.id, p.method, {**p.overrides, p.option: x}, [p.task]) for x in p.grid]
    for kind, name, method, overrides, tasks in parts:
        if method not in METHODS:
            continue
        info = METHODS[method]
        try:
            for option in overrides:
                _known(option, "option", OPTION_NAMES)
            for task in dict.fromkeys(t for t in (*tasks, info.tasks[0]) if t in info.tasks):
                resolve_options(task, method, "release", overrides)
        except (ValueError, UsageError) as error:
            key = "option" if kind == "panel" else "overrides"
            raise UsageError(f"{path}, {kind} {name!r}, key {key!r}: {error}") from None


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
            _known(key, "setting", [f.name for f in fields(Settings)])
        for task in names("tasks"):
            _task(task)
        for method in names("methods"):
            _method(method)
    except ValueError as error:
        raise UsageError(f"configuration: {error}") from None
    seeds = config.get("seeds", Settings.seeds)
    if isinstance(seeds, bool) or not str(seeds).isdigit() or int(seeds) < 1:
        raise UsageError(f"configuration: seeds={seeds!r} must be a whole number of at least 1")
    scale = get_scale(str(config.get("scale", Settings.scale))).name
    protocol = check_protocol(str(config.get("protocol", Settings.protocol)))
    return Settings(scale, protocol, int(seeds), names("tasks"), names("methods"))


def _runs(count: int, settings: Settings, task: str | None, method: str | None, overrides: dict[str, Any]) -> tuple[Run, ...]:
    """The runs of one cell; none where task or method is not in the harness yet, do not fit, or are filtered out."""
    if method not in METHODS or task not in METHODS[method].tasks or task not in get_scale(settings.scale).recipes:
        return ()
    if (settings.tasks and task not in settings.tasks) or (settings.methods and method not in settings.methods):
        return ()
    runs = (Run.make(task, method, overrides, settings.protocol, settings.scale, seed) for seed in range(count))
    return tuple(dict.fromkeys(runs))


def _metric(settings: Settings, metric: str, task: str | None, method: str | None, overrides: dict[str, Any]) -> str | None:
    """Name of a cell's metric in records, under the run's options; None for `reported` where there is no run."""
    if task not in TASKS or method not in METHODS or task not in METHODS[method].tasks:
        return None if metric == "reported" else metric
    return TASKS[task].metric(metric, resolve_options(task, method, settings.protocol, overrides))


def _as_published(experiment: Experiment, value: PublishedValue | None) -> Published | None:
    return None if value is None else Published(value.value, value.source or experiment.source, value.note)


def _cells(experiment: Experiment, settings: Settings) -> Iterator[Cell]:
    for row in experiment.rows:
        for column in experiment.columns:
            what = (column.task, row.method, row.overrides)
            seeds = experiment.count_seeds(settings, column)
            runs = () if experiment.kind == "efficiency" else _runs(seeds, settings, *what)
            published = _as_published(experiment, row.published.get(column.id))
            yield Cell(experiment.name, row.id, column.id, runs, _metric(settings, column.metric, *what), published)
    for panel in experiment.panels:
        for x in panel.grid:
            what = (panel.task, panel.method, {**panel.overrides, panel.option: x})
            published = _as_published(experiment, panel.published.get(x))
            runs = _runs(experiment.count_seeds(settings), settings, *what)
            column_id = format_value(float(x))
            yield Cell(experiment.name, panel.id, column_id, runs, _metric(settings, panel.metric, *what), published)


def expand(experiment: Experiment, settings: Settings) -> list[Cell]:
    """All cells in the order of the file: rows then columns; of a figure: panels (row = panel) then grid values."""
    return list(_cells(experiment, settings))


def all_runs(experiments: Mapping[str, Experiment] | Iterable[Experiment], settings: Settings) -> list[Run]:
    """The runs that the experiments need, each once, in the order of first use."""
    chosen = experiments.values() if isinstance(experiments, Mapping) else experiments
    return list(dict.fromkeys(run for e in chosen for cell in expand(e, settings) for run in cell.runs))

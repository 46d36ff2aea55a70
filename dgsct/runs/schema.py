"""What an experiment file may say: tables, figures and their printed numbers as checked models.

Names that the harness does not know yet (`PLANNED_...`) may stand in a file: their cells are "not run yet".
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from dgsct.methods import METHODS
from dgsct.settings.scales import SCALES
from dgsct.tasks import TASKS

PLANNED_TASKS: tuple[str, ...] = ("avvp", "avqa", "fewshot-ave", "classification-ave", "classification-llp")
PLANNED_METHODS: tuple[str, ...] = (
    "avel", "avel-att", "avsdn", "cman", "dam", "cmran", "psp", "cmbs", "lavish", "mgn", "han", "st-avqa",
    "avsd", "pano-avqa", "clip", "clap", "coop", "cocoop", "clip-adapter", "maple",
)  # fmt: skip
# `shots`: clips of each class that are trained on; 0 is zero-shot.
PLANNED_OPTIONS: tuple[str, ...] = ("shots",)
SEEDS = 3  # of every cell, where neither the caller nor an experiment file gives a number


@dataclass(frozen=True)
class Settings:
    """What the caller asks for: scale, protocol, seeds of every cell, and filters (empty = everything).

    Without `seeds` the experiment files say how many seeds a cell has.
    """

    scale: str = "mini"
    protocol: str = "release"
    seeds: int | None = None
    tasks: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()


def check_name(name: Any, kind: str, names: Iterable[str]) -> str:
    """`name` if it is one of `names`; else a ValueError with the closest one."""
    names = list(names)
    if not isinstance(name, str):
        raise ValueError(f"{name!r} is no name of a {kind}; put it in quotes or use one of: {', '.join(names)}")
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        remedy = f"did you mean {close[0]!r}?" if close else f"use one of: {', '.join(names)}"
        raise ValueError(f"unknown {kind} {name!r}; {remedy}")
    return name


def check_task(name: str) -> str:
    """`name` if it is a task, of the harness or planned; else a ValueError."""
    return check_name(name, "task", (*TASKS, *PLANNED_TASKS))


def check_method(name: str | None) -> str | None:
    """`name` if it is a method, of the harness or planned, or none; else a ValueError."""
    return name if name is None else check_name(name, "method", (*METHODS, *PLANNED_METHODS))


def _published(value: Any) -> Any:
    return value if isinstance(value, Mapping) else {"value": value}


def _overrides(values: Any) -> Any:
    """YAML reads a bare `on` or `off` as a boolean; options know both words, whatever their type."""
    if not isinstance(values, Mapping):
        return values
    return {k: {True: "on", False: "off"}[v] if isinstance(v, bool) else v for k, v in values.items()}


def _count(scale: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"seeds of scale {scale!r} must be a whole number of at least 1, not {value!r}; change it")
    return value


def _seeds(value: Any) -> Any:
    """Seeds of an experiment, checked: `{mini: 1}`."""
    if not isinstance(value, Mapping):
        raise ValueError("seeds are numbers by scale, such as {mini: 1}; write them so")
    return {check_name(scale, "scale", SCALES): _count(scale, count) for scale, count in value.items()}


def _row_seeds(value: Any) -> Any:
    """Seeds of a row, checked: `{mini: 3}`, or for some of its tasks only `{mini: {ave: 3}}`."""
    if not isinstance(value, Mapping):
        raise ValueError("seeds are numbers by scale, such as {mini: 3} or {mini: {ave: 3}}; write them so")
    checked: dict[str, int | dict[str, int]] = {}
    for scale, counts in value.items():
        check_name(scale, "scale", SCALES)
        by_task = isinstance(counts, Mapping)
        checked[scale] = {check_task(t): _count(scale, n) for t, n in counts.items()} if by_task else _count(scale, counts)
    return checked


def _grids(value: Any) -> Any:
    """A grid of every scale by scale: one list is that of all."""
    if not isinstance(value, Mapping):
        return dict.fromkeys(SCALES, value)
    for scale in value:
        check_name(scale, "scale", SCALES)
    if missing := [scale for scale in SCALES if scale not in value]:
        raise ValueError(f"there is no grid for scale {missing[0]!r}; add it")
    return value


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PublishedValue(_Model):
    """A published number; `source` defaults to the experiment's.

    `read_off` is the half-width of a number that was read off a drawn curve; a printed one has none.
    """

    value: float | int | str
    source: str | None = None
    note: str = ""
    read_off: float | None = Field(default=None, gt=0)


TaskName = Annotated[str, BeforeValidator(check_task)]
MethodName = Annotated[str | None, BeforeValidator(check_method)]
Number = Annotated[PublishedValue, BeforeValidator(_published)]
Overrides = Annotated[dict[str, Any], BeforeValidator(_overrides)]
Seeds = Annotated[dict[str, int], BeforeValidator(_seeds)]
RowSeeds = Annotated[dict[str, int | dict[str, int]], BeforeValidator(_row_seeds)]
Grid = Annotated[list[float | int], Field(min_length=1)]
Grids = Annotated[dict[str, Grid], BeforeValidator(_grids)]
# `inferred`: what is built there was worked out by us; neither a publication nor public code says it in full.
Design = Literal["published", "inferred"]


class Column(_Model):
    """A column of a table: a task's metric; a field of the efficiency file (kind `efficiency`); a count (`statistics`)."""

    id: str = Field(min_length=1)
    label: str
    metric: str
    task: TaskName | None = None
    group: str = ""
    design: Design = "published"
    note: str = ""


class Row(_Model):
    """A row of a table: a method with its overrides, and the published numbers beside it.

    `seeds` are its own number of seeds, in place of the experiment's: `{mini: 3}`, or for some of its tasks `{mini: {ave: 3}}`.
    """

    id: str = Field(min_length=1)
    label: str
    method: MethodName = None
    overrides: Overrides = {}
    encoders: dict[Literal["visual", "audio"], str] = {}
    published: dict[str, Number] = {}
    group: Literal["ablation", "baseline", "yardstick", "reference"] = "baseline"
    marks: dict[str, bool] = {}
    design: Design = "published"
    note: str = ""
    seeds: RowSeeds = {}


class Line(_Model):
    """A method's curve in a panel: its points on the panel's grid, or on its own part of it."""

    id: str = Field(min_length=1)
    label: str
    method: MethodName
    overrides: Overrides = {}
    grid: Grid | None = None
    published: dict[float | int, Number] = {}
    design: Design = "published"
    note: str = ""


class Panel(_Model):
    """A panel of a figure: one option varied over a grid, for one method or several, everything else as it is.

    The grid is one list, or one for each scale: `{paper: [...], mini: [...]}`. `design` is about the grid. With
    `spacing: even` its values are ticks at equal distances. A value in `apart` is of another kind than the rest: no line
    joins it (zero shots, beside few).
    """

    id: str = Field(min_length=1)
    label: str
    option: str
    grid: Grids
    lines: list[Line] = Field(min_length=1)
    title: str = ""
    optimum: float | int | None = None
    spacing: Literal["linear", "even"] = "linear"
    apart: list[float | int] = []
    task: TaskName = "ave"
    metric: str = "reported"
    design: Design = "published"
    note: str = ""

    @property
    def values(self) -> list[float | int]:
        """The values of all grids, each once."""
        return list(dict.fromkeys(x for grid in self.grid.values() for x in grid))

    def grid_of(self, line: Line, scale: str) -> list[float | int]:
        """The values at which a line has points at that scale."""
        return [x for x in self.grid[scale] if line.grid is None or x in line.grid]

    @model_validator(mode="after")
    def _points_on_grid(self) -> "Panel":
        named = [*self.apart, *(x for line in self.lines for x in line.grid or [])]
        for x in named:
            if x not in self.values:
                raise ValueError(f"the value {x:g} is not on the grid; add it there")
        for scale, grid in self.grid.items():
            if self.optimum is not None and self.optimum not in grid:
                raise ValueError(f"the value {self.optimum:g} is not on the grid of scale {scale!r}; add it there")
        for line in self.lines:
            for x in line.published:
                if x not in (self.values if line.grid is None else line.grid):
                    raise ValueError(f"the value {x:g} of line {line.id!r} is not on the grid; add it there")
        _refuse_twice("lines", [line.id for line in self.lines])
        return self


class PaperSettings(_Model):
    """Which cells are among the 25 settings that the paper counts: one row and these columns.

    In a figure: the line of that name in every panel, and these values of the grid.
    """

    row: str
    columns: list[str | float | int] = Field(min_length=1)


def _refuse_twice(key: str, ids: list[str]) -> None:
    if twice := sorted({i for i in ids if ids.count(i) > 1}):
        raise ValueError(f"the id {twice[0]!r} appears twice in {key}; rename one")


# What each kind of experiment is made of, and which of those keys it has not.
PARTS = ("columns", "rows", "panels", "axis")
PARTS_OF = {"figure": ("panels", "axis")}


class Experiment(_Model):
    """One table or figure of the paper.

    `axis` is the label of a figure's vertical axis for tasks that are not in the harness yet; those that are have their own.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    kind: Literal["table", "efficiency", "statistics", "figure", "masks"]
    title: str
    source: str
    note: str = ""
    seeds: Seeds = {}
    columns: list[Column] = []
    rows: list[Row] = []
    panels: list[Panel] = []
    axis: str = ""
    paper_settings: PaperSettings | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Experiment":
        wanted = PARTS_OF.get(self.kind, ("columns", "rows"))
        for key in wanted:
            if not getattr(self, key) and (key != "axis" or any(panel.task not in TASKS for panel in self.panels)):
                raise ValueError(f"kind {self.kind!r} needs the key {key!r}")
        for key in PARTS:
            if key not in wanted and getattr(self, key):
                raise ValueError(f"kind {self.kind!r} has no key {key!r}; remove it")
        for key in ("columns", "rows", "panels"):
            _refuse_twice(key, [part.id for part in getattr(self, key)])
        for column in self.columns:
            if self.kind in ("table", "masks") and column.task is None:
                raise ValueError(f"column {column.id!r} needs the key 'task'")
        for row in self.rows:
            for column_id in row.published:
                try:
                    check_name(column_id, "column", [c.id for c in self.columns])
                except ValueError as error:
                    raise ValueError(f"row {row.id!r}, key 'published': {error}") from None
        if self.paper_settings:
            self._check_paper_settings(self.paper_settings)
        return self

    def _check_paper_settings(self, wanted: PaperSettings) -> None:
        """Every cell that it names is there, and a number is printed in it."""
        printed: dict[str, Mapping[Any, PublishedValue]] = {r.id: r.published for r in self.rows if r.id == wanted.row}
        printed |= {panel.id: line.published for panel in self.panels for line in panel.lines if line.id == wanted.row}
        if len(printed) < (len(self.panels) or 1):
            raise ValueError(f"key 'paper_settings': there is no row or line {wanted.row!r}; name one that is")
        for part, numbers in printed.items():
            for column in wanted.columns:
                if column not in numbers:
                    raise ValueError(f"key 'paper_settings': {part!r} has no published number for {column!r}; add it there")

    @property
    def drawn(self) -> bool:
        """Whether it is a figure: curves over an option (kind `figure`), or masks beside frames (`masks`)."""
        return self.kind in ("figure", "masks")

    def count_seeds(self, settings: Settings, row: Row | None = None, task: str | None = None) -> int:
        """Number of seeds of a cell: the settings' where they give one, else the row's, else the experiment's, else `SEEDS`.

        Masks are those of the first seed.
        """
        if self.kind == "masks":
            return 1
        if settings.seeds is not None:
            return settings.seeds
        default = self.seeds.get(settings.scale, SEEDS)
        own = row.seeds.get(settings.scale, default) if row else default
        return own if isinstance(own, int) else own.get(str(task), default)

"""The site file: where data sets and weights lie, what runs ask for, how they are carried out, how jobs reach a cluster.

One reading of it for the Snakefile, `dgsct plan`, `dgsct doctor` and `dgsct weights`. `workflow/config/site.yaml` explains
every key. No torch; the trainer never reads it.
"""

import difflib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from dgsct.data.extractors import EXTRACTORS
from dgsct.encoders.sources import WEIGHTS
from dgsct.errors import UsageError
from dgsct.methods import METHODS
from dgsct.runs.run import Run
from dgsct.settings.resources import SHORT, Resources, halves, layers, matching, resolve
from dgsct.settings.scales import get_scale
from dgsct.tasks import HOMES, TASKS, get_task

SITE = Path(__file__).resolve().parents[2] / "workflow" / "config" / "site.yaml"


class _Part(BaseModel):
    """A part of the file. The description of a field ends the sentence `run.cpus must be ...`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Count = Annotated[int | None, Field(gt=0, description="a whole number above 0, or null")]
Switch = Annotated[bool, Field(description="true or false")]
Text = Annotated[str | None, Field(description="text or null")]
Folder = Annotated[str | None, Field(description="a folder, or null")]


class Running(_Part):
    """`run:`, which holds for every run: what it asks for (null: the harness's own), and how it is carried out."""

    cpus: Count = None
    mem_mb: Count = None
    minutes: Count = None
    keep: Literal["weights", "record"] = Field("weights", description="weights or record")
    checkpoint_stages: Switch = False
    compile: Switch = False
    scratch: Folder = None

    @property
    def resources(self) -> Resources:
        """What it says that runs ask for."""
        return Resources(self.cpus, self.mem_mb, self.minutes)


class Asked(_Part):
    """An entry of `runs:`, what some runs ask for."""

    cpus: Count = None
    mem_mb: Count = None
    minutes: Count = None
    gpus: Annotated[int | None, Field(ge=0, description="a whole number, or null")] = None


class Slurm(_Part):
    """`slurm:`, which jobs on a cluster are sent with."""

    partition: Text = None
    gpu_partition: Text = None
    account: Text = None
    qos: Text = None
    constraint: Text = None
    gres: Text = None
    before: Text = None
    python: Text = None

    @property
    def given(self) -> dict[str, str]:
        """What it says, without what it leaves open."""
        return {name: value for name, value in self.model_dump().items() if value}


def _weights(value: Any) -> Any:
    entries = value.items() if isinstance(value, dict) else ()
    good = isinstance(value, str | dict | None)
    if not good or any(name not in WEIGHTS or not isinstance(path, str | None) for name, path in entries):
        raise ValueError(f"weights must be a folder, or a file for each of {', '.join(WEIGHTS)}")
    return value


# A section whose lines are all commented out is null.
_EMPTY = BeforeValidator(lambda value: {} if value is None else value)


class Site(_Part):
    """A site file; without one everything is as the harness has it, and no data set is there."""

    data: Annotated[dict[str, Folder], _EMPTY] = {}
    features: Annotated[dict[str, Folder], _EMPTY] = {}
    weights: Annotated[Any, BeforeValidator(_weights)] = None
    run: Annotated[Running, _EMPTY] = Running()
    runs: Annotated[dict[str, Asked], _EMPTY] = {}
    slurm: Annotated[Slurm, _EMPTY] = Slurm()

    @field_validator("data")
    @classmethod
    def _sets(cls, data: dict[str, Any]) -> dict[str, Any]:
        for name in data:
            if name not in HOMES:
                raise ValueError(f"unknown key data.{name}; known: {', '.join(HOMES)}")
        return data

    @field_validator("features")
    @classmethod
    def _features(cls, features: dict[str, Any]) -> dict[str, Any]:
        for name in features:
            dataset, _, extractor = name.partition("/")
            if dataset not in HOMES or extractor not in EXTRACTORS:
                form = f"it must be DATASET/FEATURES: one of {', '.join(HOMES)} and one of {', '.join(EXTRACTORS)}"
                raise ValueError(f"unknown key features.{name}; {form}")
        return features

    @field_validator("runs")
    @classmethod
    def _patterns(cls, runs: dict[str, Asked]) -> dict[str, Asked]:
        for pattern in runs:
            if problem := _problem(pattern):
                raise ValueError(f"runs.{pattern}: {problem}")
        return runs

    def resources(self, run: Run) -> Resources:
        """What `run` asks for; a short one what the harness says, whatever the site does."""
        scale = get_scale(run.scale)
        return SHORT if scale.short_runs else resolve(run.kind, scale.gpus, self._layers(run))

    def key(self, run: Run, name: str) -> str:
        """Where the file says, or would say, how much of the resource `name` a full-size run asks for: `run.minutes`."""
        places = [part for part, resources in self._layers(run) if part and getattr(resources, name) is not None]
        everywhere = name in Running.model_fields and run.kind != "yardstick"
        return f"{places[-1] if places else 'run' if everywhere else f'runs.{run.task}/{run.method}'}.{name}"

    def _layers(self, run: Run) -> Iterator[tuple[str, Resources]]:
        runs = {pattern: Resources(**asked.model_dump()) for pattern, asked in self.runs.items()}
        declared = get_task(run.task).resources, run.part.resources
        return layers(run.task, run.method, run.kind, *declared, self.run.resources, runs)


def _problem(pattern: str) -> str | None:
    """What is wrong with a pattern of `runs`."""
    parts = halves(pattern)
    if not all(parts) or pattern.count("/") != 1:
        return "it must be TASK/METHOD, with * for any, for example '*/late-fusion'"
    for part, kind, names in zip(parts, ("task", "method"), (TASKS, METHODS), strict=True):
        if not any(fnmatchcase(name, part) for name in names):
            close = difflib.get_close_matches(part, names, n=1, cutoff=0.5)
            remedy = f"did you mean {close[0]!r}?" if close else f"use one of: {', '.join(names)}"
            return f"no {kind} is called {part!r}; {remedy}"
    if not any(matching([pattern], task, name) for name, info in METHODS.items() for task in info.tasks):
        return "no method that fits runs on a task that fits (see `dgsct ls`)"
    return None


_PARTS: dict[str, type[_Part]] = {"run": Running, "runs": Asked, "slurm": Slurm}


def _sentence(error: ValidationError) -> str:
    """What is wrong with the file, from pydantic's errors: the first one, but an unknown key before all."""
    errors = error.errors(include_url=False)
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    where = [str(part) for part in first["loc"]]
    if first["type"] == "value_error":
        return first["msg"].removeprefix("Value error, ")
    if first["type"] == "invalid_key" or where[-1] == "[key]":
        return f"the key {'.'.join(where).removesuffix('.[key]')} must be text"
    if first["type"] == "extra_forbidden":
        part = _PARTS[where[0]] if len(where) > 1 else Site
        return f"unknown key {'.'.join(where)}; known: {', '.join(part.model_fields)}"
    return f"{'.'.join(where)} must {_form(where)}"


def _form(where: list[str]) -> str:
    """What the value at a place of the file must be."""
    if where[0] in ("data", "features") and len(where) == 2:
        return "be a folder, or null"
    if len(where) < (3 if where[0] == "runs" else 2):
        return "hold `name: value` lines"
    return f"be {_PARTS[where[0]].model_fields[where[-1]].description}"


def read_site(path: Path | None = None) -> Site:
    """A site file (default: the repository's own, if it is there); UsageError names the file, the key, and what it may be."""
    if path is None and not SITE.exists():
        return Site()
    file = path or SITE
    try:
        value = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{file}: the site file cannot be read ({reason}); see workflow/config/site.yaml") from None
    if not isinstance(value, dict):
        raise UsageError(f"{file}: the site file must hold `name: value` lines; see workflow/config/site.yaml")
    try:
        return Site.model_validate(value)
    except ValidationError as error:
        raise UsageError(f"{file}: {_sentence(error)}") from None

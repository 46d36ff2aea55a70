"""A Run: task x method x overrides x protocol x scale x seed. Its folder is readable, its key decides validity."""

import json
import re
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from dgsct.checksum import sha256_json
from dgsct.closure import code_hash
from dgsct.errors import UsageError
from dgsct.methods import get_method
from dgsct.methods.base import Builds, Inputs, Kind, Part
from dgsct.runs.protocols import check_protocol
from dgsct.runs.resolve import option_names, options_class, resolve_options
from dgsct.settings.keys import described
from dgsct.settings.options import Options
from dgsct.settings.recipe import Recipe
from dgsct.settings.scales import Scale, get_scale
from dgsct.tasks import get_task

if TYPE_CHECKING:
    from torch import nn

LARGEST_SEED = 2**32 - 1  # what every generator of random numbers takes


def format_value(value: Any) -> str:
    """An option's value as it stands in folder names and on the command line."""
    if isinstance(value, bool):
        return {True: "on", False: "off"}[value]
    # Six digits where they say it all; otherwise every digit, so that different runs never share a folder.
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


@dataclass(frozen=True)
class Run:
    """One training (or evaluation, or yardstick), fully described. `make` checks names and values."""

    task: str
    method: str
    overrides: tuple[tuple[str, Any], ...] = ()
    protocol: str = "release"
    scale: str = "mini"
    seed: int = 0

    @classmethod
    def make(
        cls,
        task: str,
        method: str,
        overrides: Mapping[str, Any] | None = None,
        protocol: str = "release",
        scale: str = "mini",
        seed: int = 0,
    ) -> "Run":
        """A checked Run; overrides equal to what the run has anyway are dropped, so equal runs share one folder."""
        get_task(task)
        check_protocol(protocol)
        get_scale(scale)
        if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= LARGEST_SEED:
            raise UsageError(f"seed {seed!r} must be a whole number of at least 0 and at most {LARGEST_SEED}")
        options = options_class(task, method)
        chosen = {name: options.parse(name, value) for name, value in (overrides or {}).items()}
        resolved = resolve_options(task, method, protocol, chosen, scale)
        plain = asdict(resolve_options(task, method, protocol, {}, scale))
        kept = tuple(sorted((name, value) for name, value in chosen.items() if plain[name] != value))
        drawn = get_method(method).on(task).kind_of(resolved) == "trained"
        return cls(task, method, kept, protocol, scale, seed if drawn else 0)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Run":
        """The Run of a record's or a spec file's `run` entry."""
        return cls.make(**{**data, "overrides": dict(data.get("overrides") or {})})

    @classmethod
    def from_folder(cls, folder: Path) -> "Run":
        """The Run whose folder this is; UsageError if the path does not end as `Run.folder` does."""
        parts = Path(folder).parts[-7:]
        shape = "runs/SCALE/PROTOCOL/TASK/METHOD/SETTING/sSEED"
        if len(parts) != 7 or parts[0] != "runs" or not re.fullmatch(r"s[0-9]{1,10}", parts[6]):
            raise UsageError(f"{folder} is no run folder; it should end in {shape}")
        _, scale, protocol, task, method, setting, seed = parts
        pairs = [item.partition("=") for item in re.split(r"\+(?=\w+=)", setting)] if setting != "default" else []
        if not all(separator for _, separator, _ in pairs):
            raise UsageError(f"{folder} is no run folder; SETTING in {shape} is `default` or such as `C=off+S=off`")
        overrides = {name: value for name, _, value in pairs}
        return cls.make(task, method, overrides, protocol, scale, int(seed[1:]))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON form, the inverse of `from_dict`."""
        return {**asdict(self), "overrides": dict(self.overrides)}

    @property
    def setting(self) -> str:
        """Readable name of the overrides: `default`, or `C=off+S=off`. No comma, at which Snakemake would cut it for a
        job on a cluster."""
        return "+".join(f"{name}={format_value(value)}" for name, value in self.overrides) or "default"

    @property
    def folder(self) -> Path:
        """Folder relative to the results folder: `runs/mini/release/ave/dg-sct/default/s0`."""
        return Path("runs", self.scale, self.protocol, self.task, self.method, self.setting, f"s{self.seed}")

    @property
    def dataset(self) -> str:
        """The prepared set that it reads."""
        return get_task(self.task).dataset

    @property
    def part(self) -> Part:
        """What its method declares for its task."""
        return get_method(self.method).on(self.task)

    @cached_property
    def options(self) -> Options:
        """All switches, those that it does not have at their defaults."""
        return resolve_options(self.task, self.method, self.protocol, dict(self.overrides), self.scale)

    @property
    def recipe(self) -> Recipe:
        """How it is trained; UsageError where nobody has said it for its scale."""
        recipes = {**get_task(self.task).recipes, **self.part.recipes}
        if self.scale not in recipes:
            raise UsageError(f"{self.method} has no recipe for task {self.task!r} at scale {self.scale!r}")
        return recipes[self.scale]

    @property
    def kind(self) -> Kind:
        """Whether a model is trained, one is evaluated as it is, or there is none."""
        return self.part.kind_of(self.options)

    @property
    def sizes(self) -> Scale:
        """Its scale, as its task has it."""
        return get_task(self.task).at(get_scale(self.scale))

    @property
    def reads(self) -> Inputs:
        """The inputs of its model, by name."""
        return self.part.inputs_of(self.options)

    @property
    def reported(self) -> str:
        """The metric by which its epochs are selected, as it stands in records."""
        return get_task(self.task).metric("reported", self.options)

    @cached_property
    def parents(self) -> dict[str, "Run"]:
        """The runs whose best weights it starts from, by name."""
        parents = {}
        for parent in self.part.parents(self.options):
            known = option_names(parent.task, parent.method)
            shared = {n: v for n, v in self.overrides if n in parent.options and n in known}
            parents[parent.name] = Run.make(parent.task, parent.method, shared, self.protocol, self.scale, self.seed)
        return parents

    def build(self, meta: bool = False, **options: Any) -> "nn.Module":
        """Its model with random weights, or on the meta device for keys and shapes only.

        `options` go to the part's `build` (`release_order` for counting). UsageError for a yardstick.
        """
        if self.kind == "yardstick":
            raise UsageError(f"method {self.method!r} is a yardstick without a model; choose one that trains")
        from dgsct.ops.shapes import shapes_only

        module = cast(Builds, import_module(self.part.module))
        with shapes_only() if meta else nullcontext():
            return module.build(self.task, self.sizes, self.options, **options)

    def resolved(self) -> dict[str, Any]:
        """Everything that defines the run, with all defaults written out (JSON types)."""
        task, scale = get_task(self.task), self.sizes
        sizes = {name: described(getattr(scale, name)) for name in self.part.sizes}
        if self.scale in task.classes:
            sizes["classes"] = scale.classes
        described_ = {
            "task": self.task,
            "method": self.method,
            "protocol": self.protocol,
            "scale": self.scale,
            "seed": self.seed,
            "kind": self.kind,
            "options": described(self.options, option_names(self.task, self.method)),
            "preset": dict(self.part.preset),
            "reported": self.reported,
            "recipe": described(self.recipe),
            "sizes": sizes,
            "inputs": [self.dataset, *self.reads],
            "encoders": list(self.part.encoders),
        }
        return json.loads(json.dumps(described_))

    def plan_key(self) -> str:
        """sha256 over the resolved description, the code it imports and its parents' plan keys: what is known before any data
        exist."""
        key = {"run": self.resolved(), "code": self.code()}
        if self.parents:
            key["parents"] = {name: parent.plan_key() for name, parent in self.parents.items()}
        return sha256_json(key)

    def code(self) -> str:
        """Hash of the code that this run imports."""
        task = get_task(self.task)
        return code_hash("dgsct.engine.execute", self.part.module, task.module, f"dgsct.tasks.{task.folder}.measures")

    def key(self, inputs: Mapping[str, str]) -> str:
        """The record's key: the plan key, and the checksums of all inputs by name (`dgsct.runs.inputs`)."""
        return sha256_json({"plan": self.plan_key(), "inputs": dict(inputs)})

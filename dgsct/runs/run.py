"""A Run: task x method x overrides x protocol x scale x seed. Its folder is readable, its key decides validity."""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dgsct.checksum import sha256_json
from dgsct.closure import code_hash
from dgsct.errors import UsageError
from dgsct.methods import get_method
from dgsct.runs.protocols import check_protocol
from dgsct.runs.resolve import resolve_options
from dgsct.settings.options import known_options, parse_option
from dgsct.settings.scales import describe, get_scale
from dgsct.tasks import get_task


def format_value(value: Any) -> str:
    """An option's value as it stands in folder names and on the command line."""
    if isinstance(value, bool):
        return {True: "on", False: "off"}[value]
    # Six digits where they say it all; otherwise every digit, so that different runs never share a folder.
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


@dataclass(frozen=True)
class Run:
    """One training (or one yardstick), fully described. `make` checks names and values."""

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
        overrides: dict[str, Any] | None = None,
        protocol: str = "release",
        scale: str = "mini",
        seed: int = 0,
    ) -> "Run":
        """A checked Run; overrides equal to what the run has anyway are dropped, so equal runs share one folder."""
        get_task(task)
        check_protocol(protocol)
        get_scale(scale)
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise UsageError(f"seed {seed!r} must be a whole number of at least 0")
        chosen = {name: parse_option(name, value) for name, value in (overrides or {}).items()}
        resolve_options(task, method, protocol, chosen)
        plain = asdict(resolve_options(task, method, protocol, {}))
        kept = tuple(sorted((name, value) for name, value in chosen.items() if plain[name] != value))
        return cls(task, method, kept, protocol, scale, seed if get_method(method).trains else 0)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Run":
        """The Run of a record's or a spec file's `run` entry."""
        return cls.make(**{**data, "overrides": dict(data.get("overrides") or {})})

    @classmethod
    def from_folder(cls, folder: Path) -> "Run":
        """The Run whose folder this is; UsageError if the path does not end as `Run.folder` does."""
        parts = Path(folder).parts[-7:]
        shape = "runs/SCALE/PROTOCOL/TASK/METHOD/SETTING/sSEED"
        if len(parts) != 7 or parts[0] != "runs" or not re.fullmatch(r"s\d+", parts[6]):
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

    def resolved(self) -> dict[str, Any]:
        """Everything that defines the run, with all defaults written out (JSON types)."""
        scale, task = get_scale(self.scale).of(self.task), get_task(self.task)
        sizes = {name: describe(getattr(scale, name)) for name in task.sizes}
        if self.task in scale.classes:
            sizes["classes"] = scale.classes[self.task]
        options = resolve_options(self.task, self.method, self.protocol, dict(self.overrides))
        return json.loads(
            json.dumps(
                {
                    "task": self.task,
                    "method": self.method,
                    "protocol": self.protocol,
                    "scale": self.scale,
                    "seed": self.seed,
                    "options": {name: getattr(options, name) for name in known_options(self.task)},
                    "reported": task.metric("reported", options),
                    "recipe": describe(scale.recipe(self.task, self.method)),
                    "sizes": sizes,
                }
            )
        )

    def plan_key(self) -> str:
        """sha256 over the resolved description and the code it imports: what is known before any data exist."""
        return sha256_json({"run": self.resolved(), "code": self.code()})

    def code(self) -> str:
        """Hash of the code that this run imports."""
        return code_hash("dgsct.engine.execute", get_method(self.method).module_for(self.task), get_task(self.task).module)

    def key(self, data: str, encoders: str) -> str:
        """The record's key: the plan key, the data manifest's and the encoder weights' checksums."""
        return sha256_json({"plan": self.plan_key(), "data": data, "encoders": encoders})

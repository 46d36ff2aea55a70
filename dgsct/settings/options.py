"""The switches that every task has, typed, in one flat namespace (`--set name=value`); no torch.

A task's folder brings a subclass with its own switches and the defaults of its release, a method may bring more (`own` of
its part). A protocol changes some through the deviation ledger, an experiment's row or `--set` changes others. Which of
them a run has is what its method names.
"""

from dataclasses import asdict, dataclass, fields
from functools import cache
from math import isfinite
from typing import Any, Literal, Self, get_args, get_origin, get_type_hints

from dgsct.errors import UsageError

Residual = Literal["release", "paper"]
AudioBlock = Literal["whole", "split"]
SpatialPrompt = Literal["pooled", "map"]
FreezeMode = Literal["train", "eval"]
Pooling = Literal["attention", "mean"]
Accumulation = Literal["release", "off"]
Selection = Literal["test", "val"]
Modality = Literal["both", "audio", "visual"]
Precision = Literal["fp32", "bf16"]
AudioEncoder = Literal["frozen", "trained"]

# What the options of a walk through two encoders are; a method on them names these.
ATTENTION = ("S", "C", "T", "A2V", "V2A", "alpha", "beta", "gamma")
ADAPTER = ("keep_tokens", "residual", "audio_block", "spatial_prompt", "pooling")
ENCODERS = ("tile", "freeze_mode")
RECIPE = ("selection", "accumulation", "precision")


@dataclass(frozen=True)
class Options:
    """Switches of DG-SCT and its baselines.

    Names follow the paper: S, C, T (Table 5), A2V, V2A (Table 8), alpha, beta, gamma (eq. 6-7).
    """

    S: bool = True
    C: bool = True
    T: bool = True
    A2V: bool = True
    V2A: bool = True
    alpha: float = 0.3
    beta: float = 0.05
    gamma: float = 0.1
    keep_tokens: bool = True
    residual: Residual = "release"
    audio_block: AudioBlock = "whole"
    spatial_prompt: SpatialPrompt = "pooled"
    pooling: Pooling = "attention"
    tile: int = 10
    freeze_mode: FreezeMode = "train"
    modality: Modality = "both"
    selection: Selection = "test"
    accumulation: Accumulation = "release"
    precision: Precision = "fp32"
    audio_encoder: AudioEncoder = "frozen"
    mixup: bool = False

    def replace(self, **changes: Any) -> Self:
        """A copy with `changes` applied and checked; UsageError names an unknown option or a bad value."""
        return type(self)(**{**asdict(self), **{name: self.parse(name, value) for name, value in changes.items()}})

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Names of all options of this class."""
        return tuple(f.name for f in fields(cls))

    @classmethod
    def parse(cls, name: str, value: Any) -> Any:
        """`value` (typed, or text as in `--set name=value`) as the option's own type; UsageError says what is allowed."""
        types = _types(cls)
        if name not in types:
            raise UsageError(f"unknown option {name!r}; known options: {', '.join(types)}")
        kind = types[name]
        if get_origin(kind) is Literal:
            if value not in get_args(kind):
                raise UsageError(f"option {name}={value!r} must be one of: {', '.join(map(str, get_args(kind)))}")
            return value
        return _truth(name, value) if kind is bool else _number(name, value, whole=kind is int)


@cache
def _types(options: type[Options]) -> dict[str, Any]:
    return {name: kind for name, kind in get_type_hints(options).items() if name in options.names()}


def _truth(name: str, value: Any) -> bool:
    words = {"on": True, "true": True, "yes": True, "1": True, "off": False, "false": False, "no": False, "0": False}
    if isinstance(value, bool):
        return value
    if str(value).lower() in words:
        return words[str(value).lower()]
    raise UsageError(f"option {name}={value!r} must be on or off")


def _number(name: str, value: Any, whole: bool) -> float | int:
    if isinstance(value, bool):
        raise UsageError(f"option {name}={value!r} must be a number")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise UsageError(f"option {name}={value!r} must be a number") from None
    if not isfinite(number):
        raise UsageError(f"option {name}={value!r} must be a finite number")
    if not whole:
        return number
    if number != int(number) or number < 1:
        raise UsageError(f"option {name}={value!r} must be a whole number of at least 1")
    return int(number)

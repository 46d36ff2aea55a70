"""Every switch of the models and of the recipe, typed, in one flat namespace (`--set name=value`).

Defaults are the release's; a protocol changes some of them through the deviation ledger (`dgsct.runs.protocols`), an
experiment's row or `--set` changes others. No torch here.
"""

from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import Any, Literal, get_args, get_origin, get_type_hints

from dgsct.errors import UsageError

Residual = Literal["release", "paper"]
AudioBlock = Literal["whole", "split"]
SpatialPrompt = Literal["pooled", "map"]
FreezeMode = Literal["train", "eval"]
Pooling = Literal["attention", "mean"]
Head = Literal["release", "cmbs_full"]
GateLoss = Literal["double_sigmoid", "probability"]
Accumulation = Literal["release", "off"]
Selection = Literal["test", "val"]
Accuracy = Literal["batch8", "exact"]
Modality = Literal["both", "audio", "visual"]
Precision = Literal["fp32", "bf16"]
FProtocol = Literal["batch4", "clip", "frame"]
AudioEncoder = Literal["frozen", "trained"]
VisualBackbone = Literal["pvt", "resnet50"]

AVS = ("avs-s4", "avs-ms3")
# Options that only some tasks know; all others hold for every task.
LIMITED: dict[str, tuple[str, ...]] = {
    "head": ("ave",),
    "gate_loss": ("ave",),
    "accuracy": ("ave",),
    "f_protocol": AVS,
    "audio_encoder": AVS,
    "mixup": AVS,
    "av_weight": AVS,
    "visual_backbone": AVS,
}
# What the release of a task sets in place of the defaults below (avs.md, section 5).
SETTINGS: dict[str, dict[str, Any]] = {
    "avs-s4": {"gamma": 0.05, "tile": 5},
    "avs-ms3": {"alpha": 0.2, "beta": 0.1, "tile": 5, "av_weight": 0.5},
}


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
    head: Head = "release"
    gate_loss: GateLoss = "double_sigmoid"
    modality: Modality = "both"
    selection: Selection = "test"
    accuracy: Accuracy = "batch8"
    accumulation: Accumulation = "release"
    precision: Precision = "fp32"
    f_protocol: FProtocol = "batch4"
    audio_encoder: AudioEncoder = "frozen"
    mixup: bool = False
    av_weight: float = 0.0
    visual_backbone: VisualBackbone = "pvt"

    @classmethod
    def of(cls, task: str) -> "Options":
        """The defaults, as the release of `task` sets them."""
        return cls(**SETTINGS.get(task, {}))

    def replace(self, **changes: Any) -> "Options":
        """A copy with `changes` applied and checked; UsageError names an unknown option or a bad value."""
        return Options(**{**asdict(self), **{name: parse_option(name, value) for name, value in changes.items()}})


OPTION_NAMES: tuple[str, ...] = tuple(f.name for f in fields(Options))
_TYPES = get_type_hints(Options)


def known_options(task: str) -> tuple[str, ...]:
    """Names of the options that `task` has."""
    return tuple(name for name in OPTION_NAMES if task in LIMITED.get(name, (task,)))


def parse_option(name: str, value: Any) -> Any:
    """`value` (typed, or text as in `--set name=value`) as the option's own type; UsageError says what is allowed."""
    if name not in _TYPES:
        raise UsageError(f"unknown option {name!r}; known options: {', '.join(OPTION_NAMES)}")
    kind = _TYPES[name]
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise UsageError(f"option {name}={value!r} must be one of: {', '.join(get_args(kind))}")
        return value
    if kind is bool:
        words = {"on": True, "true": True, "yes": True, "1": True, "off": False, "false": False, "no": False, "0": False}
        if isinstance(value, bool):
            return value
        if str(value).lower() in words:
            return words[str(value).lower()]
        raise UsageError(f"option {name}={value!r} must be on or off")
    if isinstance(value, bool):
        raise UsageError(f"option {name}={value!r} must be a number")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise UsageError(f"option {name}={value!r} must be a number") from None
    if not isfinite(number):
        raise UsageError(f"option {name}={value!r} must be a finite number")
    if kind is int:
        if number != int(number) or number < 1:
            raise UsageError(f"option {name}={value!r} must be a whole number of at least 1")
        return int(number)
    return number

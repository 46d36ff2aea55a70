"""The methods by name. A method's module is imported only when it is built, so listing them needs no torch."""

from dataclasses import dataclass, field
from typing import Any

from dgsct.errors import UsageError
from dgsct.settings.options import AVS, OPTION_NAMES, known_options

_MEASURE = ("accuracy", "f_protocol")
_RECIPE = ("selection", *_MEASURE, "accumulation", "precision")
_ENCODERS = ("tile", "freeze_mode", "mixup")
_HEAD = ("head", "gate_loss", "av_weight")
_SEGMENTATION = dict.fromkeys(AVS, "dgsct.methods.dg_sct.avs")


@dataclass(frozen=True)
class MethodInfo:
    """What the harness must know of a method before it imports it.

    `modules` names the module that builds it for a task where that is not `module`; `encoders` are the public weights
    that it starts from, and `audio` is the prepared sound that it reads (`wave`, `logmel` or `vggish`; see `sound_of`).
    """

    name: str
    module: str
    summary: str
    tasks: tuple[str, ...]
    trains: bool = True
    options: tuple[str, ...] = OPTION_NAMES
    preset: dict[str, Any] = field(default_factory=dict)
    sees_test_labels: bool = False
    counted: bool = False  # whether `dgsct.engine.efficiency` can count its parameters and cost at full size
    modules: dict[str, str] = field(default_factory=dict)
    encoders: tuple[str, ...] = ("swin", "htsat")
    audio: str = "logmel"

    def module_for(self, task: str) -> str:
        """The module whose `build` makes the model for `task`."""
        return self.modules.get(task, self.module)

    def options_for(self, task: str) -> tuple[str, ...]:
        """The options that the method has on `task`."""
        return tuple(name for name in known_options(task) if name in self.options)


METHODS: dict[str, MethodInfo] = {
    m.name: m
    for m in (
        MethodInfo(
            "dg-sct",
            "dgsct.methods.dg_sct.ave",
            "dual-guided spatial-channel-temporal attention between two frozen encoders",
            ("ave", *AVS),
            options=tuple(n for n in OPTION_NAMES if n not in ("modality", "visual_backbone")),
            counted=True,
            modules=_SEGMENTATION,
        ),
        MethodInfo(
            "lavish-star",
            "dgsct.methods.dg_sct.ave",
            "LAVisH*: the same adapters without S and C, mean pooling, gamma 0 (inferred from its parameter count)",
            ("ave", *AVS),
            options=("audio_block", "residual", "audio_encoder", *_ENCODERS, *_HEAD, *_RECIPE),
            preset={"S": False, "C": False, "T": False},
            counted=True,
            modules=_SEGMENTATION,
        ),
        MethodInfo(
            "late-fusion",
            "dgsct.methods.late_fusion.ave",
            "the same frozen encoders and head, no adapter between them; `modality` keeps one stream only",
            ("ave", *AVS),
            options=("T", "gamma", "modality", *_ENCODERS, *_HEAD, *_RECIPE),
            modules=dict.fromkeys(AVS, "dgsct.methods.late_fusion.avs"),
        ),
        MethodInfo(
            "avs-pvt",
            "dgsct.methods.avsbench",
            "the AVSBench baseline: PVT-v2-b5, trained whole, with frozen VGGish, TPAVI and a decoder",
            AVS,
            options=("av_weight", *_RECIPE),
            preset={"selection": "val"},
            encoders=("pvt", "vggish"),
            audio="vggish",
        ),
        MethodInfo(
            "avs-r50",
            "dgsct.methods.avsbench",
            "the AVSBench baseline on ResNet-50",
            AVS,
            options=("av_weight", *_RECIPE),
            preset={"visual_backbone": "resnet50", "selection": "val"},
            encoders=("resnet50", "vggish"),
            audio="vggish",
        ),
        MethodInfo(
            "all-background",
            "dgsct.tasks.ave.yardsticks",
            "yardstick: every segment is background",
            ("ave",),
            trains=False,
            options=_MEASURE,
        ),
        MethodInfo(
            "majority-class",
            "dgsct.tasks.ave.yardsticks",
            "yardstick: every segment is the most frequent event class of the training split",
            ("ave",),
            trains=False,
            options=_MEASURE,
        ),
        MethodInfo(
            "oracle-category",
            "dgsct.tasks.ave.yardsticks",
            "oracle: the clip's true category in every segment (reads test labels)",
            ("ave",),
            trains=False,
            options=_MEASURE,
            sees_test_labels=True,
        ),
        MethodInfo(
            "all-foreground",
            "dgsct.tasks.avs.yardsticks",
            "yardstick: every pixel sounds",
            AVS,
            trains=False,
            options=_MEASURE,
        ),
        MethodInfo(
            "centre-prior",
            "dgsct.tasks.avs.yardsticks",
            "yardstick: a disc in the middle, of the radius that fits the training masks best",
            AVS,
            trains=False,
            options=_MEASURE,
        ),
        MethodInfo(
            "mean-mask",
            "dgsct.tasks.avs.yardsticks",
            "yardstick: the mean of the training masks, cut where it fits them best",
            AVS,
            trains=False,
            options=_MEASURE,
        ),
    )
}


def get_method(name: str) -> MethodInfo:
    """Method by name; UsageError that lists the known ones."""
    if name not in METHODS:
        raise UsageError(f"unknown method {name!r}; known methods: {', '.join(METHODS)} (see `dgsct ls`)")
    return METHODS[name]

"""Late fusion: the encoders alone, one file a task."""

from dgsct.methods.base import Method, Part, frames_and_sound
from dgsct.settings.options import ENCODERS, RECIPE

_ON_BOTH = {"inputs": frames_and_sound, "encoders": ("swin", "htsat"), "sizes": ("swin", "htsat", "head")}
_WALK = ("T", "gamma", "modality", *ENCODERS)
_AVS = Part(
    "dgsct.methods.late_fusion.avs",
    options=(*_WALK, "mixup", "av_weight", *RECIPE),
    trainable={"paper": 54_183_753, "mini": 1_294_389},
    **_ON_BOTH,
)

METHODS = (
    Method(
        "late-fusion",
        "the same frozen encoders and head, no adapter between them; `modality` keeps one stream only",
        {
            "ave": Part(
                "dgsct.methods.late_fusion.ave",
                options=(*_WALK, "head", "gate_loss", *RECIPE),
                trainable={"paper": 12_621_783, "mini": 509_525},
                **_ON_BOTH,
            ),
            "avs-s4": _AVS,
            "avs-ms3": _AVS,
        },
    ),
)

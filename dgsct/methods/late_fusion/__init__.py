"""Late fusion: the encoders alone, one file a task."""

from dataclasses import replace

from dgsct.methods.base import Method, Part, frames_and_sound
from dgsct.settings.options import ENCODERS, RECIPE
from dgsct.tasks.avs import mini_recipe

_ON_BOTH = {"inputs": frames_and_sound, "encoders": ("swin", "htsat"), "sizes": ("swin", "htsat", "head")}
_WALK = ("T", "gamma", "modality", *ENCODERS)
# At mini scale fewer epochs than DG-SCT: more bring a point or two.
_S4 = Part(
    "dgsct.methods.late_fusion.avs",
    options=(*_WALK, "mixup", "av_weight", *RECIPE),
    recipes={"mini": mini_recipe(epochs=4, batch_size=10, lr=2e-3)},
    trainable={"paper": 54_183_753, "mini": 820_617},
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
                trainable={"paper": 12_621_783, "mini": 338_085},
                **_ON_BOTH,
            ),
            "avs-s4": _S4,
            "avs-ms3": replace(_S4, recipes={"mini": mini_recipe(epochs=3, batch_size=5, lr=2.5e-3)}),
        },
    ),
)

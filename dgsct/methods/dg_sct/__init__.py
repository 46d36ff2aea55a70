"""DG-SCT, and LAVisH* as its ablation: one file a task."""

from dataclasses import replace

from dgsct.methods.base import Method, Part, frames_and_sound
from dgsct.settings.options import ADAPTER, ATTENTION, ENCODERS, RECIPE
from dgsct.settings.recipe import Group
from dgsct.tasks import TASKS

_SIZES = ("swin", "htsat", "head", "num_tokens", "reduction", "groups")
_AVS = ("audio_encoder", "mixup", "av_weight")
# LAVisH*: without S, C and T; what is left of an adapter are its latent tokens and its place.
_BARE = ("audio_block", "residual")
_OFF = {"S": False, "C": False, "T": False}

_AVE = Part(
    "dgsct.methods.dg_sct.ave",
    options=(*ATTENTION, *ADAPTER, *ENCODERS, "head", "gate_loss", *RECIPE),
    inputs=frames_and_sound,
    encoders=("swin", "htsat"),
    sizes=(*_SIZES, "gate"),
    trainable={"paper": 201_160_647, "mini": 421_077},
    counted=True,
)
# At mini scale channel attention learns at four times the common rate: else its maps are still the same for all channels
# when the training ends, and alpha matters to nothing.
_CHANNELS = Group("*.attention.channel.*", lr=1.2e-2, optional=True)
# Most pixels are silent: where all weights behind the decoder's last ReLU start with one sign, each of its few channels falls
# to zero before the weights turn, and masks stay empty. So what scores (there, and in spatial attention) learns faster.
_SCORES = Group("*.score.*", lr=3e-2)
# In S4 the release trains HTS-AT at the rate of everything else, 3e-4. At mini rates Adam would move each entry of the mel
# matrix, a few thousandths, by more than itself in a few steps.
_HTSAT = Group("backbone.encoders.htsat.*", lr=1e-6)
# The release builds the AVSBench model's PVT-v2 too, and never calls it.
_S4 = Part(
    "dgsct.methods.dg_sct.avs",
    options=(*ATTENTION, *ADAPTER, *ENCODERS, *_AVS, *RECIPE),
    inputs=frames_and_sound,
    encoders=("swin", "htsat"),
    sizes=(*_SIZES, "inner_gate", "pvt"),
    recipes={"mini": replace(TASKS["avs-s4"].recipes["mini"], groups=(_HTSAT, _SCORES, _CHANNELS))},
    trainable={"paper": 365_993_560, "mini": 1_450_128},
)
_MS3 = replace(
    _S4,
    recipes={"mini": replace(TASKS["avs-ms3"].recipes["mini"], groups=(_CHANNELS,))},
    trainable={"paper": 342_755_457, "mini": 1_341_485},
)

METHODS = (
    Method(
        "dg-sct",
        "dual-guided spatial-channel-temporal attention between two frozen encoders",
        {"ave": _AVE, "avs-s4": _S4, "avs-ms3": _MS3},
    ),
    Method(
        "lavish-star",
        "LAVisH*: the same adapters without S and C, mean pooling, gamma 0 (inferred from its parameter count)",
        {
            "ave": replace(
                _AVE,
                options=(*_BARE, *ENCODERS, "head", "gate_loss", *RECIPE),
                preset=_OFF,
                trainable={"paper": 114_766_359, "mini": 373_549},
            ),
            "avs-s4": replace(
                _S4,
                options=(*_BARE, *ENCODERS, *_AVS, *RECIPE),
                preset=_OFF,
                trainable={"paper": 236_688_544, "mini": 782_724},
            ),
            "avs-ms3": replace(
                _MS3,
                options=(*_BARE, *ENCODERS, *_AVS, *RECIPE),
                preset=_OFF,
                trainable={"paper": 213_450_441, "mini": 674_081},
            ),
        },
    ),
)

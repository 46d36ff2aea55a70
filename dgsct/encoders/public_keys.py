"""Keys of public encoder checkpoints <-> ours, and how a tensor is stored in both worlds.

Of the encoders that also lie inside a release's whole checkpoint. The keys of any other belong into its module of
`dgsct.encoders.layouts`, so that they make no other encoder anew.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class Layout(NamedTuple):
    """How a tensor is stored in both worlds: `ours` from public, `public` from ours."""

    ours: Callable[[Tensor], Tensor]
    public: Callable[[Tensor], Tensor]


SAME = Layout(lambda t: t, lambda t: t)
WB = ("weight", "bias")
BN = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def leaf_pairs(public: str, ours: str, leaves: tuple[str, ...] = WB) -> list[tuple[str, str]]:
    """(public key, our key) for every leaf of one module."""
    return [(f"{public}.{leaf}", f"{ours}.{leaf}") for leaf in leaves]


_MOVED = re.compile(r"layers\.(\d+)\.downsample\.")


def swin_to_public(key: str) -> str:
    """timm >= 1.0 key -> 0.6 key: patch merging moves to the end of the stage before, the head loses its `fc`."""
    key = _MOVED.sub(lambda m: f"layers.{int(m[1]) - 1}.downsample.", key)
    return key.replace("head.fc.", "head.")


def htsat_to_public(key: str) -> str:
    """Our HTS-AT key -> public key."""
    fixed = {
        "frontend.conv_real": "spectrogram_extractor.stft.conv_real.weight",
        "frontend.conv_imag": "spectrogram_extractor.stft.conv_imag.weight",
        "frontend.mel": "logmel_extractor.melW",
    }
    if key in fixed:
        return fixed[key]
    for prefix in ("swin.", "unused."):
        if key.startswith(prefix):
            return swin_to_public(key.removeprefix(prefix))
    return key


_PVT_STAGE = re.compile(r"stages\.(\d)\.(blocks|norm|downsample)\.?")
_PVT_PLACES = {"blocks": "block{}.", "norm": "norm{}.", "downsample": "patch_embed{}."}


def pvt_to_public(key: str) -> str:
    """timm's PVT-v2 key -> the authors' key."""
    if key.startswith("patch_embed."):
        return key.replace("patch_embed.", "patch_embed1.", 1)
    match = _PVT_STAGE.match(key)
    if match is None:
        return key
    rest = key[match.end() :].replace("mlp.dwconv.", "mlp.dwconv.dwconv.")
    return _PVT_PLACES[match[2]].format(int(match[1]) + 1) + rest


def resnet_to_public(key: str) -> str:
    """Our ResNet key (below `resnet.` or `unused.`) -> AVSBench's, where the last two stages exist twice."""
    branch = {"resnet": 1, "unused": 2}[key.split(".")[0]]
    return re.sub(r"^(layer[34])\.", rf"\1_{branch}.", key.partition(".")[2])

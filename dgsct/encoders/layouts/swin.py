"""Swin-V2's public files, in the naming of timm 0.6 or 1.0."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from dgsct.encoders.public_file import RECOMPUTABLE, PublicFile
from dgsct.encoders.public_keys import swin_to_public
from dgsct.encoders.swin import SwinV2
from dgsct.errors import DgsctError
from dgsct.settings.scales import SwinSizes


def naming(path: Path, given: Mapping[str, Tensor], sizes: SwinSizes) -> str:
    """`timm 0.6` or `timm 1.0`, by where merging and head lie; a mixture is refused."""
    last = len(sizes.depths) - 1
    old = [k for k in given if k.startswith("layers.0.downsample.") or k in ("head.weight", "head.bias")]
    new = [k for k in given if k.startswith((f"layers.{last}.downsample.", "head.fc."))]
    if old and new:
        raise DgsctError(
            f"{path} mixes two namings: {old[0]!r} is timm 0.6's and {new[0]!r} timm 1.0's; give an unedited public file"
        )
    return "timm 0.6" if old else "timm 1.0"


def twin(sizes: SwinSizes) -> nn.Module:
    """The transformer, one channel a head wide: its buffers depend on resolutions and windows only."""
    return SwinV2(replace(sizes, embed_dim=1, num_heads=(1,) * len(sizes.depths), num_classes=0)).swin


FILE = PublicFile(
    title="Swin-V2",
    encoder=SwinV2,
    marks=("layers.0.blocks.0.attn.cpb_mlp.",),
    namings={
        "timm 0.6": lambda key: swin_to_public(key.removeprefix("swin.")),
        "timm 1.0": lambda key: key.removeprefix("swin."),
    },
    naming=naming,
    twin=twin,
    stored=RECOMPUTABLE[:1],
)

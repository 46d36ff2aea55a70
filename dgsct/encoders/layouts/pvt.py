"""PVT-v2's public files, in the authors' naming or timm's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from dgsct.encoders.public_file import PublicFile
from dgsct.encoders.public_keys import pvt_to_public
from dgsct.encoders.pvt import Pvt


def naming(path: Path, given: Mapping[str, Tensor], sizes: Any) -> str:
    """`PVT-v2` (the authors') or `timm`, by the names of the stages."""
    return "timm" if any(key.startswith("stages.") for key in given) else "PVT-v2"


FILE = PublicFile(
    title="PVT-v2",
    encoder=Pvt,
    marks=("patch_embed1.", "stages.0.blocks.0.attn.kv."),
    namings={
        "PVT-v2": lambda key: pvt_to_public(key.removeprefix("pvt.")),
        "timm": lambda key: key.removeprefix("pvt."),
    },
    naming=naming,
    classifier=("head.weight", "head.bias"),
)

"""HTS-AT's public file (RetroCirce/HTS-Audio-Transformer)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from dgsct.encoders.frontend import LogMel
from dgsct.encoders.htsat import HTSAT
from dgsct.encoders.public_file import RECOMPUTABLE, PublicFile
from dgsct.encoders.public_keys import htsat_to_public
from dgsct.settings.scales import HtsatSizes


def twin(sizes: HtsatSizes) -> nn.Module:
    """The transformer, one channel a head wide: its buffers depend on resolutions and windows only."""
    return HTSAT(replace(sizes, embed_dim=1, num_heads=(1,) * len(sizes.depths), num_classes=1)).swin


def front_end_deviation(state: Mapping[str, Tensor], sizes: HtsatSizes) -> float:
    """Largest difference of a file's Fourier kernels and mel matrix from those computed here, relative to the largest value.

    Log-mel spectrograms are prepared with the latter (torch.stft), so that a file with other ones is not what runs.
    """
    computed = {f"frontend.{name}": tensor for name, tensor in LogMel(sizes).named_parameters()}
    return max(float((state[k] - t).abs().max() / t.abs().max()) for k, t in computed.items())


def facts(state: Mapping[str, Tensor], sizes: HtsatSizes) -> dict[str, Any]:
    """How far the file's front end is from ours."""
    return {"front_end_deviation": front_end_deviation(state, sizes)}


FILE = PublicFile(
    title="HTS-AT",
    encoder=HTSAT,
    marks=("logmel_extractor.", "sed_model.logmel_extractor."),
    namings={"HTS-AT": htsat_to_public},
    prefix="sed_model.",
    twin=twin,
    stored=RECOMPUTABLE[:2],
    facts=facts,
)

"""Public checkpoint files, read without running code in them, and fitted strictly to our encoders.

Every entry of a file is used, or is one of the known recomputable buffers and equals what timm computes; everything
else is refused with the keys by name (core.md, sections 3, 4.5, 4.6).
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dgsct.checksum import sha256_file
from dgsct.encoders.htsat import HTSAT
from dgsct.encoders.public_keys import htsat_to_public, pvt_to_public, swin_to_public
from dgsct.encoders.pvt import Pvt
from dgsct.encoders.resnet import Resnet
from dgsct.encoders.sources import PublicWeights, get_weights
from dgsct.encoders.swin import SwinV2
from dgsct.encoders.tensor_files import fit, form, read_tensors, some
from dgsct.encoders.vggish import Vggish
from dgsct.errors import DgsctError
from dgsct.settings.scales import PAPER, HtsatSizes, Scale

SED = "sed_model."
# Why a public entry may be left out: it follows from the window geometry alone, and timm computes it.
RECOMPUTABLE = ("attn_mask", "attn.relative_position_index", "attn.relative_coords_table")


class Fitted(NamedTuple):
    """Entries under our keys, the naming of the file that they came from, and how many entries it holds."""

    state: dict[str, Tensor]
    naming: str
    entries: int


CLASSES: dict[str, type[nn.Module]] = {
    "swin": SwinV2,
    "htsat": HTSAT,
    "pvt": Pvt,
    "resnet50": Resnet,
    "vggish": Vggish,
}
TITLES = {"swin": "Swin-V2", "htsat": "HTS-AT", "pvt": "PVT-v2", "resnet50": "ResNet-50", "vggish": "VGGish"}
_NAMES: dict[str, Callable[[str], str]] = {
    "swin": lambda key: swin_to_public(key.removeprefix("swin.")),
    "htsat": htsat_to_public,
    "pvt": lambda key: pvt_to_public(key.removeprefix("pvt.")),
    "resnet50": lambda key: key.partition(".")[2],  # both branches start from the same weights
    "vggish": lambda key: key,
}


def module_of(encoder: str, scale: Scale) -> nn.Module:
    """The encoder on the meta device: keys, shapes and dtypes without memory."""
    with torch.device("meta"):
        return CLASSES[encoder](getattr(scale, encoder))


def public_key(encoder: str, key: str) -> str:
    """Our encoder's key -> public key (timm 0.6 naming of Swin-V2, the authors' of PVT-v2)."""
    return _NAMES[encoder](key)


def recomputable(encoder: str, sizes: Any) -> dict[str, Tensor]:
    """The buffers by public key that other versions of the code store, computed by timm; of the two Swin transformers.

    They depend on resolutions and windows only, so a twin of the encoder that is one channel a head wide gives them.
    """
    if encoder not in ("swin", "htsat"):
        return {}
    narrow: Any = replace(sizes, embed_dim=1, num_heads=(1,) * len(sizes.depths), num_classes=0 if encoder == "swin" else 1)
    twin = (SwinV2(narrow) if encoder == "swin" else HTSAT(narrow)).swin
    return {name: buffer for name, buffer in twin.named_buffers() if name.endswith(RECOMPUTABLE)}


def stored_buffers(encoder: str, sizes: Any) -> dict[str, Tensor]:
    """Those of `recomputable` that the release's state dict holds: Swin-V2's masks, HTS-AT's masks and indices."""
    kept = RECOMPUTABLE[:1] if encoder == "swin" else RECOMPUTABLE[:2]
    return {name: buffer for name, buffer in recomputable(encoder, sizes).items() if name.endswith(kept)}


def drop_recomputable(path: Path, encoder: str, sizes: Any, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """`given` (public keys) without its recomputable buffers; DgsctError if one is not what timm computes."""
    if not any(key.endswith(RECOMPUTABLE) for key in given):
        return given
    computed = recomputable(encoder, sizes)
    for key in given.keys() & computed.keys():
        stored, ours = given[key], computed[key]
        same = stored.numel() == ours.numel() and stored.shape[-2:] == ours.shape[-2:] and stored.dtype == ours.dtype
        # Tables of coordinates pass a logarithm, whose last digit is the machine's.
        if not same or not torch.allclose(stored.reshape(ours.shape), ours, rtol=0, atol=1e-5):
            raise DgsctError(
                f"{path}: {key!r} ({form(stored)}) is not what the windows give ({form(ours)}); give a file of this size"
            )
    return {key: tensor for key, tensor in given.items() if key not in computed}


def _other(given: dict[str, Tensor]) -> str | None:
    """What else a file is, by keys that nothing else has."""
    marks: dict[str, str | tuple[str, ...]] = {
        "a whole AVS checkpoint (use `dgsct convert release-to-ours`)": "tpavi_b1.",
        "a whole AVE checkpoint (use `dgsct convert release-to-ours`)": "temporal_attn.",
        "HTS-AT": ("logmel_extractor.", f"{SED}logmel_extractor."),
        "Swin-V2": "layers.0.blocks.0.attn.cpb_mlp.",
        "PVT-v2": ("patch_embed1.", "stages.0.blocks.0.attn.kv."),
        "ResNet-50": "layer1.0.conv1.",
        "VGGish": "embeddings.0.",
    }
    return next((name for name, mark in marks.items() if any(key.startswith(mark) for key in given)), None)


def _swin_naming(path: Path, given: dict[str, Tensor], last: int) -> str:
    """`timm 0.6` or `timm 1.0`, by where merging and head lie; a mixture is refused."""
    old = [k for k in given if k.startswith("layers.0.downsample.") or k in ("head.weight", "head.bias")]
    new = [k for k in given if k.startswith((f"layers.{last}.downsample.", "head.fc."))]
    if old and new:
        raise DgsctError(
            f"{path} mixes two namings: {old[0]!r} is timm 0.6's and {new[0]!r} timm 1.0's; give an unedited public file"
        )
    return "timm 0.6" if old else "timm 1.0"


def fit_encoder(path: Path, encoder: str, scale: Scale, given: dict[str, Tensor]) -> Fitted:
    """The entries `given` of a public file as our encoder's state dict; DgsctError names what does not fit."""
    title = TITLES[encoder]
    entries = len(given)
    other = _other(given)
    if other not in (None, title):
        raise DgsctError(f"{path} is {other}, not {title}; give the file of {title}")
    if encoder not in ("swin", "htsat"):
        return _fit_plain(path, encoder, scale, given)
    if encoder == "swin":
        naming = _swin_naming(path, given, len(scale.swin.depths) - 1)
    else:
        naming = "HTS-AT"
        if any(key.startswith(SED) for key in given):
            bare = [key for key in given if not key.startswith(SED)]
            if bare:
                raise DgsctError(f"{path} has entries without the prefix {SED!r}: {some(bare)}; give an unedited public file")
            given = {key.removeprefix(SED): tensor for key, tensor in given.items()}
    sizes = getattr(scale, encoder)
    ours = module_of(encoder, scale).state_dict()
    names = {key: key.removeprefix("swin.") if naming == "timm 1.0" else public_key(encoder, key) for key in ours}
    given = drop_recomputable(path, encoder, sizes, given)
    fit(path, f"{title} ({naming})" if encoder == "swin" else title, {names[k]: t for k, t in ours.items()}, given)
    return Fitted({key: given[name] for key, name in names.items()}, naming, entries)


def _fit_plain(path: Path, encoder: str, scale: Scale, given: dict[str, Tensor]) -> Fitted:
    """Encoders of AVSBench's model: no buffers to leave out, but a classifier, and counters that old files lack."""
    entries, ours = len(given), module_of(encoder, scale).state_dict()
    naming = "timm" if encoder == "pvt" and any(key.startswith("stages.") for key in given) else TITLES[encoder]
    names = {key: key.removeprefix("pvt.") if naming == "timm" else public_key(encoder, key) for key in ours}
    classifier = get_weights(encoder).classifier
    given = {k: t for k, t in given.items() if k not in classifier}
    expected = {names[key]: tensor for key, tensor in ours.items()}
    counters = {name: torch.zeros((), dtype=torch.int64) for name in expected if name.endswith(".num_batches_tracked")}
    if not given.keys() & counters.keys():
        given = given | counters
    fit(path, TITLES[encoder], expected, given)
    return Fitted({key: given[name] for key, name in names.items()}, naming, entries)


def front_end_deviation(state: dict[str, Tensor], sizes: HtsatSizes) -> float:
    """Largest difference of a file's Fourier kernels and mel matrix from those computed here, relative to the largest value.

    Log-mel spectrograms are prepared with the latter (torch.stft), so that a file with other ones is not what runs.
    """
    from dgsct.encoders.frontend import LogMel

    computed = {f"frontend.{name}": tensor for name, tensor in LogMel(sizes).named_parameters()}
    return max(float((state[k] - t).abs().max() / t.abs().max()) for k, t in computed.items())


def inspect(encoder: str, path: Path, weights: PublicWeights, whole: bool) -> str:
    """What a public file is, in words; DgsctError if it does not fit, or if `whole` finds it damaged inside."""
    fitted = fit_encoder(path, encoder, PAPER, read_tensors(path).tensors)
    text = f"{fitted.naming} layout, {fitted.entries} entries, fits"
    if not whole:
        return text
    bad = [key for key, tensor in fitted.state.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise DgsctError(f"{path} holds numbers that are not finite in {some(bad)}; get it again")
    checksum = sha256_file(path)
    if weights.sha256 and path.name == weights.usual and checksum != weights.sha256:
        raise DgsctError(f"{path} has sha256 {checksum} instead of {weights.sha256}; get it again")
    return f"{text}, all numbers finite, sha256 {checksum}"


def expected_keys(encoder: str) -> list[str]:
    """`KEY dtype [shape]` of every entry of a public file at paper scale that is used, with the buffers it stores."""
    ours = module_of(encoder, PAPER).state_dict()
    entries = {public_key(encoder, key): tensor for key, tensor in ours.items()}
    entries |= stored_buffers(encoder, getattr(PAPER, encoder))
    prefix = SED if encoder == "htsat" else ""
    return [f"{prefix}{key} {form(tensor)}" for key, tensor in sorted(entries.items())]


def load_public(module: nn.Module, path: Path, scale: Scale) -> None:
    """Load a public file into our encoder module of that scale, strictly."""
    encoder = next(name for name, kind in CLASSES.items() if isinstance(module, kind))
    module.load_state_dict(fit_encoder(path, encoder, scale, read_tensors(path).tensors).state)

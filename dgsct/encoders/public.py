"""Public checkpoint files, read without running code in them, and fitted strictly to our encoders.

Every entry of a file is used, or is one of the known recomputable buffers and equals what timm computes; everything
else is refused with the keys by name (core.md, sections 3, 4.5, 4.6).
"""

import pickle
import re
import warnings
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dgsct.checksum import sha256_file
from dgsct.encoders.htsat import HTSAT
from dgsct.encoders.sources import PublicWeights
from dgsct.encoders.swin import SwinV2
from dgsct.errors import DgsctError
from dgsct.release_keys import htsat_to_public, swin_to_public
from dgsct.scales import PAPER, HtsatSizes, Scale, SwinSizes

SED = "sed_model."
# Why a public entry may be left out: it follows from the window geometry alone, and timm computes it.
RECOMPUTABLE = ("attn_mask", "attn.relative_position_index", "attn.relative_coords_table")
NAMED = 3


class TensorFile(NamedTuple):
    """The entries of a checkpoint file, memory-mapped where its format allows, and a safetensors file's metadata."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]


class Fitted(NamedTuple):
    """Entries under our keys, the naming of the file that they came from, and how many entries it holds."""

    state: dict[str, Tensor]
    naming: str
    entries: int


def read_tensors(path: Path) -> TensorFile:
    """The state dict in a .pth, .pt, .ckpt (bare, or below `model` or `state_dict`) or .safetensors file, told by content.

    DgsctError if it is missing, damaged, no checkpoint, or holds Python objects, which are never loaded.
    """
    path = Path(path)
    content: Any
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError as error:
        raise DgsctError(f"{path} cannot be read: {error.strerror}; give a checkpoint file") from None
    try:
        if head[8:9] == b"{":  # after eight bytes of length, which may begin like anything
            content, metadata = _safetensors_file(path)
        elif head[:4] == b"PK\x03\x04":
            content, metadata = _torch_file(path, mmap=True), {}
        elif head[:1] == b"\x80":  # torch's file format before 1.6
            content, metadata = _torch_file(path, mmap=False), {}
        else:
            raise DgsctError(f"{path} is neither a torch nor a safetensors file; get the public file again")
    except DgsctError:
        raise
    except pickle.UnpicklingError as error:
        name = re.search(r"GLOBAL (\S+)", str(error))
        what = f"the Python object {name[1]}" if name else "Python objects"
        raise DgsctError(
            f"{path} holds {what}, which could run code, and is refused; save its tensors alone (docs/weights.md)"
        ) from None
    except Exception as error:  # torch and safetensors have many words for a damaged file
        told = " ".join(str(error).split())[:120]
        raise DgsctError(f"{path} is truncated or damaged ({told}); get it again") from error
    for wrapper in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not content:
        raise DgsctError(f"{path} holds no state dict (names and tensors); give a checkpoint file")
    strange = [str(key) for key, value in content.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if strange:
        raise DgsctError(f"{path} holds something else than named tensors, {_some(strange)}; give a checkpoint file")
    return TensorFile(dict(content), metadata)


def _torch_file(path: Path, mmap: bool) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pickle protocols that torch does not write; it refuses them anyway
        return torch.load(str(path), map_location="cpu", weights_only=True, mmap=mmap or None)


def _safetensors_file(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import safe_open
    from safetensors.torch import load_file

    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
    return load_file(path), metadata


def _some(names: Iterable[str]) -> str:
    """The first few names, and how many more."""
    names = sorted(names)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(repr(name) for name in names[:NAMED]) + more


def fit(path: Path, what: str, expected: dict[str, Tensor], given: dict[str, Tensor]) -> None:
    """DgsctError in one sentence unless `given` has exactly the keys, shapes and dtypes of `expected`."""
    missing, unknown = expected.keys() - given.keys(), given.keys() - expected.keys()
    wrong = [k for k in sorted(expected.keys() & given.keys()) if _form(expected[k]) != _form(given[k])]
    parts = []
    if missing:
        parts.append(f"it lacks {_some(missing)}")
    if unknown:
        parts.append(f"it has the unknown {_some(unknown)}")
    if wrong:
        first = f"{wrong[0]!r} is {_form(given[wrong[0]])} instead of {_form(expected[wrong[0]])}"
        parts.append(first + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""))
    if parts:
        raise DgsctError(f"{path} is no file of {what}: {'; '.join(parts)}; give the file that belongs to it")


def _form(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def module_of(encoder: str, scale: Scale) -> SwinV2 | HTSAT:
    """The encoder on the meta device: keys, shapes and dtypes without memory."""
    with torch.device("meta"):
        return SwinV2(scale.swin) if encoder == "swin" else HTSAT(scale.htsat)


def public_key(encoder: str, key: str) -> str:
    """Our encoder's key -> public key (timm 0.6 naming)."""
    return swin_to_public(key.removeprefix("swin.")) if encoder == "swin" else htsat_to_public(key)


def recomputable(encoder: str, sizes: SwinSizes | HtsatSizes) -> dict[str, Tensor]:
    """The buffers by public key that other versions of the code store, computed by timm.

    They depend on resolutions and windows only, so a twin of the encoder that is one channel a head wide gives them.
    """
    narrow: Any = replace(sizes, embed_dim=1, num_heads=(1,) * len(sizes.depths), num_classes=0 if encoder == "swin" else 1)
    twin = (SwinV2(narrow) if encoder == "swin" else HTSAT(narrow)).swin
    return {name: buffer for name, buffer in twin.named_buffers() if name.endswith(RECOMPUTABLE)}


def stored_buffers(encoder: str, sizes: SwinSizes | HtsatSizes) -> dict[str, Tensor]:
    """Those of `recomputable` that the release's state dict holds: Swin-V2's masks, HTS-AT's masks and indices."""
    kept = RECOMPUTABLE[:1] if encoder == "swin" else RECOMPUTABLE[:2]
    return {name: buffer for name, buffer in recomputable(encoder, sizes).items() if name.endswith(kept)}


def drop_recomputable(path: Path, encoder: str, sizes: SwinSizes | HtsatSizes, given: dict[str, Tensor]) -> dict[str, Tensor]:
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
                f"{path}: {key!r} ({_form(stored)}) is not what the windows give ({_form(ours)}); give a file of this size"
            )
    return {key: tensor for key, tensor in given.items() if key not in computed}


def _other(given: dict[str, Tensor]) -> str | None:
    """What else a file is, by keys that nothing else has."""
    marks: dict[str, str | tuple[str, ...]] = {
        "a whole AVE checkpoint (use `dgsct convert release-to-ours`)": "temporal_attn.",
        "HTS-AT": ("logmel_extractor.", f"{SED}logmel_extractor."),
        "Swin-V2": "layers.0.blocks.0.attn.cpb_mlp.",
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
    title = {"swin": "Swin-V2", "htsat": "HTS-AT"}[encoder]
    entries = len(given)
    other = _other(given)
    if other not in (None, title):
        raise DgsctError(f"{path} is {other}, not {title}; give the file of {title}")
    if encoder == "swin":
        naming = _swin_naming(path, given, len(scale.swin.depths) - 1)
    else:
        naming = "HTS-AT"
        if any(key.startswith(SED) for key in given):
            bare = [key for key in given if not key.startswith(SED)]
            if bare:
                raise DgsctError(f"{path} has entries without the prefix {SED!r}: {_some(bare)}; give an unedited public file")
            given = {key.removeprefix(SED): tensor for key, tensor in given.items()}
    sizes = getattr(scale, encoder)
    ours = module_of(encoder, scale).state_dict()
    names = {key: key.removeprefix("swin.") if naming == "timm 1.0" else public_key(encoder, key) for key in ours}
    given = drop_recomputable(path, encoder, sizes, given)
    fit(path, f"{title} ({naming})" if encoder == "swin" else title, {names[k]: t for k, t in ours.items()}, given)
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
        raise DgsctError(f"{path} holds numbers that are not finite in {_some(bad)}; get it again")
    checksum = sha256_file(path)
    if weights.sha256 and path.name == weights.usual and checksum != weights.sha256:
        raise DgsctError(f"{path} has sha256 {checksum} instead of {weights.sha256}; get it again")
    return f"{text}, all numbers finite, sha256 {checksum}"


def expected_keys(encoder: str) -> list[str]:
    """`KEY dtype [shape]` of every entry of a public file at paper scale, in timm 0.6 naming, with the buffers it stores."""
    ours = module_of(encoder, PAPER).state_dict()
    entries = {public_key(encoder, key): tensor for key, tensor in ours.items()}
    entries |= stored_buffers(encoder, getattr(PAPER, encoder))
    prefix = SED if encoder == "htsat" else ""
    return [f"{prefix}{key} {_form(tensor)}" for key, tensor in sorted(entries.items())]


def load_public(module: nn.Module, path: Path, scale: Scale) -> None:
    """Load a public file into our `SwinV2` or `HTSAT` module of that scale, strictly."""
    encoder = "swin" if isinstance(module, SwinV2) else "htsat"
    module.load_state_dict(fit_encoder(path, encoder, scale, read_tensors(path).tensors).state)

"""Public checkpoint files, read without running code in them, and fitted strictly to our encoders.

Every entry of a file is used, or is one of the known recomputable buffers and equals what timm computes; everything
else is refused with the keys by name. What is particular to an encoder stands in its module
of `dgsct.encoders.layouts`, which is found by the encoder's name.
"""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dgsct.encoders import layouts
from dgsct.encoders.public_file import RECOMPUTABLE, PublicFile
from dgsct.encoders.state_dicts import some
from dgsct.encoders.tensor_files import fit, form
from dgsct.errors import DgsctError
from dgsct.ops.shapes import shapes_only
from dgsct.settings.scales import PAPER, Scale


class Fitted(NamedTuple):
    """Entries under our keys, the naming of the file that they came from, and how many entries it holds."""

    state: dict[str, Tensor]
    naming: str
    entries: int


def names() -> tuple[str, ...]:
    """The encoders whose public files are known."""
    return tuple(module.name for module in iter_modules(layouts.__path__))


def file_of(encoder: str) -> PublicFile:
    """How the public file of an encoder is laid out."""
    return import_module(f"{layouts.__name__}.{encoder}").FILE


def module_of(encoder: str, scale: Scale) -> nn.Module:
    """The encoder on the meta device: keys, shapes and dtypes without memory."""
    with shapes_only():
        return file_of(encoder).encoder(getattr(scale, encoder))


@cache
def _entries_of(encoder: str, scale: Scale) -> Mapping[str, Tensor]:
    """Keys and shapes of the encoder's state dict, built once for all files that a process reads."""
    return MappingProxyType(module_of(encoder, scale).state_dict())


def public_key(encoder: str, key: str) -> str:
    """Our encoder's key -> public key, in the first of its namings (of timm 0.6 for Swin-V2, the authors' for PVT-v2)."""
    return next(iter(file_of(encoder).namings.values()))(key)


def recomputable(encoder: str, sizes: Any) -> dict[str, Tensor]:
    """The buffers by public key that other versions of the code store, computed by timm; of the two Swin transformers."""
    twin = file_of(encoder).twin
    named = twin(sizes).named_buffers() if twin else ()
    return {name: buffer for name, buffer in named if name.endswith(RECOMPUTABLE)}


def stored_buffers(encoder: str, sizes: Any) -> dict[str, Tensor]:
    """Those of `recomputable` that the release's state dict holds: Swin-V2's masks, HTS-AT's masks and indices."""
    kept = file_of(encoder).stored
    return {name: buffer for name, buffer in recomputable(encoder, sizes).items() if name.endswith(kept)}


def drop_recomputable(path: Path, encoder: str, sizes: Any, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """`given` (public keys) without its recomputable buffers; DgsctError if one is not what timm computes."""
    if not any(key.endswith(RECOMPUTABLE) for key in given):
        return given
    computed = recomputable(encoder, sizes)
    wrong = [key for key in sorted(given.keys() & computed.keys()) if not _recomputed(given[key], computed[key])]
    if wrong:
        more = f", like {len(wrong) - 1} more" if len(wrong) > 1 else ""
        stored, ours = given[wrong[0]], computed[wrong[0]]
        problem = f"{wrong[0]!r} ({form(stored)}) is not what the windows give ({form(ours)}){more}"
        raise DgsctError(f"{path}: {problem}: {_other_windows(wrong[0], stored, ours)}")
    return {key: tensor for key, tensor in given.items() if key not in computed}


def _same_form(stored: Tensor, ours: Tensor) -> bool:
    """Whether a buffer has the numbers of ours in the same order; versions of the code differ in leading dimensions of one."""
    return stored.numel() == ours.numel() and stored.shape[-2:] == ours.shape[-2:] and stored.dtype == ours.dtype


def _recomputed(stored: Tensor, ours: Tensor) -> bool:
    """Whether a buffer is what timm computes. Tables of coordinates pass a logarithm, whose last digit is the machine's."""
    return _same_form(stored, ours) and torch.allclose(stored.reshape(ours.shape), ours, rtol=0, atol=1e-5)


def _other_windows(key: str, stored: Tensor, ours: Tensor) -> str:
    """How a buffer differs from ours, and what to do about it."""
    if _same_form(stored, ours):
        stored = stored.reshape(ours.shape)
        places = (~torch.isclose(stored, ours, rtol=0, atol=1e-5)).nonzero()
        first = tuple(places[0].tolist())
        problem = f"{len(places)} of its {ours.numel()} numbers differ, the first at {list(first)}"
        return f"{problem}: {stored[first].item():g} instead of {ours[first].item():g}; give an unedited public file"
    if stored.dtype != ours.dtype:
        return "its numbers are of another kind; give the file as it was published"
    sides = [_window(key, one) for one in (stored, ours)]
    if sides[0] != sides[1]:
        return f"its windows are {sides[0]} wide instead of {sides[1]}; give a file of this size"
    return "its pictures are cut into other windows, so they have another size; give a file of this size"


def _window(key: str, buffer: Tensor) -> str:
    """The width of a window that a buffer was made for."""
    side = buffer.shape[-1] if buffer.ndim else 0
    return f"{(buffer.shape[-2] + 1) // 2}" if key.endswith("table") and buffer.ndim > 1 else f"{side**0.5:g}"


def _has(given: dict[str, Tensor], marks: tuple[str, ...]) -> bool:
    return any(key.startswith(marks) for key in given)


def _other(encoder: str, given: dict[str, Tensor]) -> str | None:
    """What else a file is, by keys that nothing else has."""
    if _has(given, tuple(f"{name}." for name in names())):
        return "a whole model's checkpoint (use `dgsct convert release-to-ours`)"
    if _has(given, file_of(encoder).marks):
        return None
    others = (file_of(name) for name in names() if name != encoder)
    return next((other.title for other in others if _has(given, other.marks)), None)


def _bare(path: Path, file: PublicFile, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """The entries without a prefix that all of them have, or none: the file's own, or an attribute of somebody's module."""
    prefix = file.prefix
    if not prefix or not _has(given, (prefix,)):
        places = ((key, f".{mark}") for key in given for mark in file.marks)
        prefix = next((key[: key.index(place) + 1] for key, place in places if place in key), "")
        if not prefix or _has(given, file.marks):
            return given
    if bare := [key for key in given if not key.startswith(prefix)]:
        raise DgsctError(f"{path} has entries without the prefix {prefix!r}: {some(bare)}; give an unedited public file")
    return {key.removeprefix(prefix): tensor for key, tensor in given.items()}


def fit_encoder(path: Path, encoder: str, scale: Scale, given: dict[str, Tensor]) -> Fitted:
    """The entries `given` of a public file as our encoder's state dict; DgsctError names what does not fit."""
    file, sizes, entries = file_of(encoder), getattr(scale, encoder), len(given)
    if other := _other(encoder, given):
        raise DgsctError(f"{path} is {other}, not {file.title}; give the file of {file.title}")
    given = _bare(path, file, given)
    naming = file.naming(path, given, sizes) if file.naming else next(iter(file.namings))
    ours = _entries_of(encoder, scale)
    places = {key: file.namings[naming](key) for key in ours}
    expected = {places[key]: tensor for key, tensor in ours.items()}
    given = {key: tensor for key, tensor in given.items() if key not in file.classifier}
    given = drop_recomputable(path, encoder, sizes, given)
    if file.counters:
        counts = {name: torch.zeros((), dtype=torch.int64) for name in expected if name.endswith(".num_batches_tracked")}
        given = given if given.keys() & counts.keys() else given | counts
    what = file.title if naming == file.title else f"{file.title} ({naming})"
    fit(path, what, expected, given, f"so it is {file.title} of another size, or with other classes")
    return Fitted({key: given[place] for key, place in places.items()}, naming, entries)


def expected_keys(encoder: str) -> list[str]:
    """`KEY dtype [shape]` of every entry of a public file at paper scale that is used, with the buffers it stores."""
    ours = module_of(encoder, PAPER).state_dict()
    entries = {public_key(encoder, key): tensor for key, tensor in ours.items()}
    entries |= stored_buffers(encoder, getattr(PAPER, encoder))
    return [f"{file_of(encoder).prefix}{key} {form(tensor)}" for key, tensor in sorted(entries.items())]

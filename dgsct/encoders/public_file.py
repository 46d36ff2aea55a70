"""What must be said of an encoder's public file before it can be read; `dgsct.encoders.layouts` says it, one module each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

# Why a public entry may be left out: it follows from the window geometry alone, and timm computes it.
RECOMPUTABLE = ("attn_mask", "attn.relative_position_index", "attn.relative_coords_table")


def no_facts(state: Mapping[str, Tensor], sizes: Any) -> dict[str, Any]:
    """For files of which nothing else is worth telling."""
    return {}


@dataclass(frozen=True)
class PublicFile:
    """How one encoder's public file is laid out.

    `encoder` is our class, `marks` are beginnings of keys that no other file has. `namings` map our keys to the file's, the
    first one being that in which keys are listed; where there are several, `naming(path, given, sizes)` names the one that
    a file has, or raises DgsctError. `prefix` may precede all keys. `classifier` are entries that may be in
    the file and are left out; `counters` says whether old files lack the counts of batches (which nothing reads).
    `twin(sizes)` is a module with the buffers that timm computes and other versions of the code store, of which the
    release's state dict holds those that end in `stored`. `facts(state, sizes)` goes into the JSON beside our file.
    """

    title: str
    encoder: type[nn.Module]
    marks: tuple[str, ...]
    namings: dict[str, Callable[[str], str]]
    naming: Callable[[Path, Mapping[str, Tensor], Any], str] | None = None
    prefix: str = ""
    classifier: tuple[str, ...] = ()
    counters: bool = False
    twin: Callable[[Any], nn.Module] | None = None
    stored: tuple[str, ...] = ()
    facts: Callable[[Mapping[str, Tensor], Any], dict[str, Any]] = no_facts

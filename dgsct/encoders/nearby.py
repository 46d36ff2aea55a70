"""What lies in the folder of weights instead of a file: one with nearly its name, packed, unfinished, a folder deeper."""

import os
import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path

from dgsct.encoders.file_kinds import strange

MOST = 3  # that are named
ALIKE = 0.8  # of two names, from 0 to 1
UNFINISHED = (".part", ".partial", ".crdownload", ".download", ".opdownload", ".tmp", ".aria2", ".incomplete")
HUB = frozenset(("model.safetensors", "pytorch_model.bin"))  # as hubs name the file of any model


def instead(folder: Path, stems: Sequence[str], accepted: Sequence[str]) -> str:
    """The end of a sentence about a folder that has no file of the names `accepted`, which begin with one of `stems`."""
    if not folder.is_dir():
        return ", which is a file" if folder.exists() else ", which does not exist"
    names = _listed(folder)
    candidates = [name for name in names if _alike(name, stems)]
    candidates += [f"{name}/{inner}" for name in names for inner in _listed(folder / name) if inner in accepted]
    candidates = candidates or [name for name in names if name in HUB]
    clauses = [f"{name!r} there {_what(folder, name, accepted)}" for name in candidates[:MOST]]
    return f", but {', and '.join(clauses)}" if clauses else ""


def _listed(folder: Path) -> list[str]:
    """The names in a folder; none in what is no folder or may not be read."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _alike(name: str, stems: Sequence[str]) -> bool:
    """Whether a name is made from one of the stems, or differs from it in a few letters."""
    bare = re.sub(r"(\.[a-z]+[0-9]?)+$", "", name.lower())
    whole, bare = _letters(name), _letters(bare)
    return any(_letters(stem) in whole or SequenceMatcher(None, _letters(stem), bare).ratio() >= ALIKE for stem in stems)


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _what(folder: Path, name: str, accepted: Sequence[str]) -> str:
    """What lies there, and what to do about it."""
    path = folder / name
    if not path.exists():
        return "is a link to what does not exist"
    if path.suffix.lower() in UNFINISHED:
        return "is a download that did not finish"
    if (fault := strange(path)) is not None:
        return f"{fault[0]} ({fault[1]})"
    if path.name in accepted:
        return "is one folder deeper (move it up)"
    return "has another name (rename it if it is this file)"

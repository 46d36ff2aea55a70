"""Checkpoint files as named tensors: read without running code in them, and compared strictly with what is expected."""

import pickle
import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dgsct.errors import DgsctError

NAMED = 3


class TensorFile(NamedTuple):
    """The entries of a checkpoint file, memory-mapped where its format allows, and a safetensors file's metadata."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]


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
        raise DgsctError(f"{path} holds something else than named tensors, {some(strange)}; give a checkpoint file")
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


def some(names: Iterable[str]) -> str:
    """The first few names, and how many more."""
    names = sorted(names)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(repr(name) for name in names[:NAMED]) + more


def fit(path: Path, what: str, expected: dict[str, Tensor], given: dict[str, Tensor]) -> None:
    """DgsctError in one sentence unless `given` has exactly the keys, shapes and dtypes of `expected`."""
    missing, unknown = expected.keys() - given.keys(), given.keys() - expected.keys()
    wrong = [k for k in sorted(expected.keys() & given.keys()) if form(expected[k]) != form(given[k])]
    parts = []
    if missing:
        parts.append(f"it lacks {some(missing)}")
    if unknown:
        parts.append(f"it has the unknown {some(unknown)}")
    if wrong:
        first = f"{wrong[0]!r} is {form(given[wrong[0]])} instead of {form(expected[wrong[0]])}"
        parts.append(first + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""))
    if parts:
        raise DgsctError(f"{path} is no file of {what}: {'; '.join(parts)}; give the file that belongs to it")


def form(tensor: Tensor) -> str:
    """Dtype and shape in words."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"

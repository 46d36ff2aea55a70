"""Checkpoint files as named tensors: read without running code in them, and compared strictly with what is expected."""

import pickle
import re
import warnings
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dgsct.encoders.file_kinds import SAFETENSORS, TORCH, format_of
from dgsct.encoders.state_dicts import some, state_dict_in, without_wrappers
from dgsct.errors import DgsctError

LARGEST = 1e10  # no weight and no statistic of these networks comes near it; bytes in the wrong order do
OURS = frozenset(("run", "tensors_sha256"))  # one of these is in the header of every file of ours, whose keys are as they are


class TensorFile(NamedTuple):
    """The entries of a checkpoint file, memory-mapped where its format allows, and a safetensors file's metadata."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]


def read_tensors(path: Path) -> TensorFile:
    """The state dict in a .pth, .pt, .ckpt or .safetensors file, told by content; see `state_dict_in` and `plain_names`.

    DgsctError if it is missing, damaged, no checkpoint, or holds Python objects, which are never loaded.
    """
    path = Path(path)
    kind = format_of(path)
    metadata: dict[str, str] = {}
    content: Any
    try:
        if kind == SAFETENSORS:
            content, metadata = _safetensors_file(path)
        else:
            content = _torch_file(path, mmap=kind == TORCH)
    except pickle.UnpicklingError as error:
        name = re.search(r"GLOBAL (\S+)", str(error))
        what = f"the Python object {name[1]}" if name else "Python objects"
        raise DgsctError(
            f"{path} holds {what}, which could run code, and is refused; "
            f"save its tensors alone: `dgsct convert tensors {path.name} OUT.ckpt`"
        ) from None
    except Exception as error:  # torch and safetensors have many words for a damaged file
        raise damaged(path, error) from error
    state = state_dict_in(path, content)
    strange = [str(key) for key, value in state.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if strange:
        raise DgsctError(f"{path} holds something else than named tensors, {some(strange)}; give a checkpoint file")
    odd = [key for key, t in state.items() if t.layout is not torch.strided or t.is_meta or t.is_nested or t.is_quantized]
    if odd:
        raise DgsctError(f"{path} holds tensors that are no plain arrays of numbers, {some(odd)}; save them as such")
    return TensorFile(dict(state) if metadata.keys() & OURS else without_wrappers(state), metadata)


def damaged(path: Path, error: Exception) -> DgsctError:
    """The sentence about a file that its own format's reader could not read."""
    reason = " ".join(str(error).split())[:120]
    return DgsctError(f"{path} is truncated or damaged ({reason}); get it again")


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


def fit(path: Path, what: str, expected: dict[str, Tensor], given: dict[str, Tensor], other: str = "") -> None:
    """DgsctError in one sentence unless `given` has exactly the keys, shapes and dtypes of `expected`.

    `other` says what a file is whose shapes are other ones.
    """
    missing, unknown = expected.keys() - given.keys(), given.keys() - expected.keys()
    both = sorted(expected.keys() & given.keys())
    wrong = [k for k in both if form(expected[k]) != form(given[k])]
    parts = []
    if missing:
        parts.append(f"it lacks {some(missing)}")
    if unknown:
        parts.append(f"it has the unknown {some(unknown)}")
    if wrong:
        first = f"{wrong[0]!r} is {form(given[wrong[0]])} instead of {form(expected[wrong[0]])}"
        parts.append(first + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""))
    if other and any(expected[k].shape != given[k].shape for k in wrong):
        parts.append(other)
    if parts:
        raise DgsctError(f"{path} is no file of {what}: {'; '.join(parts)}; give the file that belongs to it")


def sound(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """DgsctError, which names the first keys, unless the numbers can be weights. One pass over all of them.

    Refused are numbers that are not finite or beyond `LARGEST`, running variances below zero, and a file in which most
    matrices hold nothing but zeros.
    """
    ranges = {
        key: tuple(float(end) for end in (t.float() if t.element_size() == 1 else t).detach().aminmax())
        for key, t in tensors.items()
        if t.is_floating_point() and t.numel()
    }
    faults = {
        "numbers that are not finite": [k for k, ends in ranges.items() if not all(map(isfinite, ends))],
        f"numbers beyond {LARGEST:.0e}": [k for k, ends in ranges.items() if max(map(abs, ends)) > LARGEST],
        "variances below zero": [k for k, ends in ranges.items() if k.endswith("running_var") and ends[0] < 0],
    }
    for what, keys in faults.items():
        if keys:
            raise DgsctError(f"{path} holds {what} in {some(keys)}, so it is damaged or its training went wrong; get it again")
    matrices = [any(ends) for key, ends in ranges.items() if tensors[key].ndim > 1]
    if (zeros := matrices.count(False)) > len(matrices) / 2:
        raise DgsctError(f"{path} holds nothing but zeros in {zeros} of its {len(matrices)} matrices; get it again")


def form(tensor: Tensor) -> str:
    """Dtype and shape in words."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"

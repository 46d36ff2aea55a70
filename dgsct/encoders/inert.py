"""A torch file with Python objects, read without their classes and without running any code of the file.

A pickle names functions and classes, and calls them. Here only the parts of a tensor are what their names say; every other
name, known or unknown, is an empty class of ours, which takes whatever it is given. Nothing is imported.
"""

import pickle
import tarfile
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._C import PyTorchFileReader
from torch._utils import _rebuild_tensor

from dgsct.encoders.file_kinds import OLD_TORCH, SAFETENSORS, TORCH, format_of
from dgsct.encoders.tensor_files import damaged
from dgsct.errors import DgsctError


class StandIn(dict):
    """An object of a class that is not loaded: it keeps what was put into it as a dictionary, and its state."""

    dtype = torch.uint8  # asked of a kind of storage, which then reads bytes
    state: Any = None

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__()

    def __call__(self, *given: Any) -> "StandIn":
        """The outcome of a call of what this stands for: nothing is called."""
        return self

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def _take(self, *given: Any) -> None:
        """What a list or a set is given, which is lost."""

    append = extend = add = _take
    __hash__ = object.__hash__  # type: ignore[assignment]  # it may have been a key, a class object or a constant
    __eq__ = object.__eq__
    __ne__ = object.__ne__


def _parts() -> dict[tuple[str, str], Any]:
    """What a pickle of tensors and plain containers calls; made anew for every file, which may change its attributes."""

    def tensor(storage: Any, offset: int, size: Any, stride: Any, *rest: Any) -> Tensor:
        if len(rest) > 2 and rest[2]:  # such as that all signs are to be turned
            raise ValueError("a tensor that is to be read in a way of its own")
        return _rebuild_tensor(storage, offset, size, stride)

    def parameter(data: Any, *rest: Any) -> Any:
        return data

    def subclassed(rebuild: Callable[..., Any], kind: Any, given: Any, *rest: Any) -> Any:
        return rebuild(*given)

    return {
        ("torch._utils", "_rebuild_tensor"): tensor,
        ("torch._utils", "_rebuild_tensor_v2"): tensor,
        ("torch._utils", "_rebuild_parameter"): parameter,
        ("torch._utils", "_rebuild_parameter_with_state"): parameter,
        ("torch._tensor", "_rebuild_from_type_v2"): subclassed,
        ("torch", "Size"): torch.Size,
        ("collections", "OrderedDict"): OrderedDict,
        ("builtins", "set"): set,
        ("__builtin__", "set"): set,
    }


class _Unpickler(pickle.Unpickler):
    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.known = _parts()

    def find_class(self, module: str, name: str) -> Any:
        """A part of a tensor, or an empty class: the same one for the same name."""
        absent = {"__module__": "absent", "__doc__": f"Stands for {module}.{name}."}
        return self.known.setdefault((module, name), type(name, (StandIn,), absent))


class _Pickle:
    """What torch.load wants of a module that pickles."""

    Unpickler = _Unpickler

    @staticmethod
    def load(file: Any, **named: Any) -> Any:
        """One pickle of a file."""
        return _Unpickler(file, **named).load()


def read_inert(path: Path) -> Any:
    """What a torch file holds, with a `StandIn` in place of every object; whole modules become their state dicts.

    DgsctError if it is no torch file, or damaged.
    """
    path = Path(path)
    kind = format_of(path)
    if kind == SAFETENSORS:
        raise DgsctError(f"{path} is a safetensors file, which holds tensors alone; use it as it is")
    try:
        # torch.load would run the program of a TorchScript archive, and unpack a tar archive: asked as it would ask.
        if tarfile.is_tarfile(path) if kind == OLD_TORCH else "constants.pkl" in PyTorchFileReader(str(path)).get_all_records():
            raise ValueError("an archive of another kind")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of classes whose source is not there
            content = torch.load(
                str(path), map_location="cpu", weights_only=False, pickle_module=_Pickle, mmap=True if kind == TORCH else None
            )
        if isinstance(content, dict) and not _module(content):
            return {key: _without_module(value) for key, value in content.items()}
        return _without_module(content)
    except Exception as error:  # whatever bytes lead to in a pickle machine
        raise damaged(path, error) from error


def _module(value: Any) -> bool:
    """Whether an object was a torch module."""
    return isinstance(value, StandIn) and isinstance(value.state, dict) and "_modules" in value.state


def _without_module(value: Any) -> Any:
    return OrderedDict(_entries(value.state, "")) if _module(value) else value


def _entries(state: dict[str, Any], prefix: str) -> Iterator[tuple[str, Tensor]]:
    """The entries of a module's state dict, from the state that it was pickled with."""
    left_out = state.get("_non_persistent_buffers_set") or ()
    for name, tensor in {**state.get("_parameters", {}), **state.get("_buffers", {})}.items():
        if isinstance(tensor, Tensor) and name not in left_out:
            yield prefix + name, tensor
    for name, child in state["_modules"].items():
        if _module(child):
            yield from _entries(child.state, f"{prefix}{name}.")

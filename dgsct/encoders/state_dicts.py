"""Where in the content of a checkpoint file the weights lie, and their names without what wrapped the model."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from dgsct.errors import DgsctError

NAMED = 3
DEEP = 3  # wrappers in wrappers; a pickle may also hold itself
# Under these names training programs save a model; other weights beside it (an average, a critic) don't count then.
WRAPPERS = ("state_dict", "model", "model_state_dict", "model_state", "net", "network", "module", "weights", "params")
# What torch.compile, FSDP and activation checkpointing put into a key, wherever the wrapped module stands.
INSIDE = frozenset(("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"))
PARALLEL = "module."  # DataParallel and DistributedDataParallel, at the beginning of every key


def some(names: Iterable[str]) -> str:
    """The first few names, and how many more."""
    names = sorted(names)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(repr(name) for name in names[:NAMED]) + more


def state_dict_in(path: Path, content: Any, deep: int = DEEP) -> dict[Any, Any]:
    """The state dict in what a file holds: bare, below a known name, or the only named tensors in it.

    DgsctError if there is none, or if nobody can say which of several is meant.
    """
    if not isinstance(content, dict) or not content:
        raise DgsctError(f"{path} holds no state dict (names and tensors); give a checkpoint file")
    below = [name for name in WRAPPERS if _holds_weights(content.get(name), deep)]
    if not below and not any(isinstance(value, Tensor) for value in content.values()):
        below = [str(name) for name, value in content.items() if isinstance(name, str) and _named_tensors(value)]
    if len(below) > 1:
        raise DgsctError(f"{path} holds several state dicts, {some(below)}; save the one that is meant alone")
    return state_dict_in(path, content[below[0]], deep - 1) if below else content


def _named_tensors(value: Any) -> bool:
    """Whether a value is a state dict and nothing else."""
    if not isinstance(value, dict) or not value:
        return False
    return all(isinstance(key, str) and isinstance(one, Tensor) for key, one in value.items())


def _holds_weights(value: Any, deep: int) -> bool:
    """Whether a value is a state dict, whatever else is in it, or holds one below a known name, at most so deep."""
    if not isinstance(value, dict) or not deep:
        return False
    if any(isinstance(one, Tensor) for one in value.values()):
        return True
    return any(_holds_weights(value.get(name), deep - 1) for name in WRAPPERS)


def plain_names(names: Iterable[str]) -> dict[str, str]:
    """Every key without what wrapped the model: `module.` where all have it, `_orig_mod.` and its like anywhere.

    Keys stay as they are where two would become one: then a module is really named so.
    """
    given = list(names)
    plain = [".".join([*(part for part in path if part not in INSIDE), leaf]) for *path, leaf in (n.split(".") for n in given)]
    if len(set(plain)) < len(plain):
        plain = given
    while plain and all(name.startswith(PARALLEL) for name in plain):
        plain = [name.removeprefix(PARALLEL) for name in plain]
    return dict(zip(given, plain, strict=True))


def without_wrappers(entries: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Entries under their `plain_names`."""
    return {plain: entries[name] for name, plain in plain_names(entries).items()}

"""Files of frozen encoders' weights: written with a checksum, loaded strictly, mapped instead of copied."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from dgsct.atomic import new_file, write_json_atomic
from dgsct.checksum import sha256_file
from dgsct.errors import DgsctError


def encoder_file(root: Path, scale: str, encoder: str) -> Path:
    """Where the weights of an encoder lie below the results folder."""
    return root / "encoders" / scale / f"{encoder}.safetensors"


def load_encoders(model: nn.Module, scale: str, root: Path, mapped: bool = True) -> None:
    """Load the encoders of `model`: of every module named `encoders` each child, by its name.

    With `mapped` the weights of a frozen encoder are the file's own pages, each private to the process once it is written:
    what no pass reads (such as a classification head) takes no memory. Without, or where it is trained, they are copies.
    DgsctError if a file is missing, is not the one that its JSON describes, or does not fit: keys, shapes and dtypes.
    """
    holders = [module for name, module in model.named_modules() if name.split(".")[-1] == "encoders"]
    for holder in holders:
        for encoder, module in holder.named_children():
            state = encoder_state(root, scale, encoder, module.state_dict())
            frozen = not any(p.requires_grad for p in module.parameters())
            module.load_state_dict(state, assign=mapped and frozen)


def encoder_state(root: Path, scale: str, encoder: str, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict in an encoder's file, memory-mapped, which has the keys, shapes and dtypes of `expected`."""
    from safetensors.torch import load_file

    path = encoder_file(root, scale, encoder)
    facts = path.with_suffix(".json")
    for file in (path, facts):
        if not file.exists():
            remedy = f"run `snakemake {path}`, or `dgsct convert {encoder} FILE {path} --scale {scale}`"
            raise DgsctError(f"encoder weights {file} are missing; {remedy}")
    try:
        described = json.loads(facts.read_text(encoding="utf-8"))["sha256"]
        if described != sha256_file(path):
            raise DgsctError(f"encoder weights {path} are not those that {facts.name} describes; make both again")
        state = load_file(path)
    except DgsctError:
        raise
    except Exception as error:  # whatever a damaged file leads to, making it again is the remedy
        reason = " ".join(str(error).split())
        raise DgsctError(f"encoder weights {path} cannot be read ({reason}); delete the file and make it again") from error
    for key in sorted(expected.keys() | state.keys()):
        ours, theirs = expected.get(key), state.get(key)
        if ours is None or theirs is None or (ours.shape, ours.dtype) != (theirs.shape, theirs.dtype):
            raise DgsctError(f"encoder weights {path} do not fit at key {key!r}; delete the file and make it again")
    return state


def publish(path: Path, encoder: nn.Module, info: dict[str, Any]) -> None:
    """Write an encoder's weights to `path` and, beside it, `info` with their checksum; each appears whole or not at all."""
    write_tensors(path, encoder.state_dict(), info)


def write_tensors(path: Path, state: dict[str, Tensor], info: dict[str, Any]) -> None:
    """Write `state` as safetensors and `info` with its checksum as JSON beside it, without a copy in memory."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with new_file(path) as partial:
        try:
            save_file({name: tensor.contiguous() for name, tensor in state.items()}, partial)
        except SafetensorError as error:
            raise DgsctError(f"cannot write {path}: {error}; free space on that disk and start again") from error
        write_json_atomic(path.with_suffix(".json"), {**info, "sha256": sha256_file(partial)})

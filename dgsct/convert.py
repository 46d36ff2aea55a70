"""Checkpoints in the authors' layout <-> ours, public encoder files -> ours, and models that start from any of them.

    from dgsct import build
    from dgsct.convert import load_checkpoint
    model = build("ave", "dg-sct")
    load_checkpoint(model, "best_82.18.pt")          # or ours.safetensors, or a run's checkpoints/best.safetensors

A whole model is known in three forms: the release's state dict (core.md, section 10), ours (one safetensors file), and
a run's best weights, which lack what never changed: that lies in the encoders' files below `results`.
"""

import json
from collections import OrderedDict
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dgsct.atomic import new_file
from dgsct.checksum import sha256_file
from dgsct.encoders.public import (
    TensorFile,
    drop_recomputable,
    fit,
    fit_encoder,
    front_end_deviation,
    read_tensors,
    stored_buffers,
)
from dgsct.encoders.weights import ENCODERS, encoder_state, write_tensors
from dgsct.errors import DgsctError, UsageError
from dgsct.methods import get_method
from dgsct.release_keys import from_public, to_public
from dgsct.runs import Run
from dgsct.scales import get_scale

FORMAT = "dgsct-model-1"
RELEASE, OURS, BEST = "release", "ours", "a run's best"
FRONT_END_TOLERANCE = 1e-4


def form_of(file: TensorFile) -> str:
    """Which form a whole model's file has: `RELEASE`, `OURS` or `BEST`."""
    if any(key.startswith("temporal_attn.") for key in file.tensors):
        return RELEASE
    return BEST if {"key", "epoch"} <= file.metadata.keys() else OURS


def run_of(path: Path, **given: Any) -> tuple[Run, Path]:
    """The run that a checkpoint belongs to, and its results folder.

    What is `given` (task, method, overrides, protocol, scale, results; None: not given) counts first, then what the file
    or its run folder says, then the release at paper scale.
    """
    path = Path(path)
    said: dict[str, Any] = {}
    results = Path("results")
    folder = path.absolute().parent.parent
    if path.parent.name == "checkpoints" and folder.parts[-7:-6] == ("runs",):
        said, results = Run.from_folder(folder).to_dict(), folder.parents[6]
    elif path.suffix == ".safetensors" and path.is_file():
        said = _said(path)
    given = {name: value for name, value in given.items() if value is not None}
    results = Path(given.pop("results", results))
    return Run.from_dict({"task": "ave", "method": "dg-sct", "scale": "paper", **said, **given}), results


def _said(path: Path) -> dict[str, Any]:
    """The run in the header of one of our files; empty where there is none."""
    text = read_tensors(path).metadata.get("run", "{}")
    try:
        return Run.from_dict(json.loads(text)).to_dict() if text != "{}" else {}
    except (ValueError, TypeError, UsageError) as error:
        told = " ".join(str(error).split())
        raise DgsctError(f"{path}: its header names no run of this version ({told}); convert the checkpoint again") from error


def build_model(run: Run, meta: bool = False) -> nn.Module:
    """The model of a run, as its training starts with it; on the meta device for keys and shapes only."""
    module = import_module(get_method(run.method).module_for(run.task))
    from dgsct.methods import resolve_options

    options = resolve_options(run.task, run.method, run.protocol, dict(run.overrides))
    with torch.device("meta" if meta else "cpu"):
        torch.manual_seed(run.seed)
        return module.build(run.task, get_scale(run.scale), options)


def _groups(state: dict[str, Tensor]) -> int:
    return next(t.shape[0] for key, t in state.items() if key.endswith("bottleneck.down.weight"))


def _encoders(model: nn.Module) -> tuple[str, nn.Module]:
    """The module that holds both encoders, with its name."""
    return next((name, module) for name, module in model.named_modules() if name.split(".")[-1] == "encoders")


def _release_state(model: nn.Module, path: Path, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """The entries of a file in the release's layout under our keys."""
    expected = model.state_dict()
    name, holder = _encoders(model)
    if not name.startswith("backbone."):
        raise UsageError(f"{path} is in the release's layout, which DG-SCT and LAVisH* have; choose one of these methods")
    for encoder in ENCODERS:
        inside = {key.removeprefix(f"{encoder}."): t for key, t in given.items() if key.startswith(f"{encoder}.")}
        kept = drop_recomputable(path, encoder, getattr(holder, encoder).sizes, inside)
        dropped = {f"{encoder}.{key}" for key in inside.keys() - kept.keys()}
        given = {key: tensor for key, tensor in given.items() if key not in dropped}
    groups = _groups(expected)
    public = {key: tensor for key, tensor in to_public(expected, groups).items()}
    fit(path, "the AVE release", public, given)
    return from_public(given, list(expected), groups)


def _best_state(model: nn.Module, path: Path, given: dict[str, Tensor], scale: str, results: Path) -> dict[str, Tensor]:
    """A run's best weights, completed by its frozen encoders and by what the model was made with."""
    state = model.state_dict()
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    fit(path, "this run", {key: tensor for key, tensor in state.items() if key not in frozen}, given)
    prefix, holder = _encoders(model)
    for encoder in ENCODERS:
        weights = encoder_state(results, scale, encoder, getattr(holder, encoder).state_dict())
        state |= {f"{prefix}.{encoder}.{key}": tensor for key, tensor in weights.items()}
    return {**state, **given}  # statistics that drifted in training (bn0) are the run's, not the encoder's


def checkpoint_state(model: nn.Module, path: Path, scale: str = "paper", results: Path = Path("results")) -> dict[str, Tensor]:
    """A whole checkpoint as the state dict of `model`, memory-mapped; DgsctError unless it fits entirely.

    `scale` and `results` say where the frozen encoders of a run's best weights lie. `model` may be on the meta device
    for the other two forms.
    """
    file = read_tensors(path)
    form = form_of(file)
    if form == RELEASE:
        return _release_state(model, path, file.tensors)
    if form == BEST:
        return _best_state(model, path, file.tensors, scale, results)
    fit(path, "this model", model.state_dict(), file.tensors)
    return file.tensors


def load_checkpoint(model: nn.Module, path: str | Path, scale: str = "paper", results: str | Path = "results") -> None:
    """Load a release's checkpoint, one of ours, or a run's best weights into a model of `dgsct.build`, strictly.

    See `checkpoint_state`; nothing is loaded if anything does not fit.
    """
    model.load_state_dict(checkpoint_state(model, Path(path), scale, Path(results)))


def _save(path: Path, write: Any) -> None:
    """Write a large file that appears whole or not at all; torch and safetensors have their own words for a full disk."""
    from safetensors import SafetensorError

    with new_file(path) as partial:
        try:
            write(partial)
        except (SafetensorError, RuntimeError) as error:
            told = " ".join(str(error).split())[:120]
            raise DgsctError(f"cannot write {path} ({told}); free space on that disk and start again") from error


def release_to_ours(path: Path, out: Path, run: Run) -> int:
    """Write a release's checkpoint as one safetensors file of our keys; returns the number of entries written.

    HTS-AT's bn0 statistics are the file's own. The header says what it is: run, groups, origin.
    """
    from safetensors.torch import save_file

    file = read_tensors(path)
    if form_of(file) != RELEASE:
        raise DgsctError(
            f"{path} is not in the release's layout (no 'temporal_attn.' entries); give a file such as best_82.18.pt"
        )
    state = _release_state(build_model(run, meta=True), path, file.tensors)
    metadata = {
        "format": FORMAT,
        "run": json.dumps(run.to_dict()),
        "groups": str(_groups(state)),
        "origin": Path(path).name,
        "origin_sha256": sha256_file(path),
    }
    _save(out, lambda partial: save_file({k: t.contiguous() for k, t in state.items()}, partial, metadata))
    return len(state)


def ours_to_release(path: Path, out: Path, run: Run, results: Path) -> int:
    """Write one of our checkpoints, or a run's best weights, as the release's state dict; returns its number of entries.

    The buffers that the release stores and ours does not (19 at paper scale) are computed by timm.
    """
    if not get_method(run.method).module.endswith(".dg_sct"):
        raise UsageError(f"method {run.method!r} has no place in the release's layout; give a checkpoint of DG-SCT or LAVisH*")
    form = form_of(read_tensors(path))
    if form == RELEASE:
        raise DgsctError(f"{path} is already in the release's layout")
    state = checkpoint_state(build_model(run, meta=form != BEST), path, run.scale, results)
    public = OrderedDict((k, t.contiguous()) for k, t in to_public(state, _groups(state)).items())
    scale = get_scale(run.scale)
    for encoder in ENCODERS:
        buffers = stored_buffers(encoder, getattr(scale, encoder))
        public.update({f"{encoder}.{key}": buffer for key, buffer in buffers.items()})
    _save(out, lambda partial: torch.save(public, partial))
    return len(public)


def convert_encoder(encoder: str, path: Path, out: Path, scale: str = "paper") -> dict[str, Any]:
    """Write a public encoder file as ours, with its facts as JSON beside it, which are returned."""
    sizes = get_scale(scale)
    fitted = fit_encoder(path, encoder, sizes, read_tensors(path).tensors)
    facts: dict[str, Any] = {
        "encoder": encoder,
        "scale": scale,
        "source": Path(path).name,
        "source_sha256": sha256_file(path),
        "naming": fitted.naming,
        "entries": fitted.entries,
    }
    if encoder == "htsat":
        facts["front_end_deviation"] = front_end_deviation(fitted.state, sizes.htsat)
    write_tensors(out, fitted.state, facts)
    return facts

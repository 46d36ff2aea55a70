"""Checkpoints in the authors' layout <-> ours, public encoder files -> ours, and models that start from any of them.

    from dgsct import build
    from dgsct.checkpoints.convert import load_checkpoint
    model = build("ave", "dg-sct")
    load_checkpoint(model, "best_82.18.pt")          # or ours.safetensors, or a run's checkpoints/best.safetensors

A whole model is known in three forms: the release's state dict (such as `best_82.18.pt`), ours (one safetensors file), and
a run's best weights, which lack what never changed: that lies in the encoders' files below `results`.
"""

import json
import sys
from collections import OrderedDict
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dgsct.atomic import new_file
from dgsct.checksum import sha256_file
from dgsct.encoders.inert import read_inert
from dgsct.encoders.public import drop_recomputable, file_of, fit_encoder, stored_buffers
from dgsct.encoders.state_dicts import WRAPPERS, some, state_dict_in
from dgsct.encoders.tensor_files import TensorFile, fit, read_tensors, sound
from dgsct.encoders.weights import encoder_state, write_tensors
from dgsct.engine.checkpoint import check_best
from dgsct.errors import DgsctError, UsageError
from dgsct.methods import METHODS
from dgsct.models.keys import PublicLayout, from_public, to_public
from dgsct.runs.run import Run
from dgsct.settings.scales import get_scale

FORMAT = "dgsct-model-1"
RELEASE, OURS, BEST = "release", "ours", "a run's best"
FRONT_END_TOLERANCE = 1e-4


def public_layouts() -> dict[str, PublicLayout]:
    """Every family of public checkpoints, by the module of our model."""
    modules = dict.fromkeys(p.module for m in METHODS.values() for p in m.parts.values() if p.kind != "yardstick")
    declared = ((name, getattr(import_module(name), "PUBLIC", None)) for name in modules)
    return {name: layout for name, layout in declared if layout is not None}


def recognise(tensors: Mapping[str, Tensor]) -> dict[str, str] | None:
    """What the entries of a public checkpoint tell of its run; None for a file of no public layout."""
    return next((run for layout in public_layouts().values() if (run := layout.recognise(tensors)) is not None), None)


def form_of(file: TensorFile) -> str:
    """Which form a whole model's file has: `RELEASE`, `OURS` or `BEST`."""
    if recognise(file.tensors) is not None:
        return RELEASE
    return BEST if {"key", "epoch"} <= file.metadata.keys() else OURS


def run_of(path: Path, **given: Any) -> tuple[Run, Path]:
    """The run that a checkpoint belongs to, and its results folder.

    What is `given` (task, method, overrides, protocol, scale, results; None: not given) counts first, then what the file
    or its run folder says, then what its keys tell, then AVE's release at paper scale.
    """
    path = Path(path)
    described: dict[str, Any] = {}
    results = Path("results")
    folder = path.absolute().parent.parent
    if path.parent.name == "checkpoints" and folder.parts[-7:-6] == ("runs",):
        described, results = Run.from_folder(folder).to_dict(), folder.parents[6]
    elif path.suffix == ".safetensors" and path.is_file():
        described = _run_in_header(path)
    elif path.is_file():
        described = recognise(read_tensors(path).tensors) or {}
    given = {name: value for name, value in given.items() if value is not None}
    results = Path(given.pop("results", results))
    return Run.from_dict({"task": "ave", "method": "dg-sct", "scale": "paper", **described, **given}), results


def _run_in_header(path: Path) -> dict[str, Any]:
    """The run in the header of one of our files; empty where there is none."""
    text = read_tensors(path).metadata.get("run", "{}")
    try:
        return Run.from_dict(json.loads(text)).to_dict() if text != "{}" else {}
    except (ValueError, TypeError, UsageError) as error:
        reason = " ".join(str(error).split())
        raise DgsctError(f"{path}: its header names no run of this version ({reason}); convert the checkpoint again") from error


def start_of(run: Run) -> nn.Module:
    """The model of a run with the random weights that its training starts with."""
    torch.manual_seed(run.seed)
    return run.build()


def _groups(state: dict[str, Tensor]) -> int:
    """Groups of the bottlenecks; 1 for a model without adapters."""
    return next((t.shape[0] for key, t in state.items() if key.endswith("bottleneck.down.weight")), 1)


def _encoders(model: nn.Module) -> tuple[str, nn.Module]:
    """The module that holds the encoders, with its name."""
    return next((name, module) for name, module in model.named_modules() if name.split(".")[-1] == "encoders")


def _layout(model: nn.Module) -> PublicLayout | None:
    return getattr(sys.modules[type(model).__module__], "PUBLIC", None)


def _release_state(model: nn.Module, path: Path, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """The entries of a file in a public layout under our keys."""
    layout = _layout(model)
    if layout is None:
        raise UsageError(f"{path} is in a release's layout, which this method has none of; choose the method that it is of")
    expected = model.state_dict()
    for encoder, module in _encoders(model)[1].named_children():
        inside = {key.removeprefix(f"{encoder}."): t for key, t in given.items() if key.startswith(f"{encoder}.")}
        kept = drop_recomputable(path, encoder, getattr(module, "sizes", None), inside)
        dropped = {f"{encoder}.{key}" for key in inside.keys() - kept.keys()}
        given = {key: tensor for key, tensor in given.items() if key not in dropped}
    groups = _groups(expected)
    fit(path, layout.title, to_public(expected, groups, layout.rules), given)
    sound(path, given)
    return from_public(given, list(expected), groups, layout.rules)


def _best_state(model: nn.Module, path: Path, given: dict[str, Tensor], scale: str, results: Path) -> dict[str, Tensor]:
    """A run's best weights, completed by its frozen encoders and by what the model was made with."""
    check_best(path)
    state = model.state_dict()
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    fit(path, "this run", {key: tensor for key, tensor in state.items() if key not in frozen}, given)
    sound(path, given)
    prefix, holder = _encoders(model)
    for encoder, module in holder.named_children():
        if any(f"{prefix}.{encoder}.{name}" in frozen for name, _ in module.named_parameters()):
            weights = encoder_state(results, scale, encoder, module.state_dict())
            state |= {f"{prefix}.{encoder}.{key}": tensor for key, tensor in weights.items()}
    return {**state, **given}  # statistics that drifted in training (bn0) are the run's, not the encoder's


def _our_state(model: nn.Module, path: Path, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """The entries of a file in our layout."""
    fit(path, "this model", model.state_dict(), given)
    sound(path, given)
    return given


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
    return _our_state(model, path, file.tensors)


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
            reason = " ".join(str(error).split())[:120]
            raise DgsctError(f"cannot write {path} ({reason}); free space on that disk and start again") from error


def release_to_ours(path: Path, out: Path, run: Run) -> int:
    """Write a release's checkpoint as one safetensors file of our keys; returns the number of entries written.

    HTS-AT's bn0 statistics are the file's own. The header says what it is: run, groups, origin.
    """
    from safetensors.torch import save_file

    file = read_tensors(path)
    if form_of(file) != RELEASE:
        raise DgsctError(
            f"{path} is in no release's layout ({', '.join(one.title for one in public_layouts().values())}); "
            "give a file such as best_82.18.pt"
        )
    state = _release_state(run.build(meta=True), path, file.tensors)
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
    """Write one of our checkpoints, or a run's best weights, as the public state dict; returns its number of entries.

    The buffers that the release stores and ours does not (19 at paper scale) are computed by timm.
    """
    layout = public_layouts().get(run.part.module)
    if layout is None:
        raise UsageError(f"method {run.method!r} has no place in a release's layout; no public checkpoint of it is known")
    file = read_tensors(path)
    if form_of(file) == RELEASE:
        raise DgsctError(f"{path} is already in the release's layout")
    if form_of(file) == BEST:
        model = start_of(run)
        state = _best_state(model, path, file.tensors, run.scale, results)
    else:
        model = run.build(meta=True)
        state = _our_state(model, path, file.tensors)
    whole = {key: state[key] for key in model.state_dict()}
    public = OrderedDict((k, t.contiguous()) for k, t in to_public(whole, _groups(whole), layout.rules).items())
    for encoder, module in _encoders(model)[1].named_children():
        buffers = stored_buffers(encoder, getattr(module, "sizes", None))
        public.update({f"{encoder}.{key}": buffer for key, buffer in buffers.items()})
    _save(out, lambda partial: torch.save(public, partial))
    return len(public)


def tensors_alone(path: Path, out: Path) -> tuple[int, list[str]]:
    """Write the named tensors of a torch file that holds Python objects, bit for bit, and run no code of it.

    Returns how many they are, and the names of what is left out. Names and wrappers in them stay as they are.
    """
    content = read_inert(path)
    state = state_dict_in(path, content)
    tensors = {str(key): t.detach() for key, t in state.items() if isinstance(t, Tensor)}
    if not tensors:
        raise DgsctError(f"{path} holds no named tensors (it has {some(map(str, state))}); give a checkpoint file")
    # A part of a larger storage would take all of it along.
    whole = {key: t if t.untyped_storage().nbytes() == t.nbytes else t.clone() for key, t in tensors.items()}
    _save(out, lambda partial: torch.save(whole, partial))
    beside = {str(key) for key in content if content is not state and content[key] is not state and key not in WRAPPERS}
    return len(whole), sorted(beside | {str(key) for key in state if str(key) not in tensors})


def convert_encoder(encoder: str, path: Path, out: Path, scale: str = "paper") -> dict[str, Any]:
    """Write a public encoder file as ours, with its facts as JSON beside it, which are returned."""
    sizes = get_scale(scale)
    tensors = read_tensors(path).tensors
    fitted = fit_encoder(path, encoder, sizes, tensors)
    sound(path, tensors)
    facts: dict[str, Any] = {
        "encoder": encoder,
        "scale": scale,
        "source": Path(path).name,
        "source_sha256": sha256_file(path),
        "naming": fitted.naming,
        "entries": fitted.entries,
        **file_of(encoder).facts(fitted.state, getattr(sizes, encoder)),
    }
    # Two branches may start from the same numbers: safetensors wants the memory of each.
    once = {tensor.data_ptr(): key for key, tensor in fitted.state.items()}
    apart = {key: t if once[t.data_ptr()] == key else t.clone() for key, t in fitted.state.items()}
    write_tensors(out, apart, facts)
    return facts

"""Files in the exact public layouts, with random numbers under the public keys (no public file lies here)."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, wraps
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from dgsct.encoders.frontend import LogMel
from dgsct.encoders.public import module_of, public_key, stored_buffers
from dgsct.methods.avsbench.model import AVSBaseline
from dgsct.methods.dg_sct.ave import DGSCT
from dgsct.methods.dg_sct.avs import build as build_segmentation
from dgsct.models.keys import to_public
from dgsct.models.keys_avs import baseline_rules, segmentation_rules
from dgsct.ops.shapes import shapes_only
from dgsct.runs.resolve import resolve_options
from dgsct.settings.scales import MINI, PAPER, PvtSizes, ResnetSizes, Scale, SwinSizes, VggishSizes
from dgsct.tasks import get_task
from dgsct.tasks.ave.options import AveOptions as Options

# The paper's depths, so that windows are shifted and masks stored, with few channels.
TINY = replace(
    PAPER,
    swin=SwinSizes(64, 4, 8, (2, 2, 18, 2), (1, 1, 2, 2), 4, 5),
    htsat=replace(PAPER.htsat, mel_bins=16, spec_size=64, embed_dim=8, num_heads=(1, 1, 2, 2), window_size=4, num_classes=7),
    head=MINI.head,
    num_tokens=4,
    reduction=4,
    pvt=PvtSizes((4, 8, 10, 16), (1, 2, 5, 8), (1, 2, 2, 1)),
    resnet50=ResnetSizes((1, 1, 2, 2), width_per_group=2),
    vggish=VggishSizes((2, 3, 4, 5), 6, 8),
)


def anew(entries: Callable[..., dict[str, Tensor]]) -> Callable[..., dict[str, Tensor]]:
    """Drawn once for each choice of arguments, but for full size; whoever asks gets tensors of his own."""
    kept = cache(entries)

    @wraps(entries)
    def asked(*arguments: Any, **named: Any) -> dict[str, Tensor]:
        if PAPER in arguments:
            return entries(*arguments, **named)
        return {key: tensor.clone() for key, tensor in kept(*arguments, **named).items()}

    return asked


def drawn(shapes: dict[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    """Random numbers in the given shapes and dtypes; counters get a number of their own."""
    draw = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(t.shape, generator=draw) if t.is_floating_point() else torch.tensor(5 + i)
        for i, (name, t) in enumerate(shapes.items())
    }


@anew
def encoder_entries(encoder: str, scale: Scale, naming: str = "0.6", seed: int = 0) -> dict[str, Tensor]:
    """A public encoder's state dict: Swin-V2 in timm 0.6 (with masks) or 1.0 naming, HTS-AT with masks and indices."""
    ours = module_of(encoder, scale).state_dict()
    new = encoder == "swin" and naming == "1.0"
    names = {(key.removeprefix("swin.") if new else public_key(encoder, key)): t for key, t in ours.items()}
    values = drawn(names, seed)
    if encoder == "htsat":
        for key, tensor in LogMel(scale.htsat).named_parameters():
            values[public_key(encoder, f"frontend.{key}")] = tensor.detach()
    return values if new else values | stored_buffers(encoder, getattr(scale, encoder))


@anew
def release_entries(scale: Scale, seed: int = 0) -> dict[str, Tensor]:
    """The AVE release's state dict: 2,646 entries at paper scale."""
    with shapes_only():
        shapes = to_public(DGSCT(get_task("ave").at(scale), Options()).state_dict())
    entries = drawn(shapes, seed)
    for encoder in ("swin", "htsat"):
        entries |= {f"{encoder}.{key}": buffer for key, buffer in stored_buffers(encoder, getattr(scale, encoder)).items()}
    return entries


@anew
def segmentation_entries(task: str, scale: Scale, seed: int = 0) -> dict[str, Tensor]:
    """The AVS release's state dict of a setting: 3,867 entries at paper scale."""
    with shapes_only():
        model = build_segmentation(task, get_task(task).at(scale), resolve_options(task, "dg-sct", "release", {}))
        shapes = to_public(model.state_dict(), 2, segmentation_rules)
    entries = drawn(shapes, seed)
    for encoder in ("swin", "htsat"):
        entries |= {f"{encoder}.{key}": buffer for key, buffer in stored_buffers(encoder, getattr(scale, encoder)).items()}
    return entries


@anew
def baseline_entries(method: str, scale: Scale) -> dict[str, Tensor]:
    """AVSBench's state dict, without VGGish: 1,190 entries with PVT-v2-b5, 630 with ResNet-50."""
    with shapes_only():
        shapes = to_public(
            AVSBaseline("avs-s4", scale, resolve_options("avs-s4", method, "release", {})).state_dict(), 1, baseline_rules
        )
    return drawn(shapes)


def write(path: Path, entries: dict[str, Tensor], wrapper: str | None = None, prefix: str = "") -> Path:
    """As .safetensors, or as a torch file in which `wrapper` holds the entries."""
    named = {prefix + key: tensor for key, tensor in entries.items()}
    if path.suffix == ".safetensors":
        save_file({key: tensor.contiguous() for key, tensor in named.items()}, path)
    else:
        torch.save({wrapper: named, "epoch": 3} if wrapper else named, path)
    return path


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Equal to the bit: keys, dtypes, shapes, numbers."""
    forms = {k: (t.dtype, t.shape) for k, t in a.items()} == {k: (t.dtype, t.shape) for k, t in b.items()}
    return forms and all(torch.equal(tensor, b[key]) for key, tensor in a.items())

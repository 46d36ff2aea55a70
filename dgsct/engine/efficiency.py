"""Table 6 at full size, anywhere: parameters, trainable share and multiply-accumulates (MACs), on the meta device.

One clip = 10 frames and 10 seconds of sound, batch 1, evaluation. Three counts of MACs, since the published "GFLOPs"
are nearest to the first (inferred):

    module         by module hooks: Linear, convolution and LSTM modules; functional products are missed, as such
                   counters miss them (attention products, Swin-V2's qkv, the mel matrix). Nearest to the paper's figures.
    release_order  by a counter below the modules (matrix products and convolutions), operations as the release runs them
    ours           the same counter on the order of operations that this package runs; its FFT is no such product
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from timm.models.swin_transformer import SwinTransformerBlock
from timm.models.swin_transformer_v2 import SwinTransformerV2Block
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from dgsct.encoders.frontend import LogMel
from dgsct.errors import UsageError
from dgsct.methods import METHODS, get_method
from dgsct.models.adapter import GroupedLinear, Prompt
from dgsct.models.attention import DualGuidedAttention, Guidance, SpatialAttention, pooling_map
from dgsct.models.heads.events import EventHead
from dgsct.models.temporal import Gated
from dgsct.records.results import efficiency_key
from dgsct.runs.run import Run

SEGMENTS = 10
BLOCKS = (SwinTransformerBlock, SwinTransformerV2Block)


def _linear(module: nn.Linear, inputs: tuple, _output: Any) -> int:
    return inputs[0].numel() // module.in_features * module.in_features * module.out_features


def _convolution(module: nn.Conv2d, _inputs: tuple, output: torch.Tensor) -> int:
    return output.numel() * math.prod(module.kernel_size) * module.in_channels // module.groups


def _lstm(module: nn.LSTM, inputs: tuple, _output: Any) -> int:
    steps = inputs[0].shape[0] * inputs[0].shape[1]
    directions = 2 if module.bidirectional else 1
    return steps * directions * 4 * module.hidden_size * (module.input_size + module.hidden_size)


def _grouped(module: GroupedLinear, inputs: tuple, _output: Any) -> int:
    return len(inputs[0]) * module.weight.numel()


def _token_projection(module: Prompt, inputs: tuple, _output: Any) -> int:
    """The release's 1x1 convolution over the token axis; the channel map beside it is a Linear and counted as such."""
    return module.token.weight.numel() * len(inputs[0]) * module.channel.in_features


def _fourier_kernels(module: LogMel, _inputs: tuple, output: torch.Tensor) -> int:
    """The release's two convolutions that make the spectrogram (the mel matrix is a plain product and missed)."""
    return output.shape[0] * output.shape[1] * (module.conv_real.numel() + module.conv_imag.numel())


def _spatial(module: SpatialAttention, inputs: tuple, _output: Any) -> int:
    """Of two linear layers what was not called as a module: each is folded into its neighbour where that is cheaper."""
    x, prompt, channel_map = inputs
    tokens = x.numel() // x.shape[-1]
    stream = module.stream.weight.numel() if channel_map is not None else 0
    return tokens * (stream + (module.score.in_features if prompt.shape[1] == 1 else 0))


def _mlp(module: nn.Module, norm: nn.LayerNorm) -> tuple[nn.Module, Any]:
    """A block's MLP is one operation (`lean.mlp`), not two called layers: the norm beside it sees the tokens it sees."""
    weights = module.mlp.fc1.weight.numel() + module.mlp.fc2.weight.numel()
    return norm, lambda _norm, inputs, _output: inputs[0].numel() // inputs[0].shape[-1] * weights


RULES = {
    nn.Linear: _linear,
    nn.Conv2d: _convolution,
    nn.LSTM: _lstm,
    GroupedLinear: _grouped,
    Prompt: _token_projection,
    SpatialAttention: _spatial,
    LogMel: _fourier_kernels,
}


def module_macs(model: nn.Module, *inputs: torch.Tensor) -> int:
    """MACs of the modules in `RULES` and of the encoders' MLPs, by forward hooks."""
    counted: list[int] = []
    rules = [(module, RULES[type(module)]) for module in model.modules() if type(module) in RULES]
    rules += [_mlp(module, module.norm2) for module in model.modules() if isinstance(module, BLOCKS)]
    hooks = [module.register_forward_hook(lambda m, i, o, rule=rule: counted.append(rule(m, i, o))) for module, rule in rules]
    with torch.no_grad():
        model(*inputs)
    for hook in hooks:
        hook.remove()
    return sum(counted)


@contextmanager
def counting(rules: Mapping[Any, Callable[..., int]] | None = None) -> Iterator[Callable[[], int]]:
    """A region in which torch's matrix products and convolutions are counted; yields what tells their MACs so far.

    `rules` count some operations otherwise, in operations (two a MAC), as `FlopCounterMode` takes them.
    """
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False, custom_mapping=dict(rules or {})) as counter:
        yield lambda: counter.get_total_flops() // 2


def dispatch_macs(model: nn.Module, *inputs: torch.Tensor, discarded: bool = False) -> int:
    """MACs of every matrix product and convolution that torch dispatches.

    With `discarded` also of what the release computes and throws away: each adapter's pooled tokens, and the head's
    cross-modal blocks.
    """

    def pool(_module: nn.Module, inputs: tuple, output: Guidance) -> None:
        if output.scores is not None:
            torch.bmm(pooling_map(output.scores), inputs[0])

    def interact(head: EventHead, inputs: tuple[Gated]) -> None:
        visual, audio, _ = inputs[0]
        head.audio_interaction(audio, head.visual_interaction(visual, audio))

    hooks = []
    if discarded:
        attentions = [m for m in model.modules() if isinstance(m, DualGuidedAttention)]
        hooks = [attention.register_forward_hook(pool) for attention in attentions]
        hooks.append(model.head.register_forward_pre_hook(interact))
    with torch.no_grad(), counting() as macs:
        model(*inputs)
    for hook in hooks:
        hook.remove()
    return macs()


def components(model: nn.Module) -> dict[str, int]:
    """Parameters by component, in the release's terms."""

    def count(*modules: nn.Module) -> int:
        return sum(p.numel() for module in modules for p in module.parameters())

    backbone = model.backbone
    result = {
        "swin": count(backbone.encoders.swin),
        "htsat": count(backbone.encoders.htsat),
        "token_downsampler": count(model.unused_downsampler),
    }
    for direction in ("a2v", "v2a"):
        for place in ("p1", "p2"):
            adapters = [getattr(pair, direction) for pair in getattr(backbone, place)]
            result[f"{direction}_adapters_{place}"] = count(*adapters)
    return {**result, "temporal_attention": count(model.temporal), "head": count(model.head)}


def adapter_parts(model: nn.Module) -> dict[str, int]:
    """Parameters of all adapters by kind."""
    adapters = [adapter for m in (model.backbone.p1, model.backbone.p2) for pair in m for adapter in (pair.a2v, pair.v2a)]
    kinds = {
        "token_conv": 0,
        "linear": 0,
        "attention": 0,
        "tokens": 0,
        "down_up": 0,
        "batch_norm": 0,
        "layer_norm": 0,
        "gates": 0,
    }
    for adapter in adapters:
        for name, p in adapter.named_parameters():
            kinds[_kind(name)] += p.numel()
    return kinds


def _kind(name: str) -> str:
    starts = (
        ("prompt.token", "token_conv"),
        ("prompt.channel", "linear"),
        ("attention.", "attention"),
        ("latent.tokens", "tokens"),
        ("bottleneck.down", "down_up"),
        ("bottleneck.up", "down_up"),
        ("bottleneck.bn", "batch_norm"),
        ("bottleneck.norm", "layer_norm"),
    )
    return next((kind for start, kind in starts if name.startswith(start)), "gates")


def without_gradient(model: nn.Module) -> int:
    """Trainable parameters that the forward pass never uses."""
    adapters = [adapter for m in (model.backbone.p1, model.backbone.p2) for pair in m for adapter in (pair.a2v, pair.v2a)]
    head = model.head
    unused: list[nn.Module] = [model.temporal.unused, head.visual_norm, head.audio_norm]
    if not head.interact:
        unused += [head.visual_interaction, head.audio_interaction]
    if not adapters[0].keep_tokens:
        unused += [adapter.latent for adapter in adapters]
    return sum(p.numel() for module in unused for p in module.parameters()) + len(adapters)


def efficiency(method: str, scale: str = "paper", **overrides: Any) -> dict[str, Any]:
    """Everything of Table 6 for one method, as exact integers. UsageError for methods without adapters."""
    if not get_method(method).counted:
        known = ", ".join(name for name, m in METHODS.items() if m.counted)
        raise UsageError(f"efficiency is counted for {known}, not for {method!r}")
    run = Run.make("ave", method, overrides, scale=scale)
    sizes = run.sizes
    ours, release = run.build(meta=True).eval(), run.build(meta=True, release_order=True).eval()
    with torch.device("meta"):
        side = sizes.swin.image_size
        inputs = (torch.empty(1, SEGMENTS, 3, side, side), torch.empty(1, SEGMENTS, sizes.htsat.sample_rate))
        macs = {
            "module": module_macs(release, *inputs),
            "release_order": dispatch_macs(release, *inputs, discarded=True),
            "ours": dispatch_macs(ours, *inputs),
        }
    parts = adapter_parts(ours)
    return {
        "key": efficiency_key(method, scale),
        "method": method,
        "scale": scale,
        "clip": "10 frames + 10 s",
        "parameters": {
            "total": sum(p.numel() for p in ours.parameters()),
            "trainable": sum(p.numel() for p in ours.parameters() if p.requires_grad),
            "without_gradient": without_gradient(ours),
            "components": components(ours),
        },
        "adapter_parts": parts,
        "trainable_parts": {"conv_linear": parts["token_conv"] + parts["linear"], "attention": parts["attention"]},
        "macs": macs,
    }

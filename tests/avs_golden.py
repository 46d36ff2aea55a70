"""The fill rule and input signals under which avs.md's golden values were computed, and tiny models of both settings."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from dgsct.encoders.public_keys import Layout
from dgsct.settings.scales import PAPER, HeadSizes, PvtSizes, ResnetSizes, Scale, SwinSizes, VggishSizes

# The paper's depths and ratios of sizes with few channels; frames of 64 pixels and a Swin-V2 that takes 32.
TINY: Scale = replace(
    PAPER,
    swin=SwinSizes(64, 4, 8, (2, 2, 18, 2), (1, 1, 2, 2), 4, 5),
    htsat=replace(
        PAPER.htsat, hop=1280, mel_bins=16, spec_size=64, embed_dim=8, num_heads=(1, 1, 2, 2), window_size=4, num_classes=7
    ),
    head=HeadSizes(visual_hidden=64, audio_hidden=64, width=64, feed_forward=128, num_heads=4),
    num_tokens=3,
    reduction=4,
    pvt=PvtSizes((4, 8, 10, 16), (1, 2, 5, 8), (1, 2, 2, 1)),
    resnet50=ResnetSizes((1, 1, 2, 2), width_per_group=2),
    vggish=VggishSizes((2, 3, 4, 5), 6, 8),
)
SIDE = 96  # of frames and masks


def fill_sorted(public: dict[str, Tensor], factor: float = 1.0) -> dict[str, Tensor]:
    """Element i of the j-th floating entry in alphabetical order is 0.2 sin(0.5 i + j), times `factor`."""
    names = sorted(name for name, t in public.items() if t.is_floating_point())
    filled = dict(public)
    for j, name in enumerate(names):
        i = torch.arange(public[name].numel(), dtype=torch.float64)
        filled[name] = (factor * 0.2 * torch.sin(0.5 * i + j)).reshape(public[name].shape)
    return filled


def load_filled(module: nn.Module, keys: dict[str, tuple[str, Layout]], factor: float = 1.0, **entries: float) -> nn.Module:
    """`module` in float64 and evaluation mode, filled by its public keys; `entries` are constants, and not counted as keys."""
    module = module.double()
    state = module.state_dict()
    public = {name: layout.public(state[ours]) for name, (ours, layout) in keys.items()}
    constant = {name: torch.full_like(public.pop(name), value) for name, value in entries.items()}
    public = fill_sorted(public, factor) | constant
    module.load_state_dict({ours: layout.ours(public[name]) for name, (ours, layout) in keys.items()})
    return module.eval()


def sines(shape: tuple[int, ...], omega: float) -> Tensor:
    """sin(omega i), flattened row-major."""
    return torch.sin(omega * torch.arange(torch.Size(shape).numel(), dtype=torch.float64)).reshape(shape)


def cosines(shape: tuple[int, ...], omega: float) -> Tensor:
    """cos(omega i), flattened row-major."""
    return torch.cos(omega * torch.arange(torch.Size(shape).numel(), dtype=torch.float64)).reshape(shape)


def assert_begins(tensor: Tensor, first: str, total: float, absolute: float | None = None, rel: float = 1e-5) -> None:
    """The first values to six decimals, and the sums to the digits printed."""
    flat = tensor.detach().double().flatten()
    expected = torch.tensor([float(v) for v in first.split()], dtype=torch.float64)
    torch.testing.assert_close(flat[: len(expected)], expected, rtol=0, atol=2e-6)
    torch.testing.assert_close(flat.sum(), torch.tensor(total, dtype=torch.float64), rtol=rel, atol=2e-4)
    if absolute is not None:
        torch.testing.assert_close(flat.abs().sum(), torch.tensor(absolute, dtype=torch.float64), rtol=rel, atol=2e-4)

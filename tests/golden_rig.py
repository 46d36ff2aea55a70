"""The fill rule and input signals under which the fact sheets' golden values were computed."""

from dataclasses import replace

import torch
from torch import Tensor

from dgsct.settings.scales import PAPER, SwinSizes
from dgsct.tasks import get_task

NORMS = {"ln_before", "ln_post", "bn0", "bn1", "bn2", "norm", "norm1", "norm2", "video_norm", "audio_norm"}

# The tiny dual backbone of core.md 11.5, as AVE has it.
TINY = get_task("ave").at(
    replace(
        PAPER,
        swin=SwinSizes(64, 4, 16, (2, 2, 18, 2), (1, 2, 4, 8), 4, 0),
        htsat=replace(PAPER.htsat, mel_bins=16, spec_size=64, embed_dim=8, num_heads=(1, 2, 4, 8), window_size=4),
        num_tokens=4,
        reduction=4,
    )
)


def fill(name: str, shape: tuple[int, ...], amp: float, key_length: int | None = None) -> Tensor:
    """value(i) = base + amp sin(0.37 i + 0.11 L), flattened row-major; `name` is the public key."""
    parts = name.split(".")
    base = 0.0
    if parts[-1] in ("gate", "gate_av") or (parts[-1] == "weight" and len(parts) > 1 and parts[-2] in NORMS):
        base = 1.0
    elif parts[-1] == "logit_scale":
        base = 2.0
    count = int(torch.tensor(shape).prod()) if shape else 1
    i = torch.arange(count, dtype=torch.float64)
    return (base + amp * torch.sin(0.37 * i + 0.11 * (key_length or len(name)))).reshape(shape)


def fill_public(state: dict[str, Tensor], amp: float, skip: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """Every parameter of a public state dict by the rule; buffers (running statistics, counters) as they are."""
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    return {
        key: value if key.endswith(buffers) or key.startswith(skip) else fill(key, tuple(value.shape), amp)
        for key, value in state.items()
    }


def wave_sin(shape: tuple[int, ...], scale: float, omega: float, phase: float) -> Tensor:
    count = int(torch.tensor(shape).prod())
    return (scale * torch.sin(omega * torch.arange(count, dtype=torch.float64) + phase)).reshape(shape)


def wave_cos(shape: tuple[int, ...], scale: float, omega: float, phase: float) -> Tensor:
    count = int(torch.tensor(shape).prod())
    return (scale * torch.cos(omega * torch.arange(count, dtype=torch.float64) + phase)).reshape(shape)


def tone_and_noise() -> tuple[Tensor, Tensor]:
    """s and m of the front-end golden values: a 440 Hz tone, and the tone with linear-congruential noise; 1 s, 32 kHz."""
    n = torch.arange(32000, dtype=torch.float64)
    s = 0.5 * torch.sin(2 * torch.pi * 440 * n / 32000)
    u, noise = 1, []
    for _ in range(32000):
        noise.append(u / 2**31 - 0.5)
        u = (1103515245 * u + 12345) % 2**31
    return s, s + 0.1 * torch.tensor(noise, dtype=torch.float64)


def assert_golden(
    tensor: Tensor, mean: float, std: float, first: str, shape: tuple[int, ...] | None = None, atol: float = 6e-7
) -> None:
    """Mean, unbiased standard deviation and the first values, to the six printed decimals."""
    flat = tensor.detach().double().flatten()
    if shape is not None:
        assert tuple(tensor.shape) == shape
    expected = torch.tensor([float(v) for v in first.split()], dtype=torch.float64)
    torch.testing.assert_close(flat[: len(expected)], expected, rtol=0, atol=atol)
    assert abs(flat.mean().item() - mean) < atol
    assert abs(flat.std().item() - std) < atol

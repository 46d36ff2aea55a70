"""One clip through a model of the paper's depths, with few channels, by every path: the scores are those of the plain one."""

import pytest
import torch
from golden_rig import TINY
from release_model import opened, release_twin, tiled
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from dgsct.encoders.frontend import log_mel_compact
from dgsct.models.adapter import Adapter

TILE = 1  # the small image has columns for a second that is not repeated


@pytest.fixture(scope="module")
def clip() -> dict[str, Tensor]:
    """Frames, the sound of every second, and its log-mel in compact form."""
    torch.manual_seed(1)
    side, rate = TINY.swin.image_size, TINY.htsat.sample_rate
    frames, wave = torch.rand(1, 10, 3, side, side), torch.randn(1, 10, rate) * 0.1
    compact = log_mel_compact(wave.flatten(0, 1), TINY.htsat, TILE).unflatten(0, (1, 10))
    return {"frames": frames, "wave": wave, "logmel": compact}


@pytest.fixture
def model() -> nn.Module:
    return opened(TINY, TILE).eval()


@torch.no_grad()
def scores(model: nn.Module, frames: Tensor, **sound: Tensor) -> Tensor:
    return torch.cat([t.float().flatten() for t in model(frames, **sound)])


@pytest.fixture
def plain(model, clip) -> Tensor:
    return scores(model, clip["frames"], logmel=clip["logmel"])


def assert_near(found: Tensor, expected: Tensor) -> None:
    assert (found - expected).norm() < 1e-4 * expected.norm()


def test_with_the_spectrogram_computed_in_the_step(model, clip, plain):
    assert_near(scores(model, clip["frames"], wave=clip["wave"]), plain)


def test_with_attention_that_is_not_fused(model, clip, plain):
    with sdpa_kernel(SDPBackend.MATH):
        assert_near(scores(model, clip["frames"], logmel=clip["logmel"]), plain)


def test_with_whole_prompts_in_the_release_s_order(model, clip, plain):
    adapters = [m for m in model.modules() if isinstance(m, Adapter)]
    assert adapters
    for adapter in adapters:
        adapter.whole_prompt = True
    assert_near(scores(model, clip["frames"], logmel=clip["logmel"]), plain)


def test_in_the_release_s_model(model, clip, plain):
    twin = release_twin(model, TINY).eval()
    assert_near(scores(twin, clip["frames"], wave=tiled(clip["wave"], TILE)), plain)

"""Temporal attention on the pyramid: golden values at full size, and its switches."""

import pytest
import torch
from avs_golden import cosines, fill_sorted, sines

from dgsct.models.keys_avs import scale_gates_keys
from dgsct.models.temporal_pyramid import PyramidTemporalAttention
from dgsct.settings.scales import PAPER
from dgsct.tasks.avs.options import AvsOptions as Options

KEYS = {public: (f"scales.{i}.{ours}", layout) for i in range(4) for public, (ours, layout) in scale_gates_keys(i).items()}
GOLDEN = {
    0.05: ([1.18584, 24.6023, 93.9235, 10.76047], 19.1699),
    0.1: ([1.21488, 25.19354, 96.20321, 11.0269], 19.63904),
}


@pytest.fixture(scope="module")
def filled() -> dict[str, torch.Tensor]:
    """The state dict under our keys."""
    state = PyramidTemporalAttention(4, PAPER.head, Options()).double().state_dict()
    public = fill_sorted({name: layout.public(state[ours]) for name, (ours, layout) in KEYS.items()}, 0.1)
    return {ours: layout.ours(public[name]) for name, (ours, layout) in KEYS.items()}


@pytest.fixture(scope="module")
def module(filled):
    def make(**options) -> PyramidTemporalAttention:
        made = PyramidTemporalAttention(4, PAPER.head, Options(**options)).double()
        made.load_state_dict(filled)
        return made.eval()

    return make


@pytest.fixture(scope="module")
def inputs() -> tuple[list[torch.Tensor], torch.Tensor]:
    """Maps of two clips, sides 8, 4, 2, 1, and their audio vector."""
    return [sines((10, 256, k, k), 0.01 * k) for k in (8, 4, 2, 1)], cosines((2, 5, 128), 0.05)


@torch.no_grad()
@pytest.mark.parametrize("gamma", GOLDEN)
def test_golden_values(module, inputs, gamma):
    maps, audio = module(gamma=gamma)(*inputs)
    sums, total = GOLDEN[gamma]
    assert [x.sum().item() for x in maps] == pytest.approx(sums, rel=1e-5)
    assert audio.sum().item() == pytest.approx(total, rel=1e-5)
    if gamma == 0.05:
        assert audio.flatten()[:4].tolist() == pytest.approx([1.025087, 1.023806, 1.019966, 1.013576], abs=1e-6)


def test_counts_and_entries(filled, module):
    made = module()
    assert len(filled) == 664
    assert sum(p.numel() for p in made.parameters()) == 42_910_728
    unused = [part for scale in made.scales for part in (scale.unused, scale.visual_decoder, scale.audio_decoder)]
    assert sum(p.numel() for part in unused for p in part.parameters()) == 42_910_728 - 18_957_320


@torch.no_grad()
@pytest.mark.parametrize(("options", "vision", "sound"), [({"A2V": False}, False, True), ({"V2A": False}, True, False)])
def test_a_direction_that_is_off_leaves_its_stream(module, inputs, options, vision, sound):
    maps, audio = module(**options)(*inputs)
    assert torch.equal(maps[0], inputs[0][0]) != vision
    assert torch.equal(audio, inputs[1]) != sound

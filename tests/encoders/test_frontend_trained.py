"""HTS-AT where it is trained: the spectrogram by its own kernels, mixed spectrograms."""

from dataclasses import replace

import pytest
import torch

from dgsct.encoders.frontend import LogMel
from dgsct.encoders.htsat import HTSAT, _mixed
from dgsct.settings.scales import MINI, PAPER


@pytest.mark.parametrize("sizes", [MINI.htsat, PAPER.htsat])
@pytest.mark.parametrize("tile", [1, 5])
def test_untrained_kernels_give_the_spectrogram_of_the_fourier_transform(sizes, tile):
    """And so does the release's convolution over the whole tiled wave."""
    front = LogMel(sizes)
    second = 0.3 * torch.randn(2, 32000, generator=torch.Generator().manual_seed(0))
    expected = front.tiled(second, tile)
    ours = front.requires_grad_(True).tiled(second, tile)
    assert ours.requires_grad
    torch.testing.assert_close(ours.detach(), expected, rtol=0, atol=2e-3)
    front.as_convolution = True
    torch.testing.assert_close(front.tiled(second, tile), ours, rtol=0, atol=2e-3)


def test_gradients_are_those_of_the_whole_convolution():
    sizes = replace(MINI.htsat, n_fft=512, hop=1280)
    second = 0.3 * torch.randn(2, 32000, generator=torch.Generator().manual_seed(0))
    grads = []
    for whole in (False, True):
        front = LogMel(sizes).requires_grad_(True)
        front.as_convolution = whole
        front.tiled(second, 5).square().mean().backward()
        grads.append([p.grad for p in front.parameters()])
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_a_trained_spectrogram_is_not_made_from_a_prepared_one():
    encoder = HTSAT(MINI.htsat).requires_grad_(True)
    with pytest.raises(ValueError, match="is made from the wave, not from a prepared log-mel"):
        encoder.log_mel(torch.zeros(1, 51, 16), 5)


def test_mixup_joins_mirrored_samples_in_training_only():
    x = torch.arange(6.0).view(6, 1, 1, 1).expand(-1, 1, 3, 2)
    torch.manual_seed(0)
    mixed = _mixed(x)
    own, mirror = x[:, 0, 0, 0], x.flip(0)[:, 0, 0, 0]
    low, high = torch.minimum(own, mirror), torch.maximum(own, mirror)
    assert ((mixed[:, 0, 0, 0] >= low) & (mixed[:, 0, 0, 0] <= high)).all()
    assert torch.equal(mixed[:, 0, 0, 0], mixed[:, 0, 2, 1])  # one weight a sample
    torch.manual_seed(0)
    many = _mixed(torch.tensor([0.0, 1.0]).repeat(20000).view(-1, 1, 1, 1)).flatten()
    weight = many[1::2]  # its mirror image is a zero
    assert weight.mean().item() == pytest.approx(0.5, abs=0.01)
    assert weight.var().item() == pytest.approx(0.125, abs=0.005)  # Beta(0.5, 0.5)
    encoder = HTSAT(MINI.htsat, mixup=True).eval()
    log_mel = torch.randn(2, 126, 16)
    mixed = encoder.image(log_mel)
    encoder.mixup = False
    assert torch.equal(encoder.image(log_mel), mixed)

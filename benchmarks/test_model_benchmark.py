"""What the order of operations saves, at full size on one thread: each pair computes the same numbers two ways.

`reference` is the release's order (its convolutions, every copy of a tiled second), `fast` is what the package runs.
"""

import pytest
import torch

from dgsct.encoders.frontend import LogMel
from dgsct.models.adapter import Prompt
from dgsct.settings.scales import PAPER

WAYS = pytest.mark.parametrize("release", [True, False], ids=["reference", "fast"])
SECONDS, FRAMES = 2, 2


@pytest.fixture(autouse=True)
def _one_thread():
    torch.manual_seed(0)
    torch.set_num_threads(1)


@WAYS
def test_log_mel_of_tiled_seconds(benchmark, release):
    front = LogMel(PAPER.htsat, as_convolution=release)
    wave = torch.randn(SECONDS, PAPER.htsat.sample_rate) * 0.1
    with torch.no_grad():
        assert benchmark(front.tiled, wave, 10).shape == (SECONDS, 1001, 64)


# (tokens, guide tokens, channels, guide channels) of the first and the last adapters, audio to visual and back.
@WAYS
@pytest.mark.parametrize("place", [(2304, 4096, 192, 96), (36, 64, 1536, 768), (64, 36, 768, 1536)], ids=str)
def test_what_latent_tokens_read_from_the_prompt(benchmark, place, release):
    tokens, guide_tokens, dim, guide_dim = place
    prompt = Prompt(tokens, guide_tokens, dim, guide_dim)
    query, y = torch.rand(PAPER.num_tokens, dim), torch.randn(FRAMES, guide_tokens, guide_dim)

    def whole():
        p = prompt(y)
        return torch.matmul(torch.matmul(query, p.transpose(1, 2)).softmax(dim=-1), p), p.mean(dim=1, keepdim=True)

    with torch.no_grad():
        read, mean = benchmark(whole if release else lambda: prompt.read(query, y))
    assert read.shape == (FRAMES, PAPER.num_tokens, dim)
    assert mean.shape == (FRAMES, 1, dim)

"""The mini VGGish learns which sounds are heard in a second."""

import torch
from torch import Tensor, nn

from dgsct.data.kinds import BELL, CHIRP, CLICKS, HISS, HUM, WHISTLE
from dgsct.encoders.examples import seconds
from dgsct.encoders.vggish import Vggish
from dgsct.encoders.vggish_frontend import SAMPLE_RATE
from dgsct.encoders.vggish_frontend import examples as log_mel
from dgsct.settings.scales import MINI

EPOCHS, BATCH, LR = 2, 16, 8e-3
SOUNDS = (HUM, CHIRP, HISS, CLICKS, BELL, WHISTLE)
FINER = 2  # the sounds reach beyond 8 kHz: made at twice the rate, of which two samples each are averaged


def examples(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Log-mel examples [count, 1, 96, 64], and which sounds are heard, float32 [count, sounds]."""
    waves, heard = seconds(SOUNDS, count, seed, FINER * SAMPLE_RATE)
    slower = waves.reshape(count, -1, FINER).mean(axis=2)
    return torch.cat([torch.from_numpy(log_mel(wave, 1)) for wave in slower]), torch.from_numpy(heard)


def build() -> tuple[Vggish, int]:
    """The encoder as its training starts, and the width of its embeddings."""
    return Vggish(MINI.vggish), MINI.vggish.embed_dim


def places(encoder: nn.Module, inputs: Tensor) -> Tensor:
    """The embeddings as one place, [B, 1, width]."""
    return encoder(inputs).unsqueeze(1)

"""The mini HTS-AT learns which sounds are heard in a second."""

import torch
from torch import Tensor, nn

from dgsct.data.kinds import BELL, CHIRP, CLICKS, HISS, HUM, WHISTLE
from dgsct.encoders.examples import seconds
from dgsct.encoders.frontend import log_mel_compact
from dgsct.encoders.htsat import HTSAT
from dgsct.settings.scales import MINI

EPOCHS, BATCH, LR = 2, 16, 8e-3
SOUNDS = (HUM, CHIRP, HISS, CLICKS, BELL, WHISTLE)
TILE = 10
CHUNK = 200  # seconds analysed at once


def examples(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Compact log-mel [count, frames, mel] in dB, and which sounds are heard, float32 [count, sounds]."""
    waves, heard = seconds(SOUNDS, count, seed, MINI.htsat.sample_rate)
    mels = [log_mel_compact(chunk, MINI.htsat, TILE) for chunk in torch.from_numpy(waves).split(CHUNK)]
    return torch.cat(mels), torch.from_numpy(heard)


def build() -> tuple[HTSAT, int]:
    """The encoder as its training starts, and the width of its tokens."""
    return HTSAT(MINI.htsat), MINI.htsat.embed_dim << (len(MINI.htsat.depths) - 1)


def places(encoder: nn.Module, mels: Tensor) -> Tensor:
    """Mean of the last block's tokens as one place, [B, 1, width]: a sound has no place in a second's spectrogram."""
    return encoder(mels, TILE).mean(dim=1, keepdim=True)

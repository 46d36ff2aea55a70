"""The mini PVT-v2 learns which looks are seen in a still."""

import torch
from torch import Tensor, nn

from dgsct.data.kinds import BOW, CROSS, DISC, RING, SQUARE, TRIANGLE
from dgsct.encoders.examples import normalised, stills
from dgsct.encoders.pvt import Pvt
from dgsct.settings.scales import MINI

EPOCHS, BATCH, LR = 4, 32, 6e-3
LOOKS = (DISC, SQUARE, TRIANGLE, RING, CROSS, BOW)
SIDE = 32  # pixels, as the frames of mini AVSBench: a number of its own, as the key of these weights knows no other's sizes


def examples(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Normalised stills [count, 3, side, side], and which looks are seen, float32 [count, looks]."""
    images, seen = stills(LOOKS, count, seed, SIDE)
    return normalised(images), torch.from_numpy(seen)


def build() -> tuple[Pvt, int]:
    """The encoder as its training starts, and the channels of its last map."""
    return Pvt(MINI.pvt), MINI.pvt.dims[-1]


def places(encoder: nn.Module, images: Tensor) -> Tensor:
    """The last map, [B, N, channels]."""
    return encoder(images)[-1].flatten(2).transpose(1, 2)

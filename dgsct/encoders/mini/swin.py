"""The mini Swin-V2 learns which looks are seen in a still."""

import torch
from torch import Tensor, nn

from dgsct.data.kinds import BOW, CROSS, RING
from dgsct.encoders.examples import normalised, stills
from dgsct.encoders.swin import SwinV2
from dgsct.settings.scales import MINI

EPOCHS, BATCH, LR = 5, 32, 4e-3
# Looks that no event of mini AVE has: as in the paper, the encoder has been trained for other pictures than the task's.
LOOKS = (RING, CROSS, BOW)


def examples(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Normalised stills [count, 3, side, side], and which looks are seen, float32 [count, looks]."""
    images, seen = stills(LOOKS, count, seed, MINI.swin.image_size)
    return normalised(images), torch.from_numpy(seen)


def build() -> tuple[SwinV2, int]:
    """The encoder as its training starts, and the width of its tokens."""
    model = SwinV2(MINI.swin)
    for block in [b for stage in model.stages() for b in stage.blocks]:
        # timm starts these norms at zero, a fresh block being the identity; a few hundred steps need a warmer start
        nn.init.constant_(block.norm1.weight, 0.5)
        nn.init.constant_(block.norm2.weight, 0.5)
    return model, MINI.swin.embed_dim << (len(MINI.swin.depths) - 1)


def places(encoder: nn.Module, images: Tensor) -> Tensor:
    """Tokens of the last block, [B, N, width]."""
    return encoder(images)

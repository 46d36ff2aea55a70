"""Patch merging between two stages of a timm Swin, on flat tokens."""

from torch import Tensor, nn


def merge(stage: nn.Module, x: Tensor) -> Tensor:
    """Patch merging that precedes a timm stage (identity before the first); tokens [B', N, C] in and out."""
    if isinstance(stage.downsample, nn.Identity):
        return x
    side = round(x.shape[1] ** 0.5)
    return stage.downsample(x.view(-1, side, side, x.shape[-1])).flatten(1, 2)

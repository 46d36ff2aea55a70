"""A linear probe on AVE: what the pooled features of both frozen encoders tell of a segment by addition alone."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dgsct.models.interaction import FrozenEncoders
from dgsct.settings.scales import Scale
from dgsct.tasks.ave.options import AveOptions


class LinearProbe(nn.Module):
    """Mean-pooled tokens of both encoders, side by side, then one linear layer: K event classes and background."""

    def __init__(self, scale: Scale, options: AveOptions) -> None:
        super().__init__()
        self.modality = options.modality
        self.encoders = FrozenEncoders(scale, options)
        width = sum(sizes.embed_dim << (len(sizes.depths) - 1) for sizes in (scale.swin, scale.htsat))
        self.classify = nn.Linear(width, scale.classes + 1)

    def forward(self, frames: Tensor, wave: Tensor | None = None, logmel: Tensor | None = None) -> Tensor:
        """Frames [B, T, 3, H, W] in [0, 1]; `wave` [B, T, samples] or `logmel` [B, T, F, mel] -> class scores [B, T, K + 1]."""
        with torch.no_grad():
            visual, audio = self.encoders.pooled(frames, wave if logmel is None else logmel)
        if self.modality != "both":
            visual, audio = (visual, audio * 0) if self.modality == "visual" else (visual * 0, audio)
        return self.classify(torch.cat((visual, audio), dim=-1))

    def losses(self, scores: Tensor, targets: Mapping[str, Tensor], epoch: int = 0) -> dict[str, Tensor]:
        """Cross-entropy of every segment's class."""
        background = scores.shape[-1] - 1
        classes = torch.where(targets["relevant"] > 0, targets["category"].unsqueeze(1), background)
        return {"segments": F.cross_entropy(scores.flatten(0, 1), classes.flatten())}

    @staticmethod
    def predict(scores: Tensor) -> dict[str, Tensor]:
        """`segments`: classes [B, T]."""
        return {"segments": scores.argmax(dim=-1)}


def build(task: str, scale: Scale, options: AveOptions) -> LinearProbe:
    """The model for AVE."""
    return LinearProbe(scale, options)

"""Late fusion: the same frozen encoders, temporal module and head, with no adapter between the encoders.

`modality=audio` or `visual` silences the other stream (its pooled features are zero), which tells what one sense alone
can do on a data set.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dgsct.models.heads.events import EventHead, EventOutput, decode
from dgsct.models.interaction import FrozenEncoders
from dgsct.models.temporal import TemporalAttention
from dgsct.settings.scales import Scale
from dgsct.tasks.ave.options import AveOptions


class LateFusion(nn.Module):
    """Mean-pooled features of each encoder alone, then temporal attention and head."""

    def __init__(self, scale: Scale, options: AveOptions) -> None:
        super().__init__()
        self.modality = options.modality
        self.encoders = FrozenEncoders(scale, options)
        visual = scale.swin.embed_dim << (len(scale.swin.depths) - 1)
        audio = scale.htsat.embed_dim << (len(scale.htsat.depths) - 1)
        self.temporal = TemporalAttention(visual, audio, scale.head, options)
        self.head = EventHead(scale.head, options, scale.classes)

    def forward(self, frames: Tensor, wave: Tensor | None = None, logmel: Tensor | None = None) -> EventOutput:
        """Frames [B, T, 3, H, W] in [0, 1]; `wave` [B, T, samples] at 32 kHz, or its compact `logmel` [B, T, F, mel]."""
        with torch.no_grad():
            visual, audio = self.encoders.pooled(frames, wave if logmel is None else logmel)
        if self.modality != "both":
            visual, audio = (visual, audio * 0) if self.modality == "visual" else (visual * 0, audio)
        return self.head(self.temporal(visual, audio))

    def losses(self, output: EventOutput, targets: Mapping[str, Tensor], epoch: int = 0) -> dict[str, Tensor]:
        """Loss terms of weight one; the training loss is their sum."""
        return self.head.losses(output, targets["relevant"], targets["category"])

    @staticmethod
    def predict(output: EventOutput) -> dict[str, Tensor]:
        """`segments`: classes [B, T]."""
        return {"segments": decode(output)}


def build(task: str, scale: Scale, options: AveOptions) -> LateFusion:
    """The model for AVE."""
    return LateFusion(scale, options)

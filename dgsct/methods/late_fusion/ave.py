"""Late fusion: the same frozen encoders, temporal module and head, with no adapter between the encoders.

`modality=audio` or `visual` silences the other stream (its pooled features are zero), which tells what one sense alone
can do on a data set.
"""

import torch
from torch import Tensor, nn

from dgsct.models.heads.events import EventHead, EventOutput, decode
from dgsct.models.interaction import FrozenEncoders
from dgsct.models.temporal import TemporalAttention
from dgsct.settings.options import Options
from dgsct.settings.scales import Scale


class LateFusion(nn.Module):
    """Mean-pooled features of each encoder alone, then temporal attention and head."""

    def __init__(self, scale: Scale, options: Options) -> None:
        super().__init__()
        self.modality = options.modality
        self.encoders = FrozenEncoders(scale, options)
        visual = scale.swin.embed_dim << (len(scale.swin.depths) - 1)
        audio = scale.htsat.embed_dim << (len(scale.htsat.depths) - 1)
        self.temporal = TemporalAttention(visual, audio, scale.head, options)
        self.head = EventHead(scale.head, options, scale.classes["ave"])

    def forward(self, frames: Tensor, wave: Tensor) -> EventOutput:
        """Frames [B, T, 3, H, W] in [0, 1]; `wave` [B, T, samples] at 32 kHz, or its compact log-mel [B, T, F, mel]."""
        with torch.no_grad():
            visual, audio = self.encoders.pooled(frames, wave)
        if self.modality != "both":
            visual, audio = (visual, audio * 0) if self.modality == "visual" else (visual * 0, audio)
        return self.head(self.temporal(visual, audio))

    def losses(self, output: EventOutput, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Loss terms of weight one; the training loss is their sum."""
        return self.head.losses(output, targets["relevant"], targets["category"])

    @staticmethod
    def predict(output: EventOutput) -> Tensor:
        """Segment classes [B, T]."""
        return decode(output)


def build(task: str, scale: Scale, options: Options) -> LateFusion:
    """The model for `task` (AVE so far)."""
    return LateFusion(scale, options)

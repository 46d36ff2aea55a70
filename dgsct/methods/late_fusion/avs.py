"""Late fusion for segmentation: the same encoders, pyramid, TPAVI and decoder, with no adapter between the encoders."""

import torch
from torch import Tensor, nn

from dgsct.models.heads.masks import MaskOutput, PyramidHead, mask_losses, mask_probabilities
from dgsct.models.interaction import FrozenEncoders, Pyramid
from dgsct.settings.options import Options
from dgsct.settings.scales import Scale


class LateFusionSegmentation(nn.Module):
    """Each encoder alone; `modality=visual` or `audio` silences the other stream (its features are zero)."""

    def __init__(self, scale: Scale, options: Options) -> None:
        super().__init__()
        self.modality = options.modality
        self.av_weight = options.av_weight
        self.encoders = FrozenEncoders(scale, options)
        visual = [scale.swin.embed_dim << i for i in range(len(scale.swin.depths))]
        audio = scale.htsat.embed_dim << (len(scale.htsat.depths) - 1)
        self.head = PyramidHead(visual, audio, scale.head, options)

    def forward(self, frames: Tensor, audio: Tensor) -> MaskOutput:
        """Frames [B, T, 3, H, H] in [0, 1]; `audio` as waves [B, T, samples] at 32 kHz, or their compact log-mel."""
        with torch.no_grad():
            visual, sound = self.encoders.pyramid(frames, audio)
        if self.modality == "visual":
            sound = torch.zeros_like(sound)
        if self.modality == "audio":
            visual = tuple(torch.zeros_like(x) for x in visual)
        return self.head(Pyramid(visual, sound), frames.shape[-1])

    def losses(self, output: MaskOutput, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Loss terms of weight one; the training loss is their sum."""
        return mask_losses(output, targets, self.av_weight)

    @staticmethod
    def predict(output: MaskOutput) -> Tensor:
        """Probabilities [B, T, H, W]."""
        return mask_probabilities(output)


def build(task: str, scale: Scale, options: Options) -> LateFusionSegmentation:
    """The model for setting `task`."""
    return LateFusionSegmentation(scale.of(task), options)

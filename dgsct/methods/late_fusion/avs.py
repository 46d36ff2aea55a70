"""Late fusion for segmentation: the same encoders, pyramid, TPAVI and decoder, with no adapter between the encoders."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dgsct.models.heads.masks import MaskOutput, PyramidHead, mask_losses, mask_probabilities, trained_on
from dgsct.models.interaction import FrozenEncoders, Pyramid
from dgsct.settings.scales import Scale
from dgsct.tasks.avs.options import AvsOptions


class LateFusionSegmentation(nn.Module):
    """Each encoder alone; `modality=visual` or `audio` silences the other stream (its features are zero)."""

    def __init__(self, task: str, scale: Scale, options: AvsOptions) -> None:
        super().__init__()
        self.modality = options.modality
        self.av_weight = options.av_weight
        self.encoders = FrozenEncoders(scale, options)
        visual = [scale.swin.embed_dim << i for i in range(len(scale.swin.depths))]
        audio = scale.htsat.embed_dim << (len(scale.htsat.depths) - 1)
        self.head = PyramidHead(visual, audio, scale.head, options, trained_on(task, options.av_weight))

    def forward(self, frames: Tensor, wave: Tensor | None = None, logmel: Tensor | None = None) -> MaskOutput:
        """Frames [B, T, 3, H, H] in [0, 1]; `wave` [B, T, samples] at 32 kHz, or its compact `logmel` [B, T, F, mel]."""
        with torch.no_grad():
            visual, sound = self.encoders.pyramid(frames, wave if logmel is None else logmel)
        if self.modality == "visual":
            sound = torch.zeros_like(sound)
        if self.modality == "audio":
            visual = tuple(torch.zeros_like(x) for x in visual)
        return self.head(Pyramid(visual, sound), frames.shape[-1])

    def losses(self, output: MaskOutput, targets: Mapping[str, Tensor], epoch: int = 0) -> dict[str, Tensor]:
        """Loss terms of weight one; the training loss is their sum."""
        return mask_losses(output, targets, self.av_weight)

    @staticmethod
    def predict(output: MaskOutput) -> dict[str, Tensor]:
        """`masks`: probabilities [B, T, H, W]."""
        return {"masks": mask_probabilities(output)}


def build(task: str, scale: Scale, options: AvsOptions) -> LateFusionSegmentation:
    """The model for setting `task`."""
    return LateFusionSegmentation(task, scale, options)

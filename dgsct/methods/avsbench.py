"""The AVSBench baseline: an image encoder that is trained whole, frozen VGGish, TPAVI and a decoder.

frames -> PVT-v2 or ResNet -> ASPP at each scale -> TPAVI with VGGish's embeddings -> decoder -> masks
"""

import torch
from torch import Tensor, nn

from dgsct.encoders.pvt import Pvt
from dgsct.encoders.resnet import Resnet
from dgsct.encoders.swin import IMAGENET_MEAN, IMAGENET_STD
from dgsct.encoders.vggish import Vggish
from dgsct.models.heads.masks import ASPP, MaskOutput, Segmenter, mask_losses, mask_probabilities
from dgsct.settings.options import Options
from dgsct.settings.scales import Scale


class AvsEncoders(nn.Module):
    """The baseline's encoders by the names of their public files. VGGish is frozen and always in evaluation mode."""

    def __init__(self, scale: Scale, backbone: str) -> None:
        super().__init__()
        self.backbone = backbone
        self.add_module(backbone, Pvt(scale.pvt) if backbone == "pvt" else Resnet(scale.resnet50))
        self.vggish = Vggish(scale.vggish).requires_grad_(False)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def train(self, mode: bool = True) -> "AvsEncoders":
        """The image encoder follows the training mode, VGGish does not."""
        super().train(mode)
        self.vggish.train(False)
        return self

    def forward(self, frames: Tensor, examples: Tensor) -> tuple[list[Tensor], Tensor]:
        """Frames [B, T, 3, H, W] in [0, 1], log-mel examples [B, T, 1, 96, 64] -> maps [B T, C_i, k, k], audio [B, T, D]."""
        images = (frames.flatten(0, 1).to(self.mean.dtype) - self.mean) / self.std
        with torch.no_grad():
            sound = self.vggish(examples.flatten(0, 1)).view(*examples.shape[:2], -1)
        return getattr(self, self.backbone)(images), sound


class AVSBaseline(nn.Module):
    """AVSBench's model with TPAVI at all four scales (101,320,577 parameters with PVT-v2-b5, 91,400,961 with ResNet-50,
    VGGish's 72,141,184 beside them)."""

    def __init__(self, scale: Scale, options: Options) -> None:
        super().__init__()
        self.av_weight = options.av_weight
        self.encoders = AvsEncoders(scale, options.visual_backbone)
        dims = getattr(scale, options.visual_backbone).dims
        self.bridges = nn.ModuleList(ASPP(dim, scale.head.width) for dim in dims)
        self.segmenter = Segmenter(len(dims), scale.head.width, scale.vggish.embed_dim)

    def forward(self, frames: Tensor, examples: Tensor) -> MaskOutput:
        """Frames [B, T, 3, H, H] in [0, 1], VGGish log-mel examples [B, T, 1, 96, 64] -> masks."""
        maps, sound = self.encoders(frames, examples)
        return self.segmenter([bridge(x) for bridge, x in zip(self.bridges, maps, strict=True)], sound)

    def losses(self, output: MaskOutput, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Loss terms of weight one; the training loss is their sum."""
        return mask_losses(output, targets, self.av_weight)

    @staticmethod
    def predict(output: MaskOutput) -> Tensor:
        """Probabilities [B, T, H, W]."""
        return mask_probabilities(output)


def build(task: str, scale: Scale, options: Options) -> AVSBaseline:
    """The model for setting `task`."""
    return AVSBaseline(scale.of(task), options)

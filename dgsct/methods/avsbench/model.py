"""The AVSBench baseline: an image encoder that is trained whole, TPAVI with VGGish features, and a decoder.

frames -> PVT-v2 or ResNet -> ASPP at each scale -> TPAVI with VGGish's embeddings -> decoder -> masks
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dgsct.encoders.imagenet import IMAGENET_MEAN, IMAGENET_STD
from dgsct.encoders.pvt import Pvt
from dgsct.encoders.resnet import Resnet
from dgsct.methods.avsbench import AvsBenchOptions
from dgsct.models.heads.masks import ASPP, MaskOutput, Segmenter, mask_losses, mask_probabilities, trained_on
from dgsct.models.keys import PublicLayout
from dgsct.models.keys_avs import baseline_rules
from dgsct.settings.scales import Scale
from dgsct.tasks.avs.options import AvsOptions


class AvsEncoders(nn.Module):
    """The baseline's image encoder by the name of its public file; VGGish, which it never trains, is a feature."""

    def __init__(self, scale: Scale, backbone: str) -> None:
        super().__init__()
        self.backbone = backbone
        self.add_module(backbone, Pvt(scale.pvt) if backbone == "pvt" else Resnet(scale.resnet50))
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, frames: Tensor) -> list[Tensor]:
        """Frames [B, T, 3, H, W] in [0, 1] -> maps [B T, C_i, k, k], finest first."""
        return getattr(self, self.backbone)((frames.flatten(0, 1).to(self.mean.dtype) - self.mean) / self.std)


class AVSBaseline(nn.Module):
    """AVSBench's model with TPAVI at all four scales (101,320,577 parameters with PVT-v2-b5, 91,400,961 with ResNet-50)."""

    def __init__(self, task: str, scale: Scale, options: AvsOptions | AvsBenchOptions) -> None:
        super().__init__()
        self.av_weight = options.av_weight
        self.encoders = AvsEncoders(scale, options.visual_backbone)
        dims = getattr(scale, options.visual_backbone).dims
        self.bridges = nn.ModuleList(ASPP(dim, scale.head.width) for dim in dims)
        self.segmenter = Segmenter(len(dims), scale.head.width, scale.vggish.embed_dim, trained_on(task, options.av_weight))

    def forward(self, frames: Tensor, vggish: Tensor) -> MaskOutput:
        """Frames [B, T, 3, H, H] in [0, 1], VGGish embeddings [B, T, D] -> masks."""
        maps = self.encoders(frames)
        return self.segmenter([bridge(x) for bridge, x in zip(self.bridges, maps, strict=True)], vggish)

    def losses(self, output: MaskOutput, targets: Mapping[str, Tensor], epoch: int = 0) -> dict[str, Tensor]:
        """Loss terms of weight one; the training loss is their sum."""
        return mask_losses(output, targets, self.av_weight)

    @staticmethod
    def predict(output: MaskOutput) -> dict[str, Tensor]:
        """`masks`: probabilities [B, T, H, W]."""
        return {"masks": mask_probabilities(output)}

    def start_from(self, name: str, weights: Mapping[str, Tensor]) -> None:
        """Everything of the model that was trained on S4: the two settings are one network."""
        self.load_state_dict(dict(weights))


def _recognise(tensors: Mapping[str, Tensor]) -> dict[str, str] | None:
    """The two settings are one network, so that a file cannot tell them apart."""
    if any("adapter_blocks" in key for key in tensors) or not any(key.startswith("tpavi_b1.") for key in tensors):
        return None
    resnet = any(key.startswith("resnet.") for key in tensors)
    return {"task": "avs-s4", "method": "avs-r50" if resnet else "avs-pvt"}


PUBLIC = PublicLayout("AVSBench", baseline_rules, _recognise)


def build(task: str, scale: Scale, options: AvsOptions | AvsBenchOptions) -> AVSBaseline:
    """The model for setting `task`."""
    return AVSBaseline(task, scale, options)

"""DG-SCT, and LAVisH* as its ablation, for segmentation: adapters between the encoders, then AVSBench's decoder.

frames, sound -> DualBackbone -> pyramid and audio vector -> temporal attention -> TPAVI -> decoder -> masks

The settings are different networks. S4 resizes prompts, has reduction 8 and, in the release, trains HTS-AT; MS3 maps
prompts over tokens and has reduction 2. Both have bare adapters, of which only the visual ones are gated.
"""

from torch import Tensor, nn

from dgsct.encoders.pvt import Pvt
from dgsct.models.adapter import Form
from dgsct.models.heads.masks import MaskOutput, PyramidHead, mask_losses, mask_probabilities, unused_bridges
from dgsct.models.interaction import DualBackbone
from dgsct.settings.options import Options
from dgsct.settings.scales import Scale

FORMS = {
    "avs-s4": Form(prompt="resize", bottleneck="bare", off="absent"),
    "avs-ms3": Form(prompt="tokens", bottleneck="bare", off="absent"),
}


class DGSCTSegmentation(nn.Module):
    """The model of the paper for AVS (release: 594,766,109 parameters in S4, 602,853,149 in MS3, at paper scale)."""

    def __init__(self, task: str, scale: Scale, options: Options, release_order: bool = False) -> None:
        super().__init__()
        self.av_weight = options.av_weight
        self.backbone = DualBackbone(scale, options, release_order, FORMS[task])
        visual = [scale.swin.embed_dim << i for i in range(len(scale.swin.depths))]
        audio = scale.htsat.embed_dim << (len(scale.htsat.depths) - 1)
        self.head = PyramidHead(visual, audio, scale.head, options)
        # "Combined with the original AVS model" the release builds that model's encoder and bridges, and calls neither.
        self.unused = unused_bridges(visual, scale.pvt.dims, scale.head.width)
        self.unused["pvt"] = Pvt(scale.pvt)

    def forward(self, frames: Tensor, audio: Tensor) -> MaskOutput:
        """Frames [B, T, 3, H, H] in [0, 1]; `audio` as waves [B, T, samples] at 32 kHz, or their compact log-mel."""
        return self.head(self.backbone.pyramid(frames, audio), frames.shape[-1])

    def losses(self, output: MaskOutput, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Loss terms of weight one; the training loss is their sum."""
        return mask_losses(output, targets, self.av_weight)

    @staticmethod
    def predict(output: MaskOutput) -> Tensor:
        """Probabilities [B, T, H, W]."""
        return mask_probabilities(output)


def build(task: str, scale: Scale, options: Options, release_order: bool = False) -> DGSCTSegmentation:
    """The model for setting `task`."""
    return DGSCTSegmentation(task, scale.of(task), options, release_order)

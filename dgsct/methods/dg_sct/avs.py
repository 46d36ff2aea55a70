"""DG-SCT, and LAVisH* as its ablation, for segmentation: adapters between the encoders, then AVSBench's decoder.

frames, sound -> DualBackbone -> pyramid and audio vector -> temporal attention -> TPAVI -> decoder -> masks

The settings are different networks. S4 resizes prompts, has reduction 8 and, in the release, trains HTS-AT; MS3 maps
prompts over tokens and has reduction 2. Both have bare adapters, of which only the visual ones are gated.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from dgsct.encoders.pvt import Pvt
from dgsct.models.adapter import Form
from dgsct.models.heads.masks import MaskOutput, PyramidHead, mask_losses, mask_probabilities, trained_on, unused_bridges
from dgsct.models.interaction import DualBackbone
from dgsct.models.keys import PublicLayout
from dgsct.models.keys_avs import segmentation_rules
from dgsct.settings.scales import Scale
from dgsct.tasks.avs.options import AvsOptions

FORMS = {
    "avs-s4": Form(prompt="resize", bottleneck="bare", off="absent", frugal=True),
    "avs-ms3": Form(prompt="tokens", bottleneck="bare", off="absent", frugal=True),
}


class DGSCTSegmentation(nn.Module):
    """The model of the paper for AVS (release: 594,766,109 parameters in S4, 602,853,149 in MS3, at paper scale)."""

    def __init__(self, task: str, scale: Scale, options: AvsOptions, release_order: bool = False) -> None:
        super().__init__()
        self.av_weight = options.av_weight
        self.backbone = DualBackbone(scale, options, release_order, FORMS[task])
        visual = [scale.swin.embed_dim << i for i in range(len(scale.swin.depths))]
        audio = scale.htsat.embed_dim << (len(scale.htsat.depths) - 1)
        self.head = PyramidHead(visual, audio, scale.head, options, trained_on(task, options.av_weight))
        # "Combined with the original AVS model" the release builds that model's encoder and bridges, and calls neither.
        self.unused = unused_bridges(visual, scale.pvt.dims, scale.head.width)
        self.unused["pvt"] = Pvt(scale.pvt)

    def forward(self, frames: Tensor, wave: Tensor | None = None, logmel: Tensor | None = None) -> MaskOutput:
        """Frames [B, T, 3, H, H] in [0, 1]; `wave` [B, T, samples] at 32 kHz, or its compact `logmel` [B, T, F, mel]."""
        return self.head(self.backbone.pyramid(frames, wave if logmel is None else logmel), frames.shape[-1])

    def losses(self, output: MaskOutput, targets: Mapping[str, Tensor], epoch: int = 0) -> dict[str, Tensor]:
        """Loss terms of weight one; the training loss is their sum."""
        return mask_losses(output, targets, self.av_weight)

    @staticmethod
    def predict(output: MaskOutput) -> dict[str, Tensor]:
        """`masks`: probabilities [B, T, H, W]."""
        return {"masks": mask_probabilities(output)}


def _recognise(tensors: Mapping[str, Tensor]) -> dict[str, str] | None:
    """The settings differ in the reduction of their adapters."""
    down, tokens = (tensors.get(f"vis_adapter_blocks_p1.0.{name}") for name in ("down_sampler.weight", "my_tokens"))
    if not any(key.startswith("tpavi_b1.") for key in tensors) or down is None or tokens is None or tokens.dim() < 2:
        return None
    return {"task": "avs-ms3" if tokens.shape[1] == 2 * down.shape[0] else "avs-s4", "method": "dg-sct"}


PUBLIC = PublicLayout("the AVS release", segmentation_rules, _recognise)


def build(task: str, scale: Scale, options: AvsOptions, release_order: bool = False) -> DGSCTSegmentation:
    """The model for setting `task`."""
    return DGSCTSegmentation(task, scale, options, release_order)

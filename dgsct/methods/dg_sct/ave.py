"""DG-SCT, and LAVisH* as its ablation: adapters between frozen encoders, temporal attention, the task's head.

frames, sound -> DualBackbone -> pooled segments -> TemporalAttention -> head -> scores
"""

from collections.abc import Mapping
from itertools import pairwise

from torch import Tensor, nn

from dgsct.models.heads.events import EventHead, EventOutput, decode
from dgsct.models.interaction import DualBackbone
from dgsct.models.keys import PublicLayout, ave_rules
from dgsct.models.temporal import TemporalAttention
from dgsct.settings.scales import Scale
from dgsct.tasks.ave.options import AveOptions


class DGSCT(nn.Module):
    """The model of the paper for AVE (release: 461,282,531 parameters, 43.61 % trainable, at paper scale).

    `release_order` runs the operations in the release's order (convolution as STFT, prompts token-first), for counting.
    """

    def __init__(self, scale: Scale, options: AveOptions, release_order: bool = False) -> None:
        super().__init__()
        self.backbone = DualBackbone(scale, options, release_order)
        visual = scale.swin.embed_dim << (len(scale.swin.depths) - 1)
        audio = scale.htsat.embed_dim << (len(scale.htsat.depths) - 1)
        self.temporal = TemporalAttention(visual, audio, scale.head, options)
        self.head = EventHead(scale.head, options, scale.classes)
        # The release creates these three maps between token widths, keeps them frozen and never calls them.
        widths = [scale.htsat.embed_dim // 4 << i for i in range(len(scale.htsat.depths))]
        self.unused_downsampler = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in pairwise(widths))
        self.unused_downsampler.requires_grad_(False)

    def forward(self, frames: Tensor, wave: Tensor | None = None, logmel: Tensor | None = None) -> EventOutput:
        """Frames [B, T, 3, H, W] in [0, 1]; `wave` [B, T, samples] at 32 kHz, or its compact `logmel` [B, T, F, mel]."""
        return self.head(self.temporal(*self.backbone(frames, wave if logmel is None else logmel)))

    def losses(self, output: EventOutput, targets: Mapping[str, Tensor], epoch: int = 0) -> dict[str, Tensor]:
        """Loss terms of weight one; the training loss is their sum."""
        return self.head.losses(output, targets["relevant"], targets["category"])

    @staticmethod
    def predict(output: EventOutput) -> dict[str, Tensor]:
        """`segments`: classes [B, T]."""
        return {"segments": decode(output)}


def _recognise(tensors: Mapping[str, Tensor]) -> dict[str, str] | None:
    return {"task": "ave", "method": "dg-sct"} if any(key.startswith("CMBS.") for key in tensors) else None


PUBLIC = PublicLayout("the AVE release", ave_rules, _recognise)


def build(task: str, scale: Scale, options: AveOptions, release_order: bool = False) -> DGSCT:
    """The model for AVE."""
    return DGSCT(scale, options, release_order)

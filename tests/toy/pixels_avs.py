"""The toy on segmentation: three numbers a pixel and a bias, enough to find what is bright."""

from typing import NamedTuple

import torch
from pixels_pace import pause
from torch import Tensor, nn
from torch.nn import functional as F


class PixelOutput(NamedTuple):
    """Logits [B, T, H, W]."""

    logits: Tensor


class Pixels(nn.Module):
    """Three numbers a pixel and a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def forward(self, frames: Tensor, vggish: Tensor) -> PixelOutput:
        pause(self.training)
        return PixelOutput(40 * self.layer(frames.movedim(2, -1) - 0.6).squeeze(-1) + 0 * vggish.mean())

    def losses(self, output: PixelOutput, targets: dict[str, Tensor], epoch: int = 0) -> dict[str, Tensor]:
        seen = targets["annotated"]
        return {"bce": F.binary_cross_entropy_with_logits(output.logits[seen], targets["masks"][seen])}

    @staticmethod
    def predict(output: PixelOutput) -> dict[str, Tensor]:
        return {"masks": output.logits.sigmoid()}

    def start_from(self, name: str, weights: dict[str, Tensor]) -> None:
        self.load_state_dict(dict(weights))


def build(task: str, scale, options) -> Pixels:
    torch.manual_seed(0)
    return Pixels()

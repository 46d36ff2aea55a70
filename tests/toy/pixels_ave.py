"""The toy on AVE: one linear layer on the colours and the sound of a second, behind batch statistics and dropout."""

import torch
from pixels_pace import pause
from torch import Tensor, nn
from torch.nn import functional as F

GRID = 4  # colours are means over a grid of so many squares a side


class Seconds(nn.Module):
    """Classes of every second [B, T, classes + 1], the last of which is background."""

    def __init__(self, mel_bins: int, classes: int) -> None:
        super().__init__()
        width = 3 * GRID * GRID + mel_bins
        self.mixed = nn.Linear(width, width, bias=False).requires_grad_(False)
        self.norm, self.dropout = nn.BatchNorm1d(width), nn.Dropout(0.2)
        self.layer = nn.Linear(width, classes + 1)

    def forward(self, frames: Tensor, logmel: Tensor) -> Tensor:
        pause(self.training)
        colours = F.adaptive_avg_pool2d(frames.flatten(0, 1).float(), GRID).flatten(1)
        seen = self.norm(self.mixed(torch.cat([colours, logmel.flatten(0, 1).mean(1)], 1)))
        return self.layer(self.dropout(seen)).unflatten(0, frames.shape[:2])

    def losses(self, output: Tensor, targets: dict[str, Tensor], epoch: int = 0) -> dict[str, Tensor]:
        background = output.shape[-1] - 1
        classes = torch.where(targets["relevant"].bool(), targets["category"][:, None], background)
        return {"classes": F.cross_entropy(output.flatten(0, 1), classes.flatten())}

    @staticmethod
    def predict(output: Tensor) -> dict[str, Tensor]:
        return {"segments": output.argmax(-1)}


def build(task: str, scale, options) -> Seconds:
    return Seconds(scale.htsat.mel_bins, scale.classes)

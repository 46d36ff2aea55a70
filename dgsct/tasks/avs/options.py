"""The switches that AVSBench's two settings bring, with the defaults of their releases (`DG-SCT/AVS/avs_scripts`)."""

from dataclasses import dataclass
from typing import Literal

from dgsct.settings.options import Options

FProtocol = Literal["batch4", "clip", "frame"]


@dataclass(frozen=True)
class AvsOptions(Options):
    """Switches of runs on AVSBench: how the F-score is thresholded, and the weight of the loss between sound and image."""

    tile: int = 5
    f_protocol: FProtocol = "batch4"
    av_weight: float = 0.0


@dataclass(frozen=True)
class S4Options(AvsOptions):
    """Setting S4."""

    gamma: float = 0.05


@dataclass(frozen=True)
class Ms3Options(AvsOptions):
    """Setting MS3."""

    alpha: float = 0.2
    beta: float = 0.1
    av_weight: float = 0.5

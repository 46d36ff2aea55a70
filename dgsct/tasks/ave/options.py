"""The switches that AVE brings."""

from dataclasses import dataclass
from typing import Literal

from dgsct.settings.options import Options

Head = Literal["release", "cmbs_full"]
GateLoss = Literal["double_sigmoid", "probability"]
Accuracy = Literal["batch8", "exact"]


@dataclass(frozen=True)
class AveOptions(Options):
    """Switches of runs on AVE: head and loss of the release, and how accuracy is averaged."""

    head: Head = "release"
    gate_loss: GateLoss = "double_sigmoid"
    accuracy: Accuracy = "batch8"

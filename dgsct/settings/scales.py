"""The two scales: `paper` (full size) and `mini` (the same code with tiny sizes). Sizes only, no code paths.

Plain dataclasses without torch, so that the DAG, the CLI and the trainer read the same table.
"""

from dataclasses import dataclass
from typing import Any

from dgsct.errors import UsageError


@dataclass(frozen=True)
class SwinSizes:
    """Swin-V2 image encoder (fact: Swin-V2-L at 192 pixels in the paper)."""

    image_size: int
    patch_size: int
    embed_dim: int
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    window_size: int
    num_classes: int
    drop_path: float = 0.1


@dataclass(frozen=True)
class HtsatSizes:
    """HTS-AT audio encoder and its log-mel front end (AudioSet configuration in the paper)."""

    sample_rate: int
    n_fft: int
    hop: int
    mel_bins: int
    f_min: float
    f_max: float
    spec_size: int
    patch_size: int
    embed_dim: int
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    window_size: int
    num_classes: int
    drop_path: float = 0.1
    time_stripe: int = 64
    mel_stripe: int = 8

    @property
    def front_end(self) -> dict[str, Any]:
        """What a log-mel spectrogram depends on."""
        names = ("n_fft", "hop", "mel_bins", "f_min", "f_max", "sample_rate")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class PvtSizes:
    """PVT-v2, the AVSBench baseline's image encoder (PVT-v2-b5 in the paper); MLP ratio 4."""

    dims: tuple[int, ...]
    num_heads: tuple[int, ...]
    depths: tuple[int, ...]
    sr_ratios: tuple[int, ...] = (8, 4, 2, 1)
    drop_path: float = 0.1


@dataclass(frozen=True)
class ResnetSizes:
    """A bottleneck ResNet, the baseline's other image encoder (ResNet-50 in the paper)."""

    depths: tuple[int, ...]
    width_per_group: int = 64
    expansion: int = 4

    @property
    def dims(self) -> tuple[int, ...]:
        """Channels of the four stages."""
        return tuple(64 * self.expansion << i for i in range(len(self.depths)))


@dataclass(frozen=True)
class VggishSizes:
    """VGGish, the baseline's audio encoder: channels of its four groups of convolutions, hidden and output width."""

    channels: tuple[int, ...]
    hidden: int
    embed_dim: int = 128


@dataclass(frozen=True)
class HeadSizes:
    """Temporal module and head. In segmentation `width` is that of the pyramid, `audio_hidden` of the audio vector."""

    visual_hidden: int = 512
    audio_hidden: int = 128
    width: int = 256
    feed_forward: int = 1024
    num_heads: int = 4


@dataclass(frozen=True)
class Scale:
    """One scale: the sizes of encoders, adapters and heads, and how its runs are started.

    `classes` is the number of classes of the task that it was made for (`dgsct.tasks.Task.at`), which may also set sizes of
    its own in place of the common ones. `gate` is how much an adapter adds to its stream as training starts, `inner_gate` the
    same where the gate lies inside the last norm: nothing in the release, whose gates have thousands of updates to open; a mini
    run has a hundred, and starts with them ajar.
    """

    name: str
    swin: SwinSizes
    htsat: HtsatSizes
    head: HeadSizes
    num_tokens: int
    reduction: int
    groups: int
    frame_size: int  # side of AVSBench's frames and masks in pixels
    generated_data: bool
    short_runs: bool
    gate: float = 0.0
    inner_gate: float = 0.0
    gpus: int = 1
    pvt: PvtSizes = PvtSizes((64, 128, 320, 512), (1, 2, 5, 8), (3, 6, 40, 3))
    resnet50: ResnetSizes = ResnetSizes((3, 4, 6, 3))
    vggish: VggishSizes = VggishSizes((64, 128, 256, 512), 4096)
    classes: int = 0


PAPER = Scale(
    name="paper",
    swin=SwinSizes(192, 4, 192, (2, 2, 18, 2), (6, 12, 24, 48), 12, 21841),
    htsat=HtsatSizes(32000, 1024, 320, 64, 50.0, 14000.0, 256, 4, 96, (2, 2, 6, 2), (4, 8, 16, 32), 8, 527),
    head=HeadSizes(),
    num_tokens=32,
    reduction=8,
    groups=2,
    frame_size=224,
    generated_data=False,
    short_runs=False,
)

MINI = Scale(
    name="mini",
    swin=SwinSizes(32, 4, 24, (2, 1), (1, 2), 4, 8),
    htsat=HtsatSizes(32000, 256, 1280, 16, 50.0, 14000.0, 64, 8, 24, (1, 1), (1, 2), 4, 8, time_stripe=16, mel_stripe=2),
    head=HeadSizes(visual_hidden=64, audio_hidden=64, width=48, feed_forward=128, num_heads=4),
    num_tokens=4,
    reduction=4,
    groups=2,
    gate=0.2,
    inner_gate=0.5,
    frame_size=32,
    generated_data=True,
    short_runs=True,
    pvt=PvtSizes((16, 24, 40, 64), (1, 2, 5, 8), (1, 1, 2, 1)),
    resnet50=ResnetSizes((1, 1, 1, 1), width_per_group=16, expansion=1),
    vggish=VggishSizes((4, 8, 16, 32), 64),
)

SCALES: dict[str, Scale] = {"paper": PAPER, "mini": MINI}


def get_scale(name: str) -> Scale:
    """Scale by name; UsageError that lists the known ones."""
    if name not in SCALES:
        raise UsageError(f"unknown scale {name!r}; choose one of: {', '.join(SCALES)}")
    return SCALES[name]

"""The two scales: `paper` (full size) and `mini` (the same code with tiny sizes). Sizes only, no code paths.

Plain dataclasses without torch, so that the DAG, the CLI and the trainer read the same table.
"""

from dataclasses import dataclass, field, replace
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
class Recipe:
    """Sizes of the training recipe of one task; a protocol's switches are options, not sizes."""

    epochs: int
    patience: int
    batch_size: int
    lr: float
    lr_step: int
    lr_gamma: float
    threads: int | None = None
    checkpoint_every: int | None = None


@dataclass(frozen=True)
class Scale:
    """One scale: the sizes of encoders, adapters, heads and recipes, and how its runs are started."""

    name: str
    swin: SwinSizes
    htsat: HtsatSizes
    head: HeadSizes
    num_tokens: int
    reduction: int
    groups: int
    frame_size: int  # side of AVSBench's frames and masks in pixels
    classes: dict[str, int]
    recipes: dict[str, Recipe]
    generated_data: bool
    short_runs: bool
    gpus: int = 1
    pvt: PvtSizes = PvtSizes((64, 128, 320, 512), (1, 2, 5, 8), (3, 6, 40, 3))
    resnet50: ResnetSizes = ResnetSizes((3, 4, 6, 3))
    vggish: VggishSizes = VggishSizes((64, 128, 256, 512), 4096)
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)

    def of(self, task: str) -> "Scale":
        """The scale with the sizes that `task` sets in place of the common ones (`settings`)."""
        return replace(self, **self.settings.get(task, {}))

    def recipe(self, task: str, method: str | None = None) -> Recipe:
        """The recipe of `task` at this scale, or the method's own (`task/method`); UsageError if the task has none yet."""
        if task not in self.recipes:
            known = ", ".join(name for name in self.recipes if "/" not in name)
            raise UsageError(f"scale {self.name!r} has no recipe for task {task!r}; known: {known}")
        return self.recipes.get(f"{task}/{method}", self.recipes[task])


PAPER = Scale(
    name="paper",
    swin=SwinSizes(192, 4, 192, (2, 2, 18, 2), (6, 12, 24, 48), 12, 21841),
    htsat=HtsatSizes(32000, 1024, 320, 64, 50.0, 14000.0, 256, 4, 96, (2, 2, 6, 2), (4, 8, 16, 32), 8, 527),
    head=HeadSizes(),
    num_tokens=32,
    reduction=8,
    groups=2,
    frame_size=224,
    classes={"ave": 28},
    recipes={
        "ave": Recipe(epochs=50, patience=20, batch_size=8, lr=5e-4, lr_step=3, lr_gamma=0.35),
        "avs-s4": Recipe(epochs=15, patience=15, batch_size=8, lr=3e-4, lr_step=1, lr_gamma=1.0),
        "avs-s4/avs-pvt": Recipe(epochs=15, patience=15, batch_size=4, lr=1e-4, lr_step=1, lr_gamma=1.0),
        "avs-s4/avs-r50": Recipe(epochs=15, patience=15, batch_size=4, lr=1e-4, lr_step=1, lr_gamma=1.0),
        "avs-ms3": Recipe(epochs=30, patience=30, batch_size=2, lr=1.5e-4, lr_step=1, lr_gamma=1.0),
        "avs-ms3/avs-pvt": Recipe(epochs=30, patience=30, batch_size=4, lr=1e-4, lr_step=1, lr_gamma=1.0),
        "avs-ms3/avs-r50": Recipe(epochs=30, patience=30, batch_size=4, lr=1e-4, lr_step=1, lr_gamma=1.0),
    },
    generated_data=False,
    short_runs=False,
    settings={"avs-ms3": {"reduction": 2}},
)

MINI = Scale(
    name="mini",
    swin=SwinSizes(32, 4, 24, (1, 3, 1), (1, 2, 4), 4, 8),
    htsat=HtsatSizes(32000, 1024, 1280, 16, 50.0, 14000.0, 64, 8, 24, (1, 1, 1), (1, 2, 4), 4, 8, time_stripe=16, mel_stripe=2),
    head=HeadSizes(visual_hidden=64, audio_hidden=64, width=64, feed_forward=128, num_heads=4),
    num_tokens=4,
    reduction=4,
    groups=2,
    frame_size=32,
    classes={"ave": 6},
    recipes={
        "ave": Recipe(epochs=10, patience=10, batch_size=8, lr=2e-3, lr_step=3, lr_gamma=0.5, threads=1, checkpoint_every=10),
        # A higher rate spoils the spectrogram's own weights, which S4 trains in protocol release.
        "avs-s4": Recipe(6, 6, batch_size=4, lr=1e-3, lr_step=4, lr_gamma=0.3, threads=1, checkpoint_every=40),
        "avs-ms3": Recipe(6, 6, batch_size=4, lr=1e-3, lr_step=4, lr_gamma=0.3, threads=1, checkpoint_every=40),
        # The baseline is trained whole, from less pre-training: more steps, at one rate.
        "avs-s4/avs-pvt": Recipe(8, 8, batch_size=4, lr=1e-3, lr_step=1, lr_gamma=1.0, threads=1, checkpoint_every=40),
        "avs-s4/avs-r50": Recipe(8, 8, batch_size=4, lr=1e-3, lr_step=1, lr_gamma=1.0, threads=1, checkpoint_every=40),
        "avs-ms3/avs-pvt": Recipe(12, 12, batch_size=4, lr=1e-3, lr_step=1, lr_gamma=1.0, threads=1, checkpoint_every=40),
        "avs-ms3/avs-r50": Recipe(12, 12, batch_size=4, lr=1e-3, lr_step=1, lr_gamma=1.0, threads=1, checkpoint_every=40),
    },
    generated_data=True,
    short_runs=True,
    pvt=PvtSizes((16, 24, 40, 64), (1, 2, 5, 8), (1, 1, 2, 1)),
    resnet50=ResnetSizes((1, 1, 1, 1), width_per_group=16, expansion=1),
    vggish=VggishSizes((4, 8, 16, 32), 64),
    settings={"avs-ms3": {"reduction": 2}},
)

SCALES: dict[str, Scale] = {"paper": PAPER, "mini": MINI}


def get_scale(name: str) -> Scale:
    """Scale by name; UsageError that lists the known ones."""
    if name not in SCALES:
        raise UsageError(f"unknown scale {name!r}; choose one of: {', '.join(SCALES)}")
    return SCALES[name]


def describe(value: Any) -> Any:
    """A scale (or any part of it) as plain JSON types, for keys and records."""
    from dataclasses import asdict, is_dataclass

    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value

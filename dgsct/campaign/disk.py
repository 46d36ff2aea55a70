"""How much disk runs need, computed from sizes and parameter counts; no torch, and nothing is measured on the disk.

A checkpoint holds the trainable weights and Adam's two moments in float32 (at most: parameters that never get a gradient
have no moments). While a run trains, two checkpoints lie there and a third is being written, beside the best weights; after
it those stay, or not (`dgsct.runs.retention`), and the record and the log do.
"""

import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from dgsct.campaign.step_times import StepTime
from dgsct.methods import METHODS
from dgsct.runs.run import Run
from dgsct.settings.scales import get_scale
from dgsct.tasks.generate import mini_splits
from dgsct.tasks.sets import get_set

# Trainable parameters with default options; a row that switches something off has fewer. tests/campaign/test_disk.py counts
# again.
TRAINABLE: dict[str, dict[str, dict[str, int]]] = {
    "paper": {
        "ave": {"dg-sct": 201_160_647, "lavish-star": 114_766_359, "late-fusion": 12_621_783},
        "avs-s4": {
            "dg-sct": 365_993_560, "lavish-star": 236_688_544, "late-fusion": 54_183_753, "avs-pvt": 101_320_577,
            "avs-r50": 91_400_961,
        },
        "avs-ms3": {
            "dg-sct": 342_755_457, "lavish-star": 213_450_441, "late-fusion": 54_183_753, "avs-pvt": 101_320_577,
            "avs-r50": 91_400_961,
        },
    },
    "mini": {
        "ave": {"dg-sct": 798_629, "lavish-star": 601_721, "late-fusion": 515_669},
        "avs-s4": {
            "dg-sct": 3_975_176, "lavish-star": 2_361_110, "late-fusion": 1_936_535, "avs-pvt": 1_196_145,
            "avs-r50": 3_879_985,
        },
        "avs-ms3": {
            "dg-sct": 2_753_089, "lavish-star": 1_139_023, "late-fusion": 1_936_535, "avs-pvt": 1_196_145,
            "avs-r50": 3_879_985,
        },
    },
}  # fmt: skip
ENCODER_BYTES = {
    "paper": {
        "swin": 915_090_196, "htsat": 125_301_092, "pvt": 325_772_032, "resnet50": 182_669_712, "vggish": 288_564_736,
    },
    "mini": {"swin": 969_836, "htsat": 4_936_868, "pvt": 737_024, "resnet50": 3_986_880, "vggish": 317_632},
}  # fmt: skip
WEIGHT_BYTES = 4
CHECKPOINT_BYTES = 3 * WEIGHT_BYTES
CHECKPOINTS = 3  # two kept (`checkpoint.KEEP`) and one being written
RECORD_BYTES = 100_000


@dataclass(frozen=True)
class Disk:
    """Bytes by purpose that are still to be written, what they rest on, and what is free where they will lie.

    `checkpoints` are those of the runs that train at a time, with their best weights where these do not stay; `results` are
    records and the best weights that do. `unknown`: methods whose parameters nobody has counted; their checkpoints and
    weights are not in the numbers.
    """

    checkpoints: int
    results: int
    data: int
    encoders: int
    there: tuple[str, ...]
    unknown: tuple[str, ...]
    free: int

    @property
    def total(self) -> int:
        """All of it, at the time when it is most."""
        return self.checkpoints + self.results + self.data + self.encoders


def data_bytes(task: str, scale: str) -> int:
    """Bytes of a whole prepared set: what its clips take in the packed arrays."""
    sizes, data_set = get_scale(scale), get_set(task)
    videos = sum(mini_splits(task).values()) if sizes.generated_data else data_set.videos
    return videos * data_set.bytes_of_clip(sizes)


def disk_needed(
    runs: Sequence[tuple[Run, StepTime | None]], root: Path, scale: str, count: int, passing: Collection[Run] = ()
) -> Disk:
    """What training `runs`, `count` at a time, adds below `root`; of those in `passing` no weights stay.

    A run's parameters are the counted ones of its method, else those of the measurement that told its time.
    """
    root = Path(root)
    known = [TRAINABLE[scale].get(run.task, {}).get(run.method, time and time.trainable) for run, time in runs]
    counted = [(run not in passing, n) for (run, _), n in zip(runs, known, strict=True) if n is not None]
    training = sorted(n * (CHECKPOINTS * CHECKPOINT_BYTES + (0 if stays else WEIGHT_BYTES)) for stays, n in counted)
    there, data, encoders = [], 0, 0
    for task in dict.fromkeys(run.task for run, _ in runs):
        if (root / "data" / scale / task / "packed" / "manifest.json").exists():
            there.append(f"prepared data of {task}")
        else:
            data += data_bytes(task, scale)
    for name in dict.fromkeys(name for run, _ in runs for name in METHODS[run.method].encoders):
        if (root / "encoders" / scale / f"{name}.safetensors").exists():
            there.append(f"encoder {name}")
        else:
            encoders += ENCODER_BYTES[scale][name]
    return Disk(
        checkpoints=sum(training[-count:]),
        results=WEIGHT_BYTES * sum(n for stays, n in counted if stays) + RECORD_BYTES * len(runs),
        data=data,
        encoders=encoders,
        there=tuple(there),
        unknown=tuple(dict.fromkeys(run.method for (run, _), n in zip(runs, known, strict=True) if n is None)),
        free=shutil.disk_usage(existing_folder(root)).free,
    )


def existing_folder(path: Path) -> Path:
    """The nearest folder above that is there."""
    path = path.absolute()
    return path if path.exists() else existing_folder(path.parent)

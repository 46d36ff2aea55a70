"""How much disk runs need, computed from sizes and parameter counts; no torch, and nothing is measured on the disk.

A checkpoint holds the trainable weights and Adam's two moments in float32 (at most: parameters that never get a gradient
have no moments). While a run trains, two checkpoints lie there and a third is being written, beside the best weights; after
it those stay, or not (`dgsct.runs.retention`), and the record and the log do.
"""

import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from dgsct.campaign.bounds import Bound
from dgsct.campaign.step_times import StepTime
from dgsct.data.extractors import get_extractor
from dgsct.data.features import features_folder
from dgsct.encoders.sources import WEIGHTS
from dgsct.runs.inputs import encoders_needed, features_of, packed_folder
from dgsct.runs.run import Run
from dgsct.settings.scales import get_scale
from dgsct.tasks import get_set
from dgsct.tasks.generate import mini_splits

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


def data_bytes(dataset: str, scale: str) -> int:
    """Bytes of a whole prepared set: what its clips take in the packed arrays."""
    sizes, data_set = get_scale(scale), get_set(dataset)
    return _videos(dataset, scale) * data_set.bytes_of_clip(sizes)


def _videos(dataset: str, scale: str) -> int:
    return sum(mini_splits(dataset).values()) if get_scale(scale).generated_data else get_set(dataset).videos


def feature_bytes(dataset: str, extractor: str, scale: str) -> int:
    """Bytes of the features of a whole set, float32."""
    sizes, known = get_scale(scale), get_extractor(extractor)
    segments = get_set(dataset).forms(sizes)["frames"][0][0]
    return _videos(dataset, scale) * segments * prod(known.shape(sizes)) * WEIGHT_BYTES


def disk_needed(
    runs: Sequence[tuple[Run, StepTime | Bound | None]], root: Path, scale: str, count: int, passing: Collection[Run] = ()
) -> Disk:
    """What training `runs`, `count` at a time, adds below `root`; of those in `passing` no weights stay.

    A run's parameters are the counted ones of its method, else those of the measurement or the count that its time is from.
    """
    root = Path(root)
    known = [run.part.trainable.get(scale, time and time.trainable) for run, time in runs]
    counted = [(run not in passing, n) for (run, _), n in zip(runs, known, strict=True) if n is not None]
    training = sorted(n * (CHECKPOINTS * CHECKPOINT_BYTES + (0 if stays else WEIGHT_BYTES)) for stays, n in counted)
    there, data, encoders = [], 0, 0
    for name in dict.fromkeys(run.dataset for run, _ in runs):
        if (root / packed_folder(scale, name) / "manifest.json").exists():
            there.append(f"prepared data of {name}")
        else:
            data += data_bytes(name, scale)
    for name, extractor in dict.fromkeys((run.dataset, one) for run, _ in runs for one in features_of(run)):
        if (root / features_folder(scale, name, extractor) / "features.json").exists():
            there.append(f"features {extractor} of {name}")
        else:
            data += feature_bytes(name, extractor, scale)
    for name in dict.fromkeys(name for run, _ in runs for name in encoders_needed(run)):
        if (root / "encoders" / scale / f"{name}.safetensors").exists():
            there.append(f"encoder {name}")
        else:
            encoders += WEIGHTS[name].stored[scale]
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

"""AVS, settings S4 and MS3, as a task: batches from the prepared set, masks, units from probability maps. Knows no model."""

import numpy as np
import torch

from dgsct.data.batch import Arrays, Batch, argument
from dgsct.data.prepared import Rows
from dgsct.data.units import Units
from dgsct.settings.options import Options
from dgsct.settings.scales import Scale
from dgsct.tasks.avs.metrics import HAS_OBJECT, IOU, best_fscore, frame_counts, statistics_of

ID_LENGTH = 11  # letters of a YouTube id, which opens the name of every clip


class Avs:
    """A view on a prepared AVSBench setting; `inputs` are those that the method reads."""

    def __init__(self, data: Rows, scale: Scale, options: Options, inputs: tuple[str, ...]) -> None:
        self.data, self.inputs = data, inputs
        self.splits = data.splits

    def names(self, rows: np.ndarray) -> list[str]:
        """The clips' names."""
        return [self.data.manifest["rows"][row]["id"] for row in rows]

    def masks(self, rows: np.ndarray) -> np.ndarray:
        """What sounds in each frame, [B, T, H, W] uint8 in {0, 1}; zeros where a frame is not annotated."""
        return self.data.take("masks", rows)

    def annotated(self, rows: np.ndarray) -> np.ndarray:
        """Which frames have a mask, [B, T] bool: of an S4 training clip the first one only."""
        return self.data.take("annotated", rows)

    def frames(self, rows: np.ndarray) -> np.ndarray:
        """Pictures [B, T, 3, H, W] float32 in [0, 1]."""
        frames = self.data.take("frames", rows)
        return frames.astype(np.float32) / (255 if frames.dtype == np.uint8 else 1)

    def batch(self, rows: np.ndarray, draw: np.random.Generator) -> Batch:
        """Rows [B] -> their inputs, and targets; nothing is drawn."""
        inputs = {
            argument(name): torch.from_numpy(self.frames(rows) if name == "frames" else self.data.take(name, rows))
            for name in self.inputs
        }
        masks, annotated = torch.from_numpy(self.masks(rows)).float(), torch.from_numpy(self.annotated(rows))
        return Batch(inputs, {"masks": masks, "annotated": annotated})

    def keep(self, predicted: Arrays, rows: np.ndarray) -> Arrays:
        """Of probabilities [B, T, H, W] the pixel counts [B, T, 514] of each frame, uint32, all zero where no mask is."""
        counts = frame_counts(predicted["masks"], self.masks(rows))
        counts[~self.annotated(rows)] = 0
        return {"counts": counts}

    def units(self, kept: Arrays, rows: np.ndarray, batch_size: int) -> Units:
        """Pixel counts [N, T, 514]; `seen`: whether the YouTube video also supplies a training clip (38 of the 64 test clips
        of MS3). `batch_size`, that of training, has no part in any measure.
        """
        if not self.annotated(rows).all():
            raise ValueError("measures need a mask for every frame; choose the validation or the test split")
        names = [row["id"] for row in self.data.manifest["rows"]]
        seen = self.data.seen_in_training([name[:ID_LENGTH] for name in names], rows)
        return Units(
            {"counts": kept["counts"], "seen": seen},
            tuple(names[row] for row in rows),
            {"batch_size": batch_size, "absent": self.data.absent(rows)},
        )

    @staticmethod
    def by_clip(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each clip [N, T, 514]: mIoU, F-score with a threshold of its own (NaN where no frame has an object), frames with
        one.
        """
        statistics = statistics_of(counts)
        objects = (statistics[..., HAS_OBJECT] > 0).sum(axis=1)
        fscore = [best_fscore(clip) if count else np.nan for clip, count in zip(statistics, objects, strict=True)]
        return 100 * statistics[..., IOU].mean(axis=1, dtype=np.float64), np.array(fscore), objects


def open_task(data: Rows, scale: Scale, options: Options, inputs: tuple[str, ...]) -> Avs:
    """A setting of AVSBench on prepared data; `inputs` as the method names them."""
    return Avs(data, scale, options, inputs)

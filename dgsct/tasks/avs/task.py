"""AVS, settings S4 and MS3: batches from packed arrays, masks, and measures from probability maps. Knows no model."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dgsct.data.packed import Packed
from dgsct.settings.options import Options
from dgsct.settings.scales import Scale
from dgsct.tasks.avs.metrics import (
    HAS_OBJECT,
    IOU,
    batch_mean_fscore,
    batch_mean_iou,
    best_fscore,
    frame_statistics,
    mean_iou,
)

SPLITS = ("train", "val", "test")
TEST_BATCH = 4  # clips a batch in the release's test scripts, whatever the batch of training
ID_LENGTH = 11  # letters of a YouTube id, which opens the name of every clip


class Avs:
    """A prepared AVSBench setting at one scale."""

    last_of_equals = False  # the release keeps the first of equally good epochs

    def __init__(self, folder: Path, scale: Scale, options: Options, audio: str = "logmel") -> None:
        self.packed = Packed.open(folder)
        self.splits = {split: np.asarray(self.packed.splits[split], dtype=np.int64) for split in SPLITS}
        front_end = {"tile": options.tile, **scale.htsat.front_end}
        # What was computed once at preparation is used where it is what the run asks for; else the wave itself is.
        stored = audio != "logmel" or self.packed.manifest["front_end"] == front_end
        self.sound = getattr(self.packed, audio if stored else "wave")

    def names(self, rows: np.ndarray) -> list[str]:
        """The clips' names."""
        return [self.packed.manifest["rows"][row]["id"] for row in rows]

    def masks(self, rows: np.ndarray) -> np.ndarray:
        """What sounds in each frame, [B, T, H, W] uint8 in {0, 1}; zeros where a frame is not annotated."""
        return np.asarray(self.packed.masks[self.packed.media_of_row[rows]])

    def annotated(self, rows: np.ndarray) -> np.ndarray:
        """Which frames have a mask, [B, T] bool: of an S4 training clip the first one only."""
        return np.asarray(self.packed.annotated[rows])

    def frames(self, rows: np.ndarray) -> np.ndarray:
        """Pictures [B, T, 3, H, W] float32 in [0, 1]."""
        frames = np.asarray(self.packed.frames[self.packed.media_of_row[rows]])
        return frames.astype(np.float32) / (255 if frames.dtype == np.uint8 else 1)

    def batch(self, rows: np.ndarray) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Annotation rows -> frames [B, T, 3, H, W], the sound that the method reads [B, T, ...], targets.

        `masks` float [B, T, H, W] and `annotated` bool [B, T].
        """
        sound = np.asarray(self.sound[self.packed.media_of_row[rows]])
        targets = {
            "masks": torch.from_numpy(self.masks(rows)).float(),
            "annotated": torch.from_numpy(self.annotated(rows)),
        }
        return torch.from_numpy(self.frames(rows)), torch.from_numpy(sound), targets

    def measured(self, predicted: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """What the measures need of a batch: probabilities [B, T, H, W] -> statistics [B, T, 257], NaN where no mask is."""
        statistics = frame_statistics(predicted, self.masks(rows))
        statistics[~self.annotated(rows)] = np.nan
        return statistics

    def metrics(self, measured: np.ndarray, rows: np.ndarray, batch_size: int) -> dict[str, float]:
        """Named measures (percent) of the statistics [N, T, 257] for annotation rows `rows`, in their order.

        `batch4` is the release's test script, which takes four clips at a time; so `batch_size`, that of training, has no
        part in it. `clip` has a threshold for each clip, as the release's validation; `frame` one for all frames, which
        count alike. Where clips of the split are absent, all measures are over the present ones; `miou_lower` and
        `miou_upper` bound `miou` over all annotated ones. `unseen_ids`: without clips cut from a training clip's video.
        """
        annotated = self.annotated(rows)
        if not annotated.all():
            raise ValueError("measures need a mask for every frame; choose the validation or the test split")
        result = {
            "miou": mean_iou(measured),
            "miou_batch4": batch_mean_iou(measured, TEST_BATCH),
            "fscore_batch4": batch_mean_fscore(measured, TEST_BATCH),
            "fscore_clip": batch_mean_fscore(measured, 1),
            "fscore_frame": best_fscore(measured),
        }
        if absent := self._absent(rows):
            share = len(rows) / (len(rows) + absent)
            result |= {"miou_lower": share * result["miou"], "miou_upper": share * result["miou"] + 100 * (1 - share)}
        unseen = ~self._seen_in_training(rows)
        if not unseen.all() and unseen.any():
            result["miou_unseen_ids"] = mean_iou(measured[unseen])
        return result

    def by_clip(self, measured: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each clip: mIoU, F-score with a threshold of its own (NaN where no frame has an object), frames with one."""
        objects = (measured[..., HAS_OBJECT] > 0).sum(axis=1)
        fscore = [best_fscore(clip) if count else np.nan for clip, count in zip(measured, objects, strict=True)]
        return 100 * measured[..., IOU].mean(axis=1, dtype=np.float64), np.array(fscore), objects

    def _absent(self, rows: np.ndarray) -> int:
        """How many annotated clips are absent from the split whose present ones are `rows`."""
        whole = next((s for s, present in self.splits.items() if np.array_equal(present, rows)), None)
        return len(self.packed.manifest["splits"][whole]) - len(rows) if whole else 0

    def _seen_in_training(self, rows: np.ndarray) -> np.ndarray:
        """Rows whose YouTube video also supplies a training clip (38 of the 64 test clips of MS3)."""
        train = {name[:ID_LENGTH] for name in self.names(np.setdiff1d(self.splits["train"], rows))}
        return np.array([name[:ID_LENGTH] in train for name in self.names(rows)])


def open_task(folder: Path, scale: Scale, options: Options, audio: str = "logmel") -> Avs:
    """The prepared set in `folder` (the one with `manifest.json`); `audio`: logmel, wave or vggish."""
    return Avs(folder, scale, options, audio)

"""AVE: batches from packed arrays, targets from labels, metrics from predictions. Knows no model."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dgsct.data.packed import Packed
from dgsct.settings.options import Options
from dgsct.settings.scales import Scale
from dgsct.tasks.ave.metrics import (
    accuracy_bounds,
    batch_mean_accuracy,
    category_accuracy,
    relevance_accuracy,
    segment_accuracy,
)

SPLITS = ("train", "val", "test")


class Ave:
    """The prepared AVE set at one scale."""

    name = "ave"
    last_of_equals = True  # which of two equally good epochs is selected

    def __init__(self, folder: Path, scale: Scale, options: Options, audio: str = "logmel") -> None:
        self.packed = Packed.open(folder)
        self.background = scale.classes["ave"]
        self.splits = {split: np.asarray(self.packed.splits[split], dtype=np.int64) for split in SPLITS}
        # What was computed once at preparation is used where it is what the run asks for; else the wave itself is.
        front_end = {"tile": options.tile, **scale.htsat.front_end}
        self.precomputed = audio == "logmel" and self.packed.manifest["front_end"] == front_end
        labels = self.packed.labels
        if int(labels.max()) > self.background:
            raise ValueError(f"{folder} has label {int(labels.max())}, but this scale has {self.background} classes")

    def labels(self, rows: np.ndarray) -> np.ndarray:
        """Class index of every segment, [B, T] int64; `background` where nothing happens."""
        return np.asarray(self.packed.labels[rows])

    def batch(self, rows: np.ndarray) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Annotation rows -> frames [B, T, 3, H, W], audio (log-mel or wave), targets."""
        media = self.packed.media_of_row[rows]
        audio = self.packed.logmel if self.precomputed else self.packed.wave
        return (
            torch.from_numpy(np.asarray(self.packed.frames[media])),
            torch.from_numpy(np.asarray(audio[media])),
            self.targets(torch.from_numpy(self.labels(rows))),
        )

    def targets(self, labels: Tensor) -> dict[str, Tensor]:
        """Labels [B, T] -> `relevant` [B, T] (1 where an event is) and `category` [B] (0 for an all-background clip)."""
        event = labels != self.background
        return {"relevant": event.float(), "category": torch.where(event, labels, 0).amax(dim=1)}

    def measured(self, predicted: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """What is kept of a batch's predictions: segment classes [B, T] are little enough."""
        return predicted

    def metrics(self, predicted: np.ndarray, rows: np.ndarray, batch_size: int) -> dict[str, float]:
        """Named measures (percent) of the predictions [N, T] for annotation rows `rows`, in their order.

        Where clips of the split are absent, all measures are over the present ones; `acc_exact_lower` and
        `acc_exact_upper` bound `acc_exact` over all annotated ones.
        """
        labels = self.labels(rows)
        result = {
            "acc_exact": segment_accuracy(predicted, labels),
            "acc_batch8": batch_mean_accuracy(predicted, labels, batch_size),
            "category": category_accuracy(predicted, labels, self.background),
            "relevance": relevance_accuracy(predicted, labels, self.background),
        }
        if absent := self._absent(rows):
            bounds = accuracy_bounds(predicted, labels, absent)
            result["acc_exact_lower"], result["acc_exact_upper"] = bounds
        clean = ~self._seen_in_training(rows)
        if not clean.all() and clean.any():
            result["acc_exact_unseen_ids"] = segment_accuracy(predicted[clean], labels[clean])
        return result

    def _absent(self, rows: np.ndarray) -> int:
        """How many annotated clips are absent from the split whose present ones are `rows`."""
        whole = next((s for s, present in self.splits.items() if np.array_equal(present, rows)), None)
        return len(self.packed.manifest["splits"][whole]) - len(rows) if whole else 0

    def _seen_in_training(self, rows: np.ndarray) -> np.ndarray:
        """Rows whose video is also a training video under another category (the real set has 8 such test rows)."""
        train = np.setdiff1d(self.splits["train"], rows)
        return np.isin(self.packed.media_of_row[rows], self.packed.media_of_row[train])


def open_task(folder: Path, scale: Scale, options: Options, audio: str = "logmel") -> Ave:
    """The prepared set in `folder` (the one with `manifest.json`); `audio`: logmel or wave."""
    return Ave(folder, scale, options, audio)

"""AVE as a task: batches from the prepared set, targets from labels, units from predictions. Knows no model."""

import numpy as np
import torch
from torch import Tensor

from dgsct.data.batch import Arrays, Batch, argument
from dgsct.data.prepared import Rows
from dgsct.data.units import Units
from dgsct.errors import DgsctError
from dgsct.settings.options import Options
from dgsct.settings.scales import Scale


class Ave:
    """A view on a prepared AVE set; `inputs` are those that the method reads."""

    def __init__(self, data: Rows, scale: Scale, options: Options, inputs: tuple[str, ...]) -> None:
        self.data, self.inputs = data, inputs
        self.splits = data.splits
        self.background = scale.classes
        known = len(data.manifest["categories"])
        if known != self.background:
            raise DgsctError(f"the prepared AVE set has {known} classes, this scale {self.background}; prepare the right set")

    def labels(self, rows: np.ndarray) -> np.ndarray:
        """Class index of every segment, [B, T] int64; `background` where nothing happens."""
        return self.data.take("labels", rows)

    def batch(self, rows: np.ndarray, draw: np.random.Generator) -> Batch:
        """Rows [B] -> their inputs, and targets; nothing is drawn."""
        inputs = {argument(name): torch.from_numpy(self.data.take(name, rows)) for name in self.inputs}
        return Batch(inputs, self.targets(torch.from_numpy(self.labels(rows))))

    def targets(self, labels: Tensor) -> dict[str, Tensor]:
        """Labels [B, T] -> `relevant` [B, T] (1 where an event is) and `category` [B] (0 for an all-background clip)."""
        event = labels != self.background
        return {"relevant": event.float(), "category": torch.where(event, labels, 0).amax(dim=1)}

    def keep(self, predicted: Arrays, rows: np.ndarray) -> Arrays:
        """Segment classes [B, T], which are little enough."""
        return {"segments": predicted["segments"].astype(np.int16)}

    def units(self, kept: Arrays, rows: np.ndarray, batch_size: int) -> Units:
        """Segments predicted and true [N, T]; `seen`: whether the video is a training video under another category, which
        8 test rows of the real set are.
        """
        names = [row["id"] for row in self.data.manifest["rows"]]
        of = {
            "segments": kept["segments"],
            "labels": self.labels(rows).astype(np.int16),
            "seen": self.data.seen_in_training(names, rows),
        }
        facts = {"background": self.background, "batch_size": batch_size, "absent": self.data.absent(rows)}
        return Units(of, tuple(names[row] for row in rows), facts)


def open_task(data: Rows, scale: Scale, options: Options, inputs: tuple[str, ...]) -> Ave:
    """AVE on prepared data; `inputs` as the method names them."""
    return Ave(data, scale, options, inputs)

"""The masks that a run's best weights predict for the test clips, which the qualitative figure shows."""

from pathlib import Path
from typing import Protocol, cast

import numpy as np

from dgsct.checkpoints.evaluation import on_test_split
from dgsct.errors import DgsctError
from dgsct.records.failures import read_failed_record
from dgsct.records.masks import PredictedMasks, write_masks
from dgsct.records.results import read_record
from dgsct.runs.run import Run
from dgsct.tasks.base import View


class MaskView(View, Protocol):
    """A task that predicts masks, whose clips a figure can show."""

    def by_clip(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each clip's `counts` (a unit [N, T, ...]): mIoU in percent, F-score, frames with an object, all [N]."""

    def names(self, rows: np.ndarray) -> list[str]:
        """The clips' names [n], as a figure prints them."""


def save_masks(run: Run, results: Path) -> Path:
    """Write the masks of the run's best weights on the test split where `dgsct.records.masks` looks for them; returns
    the path.

    Of a run that has failed for good there are none, and the figure says why. DgsctError if the run has no record or its
    best weights are gone (they lie beside the record).
    """
    path = results / run.folder / "record.json"
    if (failed := read_failed_record(path)) is not None:
        nothing = np.zeros(0)
        return write_masks(results, run, PredictedMasks(failed["key"], (), nothing, nothing, np.zeros((0, 1, 1, 8), bool)))
    record = read_record(path)
    checkpoint = results / run.folder / "checkpoints" / "best.safetensors"
    if not checkpoint.is_file():
        folder = checkpoint.parent.parent
        raise DgsctError(f"{checkpoint} does not exist; delete the folder {folder}, and train the run again for its masks")
    opened, kept = on_test_split(run, checkpoint, results, lambda predicted, _: {"masks": predicted["masks"] > 0.5})
    view = cast("MaskView", opened)
    rows, masks = view.splits["test"], kept["masks"]
    iou, _, objects = view.by_clip(view.keep({"masks": masks.astype(np.float32)}, rows)["counts"])
    return write_masks(results, run, PredictedMasks(record["key"], tuple(view.names(rows)), iou, objects, masks))

"""The masks that a run's best weights predict for the test clips, in a file of their own. No torch: figures read them."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dgsct.atomic import write_bytes_atomic
from dgsct.errors import DgsctError
from dgsct.records.failures import read_failed_record
from dgsct.records.results import State, validity
from dgsct.runs.run import Run


@dataclass(frozen=True)
class PredictedMasks:
    """Masks [N, T, H, W] bool of the test clips `names`, their mIoU [N] in percent, and in how many frames something sounds.

    `key` is that of the record to which the weights belong.
    """

    key: str
    names: tuple[str, ...]
    iou: np.ndarray
    objects: np.ndarray
    masks: np.ndarray

    def of(self, name: str) -> np.ndarray:
        """The masks of one clip, [T, H, W]."""
        return self.masks[self.names.index(name)]


def masks_path(run: Run) -> Path:
    """Where the masks of a run lie below the results folder."""
    return Path("masks", *run.folder.parts[1:]).with_suffix(".npz")


def write_masks(results: Path, run: Run, predicted: PredictedMasks) -> Path:
    """Write the masks, eight pixels a byte, and compressed; returns the path."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        key=np.array(predicted.key),
        names=np.array(predicted.names),
        iou=predicted.iou,
        objects=predicted.objects,
        width=np.array(predicted.masks.shape[-1]),
        masks=np.packbits(predicted.masks, axis=-1),
    )
    path = Path(results) / masks_path(run)
    write_bytes_atomic(path, buffer.getvalue())
    return path


def read_masks(path: Path) -> PredictedMasks:
    """The masks in a file; DgsctError if it is not there or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            masks = np.unpackbits(file["masks"], axis=-1, count=int(file["width"])).astype(bool)
            return PredictedMasks(str(file["key"]), tuple(map(str, file["names"])), file["iou"], file["objects"], masks)
    except FileNotFoundError:
        raise DgsctError(f"{path} does not exist; run `snakemake {path}` to make it") from None
    except Exception as error:  # zipfile, zlib and numpy have their own words for a damaged file
        raise DgsctError(f"{path} is damaged ({type(error).__name__}); delete it and make it again") from error


def masks_state(run: Run, root: Path) -> State:
    """Judge the masks of a run: they hold if they belong to its record, and that one does."""
    path, record = Path(root) / masks_path(run), validity(run, root)
    known = read_failed_record(Path(root) / run.folder / "record.json") if record.given_up else record.record
    if not path.exists():
        return State("missing", reason="not predicted yet")
    try:
        with np.load(path, allow_pickle=False) as file:
            key = str(file["key"])
    except Exception:  # see `read_masks`
        return State("corrupt", reason=f"{path} is damaged")
    holds = known is not None and key == known["key"] and (record.name == "ok" or record.given_up)
    return State("ok") if holds else State("stale", reason="the masks are those of an earlier run")


def choose_clips(predicted: PredictedMasks) -> dict[str, str]:
    """Best, median and worst clip by mIoU, names deciding between equals; clips in which nothing ever sounds are left out.

    Of an even number of clips the lower one in the middle is the median.
    """
    there = [i for i, count in enumerate(predicted.objects) if count]
    if not there:
        raise DgsctError("no test clip has an object in any frame; there is nothing to show")
    order = sorted(there, key=lambda i: (-predicted.iou[i], predicted.names[i]))
    places = {"best": 0, "median": len(order) // 2, "worst": len(order) - 1}
    return {word: predicted.names[order[place]] for word, place in places.items()}

"""What an AVS evaluation tells beside its metrics: every clip, and its masks for the qualitative figure."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dgsct.data.units import Units
from dgsct.tasks.avs.task import Avs

NONE = "-"


@dataclass(frozen=True)
class ClipResult:
    """One clip: mIoU over its frames, F-score with a threshold of its own (None: no object in any frame); percent."""

    name: str
    category: str
    frames_with_object: int
    miou: float
    fscore: float | None


@dataclass(frozen=True)
class Details:
    """Results by clip, in the split's order."""

    clips: tuple[ClipResult, ...]

    title = "mIoU and F-score, test split (means over clips)"
    heads = ("clips", "count", "mIoU (%)", "F-score (%)")

    @property
    def lines(self) -> list[tuple[str, ...]]:
        """The table that is printed: all clips, then each category where there are any (S4)."""
        return [_line(name, clips) for name, clips in self._groups()]

    def _groups(self) -> Iterator[tuple[str, list[ClipResult]]]:
        yield "all", list(self.clips)
        for name in sorted({c.category for c in self.clips} - {""}):
            yield name, [c for c in self.clips if c.category == name]

    @property
    def described(self) -> dict[str, Any]:
        """What goes into `evaluation.json`."""
        return {"clips": [asdict(c) for c in self.clips]}

    @property
    def tables(self) -> dict[str, list[list[Any]]]:
        """CSV files by name, heads first."""
        heads = ["clip", "category", "frames_with_object", "miou", "fscore"]
        return {"per_clip.csv": [heads, *(list(asdict(c).values()) for c in self.clips)]}

    def pictures(self, heading: str, metrics: dict[str, float]) -> dict[str, bytes]:
        """None."""
        return {}


def _line(name: str, clips: list[ClipResult]) -> tuple[str, ...]:
    fscores = [c.fscore for c in clips if c.fscore is not None]
    fscore = f"{np.mean(fscores):.2f}" if fscores else NONE
    return name, str(len(clips)), f"{np.mean([c.miou for c in clips]):.2f}", fscore


def details(manifest: dict[str, Any], units: Units) -> Details:
    """Results by clip of an evaluated split."""
    category = {row["id"]: row.get("category", "") for row in manifest["rows"]}
    clips = (
        ClipResult(name, category[name], int(n), float(iou), None if np.isnan(f) else float(f))
        for name, iou, f, n in zip(units.ids, *Avs.by_clip(units["counts"]), strict=True)
    )
    return Details(tuple(clips))

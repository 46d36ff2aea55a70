"""The qualitative figure: frames, ground truth and predicted masks of test clips that a rule has chosen.

Clips are chosen by the method of the experiment's last row (`dgsct.records.masks.choose_clips`); the other rows show their
masks of the same clips. Where a file is missing its place says so.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dgsct.data.packed import Packed
from dgsct.drawing import plt
from dgsct.errors import DgsctError
from dgsct.publish.cells import Cell, cells_of, fill_command, in_prose, stamp
from dgsct.publish.render.json_sidecar import finite
from dgsct.records.masks import PredictedMasks, choose_clips, masks_path, read_masks
from dgsct.runs.experiments import Column, Experiment, Settings
from dgsct.runs.inputs import packed_folder
from dgsct.tasks import get_task

if TYPE_CHECKING:  # only `dgsct.drawing` imports it
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, DPI = 7.2, 200
WORDS = ("best", "median", "worst")
GAP = 0.35  # between clips, in thumbnails
HEAD, FOOT, TITLE = 0.47, 0.3, 0.38  # inches: above all, below all, above each setting


@dataclass(frozen=True)
class Shown:
    """One row of one setting: its masks, or the state and the reason why there are none."""

    label: str
    record: str
    state: str
    reason: str = ""
    masks: PredictedMasks | None = None


@dataclass(frozen=True)
class Setting:
    """One column of the experiment: pictures and truth of its chosen clips by word, and the rows' masks."""

    label: str
    task: str
    rows: list[Shown]
    clips: dict[str, str] = field(default_factory=dict)
    frames: dict[str, np.ndarray] = field(default_factory=dict)
    truth: dict[str, np.ndarray] = field(default_factory=dict)
    categories: dict[str, str] = field(default_factory=dict)
    reason: str = ""

    def iou(self, row: Shown, word: str) -> float | None:
        """mIoU in percent of a row's masks of the chosen clip."""
        if row.masks is None or word not in self.clips or self.clips[word] not in row.masks.names:
            return None
        return float(row.masks.iou[row.masks.names.index(self.clips[word])])


def _shown(cell: Cell, label: str, root: Path) -> Shown:
    """The masks behind a cell, if they are those of a valid record."""
    if not cell.runs:
        return Shown(label, "", "planned", "not in the harness yet, or left out by the filters")
    path, source = masks_path(cell.runs[0]), cell.sources[0]
    if source.state != "ok":
        return Shown(label, source.record, source.state, source.reason)
    try:
        masks = read_masks(root / path)
    except DgsctError as error:
        name = "corrupt" if (root / path).exists() else "missing"
        return Shown(label, source.record, name, in_prose(str(error), root))
    if masks.key != source.key:
        return Shown(label, source.record, "stale", "the masks are those of an earlier run")
    return Shown(label, source.record, "ok", "", masks)


def _setting(column: Column, rows: list[Shown], scale: str, root: Path) -> Setting:
    """The chosen clips of a column with their pictures."""
    empty = Setting(column.label, str(column.task), rows)
    if rows[-1].masks is None:
        return empty
    try:
        clips = choose_clips(rows[-1].masks)
        packed = Packed.open(root / packed_folder(scale, get_task(str(column.task)).dataset))
    except DgsctError as error:
        return Setting(column.label, str(column.task), rows, reason=in_prose(str(error), root))
    place = {entry["id"]: i for i, entry in enumerate(packed.manifest["rows"])}
    rows_of = {word: np.array([place[name]]) for word, name in clips.items()}
    return Setting(
        column.label,
        str(column.task),
        rows,
        clips,
        {word: packed.take("frames", row)[0] for word, row in rows_of.items()},
        {word: packed.take("masks", row)[0] for word, row in rows_of.items()},
        {word: packed.manifest["rows"][place[name]].get("category", "") for word, name in clips.items()},
    )


def settings_of(experiment: Experiment, settings: Settings, results_root: Path) -> list[Setting]:
    """What the figure shows of each column, from what lies in the results folder."""
    root, labels = Path(results_root), {row.id: row.label for row in experiment.rows}
    cells = cells_of(experiment, settings, root)
    found = []
    for column in experiment.columns:
        rows = [_shown(cell, labels[cell.row], root) for cell in cells if cell.column == column.id]
        found.append(_setting(column, rows, settings.scale, root))
    return found


def _picture(frame: np.ndarray) -> np.ndarray:
    """[3, H, W] uint8 or float in [0, 1] -> [H, W, 3] uint8."""
    scaled = frame if frame.dtype == np.uint8 else (255 * frame.astype(np.float32)).round().clip(0, 255)
    return np.moveaxis(scaled, 0, -1).astype(np.uint8)


def _strip(axes: "Axes", x: float, y: float, images: np.ndarray, grey: bool) -> None:
    """Five thumbnails side by side, of one unit each, the first one's upper left corner at (x, y)."""
    for t, image in enumerate(images):
        limits = {"cmap": "gray", "vmin": 0, "vmax": 1} if grey else {}
        axes.imshow(image, extent=(x + t + 0.02, x + t + 0.98, y + 0.98, y + 0.02), interpolation="nearest", **limits)


def _draw_setting(axes: "Axes", setting: Setting) -> None:
    lines = ["Frames", "Ground truth", *(row.label for row in setting.rows)]
    for i, line in enumerate(lines):
        axes.text(-0.15, i + 0.5, line, ha="right", va="center", fontsize=7)
    for k, word in enumerate(WORDS):
        x = k * (5 + GAP)
        if word in setting.clips:
            _strip(axes, x, 0, np.stack([_picture(frame) for frame in setting.frames[word]]), grey=False)
            _strip(axes, x, 1, setting.truth[word], grey=True)
        for i, row in enumerate(setting.rows):
            if row.masks is not None and word in setting.clips and setting.clips[word] in row.masks.names:
                _strip(axes, x, 2 + i, row.masks.of(setting.clips[word]), grey=True)
            else:
                what = "not run yet" if row.state == "planned" else row.state if row.masks is None else "no clip"
                axes.text(x + 2.5, 2.5 + i, what, ha="center", va="center", fontsize=7, color="0.45", style="italic")
        axes.text(x + 2.5, -0.12, _clip_title(setting, word), ha="center", va="bottom", fontsize=7)
    width = 3 * 5 + 2 * GAP
    axes.set(xlim=(0, width), ylim=(len(lines), 0), aspect="equal")
    axes.axis("off")


def _clip_title(setting: Setting, word: str) -> str:
    """`S4, best: dog_barking` and the rows' mIoU."""
    if word not in setting.clips:
        return f"{setting.label}, {word}"
    category = setting.categories[word].replace("_", " ")
    numbers = ", ".join(f"{row.label} {value:.1f}" for row in setting.rows if (value := setting.iou(row, word)) is not None)
    return f"{setting.label}, {word}: {category or setting.clips[word]}\nmIoU {numbers}"


def draw(experiment: Experiment, settings: Settings, found: list[Setting]) -> "Figure":
    """All settings below each other, three clips of five frames in each, with the scale's stamp."""
    lines = 2 + len(experiment.rows)
    left, right = 0.78, 0.08
    thumb = (WIDTH - left - right) / (3 * 5 + 2 * GAP)
    height = HEAD + FOOT + len(found) * (TITLE + lines * thumb)
    figure = plt.figure(figsize=(WIDTH, height))
    for i, setting in enumerate(found):
        bottom = height - HEAD - (i + 1) * (TITLE + lines * thumb)
        axes = figure.add_axes((left / WIDTH, bottom / height, (WIDTH - left - right) / WIDTH, lines * thumb / height))
        _draw_setting(axes, setting)
    title = f"{experiment.source} of the paper: {experiment.title}"
    figure.text(0.5, 1 - 0.13 / height, title, ha="center", va="center", fontsize=10)
    text = stamp(settings.scale, settings.protocol)
    figure.text(0.5, 1 - 0.35 / height, text, ha="center", va="center", fontsize=7.5, color="#b3261e", weight="bold")
    figure.text(0.5, 0.15 / height, _below(experiment), ha="center", va="center", fontsize=7)
    return figure


def _below(experiment: Experiment) -> str:
    """How the clips were chosen."""
    judge = experiment.rows[-1].label
    return (
        f"Test clips of the best, median and worst mIoU of {judge} (seed 0) among those in which something sounds; "
        "masks: probability above 1/2."
    )


def sidecar(experiment: Experiment, settings: Settings, found: list[Setting]) -> str:
    """The figure's clips, numbers and states as JSON."""
    value: dict[str, Any] = {
        "schema": 1,
        "kind": "masks",
        "name": experiment.name,
        "title": experiment.title,
        "source": experiment.source,
        "scale": settings.scale,
        "protocol": settings.protocol,
        "stamp": stamp(settings.scale, settings.protocol),
        "fill": fill_command(experiment, settings),
        "settings": [
            {
                "task": setting.task,
                "clips": setting.clips,
                "reason": setting.reason,
                "rows": [
                    {
                        "label": row.label,
                        "state": row.state,
                        "reason": row.reason,
                        "record": row.record,
                        "key": None if row.masks is None else row.masks.key,
                        "miou": {word: setting.iou(row, word) for word in setting.clips},
                    }
                    for row in setting.rows
                ],
            }
            for setting in found
        ],
    }
    return json.dumps(finite(value), indent=1, ensure_ascii=False) + "\n"

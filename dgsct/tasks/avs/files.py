"""AVSBench-object, settings S4 and MS3: metadata, where the files of a clip lie, and what it becomes.

`visual_frames`, `audio_wav`, `gt_masks` and `raw_videos` are the archive's own; `wave/.../AVS.npy` is DG-SCT's extra.
Files are looked for below the folder that holds `Single-source/` or `Multi-sources/`, or in that folder itself.
"""

import csv
import difflib
import os
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from dgsct.data.base import DataSet, clip_notes, clip_statuses, compact_frames, is_name, pretended_sound, stamp
from dgsct.data.categories import category_names
from dgsct.data.features import PublicFeature
from dgsct.data.index import Index
from dgsct.data.splits import check_splits
from dgsct.errors import DgsctError, UsageError
from dgsct.settings.scales import Scale
from dgsct.tasks.avs.categories import AVSBENCH, GENERATED, KNOWN

SEGMENTS = 5
TILE = 5
SPLITS = ("train", "val", "test")
SPEECH_RATE = 16000  # Hz: of `audio_wav`, and of the VGGish input
EXAMPLE = (1, 96, 64)  # one VGGish example: a channel, frames of 10 ms, mel bands
LAYOUTS = {
    "frames": "as frames and wave (AVS.npy)",
    "published": "as frames and audio_wav",
    "videos": "as mp4",
}
KNOWN_BY = {"frames": "wave", "published": "audio_wav", "videos": "raw_videos"}  # the folder that a layout needs


@dataclass(frozen=True)
class AvsRow:
    """One clip: its split, the S4 category, the second at which its source was cut, and how many first frames have masks."""

    video_id: str
    split: str
    category: str = ""
    start: int = 0
    annotated: int = SEGMENTS

    def line(self) -> str:
        """The row as text."""
        return ",".join((self.video_id, str(self.start), self.category, self.split))

    def fields(self) -> dict[str, Any]:
        """The row as it stands in the manifest; MS3 has neither category nor start."""
        optional = {"category": self.category, "start": self.start} if self.category else {}
        return {"id": self.video_id, **optional, "annotated": self.annotated}


@dataclass(frozen=True)
class AvsIndex(Index):
    """Metadata of one setting, in the file's order."""

    @property
    def annotated(self) -> np.ndarray:
        """Which frames have a mask, [N, 5] bool: only the first one of an S4 training clip, else all."""
        return np.arange(SEGMENTS) < np.array([[row.annotated] for row in self.rows])

    def row_arrays(self) -> dict[str, np.ndarray]:
        """Which frames are annotated."""
        return {"annotated": self.annotated}


@dataclass(frozen=True)
class AvsSource:
    """The files of one clip in one layout.

    `frames` are the five PNG files, or `video` is the mp4 file; `wave` is the `AVS.npy` of its part, `speech` the 16 kHz
    wav file; `masks` are the PNG files of the annotated frames. `grey` says that the release reads masks as indices or
    grey values (MS3), else as one bit (S4). `stamp` holds sizes and times (JSON), None where the layout has nothing of it.
    """

    video_id: str
    stamp: Any
    masks: tuple[Path, ...]
    grey: bool
    frames: tuple[Path, ...] = ()
    video: Path | None = None
    wave: Path | None = None
    speech: Path | None = None
    start: int = 0


class AvsBench(DataSet):
    """One setting: its folder, the prefix of its files, and whether they are sorted by split and category (S4)."""

    layouts = MappingProxyType(LAYOUTS)
    statuses = MappingProxyType(
        clip_statuses(SEGMENTS, no_mask="a mask is missing", wrong_mask="not black and white, or of another size")
    )
    notes = MappingProxyType(
        clip_notes(SEGMENTS, no_wav="used; VGGish input from the 32 kHz wave", empty_masks="used; frames without an object")
    )
    decoder = "dgsct.tasks.avs.decode"

    def __init__(self, name: str, folder: str, prefix: str, published: dict[str, int]) -> None:
        self.name, self.folder, self.prefix, self.published = name, folder, prefix, published
        self.videos, self.sorted = sum(published.values()), prefix == "s4"

    def index_file(self, root: Path) -> Path:
        """`Single-source/s4_meta_data.csv` or `Multi-sources/ms3_meta_data.csv`, or that file in `root` itself."""
        name = f"{self.prefix}_meta_data.csv"
        here = Path(root) / name
        return here if here.exists() else Path(root) / self.folder / name

    def media(self, root: Path) -> Path:
        """`s4_data` or `ms3_data` beside the metadata."""
        return self.index_file(root).parent / f"{self.prefix}_data"

    def media_place(self, root: Path, layout: str) -> str:
        """The folders of a layout."""
        kinds = ("raw_videos",) if layout == "videos" else ("visual_frames", KNOWN_BY[layout])
        return f"its files into {', '.join((*kinds, 'gt_masks'))} below {self.media(root)}"

    def first_file(self, source: AvsSource) -> Path:
        """The video, or the first frame."""
        return source.video or source.frames[0]

    def read_index(self, root: Path) -> AvsIndex:
        """Metadata by position, as the public loaders read it: name, (start, category,) and the column `split`."""
        if not Path(root).is_dir():
            raise UsageError(f"{root} is no folder; give the folder that holds {self.folder}")
        path = self.index_file(root)
        columns = ("name", "start", "category", "split") if self.sorted else ("name", "split")
        rows = tuple(self._row(path, number, values) for number, values in _table(path, columns))
        if not rows:
            raise UsageError(f"{path} holds no clip; put the data set's own file there")
        repeats = ()
        if repeated := len(rows) - len(set(rows)):
            example = next(row for row, count in Counter(rows).items() if count > 1)
            repeats = (f"{repeated} rows of {path} repeat another and are read once, for example {example.line()}",)
            rows = tuple(dict.fromkeys(rows))
        names = Counter(row.video_id for row in rows)
        if twice := [name for name, count in names.items() if count > 1]:
            where = " and ".join(row.line() for row in rows if row.video_id == twice[0])
            more = f", and {len(twice) - 1} more do" if len(twice) > 1 else ""
            raise UsageError(f"{path}: the clip {twice[0]!r} occurs twice ({where}){more}; keep one row of each")
        places = {row.category: str(path) for row in rows if row.category}
        categories = category_names(places, (AVSBENCH, GENERATED)) if places else ()
        splits = {s: np.array([i for i, row in enumerate(rows) if row.split == s], dtype=np.int64) for s in SPLITS}
        check_splits([row.video_id for row in rows], splits, str(path), "put the data set's own file there")
        return AvsIndex(rows, categories, splits, repeats)

    def _row(self, path: Path, number: int, values: tuple[str, ...]) -> AvsRow:
        where = f"{path}, line {number}"
        name, split = values[0], values[-1]
        if split not in SPLITS:
            raise UsageError(f"{where}: unknown split {split!r}; write one of: {', '.join(SPLITS)}")
        if not self.sorted:
            return AvsRow(_name(name, where), split)
        _, start, category, _ = values
        if not re.fullmatch(r"[0-9](\.0*)?", start):
            raise UsageError(f"{where}: start {start!r} is no whole second from 0 to 9; correct the row")
        if category not in KNOWN:
            near = difflib.get_close_matches(category, KNOWN, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"write one of AVSBench-object's: {', '.join(AVSBENCH)}"
            raise UsageError(f"{where}: unknown category {category!r}; {hint}")
        annotated = 1 if split == "train" else SEGMENTS
        return AvsRow(_name(name, where), split, category, int(start[0]), annotated)

    def sources(self, root: Path, index: Index, layout: str) -> list[AvsSource]:
        """The files of every clip, clips of one `AVS.npy` one after another: it is read once then."""
        if not (self.media(root) / KNOWN_BY[layout]).is_dir():
            return []
        stamped = cache(stamp)
        sources = [self._source(root, row, layout, stamped) for row in index.rows]
        return sorted(sources, key=lambda source: str(source.wave)) if layout == "frames" else sources

    def paths(self, root: Path, row: AvsRow, kind: str) -> list[Path]:
        """The files of a clip below one folder of the tree: one, or the five frames, or the masks of annotated frames."""
        part = Path(row.split, row.category) if self.sorted else Path(row.split)
        # MS3 keeps pictures without splits, and with ".mp4" in their names.
        flat, picture = (part, row.video_id) if self.sorted else (Path(), f"{row.video_id}.mp4")
        folder, name = self.media(root) / kind, row.video_id
        match kind:
            case "raw_videos":
                return [folder / flat / f"{name}.mp4"]
            case "visual_frames":
                return [folder / flat / name / f"{picture}_{k}.png" for k in range(1, SEGMENTS + 1)]
            case "gt_masks":
                return [folder / part / name / f"{name}_{k}.png" for k in range(1, row.annotated + 1)]
            case "audio_wav":
                return [folder / part / f"{name}.wav"]
            case _:
                return [folder / part / "AVS.npy"]

    def _source(self, root: Path, row: AvsRow, layout: str, stamped: Callable[[Path], Any]) -> AvsSource:
        pieces: dict[str, Any] = {}
        if layout == "videos":
            (pieces["video"],) = own = self.paths(root, row, "raw_videos")
            used = own
        else:
            pieces["frames"] = tuple(self.paths(root, row, "visual_frames"))
            (speech,) = self.paths(root, row, "audio_wav")
            pieces["speech"] = speech if layout == "published" or speech.exists() else None
            own = [*pieces["frames"], *([speech] if pieces["speech"] else [])]
            used = own
            if layout == "frames":  # AVS.npy is there for a whole part, and no sign of the clip
                (pieces["wave"],) = self.paths(root, row, "wave")
                used = [*own, pieces["wave"]]
        masks = tuple(self.paths(root, row, "gt_masks"))
        there = any(stamped(path) is not None for path in own)
        stamps = [stamped(path) for path in (*used, *masks)] if there else None
        return AvsSource(row.video_id, stamps, masks, not self.sorted, start=row.start, **pieces)

    def absent(self, root: Path, layout: str | None) -> str:
        """Which folder a layout is known by."""
        data = self.media(root)
        if layout:
            place = data / KNOWN_BY[layout]
            return f"{place} does not exist, which layout {layout} needs; put it there, or take another layout"
        return f"{data} holds none of the folders {', '.join(KNOWN_BY.values())}; put the clips there"

    def image_size(self, scale: Scale) -> int:
        """The set's own frame side; the model resizes frames to what its encoder takes."""
        return scale.frame_size

    def front_end(self, scale: Scale) -> dict[str, Any]:
        """The log-mel of each second, tiled five times."""
        return {"tile": TILE, **scale.htsat.front_end}

    def forms(self, scale: Scale) -> dict[str, tuple[tuple[int, ...], str]]:
        """Frames and binary masks, seconds of sound, their compact log-mel, the VGGish input."""
        side, sound = scale.frame_size, scale.htsat
        return {
            "frames": ((SEGMENTS, 3, side, side), "uint8"),
            "wave": ((SEGMENTS, sound.sample_rate), "float32"),
            "logmel": ((SEGMENTS, compact_frames(sound, TILE), sound.mel_bins), "float32"),
            "vggish_examples": ((SEGMENTS, *EXAMPLE), "float32"),
            "masks": ((SEGMENTS, side, side), "uint8"),
        }

    def pretend(self, scale: Scale, count: int, classes: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Random frames, sound and masks, of an S4 clip for the first frame only."""
        forms = self.forms(scale)
        annotated = np.ones((count, SEGMENTS), dtype=bool)
        annotated[:, 1:] = not self.sorted
        return {
            "frames": rng.integers(0, 256, (count, *forms["frames"][0]), dtype=np.uint8),
            **pretended_sound(forms, count, rng),
            "vggish_examples": rng.standard_normal((count, *forms["vggish_examples"][0]), dtype=np.float32),
            "masks": rng.integers(0, 2, (count, *forms["masks"][0]), dtype=np.uint8),
            "annotated": annotated,
        }

    def public_features(self, root: Path, extractor: str) -> dict[str, PublicFeature]:
        """`audio_log_mel/.../NAME.pkl`: VGGish's input, as the archive has it."""
        folder = self.media(root) / "audio_log_mel"
        files = [Path(place, name) for place, _, names in os.walk(folder, followlinks=True) for name in names]
        pickles = sorted(path for path in files if path.suffix == ".pkl" and extractor == "vggish")
        return {path.stem: PublicFeature(path) for path in pickles}


S4 = AvsBench("avs-s4", "Single-source", "s4", {"train": 3452, "val": 740, "test": 740})
MS3 = AvsBench("avs-ms3", "Multi-sources", "ms3", {"train": 296, "val": 64, "test": 64})
SETS = {one.name: one for one in (S4, MS3)}


def write_metadata(path: Path, index: AvsIndex) -> None:
    """Write the metadata file of a setting, the inverse of `read_index`."""
    single = bool(index.categories)
    with open(path, "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("name", "start", "category", "split") if single else ("name", "split"))
        for row in index.rows:
            table.writerow((row.video_id, row.start, row.category, row.split) if single else (row.video_id, row.split))


def _table(path: Path, columns: tuple[str, ...]) -> list[tuple[int, tuple[str, ...]]]:
    """Line numbers and the values of the columns, by position but for `split`, which has its own header."""
    try:
        lines = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except FileNotFoundError:
        raise DgsctError(f"{path} does not exist; put the data set's own file there") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DgsctError(f"{path} cannot be read as a table ({error}); put the data set's own file there") from error
    header = [name.strip() for name in lines[0]] if lines else []
    if "split" not in header or len(header) < len(columns):
        raise UsageError(f"{path} has the header {','.join(header)!r}; it must be {','.join(columns)!r}")
    place = header.index("split")
    rows = []
    for number, line in enumerate(lines[1:], 2):
        if not line:
            continue
        if len(line) != len(header):
            raise UsageError(f"{path}, line {number}: {len(line)} values where the header has {len(header)}; correct the row")
        values = [value.strip() for value in line]
        split = values.pop(place)
        rows.append((number, (*values[: len(columns) - 1], split)))
    return rows


def _name(name: str, where: str) -> str:
    """A name that can stand in a path."""
    if not is_name(name):
        raise UsageError(f"{where}: {name!r} is no name of a clip; correct the row")
    return name

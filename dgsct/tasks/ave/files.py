"""The AVE set for the shared preparation: which files a clip is made from, in either layout, and what it becomes.

`videos`: the public archive, `AVE/<id>.mp4` or `<id>.mp4` beside the annotations. `frames`: the release's own (AVE,
section 2), `frames/<id>/NNNNNNNN.jpg` numbered from 1 and `wave/<id>.npy`, in the root or in `AVE/`.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from dgsct.data.base import DataSet, clip_notes, clip_statuses, compact_frames, pretended_sound, stamp
from dgsct.data.categories import AGAIN
from dgsct.data.index import Index
from dgsct.data.media import sampled_indices
from dgsct.errors import DgsctError
from dgsct.settings.scales import Scale
from dgsct.tasks.ave.annotations import SEGMENTS, AveIndex, Row, media_path, read_index
from dgsct.tasks.ave.categories import BY_SCALE

TILE = 10
JPG = re.compile(r"([0-9]{4,8})\.jpg")  # 8 digits in the release, 4 in LAVISH


@dataclass(frozen=True)
class AveSource:
    """The files of one clip.

    Layout `videos`: `picture` is the mp4 file and `wave` None. Layout `frames`: `picture` is the folder of jpg files,
    `frames` names the ten sampled ones, `gap` tells that their numbers are not 1 to n, `wave` is the npy file.
    `stamp` holds sizes and times (JSON), None where no file is there.
    """

    video_id: str
    picture: Path
    stamp: Any
    wave: Path | None = None
    frames: tuple[str, ...] = ()
    gap: bool = False


class Ave(DataSet):
    """The AVE set."""

    name = "ave"
    layouts = MappingProxyType({"videos": "as mp4", "frames": "as frames and wave"})
    statuses = MappingProxyType(clip_statuses(SEGMENTS))
    notes = MappingProxyType(clip_notes(SEGMENTS, long="used; above 11 s, frames spread over all of it"))
    decoder = "dgsct.tasks.ave.decode"
    published = MappingProxyType({"train": 3339, "val": 402, "test": 402})
    videos = 4097  # 46 rows share one with another row

    def index_file(self, root: Path) -> Path:
        """`Annotations.txt`."""
        return Path(root) / "Annotations.txt"

    def read_index(self, root: Path) -> AveIndex:
        """Annotations and splits."""
        return read_index(root)

    def sources(self, root: Path, index: Index, layout: str) -> list[AveSource]:
        """The files of every video."""
        if layout == "videos":
            return [_video(Path(root), name) for name in index.video_ids]
        folder = _frames_root(Path(root))
        return [_frames(folder, name) for name in index.video_ids] if folder else []

    def absent(self, root: Path, layout: str | None) -> str:
        """Only the folder of frames can be absent: an mp4 is looked for by its name."""
        return f"{root} has no folder 'frames' (nor AVE/frames); give the release's data folder, or layout videos"

    def media_place(self, root: Path, layout: str) -> str:
        """`AVE/`, as the public archive has it, or the release's two folders."""
        root = Path(root)
        if layout == "videos":
            return f"its videos into {root / 'AVE'}"
        folder = _frames_root(root) or root
        return f"its frames into {folder / 'frames'} and its waves into {folder / 'wave'}"

    def first_file(self, source: AveSource) -> Path:
        """The video, or the wave."""
        return source.wave or source.picture

    def names(self, scale: Scale) -> tuple[str, ...]:
        """AVE's 28 categories, or the generated set's six."""
        return BY_SCALE.get(scale.name, ())

    def check(self, manifest: Mapping[str, Any], arrays: Mapping[str, np.ndarray], scale: Scale) -> None:
        """Labels are those of the rows, too: background has the number of the categories."""
        super().check(manifest, arrays, scale)
        names = tuple(manifest["categories"])
        rows = [Row(row["category"], row["id"], "", row["start"], row["end"]) for row in manifest["rows"]]
        if strange := [row for row in rows if row.category not in names]:
            problem = f"the row of {strange[0].video_id} has the category {strange[0].category!r}"
            raise DgsctError(f"the prepared set {self.name!r}: {problem}, which is none of its list; {AGAIN}")
        if not np.array_equal(AveIndex(tuple(rows), names, {}).labels, arrays["labels"]):
            raise DgsctError(f"the prepared set {self.name!r}: its labels are not those of its rows; {AGAIN}")

    def image_size(self, scale: Scale) -> int:
        """What the visual encoder takes."""
        return scale.swin.image_size

    def front_end(self, scale: Scale) -> dict[str, Any]:
        """The log-mel of each second, tiled ten times."""
        return {"tile": TILE, **scale.htsat.front_end}

    def forms(self, scale: Scale) -> dict[str, tuple[tuple[int, ...], str]]:
        """Frames resized for the encoder, seconds of sound, their compact log-mel."""
        size, sound = scale.swin.image_size, scale.htsat
        return {
            "frames": ((SEGMENTS, 3, size, size), "float16"),
            "wave": ((SEGMENTS, sound.sample_rate), "float32"),
            "logmel": ((SEGMENTS, compact_frames(sound, TILE), sound.mel_bins), "float32"),
        }

    def pretend(self, scale: Scale, count: int, classes: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Random frames, sound and labels."""
        forms = self.forms(scale)
        return {
            "frames": rng.random((count, *forms["frames"][0]), dtype=np.float32).astype(np.float16),
            **pretended_sound(forms, count, rng),
            "labels": np.repeat(rng.integers(0, classes, (count, 1)), SEGMENTS, axis=1),
        }


AVE = Ave()
SETS = {AVE.name: AVE}


def _frames_root(root: Path) -> Path | None:
    """The folder that holds `frames` and `wave`."""
    return next((place for place in (root, root / "AVE") if (place / "frames").is_dir()), None)


def _video(root: Path, video_id: str) -> AveSource:
    path = media_path(root, video_id)
    return AveSource(video_id, path, stamp(path))


def _frames(root: Path, video_id: str) -> AveSource:
    folder, wave = root / "frames" / video_id, root / "wave" / f"{video_id}.npy"
    try:
        numbered = sorted((int(m[1]), m[0]) for m in map(JPG.fullmatch, os.listdir(folder)) if m)
    except OSError:
        numbered = []
    names = [name for _, name in numbered]
    sampled = tuple(names[i] for i in sampled_indices(len(names), SEGMENTS)) if names else ()
    gap = bool(names) and [number for number, _ in numbered] != list(range(1, len(names) + 1))
    sound = stamp(wave)
    there = sound is not None or folder.is_dir()
    pictures = [stamp(folder / name) for name in dict.fromkeys(sampled)]
    return AveSource(video_id, folder, [len(names), pictures, sound] if there else None, wave, sampled, gap)

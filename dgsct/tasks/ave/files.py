"""The AVE set for the shared preparation: which files a clip is made from, in either layout, and what it becomes.

`videos`: the public archive, `AVE/<id>.mp4` or `<id>.mp4` beside the annotations. `frames`: the release's own (AVE,
section 2), `frames/<id>/NNNNNNNN.jpg` numbered from 1 and `wave/<id>.npy`, in the root or in `AVE/`.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from dgsct.data.base import DataSet, Index, compact_frames, pretended_sound, stamp
from dgsct.data.media import sampled_indices
from dgsct.settings.scales import Scale
from dgsct.tasks.ave.annotations import SEGMENTS, AveIndex, media_path, read_index

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
    statuses = MappingProxyType({
        "ready": "", "missing": "no file", "empty": "zero bytes", "truncated": "cut off", "no_video": "no picture",
        "no_audio": "no sound", "wrong_length": "not 10 s at the sampling rate", "unreadable": "cannot be decoded",
    })  # fmt: skip
    notes = MappingProxyType({
        "silent": "used; below -60 dB", "short": "used; below 10 s, sound padded with zeros",
        "long": "used; above 11 s, frames spread over all of it", "wrong_rate": "used; resampled",
    })  # fmt: skip
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

    def media_place(self, root: Path) -> Path:
        """`AVE/`, as the public archive has it."""
        return Path(root) / "AVE"

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

"""Which files a clip is made from, in either layout, and what tells whether they have changed. No torch: the DAG asks too.

`videos`: the public archive, `AVE/<id>.mp4` or `<id>.mp4` beside the annotations. `frames`: the release's own (AVE,
section 2), `frames/<id>/NNNNNNNN.jpg` numbered from 1 and `wave/<id>.npy`, in the root or in `AVE/`.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dgsct.data.ave import SEGMENTS, media_path, read_index
from dgsct.data.media import sampled_indices
from dgsct.errors import DgsctError, UsageError

LAYOUTS = ("videos", "frames")
# Modules that decide what a prepared folder holds; estimates, reports and locks do not.
DECIDES = ("dgsct.data.decode", "dgsct.data.manifest", "dgsct.data.writer")
JPG = re.compile(r"([0-9]{4,8})\.jpg")  # 8 digits in the release, 4 in LAVISH


@dataclass(frozen=True)
class Source:
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


def find_sources(root: Path, video_ids: Sequence[str], layout: str | None = None) -> tuple[str, list[Source]]:
    """The layout in use and the files of every clip. Without `layout` it is the one with more clips, videos if equal."""
    root = Path(root)
    if layout not in (None, *LAYOUTS):
        raise UsageError(f"unknown layout {layout!r}; choose one of: {', '.join(LAYOUTS)}")
    if layout == "frames" and not _frames_root(root):
        raise UsageError(f"{root} has no folder 'frames' (nor AVE/frames); give the release's data folder, or layout videos")
    videos = [] if layout == "frames" else [_video(root, name) for name in video_ids]
    folder = None if layout == "videos" else _frames_root(root)
    frames = [_frames(folder, name) for name in video_ids] if folder else []
    present = {"videos": _present(videos), "frames": _present(frames)}
    chosen = layout or ("frames" if present["frames"] > present["videos"] else "videos")
    if all(present.values()):
        print(
            f"{root} has {present['videos']} clips as mp4 and {present['frames']} as frames and wave: {chosen} are used "
            f"(--layout {'videos' if chosen == 'frames' else 'frames'} takes the others)",
            flush=True,
        )
    return chosen, frames if chosen == "frames" else videos


def source_stamps(root: Path) -> list[Any]:
    """What the DAG compares: the ids, sizes and times of the clips' files below `root`; empty if the set is malformed."""
    try:
        ids = read_index(root).video_ids
    except DgsctError:
        return []
    folder = _frames_root(Path(root))
    return [[name, _video(Path(root), name).stamp, _frames(folder, name).stamp if folder else None] for name in ids]


def _present(sources: list[Source]) -> int:
    return sum(source.stamp is not None for source in sources)


def _frames_root(root: Path) -> Path | None:
    """The folder that holds `frames` and `wave`."""
    return next((place for place in (root, root / "AVE") if (place / "frames").is_dir()), None)


def _video(root: Path, video_id: str) -> Source:
    path = media_path(root, video_id)
    return Source(video_id, path, _stamp(path))


def _frames(root: Path, video_id: str) -> Source:
    folder, wave = root / "frames" / video_id, root / "wave" / f"{video_id}.npy"
    try:
        numbered = sorted((int(m[1]), m[0]) for m in map(JPG.fullmatch, os.listdir(folder)) if m)
    except OSError:
        numbered = []
    names = [name for _, name in numbered]
    sampled = tuple(names[i] for i in sampled_indices(len(names), SEGMENTS)) if names else ()
    gap = bool(names) and [number for number, _ in numbered] != list(range(1, len(names) + 1))
    sound = _stamp(wave)
    there = sound is not None or folder.is_dir()
    pictures = [_stamp(folder / name) for name in dict.fromkeys(sampled)]
    return Source(video_id, folder, [len(names), pictures, sound] if there else None, wave, sampled, gap)


def _stamp(path: Path) -> list[int] | None:
    """Size in bytes and time of last change in nanoseconds."""
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]

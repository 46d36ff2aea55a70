"""Frames as the release stores them: jpg files of any rate."""

from pathlib import Path

import numpy as np

from dgsct.data.container import MediaError, file_bytes
from dgsct.tasks.ave.files import AveSource


def read_jpgs(source: AveSource) -> list[np.ndarray]:
    """The ten sampled frames of a folder, each [H, W, 3] uint8 RGB; MediaError names what is wrong."""
    folder = source.picture
    if not source.frames:
        problem = f"{folder} holds no frame named NNNNNNNN.jpg{_others(folder)}"
        raise MediaError("no_video", f"{problem}; extract the clip's frames again")
    if source.gap:
        raise MediaError("truncated", f"{folder} lacks frames (their numbers are not 1 to n); extract them again")
    read = {name: _read_jpg(folder / name) for name in dict.fromkeys(source.frames)}
    return [read[name] for name in source.frames]


def _read_jpg(path: Path) -> np.ndarray:
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg

    data = file_bytes(path, "no_video")
    # The release's reader; libjpeg fills what is missing with grey and only whispers, so the end mark is looked for.
    if data[:2] == b"\xff\xd8" and b"\xff\xd9" not in data[-64:]:
        raise MediaError("truncated", f"{path} is cut off (it has no end mark); extract the clip's frames again")
    try:
        image = decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), ImageReadMode.RGB)
    except RuntimeError as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise MediaError("unreadable", f"{path} is no readable jpg ({reason}); extract the clip's frames again") from error
    return image.permute(1, 2, 0).numpy()


def _others(folder: Path) -> str:
    """What a folder without frames holds, in words."""
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return ""
    return f" but {len(names)} others, such as {names[0]}" if names else ""

"""Clips as the release stores them (AVE, section 2): jpg frames of any rate, and ten seconds of sound as a npy file."""

from pathlib import Path

import numpy as np

from dgsct.data.media import MediaError, file_bytes
from dgsct.tasks.ave.files import AveSource


def read_jpgs(source: AveSource) -> list[np.ndarray]:
    """The ten sampled frames of a folder, each [H, W, 3] uint8 RGB; MediaError names what is wrong."""
    folder = source.picture
    if not source.frames:
        raise MediaError("no_video", f"{folder} holds no frame named NNNNNNNN.jpg; extract the clip's frames again")
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


def read_wave(path: Path, samples: int) -> np.ndarray:
    """[samples] float32 of a npy file of floats, whatever its shape; MediaError if it holds another number of them."""
    data = file_bytes(path, "no_audio")
    again = "extract the clip's sound again"
    try:
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
            missing = int(np.prod(shape)) * dtype.itemsize - (len(data) - file.tell())
        if dtype.kind != "f":
            # A full scale would have to be guessed, and objects would be code.
            raise MediaError("unreadable", f"{path} holds {dtype} instead of floats in [-1, 1]; {again}")
        if missing > 0:
            raise MediaError("truncated", f"{path} is cut off ({missing} bytes are missing); {again}")
        wave = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise MediaError("unreadable", f"{path} is no npy file ({str(error).splitlines()[0]}); {again}") from error
    if wave.size != samples:
        told = f"{path} holds {wave.size} samples instead of {samples}, so its sampling rate is not known"
        raise MediaError("wrong_length", f"{told}; {again}")
    if not np.isfinite(wave).all():
        raise MediaError("unreadable", f"{path} holds numbers that are not finite; {again}")
    return wave.reshape(samples).astype(np.float32)

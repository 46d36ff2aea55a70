"""One AVE clip from its files to arrays, in either layout, with what is odd about it.

Frames: ten at equidistant moments, first and last frame included, resized by bicubic interpolation without antialiasing and
without clipping, as the release's image transform does (AVE, section 2). Sound: mono, ten one-second segments, and the log-mel
spectrum of each tiled second, which no epoch changes.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from dgsct.data.base import SILENCE, Clip
from dgsct.data.media import Media, MediaError, sampled_indices
from dgsct.data.waves import read_wave
from dgsct.encoders.frontend import log_mel_compact
from dgsct.settings.scales import Scale
from dgsct.tasks.ave.annotations import SEGMENTS
from dgsct.tasks.ave.files import TILE, AveSource
from dgsct.tasks.ave.release import read_jpgs


def decode_clip(source: AveSource, scale: Scale) -> Clip:
    """Frames [10, 3, H, W], wave [10, rate] and log-mel [10, F, mel] of one clip.

    A clip that cannot be used carries its status and one sentence instead.
    """
    torch.set_num_threads(1)
    rate = scale.htsat.sample_rate
    try:
        images, wave, notes = _read_release(source, source.wave, rate) if source.wave else _read_video(source, rate)
    except MediaError as error:
        return Clip(status=error.reason, problem=str(error))
    peak = float(np.abs(wave).max())
    if peak < SILENCE:
        notes["silent"] = round(peak, 6)
    frames = np.concatenate([resize(image[None], scale.swin.image_size) for image in images])
    wave = wave.reshape(SEGMENTS, rate)
    logmel = log_mel_compact(torch.from_numpy(wave), scale.htsat, TILE).numpy()
    return Clip({"frames": frames, "wave": wave, "logmel": logmel}, notes=notes)


def _read_video(source: AveSource, rate: int) -> tuple[Any, np.ndarray, dict[str, Any]]:
    media = Media.open(source.picture)
    images = media.frames(lambda total, _: sampled_indices(total, SEGMENTS))
    (wave,) = media.sound([rate], SEGMENTS)
    return images, np.pad(wave, (0, rate * SEGMENTS - len(wave))), media.all_notes(SEGMENTS, rate)


def _read_release(source: AveSource, sound: Path, rate: int) -> tuple[Any, np.ndarray, dict[str, Any]]:
    """Frames have no rate of their own and the wave is ten seconds by its length, so none is short, long or resampled."""
    if source.stamp is None:
        raise MediaError("missing", f"{source.picture} and {sound} do not exist; put the clip's frames and wave there")
    return read_jpgs(source), read_wave(sound, SEGMENTS, rate), {}


def resize(frames: np.ndarray, size: int) -> np.ndarray:
    """uint8 [T, H, W, 3] -> float16 [T, 3, size, size] in units of 1/255 of the value; aspect is not kept."""
    pixels = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 255
    return F.interpolate(pixels, (size, size), mode="bicubic", align_corners=False, antialias=False).half().numpy()

"""One clip from its files to arrays, in either layout, with what is odd about it.

Frames: ten equidistant ones, first and last included, resized by bicubic interpolation without antialiasing and without
clipping, as the release's image transform does (AVE, section 2). Sound: mono, ten one-second segments, and the log-mel
spectrum of each tiled second, which no epoch changes.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from dgsct.data.ave import SEGMENTS
from dgsct.data.media import MediaError, read_audio, read_facts, read_frames
from dgsct.data.release import read_jpgs, read_wave
from dgsct.data.sources import Source
from dgsct.encoders.frontend import compact_copies, frames_per_second, log_mel_compact
from dgsct.scales import Scale

TILE = 10
SILENCE = 1e-3  # peak of a clip, full scale 1: -60 dB, the last five of sixteen bits
SHORT = SEGMENTS - 0.1  # seconds; a frame at 12 per second or a block of an encoder less is no loss
LONG = SEGMENTS + 1.0


@dataclass(frozen=True)
class Clip:
    """One decoded clip: frames [10, 3, H, W], wave [10, rate], log-mel [10, F, mel]; or the problem that it has.

    `notes` says what is odd about a usable clip: `silent` its peak, `short` and `long` its seconds, `wrong_rate` its Hz.
    """

    arrays: dict[str, np.ndarray] | None = None
    status: str = "ready"
    notes: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


def decode_clip(source: Source, scale: Scale) -> Clip:
    """Frames, sound and log-mel of one clip; a clip that cannot be used carries its status and one sentence instead."""
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


def _read_video(source: Source, rate: int) -> tuple[Any, np.ndarray, dict[str, Any]]:
    images, wave = read_frames(source.picture, SEGMENTS), read_audio(source.picture, rate, SEGMENTS)
    facts = read_facts(source.picture)
    seconds = {"video": round(facts.video_seconds, 2), "sound": round(facts.sound_seconds, 2)}
    notes: dict[str, Any] = {}
    if min(seconds.values()) < SHORT:
        notes["short"] = seconds
    if max(seconds.values()) > LONG:
        notes["long"] = seconds
    if facts.rate != rate:
        notes["wrong_rate"] = facts.rate
    return images, wave, notes


def _read_release(source: Source, sound: Path, rate: int) -> tuple[Any, np.ndarray, dict[str, Any]]:
    """Frames have no rate of their own and the wave is ten seconds by its length, so none is short, long or resampled."""
    if source.stamp is None:
        raise MediaError("missing", f"{source.picture} and {sound} do not exist; put the clip's frames and wave there")
    return read_jpgs(source), read_wave(sound, rate * SEGMENTS), {}


def resize(frames: np.ndarray, size: int) -> np.ndarray:
    """uint8 [T, H, W, 3] -> float16 [T, 3, size, size] in units of 1/255 of the value; aspect is not kept."""
    pixels = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 255
    return F.interpolate(pixels, (size, size), mode="bicubic", align_corners=False, antialias=False).half().numpy()


def forms(scale: Scale) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape of one clip in each array, and its dtype."""
    size, sound = scale.swin.image_size, scale.htsat
    frames = compact_copies(TILE) * frames_per_second(sound) + 1
    return {
        "frames": ((SEGMENTS, 3, size, size), "float16"),
        "wave": ((SEGMENTS, sound.sample_rate), "float32"),
        "logmel": ((SEGMENTS, frames, sound.mel_bins), "float32"),
    }


def front_end(scale: Scale) -> dict[str, Any]:
    """What the stored log-mel depends on; a run that asks for something else computes its own from the wave."""
    return {"tile": TILE, **scale.htsat.front_end}

"""Clips in which the second can be seen and heard: grey value 20 * second, and a tone of 300 + 200 * second Hz."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

RATE = 32000
UNIT = Fraction(1, 1200)  # of a second: 5, 10, 24, 25 and 30 frames a second fall on it
SIDE = 48


def steady(fps: float, start: float = 0, end: float = 10) -> list[float]:
    """Moments at a constant rate."""
    return [start + i / fps for i in range(round((end - start) * fps))]


def picture(second: int) -> np.ndarray:
    return np.full((SIDE, SIDE, 3), 20 * second, np.uint8)


def tones(start: float, end: float) -> np.ndarray:
    """What is heard from `start` to `end`."""
    time = start + np.arange(round((end - start) * RATE)) / RATE
    return (0.5 * np.sin(2 * np.pi * (300 + 200 * np.floor(time + 1e-9)) * time)).astype(np.float32)


def write_clip(
    path: Path,
    moments: Sequence[float],
    heard: Sequence[tuple[float, float]] = ((0, 10),),
    shift: float = 0,
    options: dict[str, str] | None = None,
    codec: str = "libx264",
    sound_codec: str = "aac",
    last: float = 0.04,
    turned: bool = False,
) -> Path:
    """A clip whose frames appear at `moments` and whose sound lasts from ... to ..., each what belongs to its own time.

    `shift` moves all times within the file; `last` is how long the last frame stays; `turned`: some frames are stored after
    those that follow them.
    """
    with av.open(str(path), "w", container_options=options or {}) as container:
        video = container.add_stream(codec, rate=25)
        video.width = video.height = SIDE
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = UNIT
        if codec == "libx264":
            video.codec_context.max_b_frames = int(bool(turned))
        packets: list[tuple[float, Any]] = []
        for moment in moments:
            frame = av.VideoFrame.from_ndarray(picture(int(moment + 1e-9)), format="rgb24")
            frame.pts, frame.time_base = round((moment + shift) / UNIT), UNIT
            packets += [(moment, packet) for packet in video.encode(frame)]
        packets += [(moments[-1], packet) for packet in video.encode(None)]
        for _, packet in packets:
            packet.duration = round(
                min((m + shift for m in moments if (m + shift) / UNIT > packet.pts + 0.5), default=0) / UNIT
            )
            packet.duration = packet.duration - packet.pts if packet.duration else round(last / UNIT)
        if heard:
            sound = container.add_stream(sound_codec, rate=RATE, layout="mono")
            packets += _sound(sound, heard, shift)
        for _, packet in sorted(packets, key=lambda entry: entry[0]):
            container.mux(packet)
    return path


def _sound(stream: Any, heard: Sequence[tuple[float, float]], shift: float) -> list[tuple[float, Any]]:
    found = []
    size = 1024
    for start, end in heard:
        wave = tones(start, end)
        for i in range(0, len(wave), size):
            block = av.AudioFrame.from_ndarray(wave[None, i : i + size].copy(), format="fltp", layout="mono")
            block.sample_rate, block.time_base = RATE, Fraction(1, RATE)
            block.pts = round((start + shift) * RATE) + i
            found += [(start + i / RATE, packet) for packet in stream.encode(block)]
    return found + [(heard[-1][1], packet) for packet in stream.encode(None)]


def seconds_seen(frames: np.ndarray) -> list[int]:
    """Which second each frame [T, H, W, 3] shows."""
    return [round(float(frame[8:-8, 8:-8].mean()) / 20) for frame in frames]


def seconds_heard(wave: np.ndarray) -> list[int | None]:
    """Which second is heard in each second of a wave [T * rate], by its middle; None for silence."""
    found: list[int | None] = []
    for part in wave.reshape(-1, RATE):
        middle = part[RATE // 4 : -RATE // 4]
        peak = int(np.abs(np.fft.rfft(middle * np.hanning(len(middle)))).argmax()) * RATE / len(middle)
        found.append(None if np.abs(middle).max() < 0.05 else round((peak - 300) / 200))
    return found

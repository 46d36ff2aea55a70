"""One generator of audio-visual scenes, from which every mini data set is cut.

A scene is some seconds in which sources move and sound. Sources of one *look* share shape, texture and colour range,
sources of one *sound* share a timbre (`dgsct.data.kinds`); each source has seconds in which it is on screen and seconds in
which it sounds, so a scene holds events, silent bystanders and off-screen sounds alike. Everything follows from the numbers
in the scene, so frames, masks, sound and events of one scene always agree. How long a scene is, of what kinds its sources
are and from which stream its numbers come (`dgsct.data.streams`) is each set's own choice.
"""

import colorsys
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dgsct.data.kinds import Look, Sound
from dgsct.data.streams import generator

Interval = tuple[float, float]


@dataclass(frozen=True)
class Source:
    """One thing that is seen, heard, or both; never on screen means an off-screen sound.

    What is never on screen needs no look, what is never heard no sound. `visible` and `audible` are intervals [start, end)
    in seconds. `centre`, `swing` (x, y; y downwards) and `size` (the radius) are in units of the image side, `speed` in
    radians a second; in its intervals of `shade` it has no colour. `loudness` is an amplitude, `pitch` and `tempo` are
    factors on the timbre's frequencies and rhythm.
    """

    look: Look | None
    sound: Sound | None
    visible: tuple[Interval, ...]
    audible: tuple[Interval, ...]
    centre: tuple[float, float]
    swing: tuple[float, float]
    speed: float
    phase: float
    size: float
    hue: float
    loudness: float
    pitch: float
    tempo: float
    shade: tuple[Interval, ...] = ()

    def __post_init__(self) -> None:
        if (self.visible and self.look is None) or (self.audible and self.sound is None):
            raise ValueError("a source that is seen has a look, one that is heard a sound")

    def position(self, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Centre (x, y) at times in seconds, each of the shape of `time`."""
        turn = self.speed * time + self.phase
        return self.centre[0] + self.swing[0] * np.sin(turn), self.centre[1] + self.swing[1] * np.cos(0.7 * turn)


@dataclass(frozen=True)
class Scene:
    """Sources, later ones in front, over a background, for `duration` seconds.

    `seed` decides textures, `noise` is the amplitude of the sound's noise floor.
    """

    sources: tuple[Source, ...]
    seed: int
    duration: int
    noise: float = 0.01


class SourceEvents(NamedTuple):
    """When one source is seen and when it is heard: [seconds] bool each."""

    source: Source
    seen: np.ndarray
    heard: np.ndarray


def random_source(
    rng: np.random.Generator,
    look: Look | None,
    sound: Sound | None,
    visible: tuple[Interval, ...],
    audible: tuple[Interval, ...],
) -> Source:
    """A source with random path, size, colour, loudness, pitch and tempo within its look and sound.

    It draws as many numbers, in the same order, whatever its kinds.
    """
    hue = look.hue if look else 0.0
    return Source(
        look=look,
        sound=sound,
        visible=visible,
        audible=audible,
        centre=(float(rng.uniform(0.28, 0.72)), float(rng.uniform(0.28, 0.72))),
        swing=(float(rng.uniform(0.04, 0.16)), float(rng.uniform(0.04, 0.16))),
        speed=float(rng.uniform(0.5, 2.0)),
        phase=float(rng.uniform(0, 2 * np.pi)),
        size=float(rng.uniform(0.15, 0.23)),
        hue=float((hue + rng.uniform(-0.035, 0.035)) % 1.0),
        loudness=float(rng.uniform(0.15, 0.3)),
        pitch=float(rng.uniform(0.94, 1.06)),
        tempo=float(rng.uniform(0.9, 1.1)),
    )


def active(intervals: tuple[Interval, ...], time: np.ndarray) -> np.ndarray:
    """Whether each time (seconds) lies in one of the intervals."""
    inside = np.zeros(np.shape(time), dtype=bool)
    for start, end in intervals:
        inside |= (time >= start) & (time < end)
    return inside


def events(scene: Scene) -> list[SourceEvents]:
    """For each source, in which seconds it is on screen and in which it sounds, by the middle of the second."""
    middle = np.arange(scene.duration) + 0.5
    return [SourceEvents(s, active(s.visible, middle), active(s.audible, middle)) for s in scene.sources]


def _local(source: Source, width: int, height: int, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixel centres in the source's own units: x [F, 1, W] and y [F, H, 1], zero at its centre, one at its radius."""
    x, y = source.position(times)
    grid_x, grid_y = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    return (grid_x - x[:, None, None]) / source.size, (grid_y[:, None] - y[:, None, None]) / source.size


def render_masks(scene: Scene, width: int, height: int, fps: float, sounding: bool = True) -> np.ndarray:
    """Where each source is seen, without what others hide: bool [sources, F, H, W], frame f at f / fps seconds.

    With `sounding`, only while the source is heard, which is the ground truth of audio-visual segmentation.
    """
    times = np.arange(int(scene.duration * fps)) / fps
    masks = np.zeros((len(scene.sources), len(times), height, width), dtype=bool)
    for i, source in enumerate(scene.sources):
        shown = active(source.visible, times)
        if source.look and shown.any():
            masks[i, shown] = source.look.inside(*_local(source, width, height, times[shown]))
            masks[:i] &= ~masks[i]
    if sounding:
        for mask, source in zip(masks, scene.sources, strict=True):
            mask &= active(source.audible, times)[:, None, None]
    return masks


def _background(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """A smooth grey-brown texture, [H, W, 3] in [0, 255]."""
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    texture = np.zeros((height, width))
    for _ in range(4):
        turn = rng.uniform(-3, 3) * x + rng.uniform(-3, 3) * y
        texture += rng.uniform(4, 14) * np.sin(2 * np.pi * turn + rng.uniform(0, 6))
    return rng.uniform(70, 140) + rng.uniform(-12, 12, size=3) + texture[..., None]


def render_frames(scene: Scene, width: int, height: int, fps: float) -> np.ndarray:
    """Frames at f / fps seconds: uint8 RGB [F, H, W, 3]."""
    rng = generator("scene/picture", scene.seed)
    times = np.arange(int(scene.duration * fps)) / fps
    frames = np.repeat(_background(rng, width, height).astype(np.float32)[None], len(times), axis=0)
    for source in scene.sources:
        shown = np.flatnonzero(active(source.visible, times))
        if source.look and len(shown):
            x, y = _local(source, width, height, times[shown])
            f, h, w = np.nonzero(source.look.inside(x, y))
            along_x, along_y = source.look.stripes
            light = 1 - 0.3 * (np.sin(np.pi * (along_x * x[f, 0, w] + along_y * y[f, h, 0])) > 0.2)
            saturation = np.where(active(source.shade, times[shown]), 0.0, 0.8)
            colours = 255 * np.array([colorsys.hsv_to_rgb(source.hue, s, 0.9) for s in saturation])
            frames[shown[f], h, w] = light[:, None] * colours[f]
    frames += 6 * rng.standard_normal(frames.shape[:3], dtype=np.float32)[..., None]
    return np.clip(frames, 0, 255).astype(np.uint8)


def render_wave(scene: Scene, rate: int) -> np.ndarray:
    """Sound of the scene: mono float32 [rate * duration] in [-1, 1], faded over 10 ms at every interval's ends."""
    rng = generator("scene/sound", scene.seed)
    wave = scene.noise * rng.standard_normal(rate * scene.duration)
    for source in scene.sources:
        if source.sound is None:
            continue
        for start, end in source.audible:
            place = slice(round(start * rate), round(end * rate))
            time = np.arange(place.start, place.stop) / rate
            ramp = np.clip(np.minimum(time - start, end - time) / 0.01, 0, 1)
            wave[place] += source.loudness * ramp * source.sound.wave(time, source.pitch, source.tempo, rng)
    return np.clip(wave, -1, 1).astype(np.float32)

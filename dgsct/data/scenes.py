"""One generator of audio-visual scenes, from which every mini data set is cut.

A scene is some seconds in which sources move and sound. Sources of one *look* share shape, texture and colour range,
sources of one *sound* share a timbre; each source has seconds in which it is on screen and seconds in which it sounds,
so a scene holds events, silent bystanders and off-screen sounds alike. Everything follows from the numbers in the
scene, so frames, masks, sound and events of one scene always agree.
"""

import colorsys
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

SECONDS = 10
LOOKS = ("disc", "square", "triangle", "ring", "cross", "bow")
SOUNDS = ("hum", "chirp", "hiss", "clicks", "bell", "whistle")
HUES = (0.0, 0.33, 0.62, 0.15, 0.85, 0.48)
# Stripes across a source: waves per radius along x and y.
STRIPES = ((0.0, 1.2), (1.2, 0.0), (0.0, 0.0), (0.0, 0.0), (0.9, 0.9), (0.9, -0.9))
STILL, SECOND = 1, 2  # streams of random numbers for pre-training, which no clip draws from
VISIBLE_SHARE = 0.01  # of the image's area, below which a source does not count as seen in a still
Interval = tuple[float, float]


@dataclass(frozen=True)
class Source:
    """One thing that is seen, heard, or both; never on screen means an off-screen sound.

    `visible` and `audible` are intervals [start, end) in seconds. `centre`, `swing` (x, y; y downwards) and `size` (the
    radius) are in units of the image side, `speed` in radians a second. `loudness` is an amplitude, `pitch` and `tempo`
    are factors on the timbre's frequencies and on its rhythm.
    """

    look: int
    sound: int
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

    def position(self, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Centre (x, y) at times in seconds, each of the shape of `time`."""
        turn = self.speed * time + self.phase
        return self.centre[0] + self.swing[0] * np.sin(turn), self.centre[1] + self.swing[1] * np.cos(0.7 * turn)


@dataclass(frozen=True)
class Scene:
    """Sources, later ones in front, over a background; `seed` decides textures, `noise` is the sound's noise floor."""

    sources: tuple[Source, ...]
    seed: int
    noise: float = 0.01
    duration: int = SECONDS


class SourceEvents(NamedTuple):
    """When one source is seen and when it is heard: [seconds] bool each."""

    source: Source
    seen: np.ndarray
    heard: np.ndarray


def random_source(
    rng: np.random.Generator, look: int, sound: int, visible: tuple[Interval, ...], audible: tuple[Interval, ...]
) -> Source:
    """A source with random path, size, colour, loudness, pitch and tempo within its look and sound."""
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
        hue=float((HUES[look] + rng.uniform(-0.035, 0.035)) % 1.0),
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


def _inside(look: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Points of a shape of radius one."""
    across, along = np.abs(x), np.abs(y)
    match LOOKS[look]:
        case "disc":
            return x * x + y * y < 1
        case "square":
            return np.maximum(across, along) < 0.85
        case "triangle":
            return (y < 0.7) & (y > 1.9 * across - 1)
        case "ring":
            radius = x * x + y * y
            return (radius < 1) & (radius > 0.3)
        case "cross":
            return (np.minimum(across, along) < 0.28) & (np.maximum(across, along) < 1)
        case _:
            return (along < across) & (across < 0.95)


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
        if shown.any():
            masks[i, shown] = _inside(source.look, *_local(source, width, height, times[shown]))
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
    rng = np.random.default_rng([scene.seed, 1])
    times = np.arange(int(scene.duration * fps)) / fps
    frames = np.repeat(_background(rng, width, height).astype(np.float32)[None], len(times), axis=0)
    for source in scene.sources:
        shown = np.flatnonzero(active(source.visible, times))
        if len(shown):
            x, y = _local(source, width, height, times[shown])
            f, h, w = np.nonzero(_inside(source.look, x, y))
            along_x, along_y = STRIPES[source.look]
            light = 1 - 0.3 * (np.sin(np.pi * (along_x * x[f, 0, w] + along_y * y[f, h, 0])) > 0.2)
            colour = 255 * np.array(colorsys.hsv_to_rgb(source.hue, 0.8, 0.9))
            frames[shown[f], h, w] = light[:, None] * colour
    frames += 6 * rng.standard_normal(frames.shape[:3], dtype=np.float32)[..., None]
    return np.clip(frames, 0, 255).astype(np.uint8)


def _harmonics(turn: np.ndarray, count: int) -> np.ndarray:
    """sin(turn) + sin(2 turn) / 2 + ..., each by the recurrence sin(k a) = 2 cos(a) sin((k-1) a) - sin((k-2) a)."""
    before, now, twice_cos = np.zeros_like(turn), np.sin(turn), 2 * np.cos(turn)
    total = now.copy()
    for k in range(2, count + 1):
        before, now = now, twice_cos * now - before
        total += now / k
    return total


def _timbre(source: Source, time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The source's sound at `time` (seconds), amplitude about one. No two timbres share both pitch range and rhythm."""
    turn, tempo = 2 * np.pi * source.pitch * time, source.tempo
    match SOUNDS[source.sound]:
        case "hum":  # a low tone with six harmonics, 180 to 1080 Hz
            return _harmonics(180 * turn, 6) / 1.5
        case "chirp":  # four rising sweeps a second, 900 to 2500 Hz
            part = (4 * tempo * time) % 1
            return np.sin(2 * np.pi * source.pitch / (4 * tempo) * (900 * part + 0.5 * 1600 * part**2))
        case "hiss":  # fluttering noise, its power above 3 kHz
            white = rng.standard_normal(len(time) + 6)
            total = np.cumsum(white)
            high = white[6:] - (total[6:] - total[:-6]) / 6
            return high * (0.6 + 0.4 * np.sin(2 * np.pi * 7 * tempo * time)) / 1.2
        case "clicks":  # six broad clicks a second
            return rng.standard_normal(len(time)) * np.exp(-25 * ((6 * tempo * time) % 1)) * 1.5
        case "bell":  # struck three times a second, partials from 2300 to 4700 Hz
            partials = np.sin(2300 * turn) + np.sin(3150 * turn) + np.sin(4700 * turn)
            return partials * np.exp(-4 * ((3 * tempo * time) % 1)) / 1.5
        case _:  # a whistle: one tone around 7.5 kHz, trembling
            return np.sin(7500 * turn + 40 * np.sin(2 * np.pi * 5 * tempo * time)) * 0.7


def render_wave(scene: Scene, rate: int) -> np.ndarray:
    """Sound of the scene: mono float32 [rate * duration] in [-1, 1], faded over 10 ms at every interval's ends."""
    rng = np.random.default_rng([scene.seed, 2])
    wave = scene.noise * rng.standard_normal(rate * scene.duration)
    for source in scene.sources:
        for start, end in source.audible:
            place = slice(round(start * rate), round(end * rate))
            time = np.arange(place.start, place.stop) / rate
            ramp = np.clip(np.minimum(time - start, end - time) / 0.01, 0, 1)
            wave[place] += source.loudness * ramp * _timbre(source, time, rng)
    return np.clip(wave, -1, 1).astype(np.float32)


def _moments(count: int, seed: int, stream: int, most: int, make: Callable[[np.random.Generator, int], Source]) -> list[Scene]:
    """One-second scenes with none to `most` sources of different kinds."""
    scenes = []
    for i in range(count):
        rng = np.random.default_rng([seed, stream, i])
        kinds = rng.choice(len(LOOKS), size=int(rng.integers(0, most + 1)), replace=False)
        sources = tuple(make(rng, int(kind)) for kind in kinds)
        scenes.append(Scene(sources, int(rng.integers(2**31)), float(rng.uniform(0.005, 0.02)), duration=1))
    return scenes


def pretraining_images(count: int, seed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Stills with none to three sources: uint8 [count, size, size, 3], which looks are seen float32 [count, looks].

    Rendered at twice the size and averaged, as a resized video frame is smooth.
    """
    whole = ((0.0, 1.0),)
    scenes = _moments(count, seed, STILL, 3, lambda rng, kind: random_source(rng, kind, 0, whole, ()))
    images = np.empty((count, size, size, 3), dtype=np.uint8)
    labels = np.zeros((count, len(LOOKS)), dtype=np.float32)
    for image, label, scene in zip(images, labels, scenes, strict=True):
        large = render_frames(scene, 2 * size, 2 * size, 1)[0].astype(np.float32)
        image[:] = large.reshape(size, 2, size, 2, 3).mean(axis=(1, 3))
        areas = render_masks(scene, size, size, 1, sounding=False).mean(axis=(1, 2, 3))
        label[[s.look for s, area in zip(scene.sources, areas, strict=True) if area > VISIBLE_SHARE]] = 1
    return images, labels


def pretraining_sounds(count: int, seed: int, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Seconds with none to two sounds: float32 [count, rate], and which are heard, float32 [count, sounds]."""
    whole = ((0.0, 1.0),)
    scenes = _moments(count, seed, SECOND, 2, lambda rng, kind: random_source(rng, 0, kind, (), whole))
    waves = np.stack([render_wave(scene, rate) for scene in scenes])
    labels = np.zeros((count, len(SOUNDS)), dtype=np.float32)
    for label, scene in zip(labels, scenes, strict=True):
        label[[source.sound for source in scene.sources]] = 1
    return waves, labels

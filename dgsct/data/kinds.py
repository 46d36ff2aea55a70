"""Looks and sounds, the vocabulary of scenes: what things of one kind have in common.

A set names each kind that it draws from, and no draw depends on what else there is. A new kind is a line of data, here or
beside the set that needs it, where it leaves alone the code hash of the others too:

    STAR = Look("star", star, hue=0.72, stripes=(0.5, 0.5))  # star(x, y): which points belong to it
    ORGAN = Sound("organ", partial(tone, hertz=330, harmonics=4, peak=1.4))
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

Shape = Callable[[np.ndarray, np.ndarray], np.ndarray]
Timbre = Callable[[np.ndarray, float, float, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Look:
    """What things of one look share: shape, colour range and texture.

    `inside(x, y)` says which points (y downwards) belong to a thing of radius one, bool of the shape that x and y make
    together. `hue` is the middle of the range, in turns; `stripes` are waves per radius along x and y, none without.
    """

    name: str
    inside: Shape = field(compare=False, repr=False)
    hue: float
    stripes: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Sound:
    """What things of one sound share: a timbre.

    `wave(time, pitch, tempo, rng)` is the sound at `time` [n] in seconds, float64 [n] of an amplitude about one; pitch and
    tempo are factors on its frequencies and on its rhythm.
    """

    name: str
    wave: Timbre = field(compare=False, repr=False)


def disc(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """All within the radius."""
    return x * x + y * y < 1


def square(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Upright."""
    return np.maximum(np.abs(x), np.abs(y)) < 0.85


def triangle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """On its base."""
    return (y < 0.7) & (y > 1.9 * np.abs(x) - 1)


def ring(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A disc with a hole."""
    radius = x * x + y * y
    return (radius < 1) & (radius > 0.3)


def cross(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Two bars."""
    across, along = np.abs(x), np.abs(y)
    return (np.minimum(across, along) < 0.28) & (np.maximum(across, along) < 1)


def bow(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Two triangles that touch in the middle."""
    across = np.abs(x)
    return (np.abs(y) < across) & (across < 0.95)


def tone(
    time: np.ndarray, pitch: float, tempo: float, rng: np.random.Generator, hertz: float, harmonics: int, peak: float
) -> np.ndarray:
    """A steady tone with harmonics 1 to `harmonics`, number k as loud as 1 / k."""
    turn = hertz * (2 * np.pi * pitch * time)
    # By the recurrence sin(k a) = 2 cos(a) sin((k-1) a) - sin((k-2) a): one sine and one cosine instead of a sine each.
    before, now, twice_cos = np.zeros_like(turn), np.sin(turn), 2 * np.cos(turn)
    total = now.copy()
    for k in range(2, harmonics + 1):
        before, now = now, twice_cos * now - before
        total += now / k
    return total / peak


def sweeps(
    time: np.ndarray, pitch: float, tempo: float, rng: np.random.Generator, rate: float, low: float, high: float
) -> np.ndarray:
    """`rate` sweeps a second, each from `low` up to `high` Hz."""
    part = (rate * tempo * time) % 1
    return np.sin(2 * np.pi * pitch / (rate * tempo) * (low * part + 0.5 * (high - low) * part**2))


def flutter(time: np.ndarray, pitch: float, tempo: float, rng: np.random.Generator, rate: float) -> np.ndarray:
    """High noise (of a wave at 32 kHz: above 3 kHz) that swells `rate` times a second."""
    white = rng.standard_normal(len(time) + 6)
    total = np.cumsum(white)
    high = white[6:] - (total[6:] - total[:-6]) / 6
    return high * (0.6 + 0.4 * np.sin(2 * np.pi * rate * tempo * time)) / 1.2


def bursts(time: np.ndarray, pitch: float, tempo: float, rng: np.random.Generator, rate: float, decay: float) -> np.ndarray:
    """`rate` broad clicks a second, dying away by e in 1 / (rate * decay) seconds."""
    return rng.standard_normal(len(time)) * np.exp(-decay * ((rate * tempo * time) % 1)) * 1.5


def struck(
    time: np.ndarray,
    pitch: float,
    tempo: float,
    rng: np.random.Generator,
    rate: float,
    decay: float,
    partials: tuple[float, ...],
) -> np.ndarray:
    """Struck `rate` times a second; `partials` in Hz."""
    turn = 2 * np.pi * pitch * time
    ringing = np.sum([np.sin(hertz * turn) for hertz in partials], axis=0)
    return ringing * np.exp(-decay * ((rate * tempo * time) % 1)) / (0.5 * len(partials))


def trembling(
    time: np.ndarray, pitch: float, tempo: float, rng: np.random.Generator, hertz: float, rate: float, depth: float
) -> np.ndarray:
    """One tone whose phase swings by `depth` radians, `rate` times a second."""
    turn = 2 * np.pi * pitch * time
    return np.sin(hertz * turn + depth * np.sin(2 * np.pi * rate * tempo * time)) * 0.7


DISC = Look("disc", disc, hue=0.0, stripes=(0.0, 1.2))
SQUARE = Look("square", square, hue=0.33, stripes=(1.2, 0.0))
TRIANGLE = Look("triangle", triangle, hue=0.62)
RING = Look("ring", ring, hue=0.15)
CROSS = Look("cross", cross, hue=0.85, stripes=(0.9, 0.9))
BOW = Look("bow", bow, hue=0.48, stripes=(0.9, -0.9))

# No two timbres share both pitch range and rhythm.
HUM = Sound("hum", partial(tone, hertz=180, harmonics=6, peak=1.5))
CHIRP = Sound("chirp", partial(sweeps, rate=4, low=900, high=2500))
HISS = Sound("hiss", partial(flutter, rate=7))
CLICKS = Sound("clicks", partial(bursts, rate=6, decay=25))
BELL = Sound("bell", partial(struck, rate=3, decay=4, partials=(2300, 3150, 4700)))
WHISTLE = Sound("whistle", partial(trembling, hertz=7500, rate=5, depth=40))

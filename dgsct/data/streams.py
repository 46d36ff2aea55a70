"""Streams of random numbers, by name: what is drawn from one stream never depends on what is drawn from another.

    rng = generator("avvp/clip", seed, 17)  # all that is random in clip 17 of that set

A name is enough to have a stream of its own; nothing is registered. Only the streams of the first sets have numbers,
which the published reference results hang on.
"""

import hashlib
from typing import NamedTuple

import numpy as np


class Founding(NamedTuple):
    """A stream that is older than names: it starts from [seed + added, number, *place]."""

    number: int
    added: int = 0


# Closed: a new stream has a name and nothing else. Some of these meet (the starts of S4 and its first clip; the ids of S4 and
# those of AVE three seeds on). That harms nothing, and an end to it would change the bytes of sets that are in use.
FOUNDING = {
    "ave/clip": Founding(0),
    "ave/ids": Founding(11),
    "avs-s4/clip": Founding(3),
    "avs-s4/ids": Founding(11, added=3),
    "avs-s4/starts": Founding(3),
    "avs-ms3/clip": Founding(4),
    "avs-ms3/ids": Founding(11, added=4),
    "pretraining/stills": Founding(1),
    "pretraining/seconds": Founding(2),
    "scene/picture": Founding(1),
    "scene/sound": Founding(2),
}


def entropy(stream: str, seed: int, *place: int) -> list[int]:
    """Whole numbers from which NumPy makes the generator of a place in a stream.

    A name outside `FOUNDING` gives 128 bits of its checksum, the first of them set: no founding stream has such a number,
    and no two names have the same one.
    """
    if stream in FOUNDING:
        number, added = FOUNDING[stream]
        return [seed + added, number, *place]
    checksum = int.from_bytes(hashlib.sha256(stream.encode()).digest()[:16], "big")
    return [seed, checksum | 1 << 127, *place]


def generator(stream: str, seed: int, *place: int) -> np.random.Generator:
    """The generator of a place, such as a clip's number, in a stream; numbers are 0 or more."""
    return np.random.default_rng(entropy(stream, seed, *place))

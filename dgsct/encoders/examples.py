"""Generated examples for the pre-training of mini encoders: stills and seconds that share no scene with any clip.

An encoder names the looks or sounds that its examples hold; another encoder's kinds change nothing in them.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from dgsct.data.kinds import Look, Sound
from dgsct.data.scenes import Scene, Source, random_source, render_frames, render_masks, render_wave
from dgsct.data.streams import generator
from dgsct.encoders.imagenet import IMAGENET_MEAN, IMAGENET_STD

VISIBLE_SHARE = 0.01  # of the image's area, below which a source does not count as seen in a still
WHOLE = ((0.0, 1.0),)
Kind = TypeVar("Kind", Look, Sound)


def _moments(
    kinds: Sequence[Kind],
    most: int,
    count: int,
    seed: int,
    stream: str,
    make: Callable[[np.random.Generator, Kind], Source],
) -> list[Scene]:
    """One-second scenes with none to `most` sources of different kinds."""
    scenes = []
    for i in range(count):
        rng = generator(stream, seed, i)
        how_many = min(int(rng.integers(0, most + 1)), len(kinds))
        chosen = rng.choice(len(kinds), size=how_many, replace=False)
        sources = tuple(make(rng, kinds[k]) for k in chosen)
        scenes.append(Scene(sources, int(rng.integers(2**31)), 1, float(rng.uniform(0.005, 0.02))))
    return scenes


def stills(looks: Sequence[Look], count: int, seed: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Stills with none to three sources: uint8 [count, side, side, 3], and which looks are seen, float32 [count, looks].

    Rendered at twice the size and averaged, as a resized video frame is smooth.
    """
    scenes = _moments(looks, 3, count, seed, "pretraining/stills", lambda rng, look: random_source(rng, look, None, WHOLE, ()))
    images = np.empty((count, side, side, 3), dtype=np.uint8)
    labels = np.zeros((count, len(looks)), dtype=np.float32)
    for image, label, scene in zip(images, labels, scenes, strict=True):
        large = render_frames(scene, 2 * side, 2 * side, 1)[0].astype(np.float32)
        image[:] = large.reshape(side, 2, side, 2, 3).mean(axis=(1, 3))
        areas = render_masks(scene, side, side, 1, sounding=False).mean(axis=(1, 2, 3))
        seen = [s.look for s, area in zip(scene.sources, areas, strict=True) if area > VISIBLE_SHARE]
        label[:] = [look in seen for look in looks]
    return images, labels


def seconds(sounds: Sequence[Sound], count: int, seed: int, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Seconds with none to two sounds: float32 [count, rate], and which are heard, float32 [count, sounds]."""
    scenes = _moments(
        sounds, 2, count, seed, "pretraining/seconds", lambda rng, sound: random_source(rng, None, sound, (), WHOLE)
    )
    waves = np.stack([render_wave(scene, rate) for scene in scenes])
    heard = [[source.sound for source in scene.sources] for scene in scenes]
    labels = np.array([[sound in found for sound in sounds] for found in heard], dtype=np.float32)
    return waves, labels


def normalised(images: np.ndarray) -> Tensor:
    """uint8 [N, H, W, 3] -> float32 [N, 3, H, W], as ImageNet's encoders take them."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    return (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - mean) / std

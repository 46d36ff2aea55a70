"""Checksums of everything that is generated, by set and by encoder: what a release of this package must not change.

`python tests/scenes_rig.py` prints them as JSON for the `dgsct` on its path, which may be an edited copy.
Sound is compared in 16 bits: the last of a float's 24 bits is the processor's.
"""

import hashlib
import json
from importlib import import_module

import numpy as np

from dgsct.data.generate import video_ids
from dgsct.data.scenes import Scene, render_frames, render_wave
from dgsct.encoders import pretrain
from dgsct.encoders.examples import seconds, stills
from dgsct.settings.scales import MINI
from dgsct.tasks.ave import mini as ave
from dgsct.tasks.avs import mini as avs

CLIPS = (0, 3, 100)
SEEDS = (0, 5)
EXAMPLES = 24


def _short(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]


def of_arrays(*arrays: np.ndarray) -> str:
    parts = []
    for one in arrays:
        whole = (one * 32767).round().astype(np.int16) if one.dtype.kind == "f" else one
        parts += [f"{whole.dtype} {whole.shape}".encode(), whole.tobytes()]
    return _short(*parts)


def of_scene(scene: Scene) -> str:
    """Every number of a scene, to nine decimals."""
    lines = []
    for s in scene.sources:
        kinds = [s.look.name if s.look else "", s.sound.name if s.sound and s.audible else ""]
        numbers = (*s.centre, *s.swing, s.speed, s.phase, s.size, s.hue, s.loudness, s.pitch, s.tempo)
        lines.append(repr([*kinds, s.visible, s.audible, s.shade, *(f"{n:.9f}" for n in numbers)]))
    return "\n".join([*lines, f"{scene.seed} {scene.noise:.9f} {scene.duration}"])


def of_text(lines: list[str]) -> str:
    return _short("\n".join(lines).encode())


def of_ave() -> dict[str, str]:
    found, count = {}, sum(ave.SIZES["ave"].values())
    for seed in SEEDS:
        clips = [ave.clip_scene(seed, i, i % 6) for i in range(count)]
        found[f"scenes {seed}"] = of_text([f"{of_scene(scene)} {start} {end}" for scene, start, end in clips])
        found[f"ids {seed}"] = _short(" ".join(video_ids("ave", count, seed)).encode())
    for i in CLIPS:
        scene, *_ = ave.clip_scene(0, i, i % 6)
        found[f"frames {i}"] = of_arrays(render_frames(scene, ave.SIDE, ave.SIDE, ave.FPS))
        found[f"wave {i}"] = of_arrays(render_wave(scene, ave.RATE))
    return found


def of_avs(name: str) -> dict[str, str]:
    found, count = {}, sum(avs.SIZES[name].values())
    for seed in SEEDS:
        found[f"scenes {seed}"] = of_text([of_scene(avs.clip_scene(name, seed, i)) for i in range(count)])
        found[f"rows {seed}"] = of_text([row.line() for row in avs.metadata(name, avs.SIZES[name], seed)])
    for i in CLIPS:
        scene = avs.clip_scene(name, 0, i)
        found[f"frames {i}"] = of_arrays(render_frames(scene, avs.SIDE, avs.SIDE, avs.FPS))
        found[f"wave {i}"] = of_arrays(render_wave(scene, avs.RATE))
        found[f"masks {i}"] = of_arrays(avs.truth(scene, MINI.frame_size))
    return found


def of_pretraining(encoder: str) -> dict[str, str]:
    module = import_module(f"dgsct.encoders.mini.{encoder}")
    if hasattr(module, "LOOKS"):
        inputs, _ = module.examples(1, pretrain.SEED)
        return {"examples": of_arrays(*stills(module.LOOKS, EXAMPLES, pretrain.SEED, inputs.shape[-1]))}
    return {"examples": of_arrays(*seconds(module.SOUNDS, EXAMPLES, pretrain.SEED, 32000))}


def everything() -> dict[str, dict[str, str]]:
    """Name of a set or encoder -> checksums by what they are of."""
    found = {"ave": of_ave(), **{name: of_avs(name) for name in avs.SIZES}}
    return found | {encoder: of_pretraining(encoder) for encoder in pretrain.names()}


if __name__ == "__main__":
    print(json.dumps(everything(), indent=1))

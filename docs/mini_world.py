"""Draws the pictures of `docs/mini_world.md`: `python docs/mini_world.py`."""

from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes

from dgsct.data.scenes import Scene, render_frames, render_wave
from dgsct.encoders.frontend import log_mel_compact
from dgsct.settings.scales import MINI
from dgsct.tasks.ave import mini as ave
from dgsct.tasks.avs import mini as avs

matplotlib.use("Agg")
import matplotlib.pyplot as plt

DOCS = Path(__file__).parent
RATE, FPS = 32000, 10
AVE_CLIPS = (2, 10, 13, 35)
AVS_CLIPS = (("avs-s4", 5), ("avs-s4", 1), ("avs-ms3", 6), ("avs-ms3", 8))


def strip(axes: Axes, images: np.ndarray, label: str) -> None:
    """Images [N, H, W(, 3)] side by side, one a second, with a line between them."""
    count = len(images)
    axes.imshow(np.concatenate(list(images), axis=1), extent=(0, count, 0, 1), aspect="auto", cmap="gray")
    for second in range(1, count):
        axes.axvline(second, color="white", linewidth=1)
    axes.set(xticks=[], yticks=[], ylabel=label)


def spectrum(axes: Axes, scene: Scene, label: str) -> None:
    """Log-mel spectrum of the scene's sound, as the mini HTS-AT reads it."""
    wave = torch.from_numpy(render_wave(scene, RATE)).reshape(scene.duration, RATE)
    mel = log_mel_compact(wave, MINI.htsat, 1)[:, :-1].flatten(0, 1)
    axes.imshow(mel.T.numpy(), extent=(0, scene.duration, 0, 1), aspect="auto", origin="lower", cmap="magma")
    axes.set(yticks=[], xticks=range(scene.duration + 1), ylabel=label)


def draw_ave(path: Path) -> None:
    """Four clips of mini AVE: the frame in the middle of each second, the sound, and the event's seconds above."""
    figure = plt.figure(figsize=(8, 8), layout="constrained")
    for part, clip in zip(figure.subfigures(len(AVE_CLIPS), 1), AVE_CLIPS, strict=True):
        scene, start, end = ave.clip_scene(0, clip, clip % len(ave.CLASSES))
        frames = render_frames(scene, ave.SIDE, ave.SIDE, FPS)[FPS // 2 :: FPS]
        above, below = part.subplots(2, 1, height_ratios=[1.6, 1])
        strip(above, frames, "frames")
        spectrum(below, scene, "sound")
        above.set_title(f"{ave.CATEGORIES[clip % len(ave.CLASSES)]}: event from {start} to {end} s", fontsize=10)
        above.plot((start, end), (1, 1), color="red", linewidth=5, solid_capstyle="butt", clip_on=False)
    below.set_xlabel("seconds")
    figure.savefig(path, dpi=90)


def draw_avs(path: Path) -> None:
    """Two S4-like and two MS3-like clips: annotated frames, masks, sound."""
    figure, axes = plt.subplots(3, len(AVS_CLIPS), figsize=(13, 3.6), height_ratios=[1.2, 1.2, 1])
    for place, (name, clip) in enumerate(AVS_CLIPS):
        scene = avs.clip_scene(name, 0, clip)
        frames = render_frames(scene, avs.SIDE, avs.SIDE, FPS)[np.array(avs.SEEN)]
        labels = ("", "", "") if place else ("frames", "masks", "sound")
        strip(axes[0, place], frames, labels[0])
        strip(axes[1, place], avs.truth(scene, MINI.frame_size), labels[1])
        spectrum(axes[2, place], scene, labels[2])
        axes[0, place].set_title("S4-like" if name == "avs-s4" else "MS3-like", fontsize=10)
        axes[2, place].set_xlabel("seconds")
    figure.tight_layout(h_pad=0.3)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    draw_ave(DOCS / "mini_world.png")
    draw_avs(DOCS / "mini_avs.png")

"""The mini AVE set: generated clips written in the real set's own format.

It has six classes made of three looks and three sounds, so that either sense alone leaves two candidates:

    class   0  1  2  3  4  5
    look    0  0  1  1  2  2
    sound   0  1  1  2  2  0

A second belongs to the event only while its source is seen *and* heard: around the event the source may stand there
silently or sound from off-screen, and bystanders and off-screen sounds of all kinds come and go, as long as the labels
stay the only right answer (`classes_by_second`). All that is seen passes through shade, some seconds at a time, and has no
colour there: a second by itself may leave open what the clip as a whole tells.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from dgsct.data.folders import new_folder
from dgsct.data.generate import MARK, video_ids
from dgsct.data.kinds import BELL, BOW, CHIRP, CLICKS, CROSS, DISC, HISS, HUM, RING, SQUARE, TRIANGLE, WHISTLE
from dgsct.data.media import over_clips, write_mp4
from dgsct.data.scenes import Interval, Scene, Source, events, random_source, render_frames, render_wave
from dgsct.data.streams import generator
from dgsct.errors import UsageError
from dgsct.tasks.ave.annotations import SPLIT_FILES, AveIndex, Row, write_index
from dgsct.tasks.ave.categories import GENERATED as CATEGORIES

CLASSES = ((DISC, HUM), (DISC, CHIRP), (SQUARE, CHIRP), (SQUARE, HISS), (TRIANGLE, HISS), (TRIANGLE, HUM))
# What comes and goes around the events: looks of silent bystanders, sounds from off-screen.
LOOKS = (DISC, SQUARE, TRIANGLE, RING, CROSS, BOW)
SOUNDS = (HUM, CHIRP, HISS, CLICKS, BELL, WHISTLE)
SECONDS = 10
SIDE, FPS, RATE = 64, 10, 32000  # pixels, frames a second, Hz
SIZES = {"ave": {"train": 96, "val": 24, "test": 60}}
FULL_SHARE = 0.35
SHADE_SHARE = 0.4  # of the seconds of whatever is seen
LIT = 2  # seconds of an event, at least, in which its source is not in shade
TRIES = 20


def classes_by_second(scene: Scene) -> list[set[int]]:
    """For each second the classes whose look is on screen while their sound is heard, from whatever source."""
    found = events(scene)
    looks = [{e.source.look for e in found if e.seen[t]} for t in range(scene.duration)]
    sounds = [{e.source.sound for e in found if e.heard[t]} for t in range(scene.duration)]
    return [
        {c for c, (look, sound) in enumerate(CLASSES) if look in looks[t] and sound in sounds[t]} for t in range(scene.duration)
    ]


def ave_scene(category: int, rng: np.random.Generator) -> tuple[Scene, int, int]:
    """A scene with one event of `category` in seconds [start, end), and these two numbers."""
    start, end = 0, SECONDS
    if rng.random() >= FULL_SHARE:
        length = int(rng.integers(3, 9))
        start = int(rng.integers(0, SECONDS - length + 1))
        end = start + length
    visible, audible = _around(rng, start, end)
    event = random_source(rng, *CLASSES[category], visible, audible)
    lit = rng.choice(np.arange(start, end), LIT, replace=False)
    companions = [_in_shade(rng, one) for one in _companions(rng, category, event, (start, end))]
    sources = (*companions, _in_shade(rng, event, lit))
    return Scene(sources, int(rng.integers(2**31)), SECONDS, float(rng.uniform(0.005, 0.02))), start, end


def _in_shade(rng: np.random.Generator, source: Source, lit: np.ndarray | tuple[int, ...] = ()) -> Source:
    """The source in shade for some of the clip's seconds, but for those that are `lit`."""
    shade = rng.random(SECONDS) < SHADE_SHARE
    shade[list(lit)] = False
    return replace(source, shade=tuple((float(t), float(t + 1)) for t in np.flatnonzero(shade)))


def _around(rng: np.random.Generator, start: int, end: int) -> tuple[tuple[Interval, ...], tuple[Interval, ...]]:
    """Where the source is around its event: silent on screen, heard from off-screen, or gone; (visible, audible)."""
    visible, audible = [start, end], [start, end]
    for side, bound in ((0, 0), (1, SECONDS)):
        kind = rng.choice(("silent", "off-screen", "gone"), p=(0.45, 0.4, 0.15))
        if kind == "silent":
            visible[side] = bound
        elif kind == "off-screen":
            audible[side] = bound
    return ((float(visible[0]), float(visible[1])),), ((float(audible[0]), float(audible[1])),)


def _companions(rng: np.random.Generator, category: int, event: Source, seconds: tuple[int, int]) -> list[Source]:
    """Silent bystanders of other looks, and other sounds from off-screen; one that makes another answer right is
    drawn anew, and after some tries given up.
    """
    look, sound = CLASSES[category]
    other_looks = [other for other in LOOKS if other != look]
    other_sounds = [other for other in SOUNDS if other != sound]
    right = [{category} if seconds[0] <= t < seconds[1] else set() for t in range(SECONDS)]
    bystanders, sounds = int(rng.integers(0, 3)), int(rng.random() < 0.7)
    chosen: list[Source] = []
    for silent in (True,) * bystanders + (False,) * sounds:
        for _ in range(TRIES):
            if silent:
                one = random_source(rng, other_looks[int(rng.choice(len(other_looks)))], None, _stretch(rng), ())
            else:
                one = random_source(rng, None, other_sounds[int(rng.choice(len(other_sounds)))], (), _stretch(rng))
            if classes_by_second(Scene((*chosen, one, event), 0, SECONDS)) == right:
                chosen.append(one)
                break
    return chosen


def _stretch(rng: np.random.Generator) -> tuple[Interval, ...]:
    """Some whole seconds of the clip, two to ten of them."""
    length = int(rng.integers(2, SECONDS + 1))
    start = int(rng.integers(0, SECONDS - length + 1))
    return ((float(start), float(start + length)),)


def clip_scene(seed: int, clip: int, category: int) -> tuple[Scene, int, int]:
    """The scene of clip number `clip` of the mini AVE set of `seed`, with the event's seconds [start, end)."""
    return ave_scene(category, generator("ave/clip", seed, clip))


def _write_clip(task: tuple[Path, str, int, int, int]) -> Row:
    folder, video_id, seed, clip, category = task
    scene, start, end = clip_scene(seed, clip, category)
    frames = render_frames(scene, SIDE, SIDE, FPS)
    write_mp4(folder / f"{video_id}.mp4", frames, FPS, render_wave(scene, RATE), RATE)
    return Row(CATEGORIES[category], video_id, "good", start, end)


def write(
    name: str,
    root: Path,
    seed: int = 0,
    splits: dict[str, int] | None = None,
    jobs: int | None = None,
    progress: bool = True,
) -> AveIndex:
    """Write the mini AVE set (`name` ave) to `root`: mp4 files, annotations, categories, split lists.

    The folder appears at the end. `splits` gives the number of clips of train, val and test. Deterministic in `seed`.
    """
    sizes = SIZES[name] if splits is None else splits
    if set(sizes) != set(SPLIT_FILES) or min(sizes.values()) < 1 or sizes["train"] < len(CLASSES):
        raise UsageError(f"mini AVE splits {sizes}: give train {len(CLASSES)} clips or more, val and test one or more")
    if seed < 0:
        raise UsageError(f"the seed of the mini AVE set is {seed}; it must be at least 0")
    # Classes take turns within each split, so that every split is balanced.
    kinds = [i % len(CLASSES) for split in SPLIT_FILES for i in range(sizes[split])]
    bounds = np.cumsum([0, *(sizes[split] for split in SPLIT_FILES)])
    with new_folder(root, MARK) as folder:
        media = folder / "AVE"
        media.mkdir()
        tasks = [(media, video, seed, i, kinds[i]) for i, video in enumerate(video_ids(name, len(kinds), seed))]
        rows = tuple(over_clips(_write_clip, tasks, jobs, "generating", progress))
        indices = {split: np.arange(bounds[i], bounds[i + 1]) for i, split in enumerate(SPLIT_FILES)}
        index = AveIndex(rows, CATEGORIES, indices)
        write_index(folder, index)
        about = {"generator": "dgsct.tasks.ave.mini", "set": name, "seed": seed, "splits": sizes}
        (folder / MARK).write_text(json.dumps(about) + "\n", encoding="utf-8")
    background = 100 * float(np.mean(index.labels == len(CATEGORIES)))
    print(f"{len(rows)} clips of {len(CATEGORIES)} classes in {root}, {background:.1f} % background", flush=True)
    return index

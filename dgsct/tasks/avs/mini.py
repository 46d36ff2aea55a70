"""Generated AVSBench sets in the data set's own layout: mp4, PNG frames and masks, wav, `AVS.npy`, metadata.

Every look has a sound of its own: sight tells where things are, only sound tells which of them are meant, and when. In
S4-like clips one thing sounds at a time: some have one thing only, others two, of which the second takes over from the
first. In MS3-like clips two or three things are there, each of which falls silent for some seconds of its own. So the sound
of a whole clip names all its things, and only that of a frame tells which of them are meant in it. Masks come from the scene
itself. What is on screen sounds more often than not: else a method that sees but does not yet hear would do best with empty
masks.
"""

import io
import json
import wave as wav
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dgsct.atomic import write_bytes_atomic
from dgsct.data.folders import new_folder
from dgsct.data.generate import MARK, video_ids
from dgsct.data.kinds import BELL, BOW, CHIRP, CLICKS, CROSS, DISC, HISS, HUM, RING, SQUARE, TRIANGLE, WHISTLE, Look, Sound
from dgsct.data.media import over_clips, write_mp4
from dgsct.data.scenes import Interval, Scene, Source, random_source, render_frames, render_masks, render_wave
from dgsct.data.streams import generator
from dgsct.errors import UsageError
from dgsct.settings.scales import MINI
from dgsct.tasks.avs.categories import GENERATED as CATEGORIES
from dgsct.tasks.avs.files import MS3, S4, SEGMENTS, SPEECH_RATE, SPLITS, AvsBench, AvsIndex, AvsRow, write_metadata

SIZES = {
    "avs-s4": {"train": 140, "val": 24, "test": 60},
    "avs-ms3": {"train": 96, "val": 24, "test": 60},
}
# The things of each set, by number: a look and the sound that goes with it. S4's are its categories, in their order.
Thing = tuple[Look, Sound]
THINGS: dict[str, tuple[Thing, ...]] = {
    "avs-s4": ((DISC, HUM), (SQUARE, CHIRP), (TRIANGLE, HISS), (RING, CLICKS), (CROSS, BELL), (BOW, WHISTLE)),
    "avs-ms3": ((DISC, HUM), (SQUARE, CHIRP), (TRIANGLE, HISS), (RING, CLICKS), (CROSS, BELL), (BOW, WHISTLE)),
}
SIDE, FPS, RATE = 64, 10, 32000  # pixels, frames a second, Hz
SEEN = range(FPS - 1, SEGMENTS * FPS, FPS)  # frames that the preparation takes from the mp4 files
WHOLE: tuple[Interval, ...] = ((0.0, float(SEGMENTS)),)
APART = 0.5  # of the image side, between the centres of two things
TRIES = 200
ALONE = 0.4  # chance that the thing of an S4-like clip is the only one
PAUSES = (0.15, 0.25, 0.35, 0.25)  # chances that a thing of an MS3-like clip is silent for none, one, two, three seconds


def s4_scene(category: int, rng: np.random.Generator) -> Scene:
    """A thing of the category that sounds for five seconds; or two things, of which it sounds first and the other from then
    on."""
    things = THINGS[S4.name]
    other = int(rng.choice([k for k in range(len(things)) if k != category]))
    if rng.random() < ALONE:
        return _scene(rng, [(things[category], WHOLE, WHOLE)])
    turn = float(rng.integers(1, SEGMENTS))
    return _scene(rng, [(things[category], WHOLE, ((0.0, turn),)), (things[other], WHOLE, ((turn, float(SEGMENTS)),))])


def ms3_scene(rng: np.random.Generator) -> Scene:
    """Two or three things of different looks, each of which falls silent for some seconds of its own."""
    things = THINGS[MS3.name]
    count = 2 + int(rng.random() < 0.4)
    chosen = rng.choice(len(things), count, replace=False)
    return _scene(rng, [(things[k], WHOLE, _but_for_a_pause(rng)) for k in chosen])


def _but_for_a_pause(rng: np.random.Generator) -> tuple[Interval, ...]:
    """The clip's five seconds but for none to three of them in a row."""
    pause = int(rng.choice(len(PAUSES), p=PAUSES))
    start = int(rng.integers(0, SEGMENTS - pause + 1))
    parts = ((0.0, float(start)), (float(start + pause), float(SEGMENTS)))
    return tuple(part for part in parts if part[1] > part[0])


def _scene(rng: np.random.Generator, things: list[tuple[Thing, tuple[Interval, ...], tuple[Interval, ...]]]) -> Scene:
    """Things apart from each other in random order of depth, each with when it is seen and when it is heard."""
    sources: list[Source] = []
    for centre, (thing, visible, audible) in zip(_centres(rng, len(things)), things, strict=True):
        one = random_source(rng, *thing, visible, audible)
        swing = (float(rng.uniform(0.02, 0.08)), float(rng.uniform(0.02, 0.08)))
        sources.append(replace(one, centre=centre, swing=swing, size=float(rng.uniform(0.24, 0.32))))
    order = rng.permutation(len(sources))
    noise = float(rng.uniform(0.005, 0.02))
    return Scene(tuple(sources[i] for i in order), int(rng.integers(2**31)), SEGMENTS, noise)


def _centres(rng: np.random.Generator, count: int) -> list[tuple[float, float]]:
    """Places all over the image, at least `APART` from each other (after many tries: as far as the last one came)."""
    for _ in range(TRIES):
        places = rng.uniform(0.17, 0.83, size=(count, 2))
        gaps = np.linalg.norm(places[:, None] - places[None], axis=-1)[np.triu_indices(count, 1)]
        if not len(gaps) or gaps.min() >= APART:
            break
    return [(float(x), float(y)) for x, y in places]


def clip_scene(name: str, seed: int, clip: int) -> Scene:
    """The scene of clip number `clip` of a set; the S4 categories take turns."""
    rng = generator(f"{name}/clip", seed, clip)
    return s4_scene(clip % len(CATEGORIES), rng) if name == S4.name else ms3_scene(rng)


def truth(scene: Scene, side: int) -> np.ndarray:
    """The annotated frames' masks: bool [5, side, side], where anything is seen that sounds at that moment."""
    return render_masks(scene, side, side, FPS)[:, SEEN].any(axis=0)


def _write_clip(task: tuple[str, Path, AvsRow, int, int]) -> np.ndarray:
    """Write all files of one clip but its part of `AVS.npy`, which is returned: [160000] float32."""
    name, folder, row, seed, clip = task
    data_set, side = {s.name: s for s in (S4, MS3)}[name], MINI.frame_size
    scene = clip_scene(name, seed, clip)
    frames, sound = render_frames(scene, SIDE, SIDE, FPS), render_wave(scene, RATE)
    places = {kind: data_set.paths(folder, row, kind) for kind in ("raw_videos", "visual_frames", "audio_wav", "gt_masks")}
    for paths in places.values():
        paths[0].parent.mkdir(parents=True, exist_ok=True)
    write_mp4(places["raw_videos"][0], frames, FPS, sound, RATE)
    write_bytes_atomic(places["audio_wav"][0], _wav(sound))
    # Half the side, each pixel the mean of four, is what bilinear interpolation gives.
    small = frames[SEEN].reshape(SEGMENTS, side, SIDE // side, side, SIDE // side, 3).mean(axis=(2, 4)).round()
    for path, image in zip(places["visual_frames"], small.astype(np.uint8), strict=True):
        write_bytes_atomic(path, _png(image))
    for path, mask in zip(places["gt_masks"], truth(scene, side), strict=False):
        write_bytes_atomic(path, _png(255 * mask.astype(np.uint8)))
    return sound


def _png(image: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return buffer.getvalue()


def _wav(sound: np.ndarray) -> bytes:
    """16 bits, 16 kHz."""
    from scipy.signal import resample_poly

    buffer = io.BytesIO()
    with wav.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SPEECH_RATE)
        samples = np.clip(resample_poly(sound, SPEECH_RATE, RATE), -1, 1)
        file.writeframes((32767 * samples).round().astype("<i2").tobytes())
    return buffer.getvalue()


def metadata(name: str, sizes: dict[str, int], seed: int) -> tuple[AvsRow, ...]:
    """Metadata; S4 categories take turns, MS3 names are those of sources that give two clips each."""
    splits = [split for split in SPLITS for _ in range(sizes[split])]
    ids = video_ids(name, len(splits), seed)
    if name == MS3.name:
        return tuple(AvsRow(f"{ids[i // 2]}_{i % 2}", split) for i, split in enumerate(splits))
    starts = generator(f"{name}/starts", seed).integers(0, 6, len(splits)).tolist()
    return tuple(
        AvsRow(video, split, CATEGORIES[i % len(CATEGORIES)], start, 1 if split == "train" else SEGMENTS)
        for i, (video, split, start) in enumerate(zip(ids, splits, starts, strict=True))
    )


def write(
    name: str,
    root: Path,
    seed: int = 0,
    splits: dict[str, int] | None = None,
    jobs: int | None = None,
    progress: bool = True,
) -> AvsIndex:
    """Write the mini set `name` (avs-s4 or avs-ms3) to `root`. The folder appears at the end.

    `splits` gives the number of clips of train, val and test. Deterministic in `seed`.
    """
    sizes = SIZES[name] if splits is None else splits
    if set(sizes) != set(SPLITS) or min(sizes.values()) < 1:
        raise UsageError(f"mini {name} splits {sizes}: give train, val and test one clip or more")
    if seed < 0:
        raise UsageError(f"the seed of the mini {name} set is {seed}; it must be at least 0")
    data_set: AvsBench = {s.name: s for s in (S4, MS3)}[name]
    rows = metadata(name, sizes, seed)
    with new_folder(root, MARK) as folder:
        tasks = [(name, folder, row, seed, i) for i, row in enumerate(rows)]
        packs: dict[Path, dict[str, Any]] = defaultdict(dict)
        for row, sound in zip(rows, over_clips(_write_clip, tasks, jobs, "generating", progress), strict=True):
            packs[data_set.paths(folder, row, "wave")[0]][f"{row.video_id}.wav"] = sound
        for path, pack in packs.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, np.array(pack, dtype=object))
        index = AvsIndex(
            rows,
            tuple(dict.fromkeys(row.category for row in rows if row.category)),
            {s: np.array([i for i, row in enumerate(rows) if row.split == s], dtype=np.int64) for s in SPLITS},
        )
        write_metadata(data_set.index_file(folder), index)
        about = {"generator": "dgsct.tasks.avs.mini", "set": name, "seed": seed, "splits": sizes}
        (folder / MARK).write_text(json.dumps(about) + "\n", encoding="utf-8")
    print(f"{len(rows)} clips in {root}, {int(index.annotated.sum())} annotated frames", flush=True)
    return index

"""From a data set's own files to packed arrays: every clip is decoded, resampled and transformed once.

Frames: ten equidistant ones, first and last included, resized by bicubic interpolation without antialiasing and without
clipping, as the release's image transform does (AVE, section 2). Sound: mono, ten one-second segments, and the log-mel
spectrum of each tiled second, which no epoch changes. Clips that cannot be used are counted, listed and left out.
"""

import json
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from dgsct.checksum import sha256_json
from dgsct.closure import code_hash
from dgsct.data.ave import SEGMENTS, AveIndex, media_path, read_index
from dgsct.data.media import MediaError, over_clips, read_audio, read_frames
from dgsct.data.packed import Packed, PackedWriter, new_folder
from dgsct.encoders.frontend import compact_copies, frames_per_second, log_mel_compact
from dgsct.errors import DgsctError
from dgsct.scales import Scale

TILE = 10
SHOWN_PROBLEMS = 10
SOURCE = "source.json"


@dataclass(frozen=True)
class Clip:
    """One decoded clip: frames [10, 3, H, W], wave [10, rate], log-mel [10, F, mel]; or the problem that it has."""

    arrays: dict[str, np.ndarray] | None = None
    reason: str = "ready"
    problem: str = ""


def resize(frames: np.ndarray, size: int) -> np.ndarray:
    """uint8 [T, H, W, 3] -> float16 [T, 3, size, size] in units of 1/255 of the value; aspect is not kept."""
    pixels = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 255
    return F.interpolate(pixels, (size, size), mode="bicubic", align_corners=False, antialias=False).half().numpy()


def decode_clip(path: Path, scale: Scale) -> Clip:
    """Frames, sound and log-mel of one clip; a clip that cannot be used carries its reason instead."""
    torch.set_num_threads(1)
    rate = scale.htsat.sample_rate
    try:
        frames = resize(read_frames(path, SEGMENTS), scale.swin.image_size)
        wave = read_audio(path, rate, SEGMENTS).reshape(SEGMENTS, rate)
    except MediaError as error:
        return Clip(reason=error.reason, problem=str(error))
    logmel = log_mel_compact(torch.from_numpy(wave), scale.htsat, TILE).numpy()
    return Clip({"frames": frames, "wave": wave, "logmel": logmel})


def front_end(scale: Scale) -> dict[str, Any]:
    """What the stored log-mel depends on; a run that asks for something else computes its own from the wave."""
    return {"tile": TILE, **scale.htsat.front_end}


def prepare_ave(root: Path, out: Path, scale: Scale, jobs: int | None = None, progress: bool = True) -> dict[str, Any]:
    """Prepare the AVE-like set in `root` for `scale` into the folder `out`; returns the manifest.

    Decodes with `jobs` processes (default: all cores). A folder prepared from the same sources is left as it is.
    DgsctError if a file of the set is missing or malformed, if a split has no usable clip, or if the disk is full.
    """
    root, out = Path(root), Path(out)
    index = read_index(root)
    source = _fingerprint(root, index, scale)
    manifest = _prepared(out, source)
    if manifest:
        print(f"{out} is already prepared from these sources", flush=True)
        return manifest
    with new_folder(out, SOURCE) as folder:
        writer = PackedWriter(folder, _forms(scale))
        try:
            clips, problems = _decode_all(writer, root, index, scale, jobs, progress)
            manifest = writer.finish(index.labels, _describe(root, index, scale, clips))
        finally:
            writer.close()
        (folder / SOURCE).write_text(json.dumps({"source": source}) + "\n", encoding="utf-8")
    _report(manifest, problems)
    return manifest


def _fingerprint(root: Path, index: AveIndex, scale: Scale) -> str:
    """Checksum of what would be prepared: annotations, splits, sizes and times of the clips, target sizes, and how."""
    clips = []
    for video_id in index.video_ids:
        path = media_path(root, video_id)
        found = path.stat() if path.exists() else None
        clips.append([video_id, found and found.st_size, found and found.st_mtime_ns])
    rows = [row.line() for row in index.rows]
    splits = {name: indices.tolist() for name, indices in index.splits.items()}
    made_for = [scale.name, scale.swin.image_size, front_end(scale)]
    return sha256_json([rows, splits, clips, made_for, code_hash("dgsct.data.prepare")])


def _prepared(out: Path, source: str) -> dict[str, Any] | None:
    """The manifest in `out` if it was prepared from `source` and is sound."""
    try:
        same = json.loads((out / SOURCE).read_text(encoding="utf-8"))["source"] == source
        return Packed.open(out).manifest if same else None
    except (OSError, ValueError, KeyError, TypeError, DgsctError):
        return None


def _forms(scale: Scale) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape of one clip in each array, and its dtype."""
    size, sound = scale.swin.image_size, scale.htsat
    frames = compact_copies(TILE) * frames_per_second(sound) + 1
    return {
        "frames": ((SEGMENTS, 3, size, size), "float16"),
        "wave": ((SEGMENTS, sound.sample_rate), "float32"),
        "logmel": ((SEGMENTS, frames, sound.mel_bins), "float32"),
    }


def _decode_all(
    writer: PackedWriter, root: Path, index: AveIndex, scale: Scale, jobs: int | None, progress: bool
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Status and media index of every video id, and one sentence for each clip that cannot be used."""
    ids, clips, problems = index.video_ids, {}, []
    paths = [media_path(root, video_id) for video_id in ids]
    decoded = over_clips(partial(decode_clip, scale=scale), paths, jobs, "decoding", progress)
    for video_id, clip in zip(ids, decoded, strict=True):
        media = writer.append(**clip.arrays) if clip.arrays else None
        clips[video_id] = {"status": clip.reason, "media": media}
        if clip.problem:
            problems.append(clip.problem)
    return clips, problems


def _describe(root: Path, index: AveIndex, scale: Scale, clips: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The manifest's content; DgsctError if a split is left without a clip."""
    rows = [
        {"id": r.video_id, "category": r.category, "start": r.start, "end": r.end, "media": clips[r.video_id]["media"]}
        for r in index.rows
    ]
    splits = {name: indices.tolist() for name, indices in index.splits.items()}
    coverage = {
        name: {"present": sum(rows[i]["media"] is not None for i in indices), "total": len(indices)}
        for name, indices in splits.items()
    }
    for name, found in coverage.items():
        if found["total"] and not found["present"]:
            reasons = Counter(clips[rows[i]["id"]]["status"] for i in splits[name])
            told = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in reasons.most_common())
            raise DgsctError(f"no clip of split {name!r} is usable ({told}); put its videos into {root / 'AVE'}")
    return {
        "task": "ave",
        "scale": scale.name,
        "image_size": scale.swin.image_size,
        "front_end": front_end(scale),
        "categories": list(index.categories),
        "rows": rows,
        "splits": splits,
        "clips": clips,
        "coverage": coverage,
    }


def _report(manifest: dict[str, Any], problems: list[str]) -> None:
    for problem in problems[:SHOWN_PROBLEMS]:
        print(f"left out: {problem}")
    if len(problems) > SHOWN_PROBLEMS:
        print(f"left out: {len(problems) - SHOWN_PROBLEMS} more, see `clips` in manifest.json")
    counts = Counter(clip["status"] for clip in manifest["clips"].values())
    print("clips: " + ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.most_common()))
    for split, found in manifest["coverage"].items():
        print(f"{split}: {found['present']} of {found['total']} annotated clips are present", flush=True)

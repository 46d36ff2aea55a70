"""A tiny prepared AVS set without any clip behind it: for what reads prepared sets. The toy method learns it (`toy/`)."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np

from dgsct.data.features import write_features
from dgsct.data.packed import SCHEMA_VERSION
from dgsct.settings.scales import MINI

SIDE, T = 16, 5
COUNTS = {"train": 16, "val": 4, "test": 8}


def scenes(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Frames [R, 5, 3, 16, 16] uint8 with a bright square that sounds and a dim one that does not; masks of the former."""
    draw = np.random.default_rng(seed)
    frames = draw.integers(0, 60, (count, T, 3, SIDE, SIDE), dtype=np.uint8)
    masks = np.zeros((count, T, SIDE, SIDE), np.uint8)
    for clip in range(count):
        for t in range(T):
            (y, x), (v, u) = draw.integers(0, SIDE - 7, (2, 2))
            frames[clip, t, :, v : v + 4, u : u + 4] = 110
            frames[clip, t, :, y : y + 7, x : x + 7] = 240
            masks[clip, t, y : y + 7, x : x + 7] = 1
    masks[-1, -1] = 0  # one frame in which nothing sounds
    return frames, masks


@cache
def noise(media: int) -> dict[str, np.ndarray]:
    """The sound of so many clips, in all its forms."""
    draw, sizes = np.random.default_rng(1), MINI.htsat
    return {
        "wave": draw.standard_normal((media, T, sizes.sample_rate), dtype=np.float32),
        "logmel": draw.standard_normal((media, T, 51, sizes.mel_bins), dtype=np.float32),
        "vggish_examples": draw.standard_normal((media, T, 1, 96, 64), dtype=np.float32),
    }


def write_packed(
    folder: Path, task: str = "avs-s4", counts: Mapping[str, int] | None = None, names: list[str] | None = None, absent: int = 0
) -> Path:
    """A prepared set in `folder`: `counts` clips a split, the last `absent` test clips without media."""
    counts = dict(counts or COUNTS)
    total = sum(counts.values())
    media = total - absent
    frames, masks = scenes(media)
    annotated = np.ones((total, T), bool)
    if task == "avs-s4":
        annotated[: counts["train"], 1:] = False
        masks[: counts["train"], 1:] = 0
    arrays = {"frames": frames, **noise(media), "masks": masks, "annotated": annotated}
    names = names or [f"clip{i:07d}" for i in range(total)]
    rows = [{"id": name, "category": "dog_barking", "media": i if i < media else None} for i, name in enumerate(names)]
    starts = np.cumsum([0, *counts.values()])
    splits = {s: list(range(a, b)) for s, a, b in zip(counts, starts, starts[1:], strict=False)}
    coverage = {s: {"present": sum(i < media for i in of), "total": len(of)} for s, of in splits.items()}
    axes = {name: "row" if name == "annotated" else "clip" for name in arrays}
    manifest = {
        "schema": SCHEMA_VERSION, "dataset": task, "scale": "mini", "image_size": SIDE, "categories": ["dog_barking"],
        "front_end": {"tile": 5, **MINI.htsat.front_end}, "rows": rows, "splits": splits, "coverage": coverage,
        "clips": {row["id"]: {"status": "ready", "media": row["media"], "notes": {}} for row in rows},
        "arrays": {n: {"axis": axes[n], "shape": list(a.shape), "dtype": str(a.dtype)} for n, a in arrays.items()},
    }  # fmt: skip
    folder.mkdir(parents=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def write_world(root: Path, task: str = "avs-s4", **counts) -> Path:
    """A results folder with a prepared set of `write_packed` and features of its clips."""
    folder = write_packed(root / "data" / "mini" / task / "packed", task, **counts)
    ids = [row["id"] for row in json.loads((folder / "manifest.json").read_text())["rows"] if row["media"] is not None]
    features = np.random.default_rng(2).random((len(ids), T, MINI.vggish.embed_dim), dtype=np.float32)
    facts = {"scale": "mini", "dataset": task, "extractor": "vggish"}
    write_features(root / "features" / "mini" / task / "vggish", features, ids, facts)
    return root

"""What the shared preparation must know of a data set, and what it hands from room to room. No torch: the DAG asks too."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dgsct.data.categories import AGAIN, check_categories
from dgsct.data.features import PublicFeature
from dgsct.data.index import Index
from dgsct.data.splits import check_splits
from dgsct.errors import DgsctError, UsageError
from dgsct.settings.scales import HtsatSizes, Scale

SILENCE = 1e-3  # peak of a clip, full scale 1: -60 dB, the last five of sixteen bits


class Source(Protocol):
    """The files of one clip: `stamp` holds their sizes and times (JSON), None where no file is there."""

    @property
    def video_id(self) -> str:
        """The clip's id, unique in its set."""

    @property
    def stamp(self) -> Any:
        """What tells whether the files have changed."""


@dataclass(frozen=True)
class Clip:
    """One decoded clip: its arrays by name; or the problem that it has.

    `notes` says what is odd about a usable clip: `silent` its peak, `short` and `long` its seconds, `wrong_rate` its Hz,
    `late`, `gap` and `uneven` the seconds by which its times are off (`dgsct.data.media.Media`).
    """

    arrays: dict[str, np.ndarray] | None = None
    status: str = "ready"
    notes: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


def clip_statuses(seconds: int, **more: str) -> Mapping[str, str]:
    """Every status that a clip of so many seconds may have, in the report's order and words; `more` are a set's own."""
    return {
        "ready": "", "missing": "no file", "empty": "zero bytes", "truncated": "cut off", "no_video": "no picture",
        "no_audio": "no sound", "wrong_length": f"not {seconds} s at the sampling rate",
        "wrong_range": "numbers out of the range that they should have", **more, "unreadable": "cannot be decoded",
    }  # fmt: skip


def clip_notes(seconds: int, **more: str) -> Mapping[str, str]:
    """Every note that a usable clip may have; `more` are a set's own, or say something else of one of these."""
    return {
        "silent": "used; below -60 dB", "short": f"used; below {seconds} s, sound padded with zeros",
        "long": f"used; above {seconds + 1} s, the first {seconds} s of sound count", "wrong_rate": "used; resampled",
        "late": "used; begins late: the first frame held, or silence", "gap": "used; gaps in the sound, silence there",
        "uneven": "used; no constant rate, frames by their times", **more,
    }  # fmt: skip


class DataSet(ABC):
    """A data set, prepared once for all tasks that are views on it: its files, the layouts that they come in, and the arrays
    that a clip becomes.

    `layouts` gives, in order of preference, each layout and how a clip looks in it; `statuses` and `notes` what a clip can
    be and what can be odd about it, with the words of the report; `decoder` is the module with `decode_clip(source,
    scale)`, which may import torch. `published` gives the annotated clips of each split as the authors publish them,
    `videos` how many clips that makes, each counted once.
    """

    name: str
    layouts: Mapping[str, str]
    statuses: Mapping[str, str]
    notes: Mapping[str, str]
    decoder: str
    published: Mapping[str, int]
    videos: int

    @property
    def decides(self) -> tuple[str, ...]:
        """Modules that decide what a prepared folder holds; estimates, reports and locks do not."""
        return (self.decoder, "dgsct.data.manifest", "dgsct.data.writer")

    @abstractmethod
    def index_file(self, root: Path) -> Path:
        """The annotation file of the set in the folder `root`."""

    @abstractmethod
    def read_index(self, root: Path) -> Index:
        """Annotations and splits of the set in the folder `root`; DgsctError names what is wrong."""

    @abstractmethod
    def sources(self, root: Path, index: Index, layout: str) -> list[Any]:
        """The files of every clip in a layout; empty if nothing of that layout is there."""

    @abstractmethod
    def absent(self, root: Path, layout: str | None) -> str:
        """A sentence for who asks for a layout of which nothing is there, or for any of them."""

    @abstractmethod
    def media_place(self, root: Path, layout: str) -> str:
        """Where the clips of a layout belong, as the end of a sentence: `its videos into ROOT/AVE`."""

    @abstractmethod
    def first_file(self, source: Any) -> Path:
        """The file of a clip that a message names where nothing of it is there."""

    @abstractmethod
    def image_size(self, scale: Scale) -> int:
        """Side of the packed frames in pixels."""

    @abstractmethod
    def front_end(self, scale: Scale) -> dict[str, Any]:
        """What the stored log-mel depends on; a run that asks for something else computes its own from the wave."""

    @abstractmethod
    def forms(self, scale: Scale) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape of one clip in each array, and its dtype."""

    @abstractmethod
    def pretend(self, scale: Scale, count: int, classes: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Random arrays of `count` clips, each with one annotation row: what a probe reads in place of prepared data."""

    def names(self, scale: Scale) -> tuple[str, ...]:
        """The categories by class number that a run at this scale counts on; empty for a set without classes."""
        return ()

    def check(self, manifest: Mapping[str, Any], arrays: Mapping[str, np.ndarray], scale: Scale) -> None:
        """Whether a prepared set is one that a run at this scale can believe: its splits, and what its class numbers mean.

        DgsctError says what is wrong. Sets whose labels are numbers compare those with the rows, too.
        """
        if names := self.names(scale):
            check_categories(manifest, names)
        ids = [row["id"] for row in manifest["rows"]]
        check_splits(ids, manifest["splits"], f"the prepared set {self.name!r}", f"correct its split files, and {AGAIN}")

    def public_features(self, root: Path, extractor: str) -> dict[str, PublicFeature]:
        """Where the public files in the folder `root` hold pre-extracted features, by clip id; empty where there are none."""
        return {}

    def made_for(self, scale: Scale) -> list[Any]:
        """The scale's part in what is prepared."""
        return [scale.name, self.image_size(scale), self.front_end(scale)]

    def bytes_of_clip(self, scale: Scale) -> int:
        """What one usable clip takes in the packed arrays."""
        return sum(prod(shape) * np.dtype(dtype).itemsize for shape, dtype in self.forms(scale).values())

    def find_sources(self, root: Path, index: Index, layout: str | None = None) -> tuple[str, list[Any]]:
        """The layout in use and the files of every clip. Without `layout` it is the one with most clips, the first if equal."""
        if layout not in (None, *self.layouts):
            raise UsageError(f"unknown layout {layout!r}; choose one of: {', '.join(self.layouts)}")
        by_layout = {name: self.sources(root, index, name) for name in ([layout] if layout else self.layouts)}
        if not any(by_layout.values()):
            raise UsageError(self.absent(root, layout))
        count = {name: sum(source.stamp is not None for source in sources) for name, sources in by_layout.items()}
        chosen = layout or max((name for name in count if by_layout[name]), key=lambda name: count[name])
        others = [name for name in count if count[name] and name != chosen]
        if others:
            parts = [f"{n}{' clips' * (not i)} {self.layouts[name]}" for i, (name, n) in enumerate(count.items()) if n]
            print(
                f"{root} has {', '.join(parts[:-1])} and {parts[-1]}: {chosen} are used "
                f"(--layout {' or '.join(others)} takes the others)",
                flush=True,
            )
        return chosen, by_layout[chosen]

    def source_stamps(self, root: Path) -> list[Any]:
        """What the DAG compares: ids, sizes and times of all layouts' files below `root`; empty if the set is malformed."""
        try:
            index = self.read_index(root)
        except DgsctError:
            return []
        by_layout = [self.sources(root, index, layout) for layout in self.layouts]
        return [[s.video_id, s.stamp] for sources in by_layout for s in sources]


def is_name(text: str) -> bool:
    """Whether a clip's id can name a file or a folder: one part of a path, printable, at most 200 bytes."""
    return bool(text) and text.isprintable() and "/" not in text and text not in (".", "..") and len(text.encode()) <= 200


def stamp(path: Path) -> list[int] | None:
    """Size in bytes and time of last change in nanoseconds."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return [stat.st_size, stat.st_mtime_ns]


def compact_frames(sizes: HtsatSizes, tile: int) -> int:
    """Spectrogram frames of a tiled second in compact form (`dgsct.encoders.frontend.log_mel_compact`)."""
    return min(tile, 2) * (sizes.sample_rate // sizes.hop) + 1


def pretended_sound(
    forms: Mapping[str, tuple[tuple[int, ...], str]], count: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Random waves and log-mel spectrograms of `count` clips, in the range of real ones."""
    noise = {name: rng.standard_normal((count, *forms[name][0]), dtype=np.float32) for name in ("wave", "logmel")}
    return {"wave": 0.1 * noise["wave"], "logmel": 10 * noise["logmel"] - 40}

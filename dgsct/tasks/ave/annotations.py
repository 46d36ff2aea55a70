"""The AVE data set's own files: annotations, split lists, order files, and the label rule."""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dgsct.data.base import is_name
from dgsct.data.categories import category_names
from dgsct.data.index import Index
from dgsct.errors import DgsctError, UsageError
from dgsct.tasks.ave.categories import AVE, GENERATED

SEGMENTS = 10
HEADER = "Category&VideoID&Quality&StartTime&EndTime"
ANNOTATIONS = "Annotations.txt"
SPLIT_FILES = {"train": "trainSet.txt", "val": "valSet.txt", "test": "testSet.txt"}
WHOLE_SECONDS = re.compile("[0-9]{1,4}", re.ASCII)


@dataclass(frozen=True)
class Row:
    """One annotation: an event of `category` in seconds [start, end) of a 10-second clip."""

    category: str
    video_id: str
    quality: str
    start: int
    end: int

    def line(self) -> str:
        """The row as it stands in the data set's files."""
        return f"{self.category}&{self.video_id}&{self.quality}&{self.start}&{self.end}"

    def fields(self) -> dict[str, Any]:
        """The row as it stands in the manifest."""
        return {"id": self.video_id, "category": self.category, "start": self.start, "end": self.end}


@dataclass(frozen=True)
class AveIndex(Index):
    """Annotations and splits of one AVE-like set; rows of one video share frames and sound, not labels."""

    @property
    def labels(self) -> np.ndarray:
        """Class of every segment, [N, 10] int64; the number of classes stands for background."""
        return np.array([segment_labels(row, self.categories) for row in self.rows])

    def row_arrays(self) -> dict[str, np.ndarray]:
        """The labels, which are by row: [N, 10] int64."""
        return {"labels": self.labels}

    def contradict(self, one: Row, other: Row) -> bool:
        """Whether they name different categories at the same moment."""
        return one.category != other.category and max(one.start, other.start) < min(one.end, other.end)


def segment_labels(row: Row, categories: tuple[str, ...]) -> np.ndarray:
    """The label rule, [10] int64: the row's class in seconds start <= t < end, elsewhere the number of classes."""
    second = np.arange(SEGMENTS)
    inside = (second >= row.start) & (second < row.end)
    return np.where(inside, categories.index(row.category), len(categories)).astype(np.int64)


def read_annotations(path: Path) -> tuple[Row, ...]:
    """Rows of an annotation or split file. The header line, which one public copy has, is recognised and left out."""
    lines = _lines(Path(path))
    skip = 1 if lines and lines[0].strip().lower() == HEADER.lower() else 0
    rows = tuple(_row(line, f"{path}, line {i}") for i, line in enumerate(lines[skip:], skip + 1) if line.strip())
    if not rows:
        raise UsageError(f"{path} holds no annotation; put the data set's own file there")
    return rows


def read_split(root: Path, split: str, rows: tuple[Row, ...] | None = None) -> np.ndarray:
    """Row indices [n] int64 of a split, from `train_order.h5` and its like or else from `trainSet.txt` and its like.

    Where both are present the order file counts, as in every public code; text lists of some archives differ from it.
    Lines of a text file are found among `rows` (default: the set's annotations) by content; a line that occurs twice
    means the first and the second such row.
    """
    root = Path(root)
    if split not in SPLIT_FILES:
        raise UsageError(f"unknown split {split!r}; choose one of: {', '.join(SPLIT_FILES)}")
    rows = read_annotations(root / ANNOTATIONS) if rows is None else rows
    text, order = root / SPLIT_FILES[split], root / f"{split}_order.h5"
    if order.exists():
        return _read_order(order, len(rows))
    places: dict[Row, list[int]] = defaultdict(list)
    for i, row in reversed(list(enumerate(rows))):
        places[row].append(i)
    indices = []
    for row in read_annotations(text):
        if row not in places:
            raise UsageError(f"{text}: {row.line()!r} is not in Annotations.txt; take both files from one version of the set")
        if not places[row]:
            raise UsageError(f"{text}: {row.line()!r} occurs more often than in Annotations.txt; remove the repeated line")
        indices.append(places[row].pop())
    return np.array(indices, dtype=np.int64)


def read_index(root: Path) -> AveIndex:
    """Annotations and splits of the set in the folder `root`."""
    root = Path(root)
    if not root.is_dir():
        raise UsageError(f"{root} is no folder; give the folder that holds Annotations.txt and the videos")
    path = root / ANNOTATIONS
    rows = read_annotations(path)
    splits = {split: read_split(root, split, rows) for split in SPLIT_FILES}
    places = {row.category: f"{path}, the row of {row.video_id}" for row in reversed(rows)}
    names = category_names(places, (AVE, GENERATED), root / "categories.txt")
    differences = tuple(line for split, order in splits.items() if (line := _against_text(root, split, rows, order)))
    return AveIndex(rows, names, splits, differences)


def _against_text(root: Path, split: str, rows: tuple[Row, ...], order: np.ndarray) -> str:
    """A sentence where a split's text file and the order file, which counts, disagree."""
    text, file = root / SPLIT_FILES[split], root / f"{split}_order.h5"
    if not (text.exists() and file.exists()):
        return ""
    try:
        listed = Counter(read_annotations(text))
    except DgsctError as error:
        return f"{file} counts, {text} beside it cannot be compared: {error}"
    counts = Counter(rows[i] for i in order)
    differ = (listed - counts).total() + (counts - listed).total()
    return f"{file} counts: {differ} of its rows and of {text} are not in both" if differ else ""


def write_index(root: Path, index: AveIndex, header: bool = False) -> None:
    """Write the annotation, category and split files of a set into `root`, the inverse of `read_index`."""
    lines = [row.line() for row in index.rows]
    chosen = {name: [lines[i] for i in index.splits[split]] for split, name in SPLIT_FILES.items()}
    annotations = [HEADER, *lines] if header else lines
    for name, content in {"Annotations.txt": annotations, "categories.txt": list(index.categories), **chosen}.items():
        (Path(root) / name).write_text("".join(f"{line}\n" for line in content), encoding="utf-8")


def media_path(root: Path, video_id: str) -> Path:
    """Where a clip lies: `AVE/<id>.mp4` as in the public archive, or `<id>.mp4` beside the annotations."""
    public, beside = Path(root) / "AVE" / f"{video_id}.mp4", Path(root) / f"{video_id}.mp4"
    return beside if beside.exists() and not public.exists() else public


def _row(line: str, where: str) -> Row:
    parts = line.strip().split("&")
    if len(parts) != 5 or not all(WHOLE_SECONDS.fullmatch(part.strip()) for part in parts[3:]):
        raise UsageError(f"{where}: {line!r} is no annotation; write it as {HEADER} with times in whole seconds")
    category, video_id, quality = (part.strip() for part in parts[:3])
    start, end = int(parts[3]), int(parts[4])
    if not category or not is_name(video_id):
        raise UsageError(f"{where}: {line!r} lacks a category or an id that can name a file; write it as {HEADER}")
    if not start <= end <= SEGMENTS:
        raise UsageError(f"{where}: seconds {start} to {end} do not lie in order within 0 to {SEGMENTS}; correct the row")
    return Row(category, video_id, quality, start, end)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise DgsctError(f"{path} does not exist; put the data set's own file there") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DgsctError(f"{path} cannot be read as text ({error}); put the data set's own file there") from error


def _read_order(path: Path, count: int) -> np.ndarray:
    try:
        import h5py
    except ImportError as error:
        raise DgsctError(f"reading {path} needs the package 'h5py'; install it with `pip install h5py`") from error
    try:
        with h5py.File(path) as file:
            read = np.asarray(file["order"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DgsctError(f"{path} is no order file with the key 'order' ({error}); put the public file there") from error
    whole = read.dtype.kind in "iu" or (
        read.dtype.kind == "f" and bool(np.isfinite(read).all() and (read == np.floor(read)).all())
    )
    if not whole or read.ndim != 1:
        problem = f"{path} holds {read.dtype} {list(read.shape)} in place of row numbers [n]"
        raise UsageError(f"{problem}; put the public file there")
    order = read.astype(np.int64)
    if not len(order):
        raise UsageError(f"{path} holds no row; put the public file there")
    if not 0 <= order.min() <= order.max() < count:
        raise UsageError(f"{path} points outside the {count} annotation rows; take both files from one version of the set")
    return order

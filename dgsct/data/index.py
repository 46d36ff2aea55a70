"""What a data set's own files say: its annotation rows, its categories, its splits. No torch."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


class Row(Protocol):
    """One annotation row; several rows may be of one clip."""

    @property
    def video_id(self) -> str:
        """The clip that it annotates."""

    def line(self) -> str:
        """The row as text: what tells whether an annotation has changed."""

    def fields(self) -> dict[str, Any]:
        """The row as it stands in the manifest, its id first."""


@dataclass(frozen=True)
class Index:
    """Annotations and splits of one set; `splits` maps train, val and test to row indices [n] int64.

    `categories[c]` is the name of class c, from one source (`dgsct.data.categories`). `remarks` are sentences on what is odd
    about the files, for who prepares the set.
    """

    rows: tuple[Any, ...]
    categories: tuple[str, ...]
    splits: dict[str, np.ndarray]
    remarks: tuple[str, ...] = ()

    @property
    def video_ids(self) -> tuple[str, ...]:
        """Distinct clip ids in order of first appearance."""
        return tuple(dict.fromkeys(row.video_id for row in self.rows))

    def row_arrays(self) -> dict[str, np.ndarray]:
        """Arrays by annotation row, [N, ...], that are packed beside the clips' own."""
        raise NotImplementedError

    def contradict(self, one: Any, other: Any) -> bool:
        """Whether two annotation rows of the same clip cannot both be right."""
        return one.line() != other.line()

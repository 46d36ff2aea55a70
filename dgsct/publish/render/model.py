"""The neutral table: what every renderer reads. It knows nothing of experiments, runs or files on disk."""

from dataclasses import dataclass
from typing import Literal

from dgsct.publish.cells import CellState, Source

STATE_WORDS: dict[str, str] = {
    "stale": "stale",
    "failed": "failed",
    "corrupt": "corrupt",
    "missing": "missing",
    "planned": "not run yet",
    "none": "–",
}
Design = Literal["published", "inferred"]
INFERRED_MARK = "†"
INFERRED_NOTE = "inferred design: neither a publication nor public code says in full how it is built"


@dataclass(frozen=True)
class Cell:
    """The harness's number with its spread, the published one beside it, and where both come from.

    `seeds` count in the mean. `coverage` and `bounds` (over all test clips) are there where a clip is absent. `compared` is
    false where both numbers must not be compared, as at scale mini: then there is no difference.
    """

    state: CellState
    mean: float | None = None
    std: float | None = None
    sources: tuple[Source, ...] = ()
    published: float | int | str | None = None
    published_source: str = ""
    notes: tuple[int, ...] = ()
    published_notes: tuple[int, ...] = ()
    exact: int | None = None
    seeds: int = 0
    coverage: dict[str, dict[str, int]] | None = None
    bounds: tuple[float, float] | None = None
    compared: bool = True

    @property
    def difference(self) -> float | None:
        """The harness's number minus the published one, where both are numbers and may be compared."""
        if not self.compared or self.mean is None or not isinstance(self.published, (int, float)):
            return None
        return self.mean - self.published


@dataclass(frozen=True)
class Column:
    """A column of numbers. `measured` is false where no cell can have a number of the harness: only print is shown."""

    id: str
    label: str
    group: str = ""
    measured: bool = True
    exact: bool = False
    notes: tuple[int, ...] = ()
    design: Design = "published"

    @property
    def full_label(self) -> str:
        """Its label behind its group's, which is not said twice."""
        return self.label if self.group in ("", self.label) else f"{self.group} {self.label}"


@dataclass(frozen=True)
class Row:
    """A row: its name, texts and check marks before the numbers, and one cell a column."""

    id: str
    label: str
    cells: dict[str, Cell]
    texts: dict[str, str]
    marks: dict[str, bool]
    group: str
    rule_before: bool = False
    notes: tuple[int, ...] = ()
    design: Design = "published"


@dataclass(frozen=True)
class Table:
    """A whole table. Footnote n is `footnotes[n]`, remarks hold everywhere, the stamp says what the numbers are not."""

    name: str
    title: str
    source: str
    scale: str
    protocol: str
    stamp: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    footnotes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    text_columns: tuple[str, ...] = ()
    mark_columns: tuple[str, ...] = ()

    @property
    def caption(self) -> str:
        """Title with the place in the paper."""
        return f"{self.source} of the paper: {self.title}"

    @property
    def compared(self) -> bool:
        """Whether the harness's numbers stand beside published ones that they may be compared with."""
        return any(cell.compared for row in self.rows for cell in row.cells.values())

    @property
    def marked_notes(self) -> tuple[tuple[str, str], ...]:
        """What stands below the table: each mark with its text."""
        inferred = "inferred" in {row.design for row in self.rows} | {column.design for column in self.columns}
        letters = tuple((footnote_mark(i), text) for i, text in enumerate(self.footnotes))
        return ((INFERRED_MARK, INFERRED_NOTE), *letters) if inferred else letters


def heads(table: Table, column: Column) -> list[tuple[str, ...]]:
    """Heads of what a column of numbers consists of, each in its lines: this harness, printed, their difference.

    The scale stands there too, so that no crop of a table hides it.
    """
    if not column.measured:
        return [("printed",)]
    own = ("this harness",) if table.scale == "paper" else ("this harness", f"({table.scale})")
    return [own, ("printed",), *([("difference",)] if table.compared else [])]


def footnote_mark(number: int) -> str:
    """a ... z, then aa, ab ...: letters, since digits beside numbers would be read as digits."""
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("a") + rest) + letters
    return letters


def footnote_marks(numbers: tuple[int, ...], design: Design = "published") -> str:
    """Marks of several footnotes, `a,c`; before them that of an inferred design, `†,a`."""
    return ",".join([*([INFERRED_MARK] if design == "inferred" else []), *map(footnote_mark, sorted(numbers))])


def number(value: float) -> str:
    """One decimal, as the paper prints."""
    return f"{value:.1f}"


def signed(value: float) -> str:
    """One decimal with its sign; a difference that rounds to zero has none."""
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def printed(value: float | int | str | None) -> str:
    """A published value as text, a count with commas; a dash where the paper has none."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    return value if isinstance(value, str) else number(value)


def own_number(cell: Cell) -> str:
    """The harness's number as plain text: `82.1 ± 0.3`, or the state's word."""
    if cell.mean is None:
        return STATE_WORDS.get(cell.state, cell.state)
    spread = f" ± {number(cell.std)}" if cell.std is not None else ""
    return f"{number(cell.mean)}{spread}"


def difference(cell: Cell) -> str:
    """Difference as plain text; a dash where there is none."""
    return "–" if cell.difference is None else signed(cell.difference)

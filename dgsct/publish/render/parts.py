"""A wide table in parts that can be read: columns that do not fit the line go into a further part, whole tasks together.

Table 5 has eleven columns of two numbers each. Shrunk to one line its letters would be too small to read, and on a screen it
would have to be moved sideways. So it is set in parts below each other, each with the rows' names.
"""

from dataclasses import replace
from itertools import groupby

from dgsct.publish.render.model import Column, Table, difference, heads, own_number, printed

# Widths of characters in parts of the letters' size, a little more than in Computer Modern and common sans-serif fonts.
NARROW = frozenset("iljft.,:;'!|()[] ")
WIDE = frozenset("mwMWABCDEFGHKLNOPQRSTUVXYZ±%&@+−Δ✓")


def text_width(text: str) -> float:
    """Width of a line of text, in units of the letters' size."""
    return sum(0.32 if c in NARROW else 0.78 if c in WIDE else 0.53 for c in text)


def _widest(texts: list[str]) -> float:
    return max(map(text_width, texts), default=0.0)


def _lead_width(table: Table, gap: float) -> float:
    """What stands before the numbers: names, texts, check marks."""
    texts = [[row.label for row in table.rows]]
    texts += [[name, *(row.texts.get(name, "") for row in table.rows)] for name in table.text_columns]
    texts += [[name, "✓"] for name in table.mark_columns]
    return sum(_widest(column) + gap for column in texts)


def _column_width(table: Table, column: Column, gap: float, short: bool) -> float:
    cells = [row.cells[column.id] for row in table.rows]
    numbers = [[printed(cell.published) for cell in cells]]
    if column.measured:
        exact = [f" ({cell.exact:,})" if column.exact and cell.exact is not None else "" for cell in cells]
        own = [own_number(cell) + count for cell, count in zip(cells, exact, strict=True)]
        numbers = [own, *numbers, *([[difference(cell) for cell in cells]] if table.compared else [])]
    lines = heads(table, column)
    if short:
        lines = [*lines[:2], *([("Δ",)] if len(lines) > 2 else [])] if column.measured else [("",)]
    width = sum(_widest([*texts, *head]) + gap for texts, head in zip(numbers, lines, strict=True))
    label = column.label if short else column.full_label
    return max(width, text_width(label) + gap)


def parts(table: Table, width: float, gap: float, short: bool = False) -> list[Table]:
    """The table in parts of `width` at most, `gap` between columns, both in units of the letters' size.

    Columns of one group (a task) stay together where they fit a part of their own. A part has one column at least. With
    `short` heads the difference is Δ, and no word stands above a column that shows print only.
    """
    room = width - _lead_width(table, gap)
    widths = {column.id: _column_width(table, column, gap, short) for column in table.columns}
    lines: list[list[Column]] = [[]]

    def fits(columns: list[Column]) -> bool:
        return sum(widths[column.id] for column in columns) <= room

    for _, members in groupby(table.columns, key=lambda column: column.group or column.id):
        group = list(members)
        for piece in [group] if fits(group) else [[column] for column in group]:
            if lines[-1] and not fits([*lines[-1], *piece]):
                lines.append([])
            lines[-1] += piece
    return [replace(table, columns=tuple(columns)) for columns in lines]

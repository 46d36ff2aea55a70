"""LaTeX: a fragment to `\\input` anywhere, inside a float or not.

It needs booktabs, xcolor, caption and graphicx only and defines nothing. On a line as wide as that of the report no letter
is smaller than 7 pt: a table that is wider is set in parts below each other. On a narrower line it shrinks to the line's width.
"""

from itertools import groupby

from dgsct.publish.render.latex_text import escape
from dgsct.publish.render.model import (
    Cell,
    Column,
    Row,
    Table,
    difference,
    footnote_marks,
    heads,
    number,
    own_number,
    printed,
)
from dgsct.publish.render.parts import parts

# Of the report's line (A4, margins of 13 mm) and of the space between two columns, in units of the letters' 8 pt.
WIDTH, GAP = 65.0, 1.0

COLORS = {"stale": "orange!80!black", "failed": "red!80!black", "corrupt": "red!80!black"}


def _noted(text: str, marks: str, hang: bool = False) -> str:
    """`text` with its footnote marks; hanging marks take no room, so that digits stay below digits."""
    if not marks:
        return text
    # Not \textsuperscript, whose letters would have 6 pt.
    mark = rf"\raisebox{{.5ex}}{{\fontsize{{7}}{{7}}\selectfont {escape(marks)}}}"
    return rf"{text}\rlap{{{mark}}}" if hang else f"{text}{mark}"


def _minus(text: str) -> str:
    """A minus sign of its right length; a dash stays a dash."""
    return f"$-${text[1:]}" if text.startswith("-") else escape(text)


def _own(column: Column, cell: Cell) -> str:
    if cell.mean is None:
        color = COLORS.get(cell.state, "gray")
        return _noted(rf"\textcolor{{{color}}}{{\itshape {escape(own_number(cell))}}}", footnote_marks(cell.notes), hang=True)
    spread = rf"\,$\pm$\,{number(cell.std)}" if cell.std is not None else ""
    exact = rf" \textcolor{{gray}}{{\scriptsize ({cell.exact:,})}}" if column.exact and cell.exact is not None else ""
    return _noted(_minus(number(cell.mean)) + spread + exact, footnote_marks(cell.notes), hang=True)


def _printed(column: Column, cell: Cell) -> str:
    text = escape(printed(cell.published))
    return _noted(text if column.measured else _gray(text), footnote_marks(cell.published_notes), hang=True)


def _row(table: Table, row: Row) -> str:
    cells = [_noted(escape(row.label), footnote_marks(row.notes, row.design))]
    cells += [escape(row.texts.get(name, "")) for name in table.text_columns]
    cells += [_mark(row, name) for name in table.mark_columns]
    for column in table.columns:
        cell = row.cells[column.id]
        if column.measured:
            cells += [_own(column, cell), _printed(column, cell)]
            cells += [_minus(difference(cell))] if table.compared else []
        else:
            cells.append(_printed(column, cell))
    return " & ".join(cells) + r" \\"


def _mark(row: Row, name: str) -> str:
    if name not in row.marks:
        return ""
    return r"$\bullet$" if row.marks[name] else r"\textcolor{gray}{--}"


def _width(table: Table, column: Column) -> int:
    return len(heads(table, column))


def _spans(table: Table, texts: list[tuple[str, int]]) -> tuple[str, str]:
    """A header line of (text, width) and the rules under its texts."""
    start = 2 + len(table.text_columns) + len(table.mark_columns)
    cells, rules = [], []
    for text, width in texts:
        cells.append(rf"\multicolumn{{{width}}}{{c}}{{{text}}}" if width > 1 or text else "")
        if text and width > 1:
            rules.append(rf"\cmidrule(lr){{{start}-{start + width - 1}}}")
        start += width
    return " & ".join(cells), "".join(rules)


def _group_line(table: Table) -> tuple[str, str]:
    """The topmost header line: a name over each run of columns of the same group."""
    texts = []
    for _, members in groupby(table.columns, key=lambda c: c.group or (c.id,)):
        columns = list(members)
        marks = _marks(columns[0]) if _share_marks(columns) else ""
        texts.append((_noted(escape(columns[0].group), marks), sum(_width(table, column) for column in columns)))
    return _spans(table, texts)


def _header(table: Table) -> list[str]:
    names = ["", *map(escape, table.text_columns), *map(escape, table.mark_columns)]
    blank = " & ".join([""] * len(names))
    lines = []
    if any(c.group for c in table.columns):
        cells, rules = _group_line(table)
        lines += [rf"{blank} & {cells} \\", rules]
    labels = {c.id: _own_label(table, c) for c in table.columns}
    if any(labels[c.id] for c in table.columns if c.measured):
        cells, rules = _spans(table, [(labels[c.id], _width(table, c)) for c in table.columns])
        lines += [rf"{blank} & {cells} \\", rules]
        labels = dict.fromkeys(labels, "")
    last = [" & ".join(map(_head, heads(table, c))) if c.measured else _gray(labels[c.id]) for c in table.columns]
    lines.append(" & ".join([*names, *last]) + r" \\")
    return [line for line in lines if line]


def _head(lines: tuple[str, ...]) -> str:
    if lines == ("difference",):
        return r"$\Delta$"
    text = r"\\".join(map(escape, lines))
    return text if len(lines) == 1 else rf"\shortstack[r]{{{text}}}"


def _gray(text: str) -> str:
    return rf"\textcolor{{gray}}{{{text}}}" if text else ""


def _marks(column: Column) -> str:
    return footnote_marks(column.notes, column.design)


def _share_marks(columns: list[Column]) -> bool:
    """Whether one mark at the group's name says what each column's mark would."""
    return bool(columns[0].group) and len(set(map(_marks, columns))) == 1


def _own_label(table: Table, column: Column) -> str:
    """A column's label below its group's; nothing where it would say the same again."""
    if column.label == column.group:
        return ""
    members = [c for c in table.columns if c.group == column.group]
    return _noted(escape(column.label), "" if _share_marks(members) else _marks(column))


def _tabular(table: Table) -> list[str]:
    spec = "l" + "l" * len(table.text_columns) + "c" * len(table.mark_columns)
    spec += "".join("r" * _width(table, column) for column in table.columns)
    lines = [rf"\begin{{tabular}}{{{spec}}}", r"\toprule", *_header(table), r"\midrule"]
    for row in table.rows:
        if row.rule_before:
            lines.append(r"\midrule")
        lines.append(_row(table, row))
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def _footnotes(table: Table) -> list[str]:
    notes = [f"{escape(remark.rstrip('.'))}." for remark in table.remarks]
    notes += [rf"{_noted('', mark)}\,{escape(note.rstrip('.'))}." for mark, note in table.marked_notes]
    if not notes:
        return []
    text = "\\quad\n".join(notes)
    return [r"\vspace{2pt}", rf"\begin{{minipage}}{{\linewidth}}\footnotesize\raggedright {text}\end{{minipage}}\par"]


def _part(table: Table, first: bool) -> list[str]:
    """The lines of one part of the table."""
    return [
        *([] if first else [r"\vspace{6pt}"]),
        r"\sbox0{\footnotesize\setlength{\tabcolsep}{4pt}%",
        *_tabular(table),
        r"}%",
        r"\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi\par",
    ]


def render(table: Table) -> str:
    """The table as a LaTeX fragment."""
    stamp = rf"\textcolor{{red!70!black}}{{\bfseries {escape(table.stamp)}.}}"
    lines = [
        f"% {table.name}: scale {table.scale}, protocol {table.protocol}. Needs booktabs, xcolor, caption, graphicx.",
        r"\begingroup\centering",
        rf"\captionof{{table}}{{{escape(table.caption)}. {stamp}}}",
        *(line for i, part in enumerate(parts(table, WIDTH, GAP, short=True)) for line in _part(part, first=not i)),
        *_footnotes(table),
        r"\endgroup",
    ]
    return "\n".join(lines) + "\n"

"""Markdown: a pipe table, in parts where it is too wide, with the stamp above and the footnotes below."""

import re

from dgsct.publish.render.model import Column, Row, Table, difference, footnote_marks, heads, own_number, printed
from dgsct.publish.render.parts import parts

WIDTH, GAP = 78.0, 1.9  # of a page of a code host, in units of its letters' size; padding of two cells


def escape(text: str) -> str:
    """Text that Markdown shows as it is, in a table's cell too."""
    plain = re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", text)
    return re.sub(r"\s+", " ", plain)


def _noted(text: str, marks: str) -> str:
    return f"{text}<sup>{marks}</sup>" if marks else text


def _heads(table: Table, column: Column) -> list[str]:
    name = _noted(escape(column.full_label), footnote_marks(column.notes, column.design))
    return [f"{name} {' '.join(head)}" if head[0] != "difference" else head[0] for head in heads(table, column)]


def _cells(table: Table, column: Column, row: Row) -> list[str]:
    cell = row.cells[column.id]
    text = printed(cell.published)
    print_text = _noted(escape(text), footnote_marks(cell.published_notes))
    if not column.measured:
        return [print_text]
    if cell.mean is None:
        own = f"*{own_number(cell)}*"
    else:
        own = own_number(cell) + (f" ({cell.exact:,})" if column.exact and cell.exact is not None else "")
    both = [_noted(own, footnote_marks(cell.notes)), print_text]
    return [*both, difference(cell)] if table.compared else both


def _grid(table: Table) -> list[str]:
    """The lines of one part."""
    names = ["", *table.text_columns, *map(escape, table.mark_columns)]
    aligns = [":--", *[":--"] * len(table.text_columns), *[":-:"] * len(table.mark_columns)]
    for column in table.columns:
        new = _heads(table, column)
        names += new
        aligns += ["--:"] * len(new)
    lines = [_line(names), _line(aligns)]
    for row in table.rows:
        cells = [_noted(escape(row.label), footnote_marks(row.notes, row.design))]
        cells += [escape(row.texts.get(name, "")) for name in table.text_columns]
        cells += ["✓" if row.marks.get(name) else "–" if name in row.marks else "" for name in table.mark_columns]
        for column in table.columns:
            cells += _cells(table, column, row)
        # Markdown has no rules inside a table: an empty row stands for one.
        if row.rule_before:
            lines.append(_line([""] * len(names)))
        lines.append(_line(cells))
    return [*lines, ""]


def render(table: Table) -> str:
    """The table as Markdown text."""
    lines = [f"**{escape(table.caption)}**", "", f"> **{escape(table.stamp)}**", ""]
    for part in parts(table, WIDTH, GAP):
        lines += _grid(part)
    lines += [f"{escape(remark)}  " for remark in table.remarks]
    lines += [f"<sup>{mark}</sup> {escape(note)}  " for mark, note in table.marked_notes]
    return "\n".join(lines).rstrip() + "\n"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"

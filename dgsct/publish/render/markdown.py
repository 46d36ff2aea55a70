"""Markdown: a pipe table with the stamp above and the footnotes below."""

import re

from dgsct.publish.render.model import Column, Row, Table, difference, footnote_marks, ours, own_head, printed


def escape(text: str) -> str:
    """Text that Markdown shows as it is, in a table's cell too."""
    plain = re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", text)
    return re.sub(r"\s+", " ", plain)


def _noted(text: str, marks: str) -> str:
    return f"{text}<sup>{marks}</sup>" if marks else text


def _heads(table: Table, column: Column) -> list[str]:
    repeated = not column.group or column.group == column.label
    name = escape(column.label if repeated else f"{column.group} {column.label}")
    name = _noted(name, footnote_marks(column.notes, column.design))
    return [f"{name} {own_head(table)}", f"{name} printed", "difference"] if column.measured else [f"{name} printed"]


def _cells(column: Column, row: Row) -> list[str]:
    cell = row.cells[column.id]
    text = printed(cell.published)
    print_text = _noted(escape(text), footnote_marks(cell.published_notes))
    if not column.measured:
        return [print_text]
    if cell.mean is None:
        own = f"*{ours(cell)}*"
    else:
        own = ours(cell) + (f" ({cell.exact:,})" if column.exact and cell.exact is not None else "")
    return [_noted(own, footnote_marks(cell.notes)), print_text, difference(cell)]


def render(table: Table) -> str:
    """The table as Markdown text."""
    heads = ["", *table.text_columns, *map(escape, table.mark_columns)]
    aligns = [":--", *[":--"] * len(table.text_columns), *[":-:"] * len(table.mark_columns)]
    for column in table.columns:
        new = _heads(table, column)
        heads += new
        aligns += ["--:"] * len(new)
    lines = [f"**{escape(table.caption)}**", "", f"> **{escape(table.stamp)}**", "", _line(heads), _line(aligns)]
    for row in table.rows:
        cells = [_noted(escape(row.label), footnote_marks(row.notes, row.design))]
        cells += [escape(row.texts.get(name, "")) for name in table.text_columns]
        cells += ["✓" if row.marks.get(name) else "–" if name in row.marks else "" for name in table.mark_columns]
        for column in table.columns:
            cells += _cells(column, row)
        # Markdown has no rules inside a table: an empty row stands for one.
        if row.rule_before:
            lines.append(_line([""] * len(heads)))
        lines.append(_line(cells))
    lines.append("")
    lines += [f"{escape(remark)}  " for remark in table.remarks]
    lines += [f"<sup>{mark}</sup> {escape(note)}  " for mark, note in table.marked_notes]
    return "\n".join(lines).rstrip() + "\n"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"

"""HTML: one self-contained page a table; hovering a number shows its runs, seeds and keys."""

from html import escape

from dgsct.publish.render.model import (
    Cell,
    Column,
    Row,
    Table,
    difference,
    footnote_marks,
    ours,
    own_head,
    printed,
)

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #888; --warn: #b3261e; --late: #a15c00; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
h1 { font-size: 1.25rem; margin: 0 0 .5rem; }
.stamp { border-left: 4px solid var(--warn); margin: .5rem 0 1rem; padding: .3rem .8rem; font-weight: 600; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; border-block: 2px solid; font-variant-numeric: tabular-nums; }
th, td { padding: .22rem .6rem; white-space: nowrap; text-align: right; }
th { font-weight: 600; } thead tr:last-child > * { border-bottom: 1px solid; }
thead th[colspan] { border-bottom: 1px solid var(--line); text-align: center; }
.text { text-align: left; font-weight: 400; } .mark { text-align: center; }
tr.rule > * { border-top: 1px solid; }
tbody tr:hover { background: #8881; }
td[title] { cursor: help; text-decoration: underline dotted var(--soft); text-underline-offset: .2em; }
.print, .diff, .planned, .missing, .exact { color: var(--soft); }
.stale { color: var(--late); } .failed, .corrupt { color: var(--warn); }
.stale, .failed, .corrupt, .planned, .missing { font-style: italic; }
sup { font-size: .7em; padding-left: .1em; }
ol { list-style: none; padding: 0; font-size: .85rem; max-width: 62rem; }
""".strip()


def _noted(text: str, marks: str) -> str:
    return f"{text}<sup>{marks}</sup>" if marks else text


def _hover(cell: Cell) -> str:
    """Seeds, records and keys of a number, one run a line."""
    lines = [f"state: {cell.state}; seeds that count: {cell.seeds}"]
    for source in cell.sources:
        value = "no value" if source.value is None else f"{source.value:.4f}"
        seed = "" if source.seed is None else f"seed {source.seed}  "
        key = f"  key {source.key[:12]}" if source.key else ""
        lines.append(f"{seed}{source.state}  {value}{key}  {source.record}")
    return "\n".join(lines)


def _measured(column: Column, cell: Cell) -> str:
    text = escape(ours(cell))
    if cell.mean is not None and column.exact and cell.exact is not None:
        text += f' <span class="exact">({cell.exact:,})</span>'
    title = f' title="{escape(_hover(cell))}"' if cell.sources else ""
    # `&#10;` and not a raw line break: the page stays one line a cell.
    title = title.replace("\n", "&#10;")
    own = f'<td class="{cell.state}"{title}>{_noted(text, footnote_marks(cell.notes))}</td>'
    return own + _print(cell) + f'<td class="diff">{escape(difference(cell))}</td>'


def _print(cell: Cell) -> str:
    text = _noted(escape(printed(cell.published)), footnote_marks(cell.published_notes))
    title = f' title="{escape(cell.published_source)}"' if cell.published is not None else ""
    return f'<td class="print"{title}>{text}</td>'


def _row(table: Table, row: Row) -> str:
    cells = [f'<th scope="row" class="text">{_noted(escape(row.label), footnote_marks(row.notes, row.design))}</th>']
    cells += [f'<td class="text">{escape(row.texts.get(name, ""))}</td>' for name in table.text_columns]
    for name in table.mark_columns:
        mark = "" if name not in row.marks else "✓" if row.marks[name] else "–"
        cells.append(f'<td class="mark">{mark}</td>')
    for column in table.columns:
        cell = row.cells[column.id]
        cells.append(_measured(column, cell) if column.measured else _print(cell))
    start = '<tr class="rule">' if row.rule_before else "<tr>"
    return f"{start}{''.join(cells)}</tr>"


def _header(table: Table) -> list[str]:
    lead = f'<th colspan="{1 + len(table.text_columns) + len(table.mark_columns)}"></th>'
    names = ['<th class="text"></th>', *(f'<th class="text">{escape(n)}</th>' for n in table.text_columns)]
    names += [f'<th class="mark">{escape(n)}</th>' for n in table.mark_columns]
    tops = ""
    for column in table.columns:
        repeated = not column.group or column.group == column.label
        label = escape(column.label if repeated else f"{column.group} {column.label}")
        label = _noted(label, footnote_marks(column.notes, column.design))
        tops += f'<th colspan="{3 if column.measured else 1}">{label}</th>'
        names += [f"<th>{own_head(table)}</th>"] if column.measured else []
        names += ["<th>printed</th>"]
        names += ["<th>difference</th>"] if column.measured else []
    return [f"<tr>{lead}{tops}</tr>", f"<tr>{''.join(names)}</tr>"]


def render(table: Table) -> str:
    """The table as a whole HTML page."""
    notes = [f"<li>{escape(remark)}</li>" for remark in table.remarks]
    notes += [f"<li><sup>{mark}</sup> {escape(note)}</li>" for mark, note in table.marked_notes]
    return "\n".join(
        [
            "<!doctype html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>{escape(table.caption)}</title>',
            f'<meta name="viewport" content="width=device-width"><style>\n{STYLE}\n</style></head><body>',
            f"<h1>{escape(table.caption)}</h1>",
            f'<p class="stamp">{escape(table.stamp)}</p>',
            '<div class="scroll"><table><thead>',
            *_header(table),
            "</thead><tbody>",
            *(_row(table, row) for row in table.rows),
            "</tbody></table></div>",
            *(["<ol>", *notes, "</ol>"] if notes else []),
            "</body></html>",
            "",
        ]
    )

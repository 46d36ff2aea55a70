"""HTML: one self-contained page a table, in parts where it is too wide; below, the runs, seeds and keys behind its numbers."""

from html import escape

from dgsct.publish.cells import Source
from dgsct.publish.render.model import (
    Cell,
    Column,
    Row,
    Table,
    difference,
    footnote_marks,
    heads,
    own_number,
    printed,
)
from dgsct.publish.render.parts import parts

# Of a window of 1,280 pixels, in units of the letters' 15 pixels, as system fonts are wide; padding of a cell.
WIDTH, GAP = 72.0, 1.3

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #888; --warn: #b3261e; --late: #a15c00; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
h1 { font-size: 1.25rem; margin: 0 0 .5rem; }
.stamp { border-left: 4px solid var(--warn); margin: .5rem 0 1rem; padding: .3rem .8rem; font-weight: 600; }
.scroll { overflow-x: auto; margin: 0 0 1.2rem; }
table { border-collapse: collapse; border-block: 2px solid; font-variant-numeric: tabular-nums; }
th, td { padding: .22rem .6rem; white-space: nowrap; text-align: right; }
th { font-weight: 600; } thead tr:last-child > * { border-bottom: 1px solid; }
thead th[colspan] { border-bottom: 1px solid var(--line); text-align: center; }
.text { text-align: left; font-weight: 400; } .mark { text-align: center; }
tr.rule > * { border-top: 1px solid; }
tbody tr:hover { background: #8881; }
.print, .diff, .planned, .missing, .exact { color: var(--soft); }
.stale { color: var(--late); } .failed, .corrupt { color: var(--warn); }
.stale, .failed, .corrupt, .planned, .missing { font-style: italic; }
sup { font-size: .7em; padding-left: .1em; }
details { font-size: .8rem; margin: 1rem 0; } summary { cursor: pointer; }
.runs td, .runs th { text-align: left; white-space: normal; overflow-wrap: anywhere; padding: .1rem .5rem; }
ol { list-style: none; padding: 0; font-size: .85rem; max-width: 62rem; }
""".strip()


def _noted(text: str, marks: str) -> str:
    return f"{text}<sup>{marks}</sup>" if marks else text


def _measured(table: Table, column: Column, cell: Cell) -> str:
    text = escape(own_number(cell))
    if cell.mean is not None and column.exact and cell.exact is not None:
        text += f' <span class="exact">({cell.exact:,})</span>'
    own = f'<td class="{cell.state}">{_noted(text, footnote_marks(cell.notes))}</td>{_print(cell)}'
    return own + (f'<td class="diff">{escape(difference(cell))}</td>' if table.compared else "")


def _print(cell: Cell) -> str:
    return f'<td class="print">{_noted(escape(printed(cell.published)), footnote_marks(cell.published_notes))}</td>'


def _row(table: Table, row: Row) -> str:
    cells = [f'<th scope="row" class="text">{_noted(escape(row.label), footnote_marks(row.notes, row.design))}</th>']
    cells += [f'<td class="text">{escape(row.texts.get(name, ""))}</td>' for name in table.text_columns]
    for name in table.mark_columns:
        mark = "" if name not in row.marks else "✓" if row.marks[name] else "–"
        cells.append(f'<td class="mark">{mark}</td>')
    for column in table.columns:
        cell = row.cells[column.id]
        cells.append(_measured(table, column, cell) if column.measured else _print(cell))
    start = '<tr class="rule">' if row.rule_before else "<tr>"
    return f"{start}{''.join(cells)}</tr>"


def _header(table: Table) -> list[str]:
    lead = f'<th colspan="{1 + len(table.text_columns) + len(table.mark_columns)}"></th>'
    names = ['<th class="text"></th>', *(f'<th class="text">{escape(n)}</th>' for n in table.text_columns)]
    names += [f'<th class="mark">{escape(n)}</th>' for n in table.mark_columns]
    tops = ""
    for column in table.columns:
        label = _noted(escape(column.full_label), footnote_marks(column.notes, column.design))
        own = heads(table, column)
        tops += f'<th colspan="{len(own)}">{label}</th>'
        names += [f"<th>{'<br>'.join(map(escape, lines))}</th>" for lines in own]
    return [f"<tr>{lead}{tops}</tr>", f"<tr>{''.join(names)}</tr>"]


def _grid(table: Table) -> list[str]:
    """The lines of one part."""
    start = '<div class="scroll"><table><thead>'
    return [start, *_header(table), "</thead><tbody>", *(_row(table, row) for row in table.rows), "</tbody></table></div>"]


def _runs(table: Table) -> list[str]:
    """Every run behind a number, one a line: what it gave, and where its record lies below the results folder."""
    lines = [
        _run(row, column, source) for row in table.rows for column in table.columns for source in row.cells[column.id].sources
    ]
    if not lines:
        return []
    names = ("row", "column", "seed", "state", "value", "key", "record, below the results folder")
    head = "".join(f"<th>{name}</th>" for name in names)
    opened = '<details><summary>The runs behind the numbers: seeds, values, keys and records</summary><table class="runs">'
    return [opened, f"<thead><tr>{head}</tr></thead><tbody>", *lines, "</tbody></table></details>"]


def _run(row: Row, column: Column, source: Source) -> str:
    value = "no value" if source.value is None else f"{source.value:.4f}"
    seed, key = "" if source.seed is None else str(source.seed), (source.key or "")[:12]
    texts = (row.label, column.full_label, seed, source.state, value, key, source.record)
    return f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in texts)}</tr>"


def _printed_elsewhere(table: Table) -> list[str]:
    """Where numbers are printed that do not stand in the table's own place in the paper, one sentence a place."""
    places: dict[str, list[str]] = {}
    for row in table.rows:
        for cell in row.cells.values():
            if cell.published is not None and cell.published_source != table.source:
                places.setdefault(cell.published_source, []).append(row.label)
    return [f"printed in {place}: {', '.join(dict.fromkeys(labels))}" for place, labels in places.items()]


def render(table: Table) -> str:
    """The table as a whole HTML page."""
    notes = [f"<li>{escape(remark)}</li>" for remark in (*table.remarks, *_printed_elsewhere(table))]
    notes += [f"<li><sup>{mark}</sup> {escape(note)}</li>" for mark, note in table.marked_notes]
    return "\n".join(
        [
            "<!doctype html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>{escape(table.caption)}</title>',
            f'<meta name="viewport" content="width=device-width"><style>\n{STYLE}\n</style></head><body>',
            f"<h1>{escape(table.caption)}</h1>",
            f'<p class="stamp">{escape(table.stamp)}</p>',
            *(line for part in parts(table, WIDTH, GAP) for line in _grid(part)),
            *(["<ol>", *notes, "</ol>"] if notes else []),
            *_runs(table),
            "</body></html>",
            "",
        ]
    )

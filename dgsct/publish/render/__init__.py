"""Renderers: one neutral table to LaTeX, Markdown, HTML, CSV and a side-car JSON with the origin of every number."""

from pathlib import Path

from dgsct.atomic import write_text_atomic
from dgsct.publish.render import csv, html, json_sidecar, latex, markdown
from dgsct.publish.render.model import Cell, Column, Row, Table

__all__ = ["Cell", "Column", "Row", "Table", "write_table"]

RENDERERS = {
    "tex": latex.render,
    "md": markdown.render,
    "csv": csv.render,
    "html": html.render,
    "json": json_sidecar.render,
}


def write_table(table: Table, folder: Path) -> list[Path]:
    """Write the table in all five forms below `folder`, each atomically; the same table gives the same bytes."""
    written = []
    # All texts first: a renderer that fails leaves no half set of files.
    texts = {ending: render(table) for ending, render in RENDERERS.items()}
    for ending, text in texts.items():
        path = Path(folder) / f"{table.name}.{ending}"
        write_text_atomic(path, text)
        written.append(path)
    return written

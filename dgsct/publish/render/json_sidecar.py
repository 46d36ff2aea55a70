"""The side-car: every number of a table with its runs, keys, records and published source."""

import json
import math
from dataclasses import asdict
from typing import Any

from dgsct.publish.cells import Source
from dgsct.publish.render.model import Cell, Column, Table

SCHEMA = 1


def render(table: Table) -> str:
    """The table as JSON text; paths of records are from the repository's root (whole where the results lie outside it)."""
    value = {
        "schema": SCHEMA,
        "kind": "table",
        "name": table.name,
        "title": table.title,
        "source": table.source,
        "scale": table.scale,
        "protocol": table.protocol,
        "stamp": table.stamp,
        "columns": [_column(column, table.footnotes) for column in table.columns],
        "rows": [
            {
                "id": row.id,
                "label": row.label,
                "group": row.group,
                "texts": row.texts,
                "marks": row.marks,
                "design": row.design,
                "notes": [table.footnotes[n] for n in row.notes],
                "cells": {name: cell_json(cell, table.footnotes) for name, cell in row.cells.items()},
            }
            for row in table.rows
        ],
        "footnotes": list(table.footnotes),
        "remarks": list(table.remarks),
    }
    return json.dumps(finite(value), indent=1, ensure_ascii=False) + "\n"


def _column(column: Column, footnotes: tuple[str, ...]) -> dict[str, Any]:
    notes = [footnotes[n] for n in column.notes]
    names = ("id", "label", "group", "measured", "design")
    return {**{name: getattr(column, name) for name in names}, "notes": notes}


def cell_json(cell: Cell, footnotes: tuple[str, ...]) -> dict[str, Any]:
    """One cell with all it rests on."""
    published = None
    if cell.published is not None:
        notes = [footnotes[n] for n in cell.published_notes]
        published = {"value": cell.published, "source": cell.published_source, "notes": notes}
    absent = {"coverage": cell.coverage, "bounds": cell.bounds} if cell.coverage else {}
    return {
        "state": cell.state,
        "mean": cell.mean,
        "std": cell.std,
        "seeds": cell.seeds,
        "exact": cell.exact,
        "published": published,
        "difference": cell.difference,
        "notes": [footnotes[n] for n in cell.notes],
        "runs": [_source(source) for source in cell.sources],
        **absent,
    }


def _source(source: Source) -> dict[str, Any]:
    """One run; coverage and bounds stand there where a clip is absent."""
    value = asdict(source)
    return value if source.coverage else {k: v for k, v in value.items() if k not in ("coverage", "bounds")}


def finite(value: Any) -> Any:
    """The same value with null for numbers that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: finite(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

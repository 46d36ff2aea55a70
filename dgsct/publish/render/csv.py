"""CSV: one line a cell, so that nothing is lost and any program can pivot it."""

import pandas as pd

from dgsct.publish.render.model import Cell, Table

COLUMNS = (
    "table", "row", "label", "group", "column", "column_label", "state", "mean", "std", "seeds", "exact", "published",
    "difference", "design", "test_present", "test_total", "lower", "upper", "scale", "protocol", "stamp",
)  # fmt: skip


def _coverage(cell: Cell) -> dict[str, str | float]:
    """Test clips behind a number and its bounds over all of them; empty where every clip is present."""
    test = (cell.coverage or {}).get("test")
    if not test:
        return {}
    lower, upper = cell.bounds or ("", "")
    return {"test_present": str(test["present"]), "test_total": str(test["total"]), "lower": lower, "upper": upper}


def render(table: Table) -> str:
    """The table as CSV text with a header; the scale's stamp stands on every line."""
    lines = [
        {
            "table": table.name,
            "row": row.id,
            "label": row.label,
            "group": row.group,
            "column": column.id,
            "column_label": column.full_label,
            "state": cell.state,
            "mean": cell.mean,
            "std": cell.std,
            "seeds": cell.seeds,
            "exact": "" if cell.exact is None else str(cell.exact),
            "published": cell.published,
            "difference": cell.difference,
            "design": "inferred" if "inferred" in (row.design, column.design) else "published",
            **_coverage(cell),
            "scale": table.scale,
            "protocol": table.protocol,
            "stamp": table.stamp,
        }
        for row in table.rows
        for column in table.columns
        for cell in [row.cells[column.id]]
    ]
    columns = [name for name in COLUMNS if table.compared or name != "difference"]
    return pd.DataFrame(lines, columns=columns).to_csv(index=False, float_format="%.6g", lineterminator="\n")

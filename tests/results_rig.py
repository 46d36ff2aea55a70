"""Records without training, and a small table in which every state occurs."""

import json
from pathlib import Path

from dgsct.experiments import Experiment
from dgsct.render import Cell, Column, Row, Source, Table
from dgsct.results import write_record
from dgsct.runs import Run

NO_DATA = "d" * 64
NO_ENCODERS = "e" * 64


def record_of(run: Run, value: float = 80.0, status: str = "ok", error: str | None = None, **changes) -> dict:
    parts = {"plan": run.plan_key(), "data": NO_DATA, "encoders": NO_ENCODERS}
    metrics = {"acc_batch8": value, "acc_exact": value - 0.1} if status == "ok" else {}
    record = {
        "schema": 1,
        "run": run.to_dict(),
        "resolved": run.resolved(),
        "key": run.key(NO_DATA, NO_ENCODERS),
        "key_parts": parts,
        "status": status,
        "error": error,
        "metrics": metrics,
        "reported": "acc_batch8",
        "best_epoch": 3,
        "selection": "test",
        "curve": [],
        "coverage": {"test": {"present": 12, "total": 12}},
        "efficiency": {"parameters": 10, "trainable": 4, "seconds_per_step": 0.1, "peak_memory_bytes": None},
        "provenance": {"resumed": 0},
    }
    return {**record, **changes}


def place(root: Path, run: Run, value: float = 80.0, **changes) -> Path:
    path = root / run.folder / "record.json"
    write_record(path, record_of(run, value, **changes))
    return path


def place_efficiency(root: Path) -> None:
    counted = {
        "dg-sct": (461282531, 201160647, 4740144, 98435280, 460_530_000_000),
        "lavish-star": (374888243, 114766359, 4740144, 98435280, 415_780_000_000),
    }
    for method, (total, trainable, unused, main, macs) in counted.items():
        path = root / "efficiency" / f"{method}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        value = {
            "method": method,
            "scale": "paper",
            "clip": "10 frames + 10 s",
            "parameters": {"total": total, "trainable": trainable, "without_gradient": unused, "components": {}},
            "trainable_parts": {"conv_linear": main, "attention": 86394288},
            "macs": {"module": macs, "release_order": macs + 10**9, "ours": macs - 10**9},
        }
        path.write_text(json.dumps(value), encoding="utf-8")


def small_experiment(**changes) -> Experiment:
    """One measured and one print-only column; rows that differ by one option, and a yardstick."""
    value = {
        "name": "table0",
        "kind": "table",
        "title": "A small table",
        "source": "Table 0",
        "columns": [
            {"id": "ave", "task": "ave", "label": "AVE", "group": "AVE", "metric": "reported"},
            {"id": "avqa", "task": "avqa", "label": "Avg", "group": "AVQA", "metric": "average"},
        ],
        "rows": [
            {"id": "full", "label": "DG-SCT", "method": "dg-sct", "published": {"ave": 82.2, "avqa": 74.8}},
            {
                "id": "nos",
                "label": "without S",
                "method": "dg-sct",
                "overrides": {"S": "off"},
                "published": {"ave": 81.0},
            },
            {
                "id": "cmbs",
                "label": "CMBS",
                "method": "cmbs",
                "published": {"ave": {"value": 79.3, "note": "a re-run"}},
            },
            {"id": "zero", "label": "All background", "method": "all-background", "group": "yardstick"},
        ],
    }
    return Experiment.model_validate({**value, **changes})


def table_of_all_states() -> Table:
    """A neutral table with each state, marks, texts, footnotes of every kind, and text that needs escaping."""

    def source(seed: int, state: str = "ok", value: float | None = 80.0) -> Source:
        return Source(f"runs/x/s{seed}/record.json", "0123456789abcdef" * 4, seed, state, value)

    cells = {
        "ok": Cell("ok", 81.26, 0.34, (source(0, value=81.5), source(1, value=81.02)), 82.2, "Table 0"),
        "partial": Cell("partial", 80.0, None, (source(0), source(1, "missing", None)), 79.0, "Table 0", notes=(1,)),
        "failed": Cell("failed", None, None, (source(0, "failed", None),), 78.6, "Table 0", (2,), (3,)),
        "stale": Cell("stale", None, None, (source(0, "stale", 80.0),), 78.6, "Table 0", (4,)),
        "corrupt": Cell("corrupt", None, None, (source(0, "corrupt", None),), 78.6, "Table 0", (5,)),
        "missing": Cell("missing", None, None, (source(0, "missing", None),), None, "", (6,)),
        "planned": Cell("planned", published="n/a", published_source="Table 0", notes=(7,)),
    }
    other = Cell("planned", published=74.8, published_source="Table 0")
    rows = [
        Row(
            name,
            f"{name} & 100 % of *A_B*",
            {"ave": cell, "avqa": other},
            {"Visual": "Swin"},
            {"S": i % 2 == 0},
            "baseline",
        )
        for i, (name, cell) in enumerate(cells.items())
    ]
    counted = Cell("ok", 461.282531, None, (), 461.3, "Table 6", exact=461282531)
    rows.append(Row("yard", "yardstick", {"ave": counted, "avqa": Cell("planned")}, {}, {}, "yardstick", True, (8,)))
    notes = [
        "print only",
        "1 of 2 seeds",
        "failed: CUDA error",
        "as printed",
        "stale: code changed",
        "corrupt: no JSON",
    ]
    return Table(
        name="states",
        title="Every state | α = 0.3",
        source="Table 0",
        scale="mini",
        protocol="release",
        stamp="mini scale; not a reproduction",
        columns=(Column("ave", "Accuracy (%)", "AVE", exact=True), Column("avqa", "Avg", "AVQA", False, notes=(0,))),
        rows=tuple(rows),
        footnotes=(
            *notes,
            "missing: fill with snakemake states --config seeds=2",
            "not run yet: no method",
            "no training",
        ),
        remarks=("ours: mean ± sample standard deviation",),
        text_columns=("Visual",),
        mark_columns=("S",),
    )

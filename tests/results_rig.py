"""Records without training, and a small table in which every state occurs."""

from pathlib import Path

from dgsct.atomic import write_json_atomic
from dgsct.data.features import SCHEMA_VERSION as FEATURES_SCHEMA
from dgsct.data.features import features_folder
from dgsct.engine.run_lock import RunLock
from dgsct.errors import DgsctError
from dgsct.publish.cells import Source
from dgsct.publish.render import Cell, Column, Row, Table
from dgsct.records.failures import failed_record, note_failure
from dgsct.records.provenance import processor
from dgsct.records.results import PLAN, SCHEMA_VERSION, efficiency_key, write_record
from dgsct.runs.experiments import Experiment
from dgsct.runs.inputs import arrays_of, encoder_path, features_of, inputs_of, packed_folder
from dgsct.runs.run import Run

SUM = "d" * 64
NOWHERE = Path("/nowhere")


def sums_of(run: Run, of: str = SUM) -> dict[str, str]:
    """Checksums of all that a run starts from, each of them `of`."""
    return {one.name: of for one in inputs_of(run, NOWHERE)}


def place_inputs(root: Path, run: Run) -> None:
    """What `run` starts from, in name only: a prepared set without a clip, and facts of features and encoders."""
    arrays = {name: {"sha256": name} for name in arrays_of(run)}
    write_json_atomic(
        root / packed_folder(run.scale, run.dataset) / "manifest.json", {"dataset": run.dataset, "arrays": arrays}
    )
    for name in features_of(run):
        of = {"scale": run.scale, "dataset": run.dataset, "extractor": name}
        facts = {"schema": FEATURES_SCHEMA, **of, "ids": [], "array": {"shape": [0]}}
        write_json_atomic(root / features_folder(run.scale, run.dataset, name) / "features.json", facts)
    for name in run.part.encoders:
        write_json_atomic((root / encoder_path(run.scale, name)).with_suffix(".json"), {"sha256": name})


def metrics_of(run: Run, value: float) -> dict[str, float]:
    """Metrics whose reported one is `value` under protocol release."""
    if run.task == "ave":
        return {"acc_batch8": value, "acc_exact": value - 0.1}
    fscores = {"fscore_batch4": value + 8, "fscore_clip": value + 9, "fscore_frame": value + 6}
    return {"miou_batch4": value, "miou": value - 0.1, **fscores}


def record_of(run: Run, value: float = 80.0, sums: dict[str, str] | None = None, **changes) -> dict:
    """A record whose inputs have these checksums; without them, some."""
    sums = sums or sums_of(run)
    record = {
        "schema": SCHEMA_VERSION,
        "run": run.to_dict(),
        "resolved": run.resolved(),
        "key": run.key(sums),
        "key_parts": {PLAN: run.plan_key(), **sums},
        "metrics": metrics_of(run, value),
        "reported": run.resolved()["reported"],
        "best_epoch": 3,
        "selection": "test",
        "curve": [],
        "coverage": {"test": {"present": 12, "total": 12}},
        "efficiency": {"parameters": 10, "trainable": 4, "seconds_per_update": 0.1, "peak_memory_bytes": None},
        "provenance": {"resumed": 0},
        "units": {"sha256": "u" * 64},
    }
    return {**record, **changes}


def place(root: Path, run: Run, value: float = 80.0, **changes) -> Path:
    path = root / run.folder / "record.json"
    write_record(path, record_of(run, value, **changes))
    return path


def place_stale(root: Path, run: Run, value: float = 80.0, **changes) -> Path:
    """A record of other code: what an edit leaves behind."""
    return place(root, run, value, key="0" * 64, key_parts={PLAN: "0" * 64, **sums_of(run)}, **changes)


def times(
    epochs: int, step: float, beside: float, train: int = 24, test: int = 12, gpu: str | None = None, cpu: str = "", **changes
) -> dict:
    """Fields of a record whose epochs took `step` seconds a batch of 8, and the rest of the run `beside` seconds."""
    seconds = step * -(-train // 8)
    hardware = {"cpu": cpu or processor(), "gpu": gpu, "threads": 1, "processes": 1}
    return {
        "curve": [{"epoch": i + 1, "seconds": seconds, "metrics": {"test": {}}} for i in range(epochs)],
        "coverage": {"train": {"present": train, "total": train}, "test": {"present": test, "total": test}},
        "provenance": {
            "hardware": {**hardware, **changes},
            "wall_seconds": epochs * seconds + beside,
            "finished": "2026-11-25T04:00:00+00:00",
            "resumed": 0,
        },
    }


def place_failure(root: Path, run: Run, error: str = "the loss is nan at step 3") -> Path:
    """A failure where nothing that it starts from lies in `root`, as `validity` then reckons."""
    path = root / run.folder / "failed.json"
    note_failure(path.parent, run.key(sums_of(run, "none")), DgsctError(error))
    return path


def place_given_up(root: Path, run: Run, error: str = "the loss is nan at step 3") -> Path:
    """The record of a run that failed twice in the same way."""
    path, sums = root / run.folder / "record.json", sums_of(run, "none")
    write_json_atomic(path, failed_record(run, run.key(sums), {PLAN: run.plan_key(), **sums}, DgsctError(error), 2))
    return path


def place_corrupt(root: Path, run: Run) -> Path:
    path = place(root, run)
    path.write_text(path.read_text(encoding="utf-8")[:200], encoding="utf-8")
    return path


def training_lock(root: Path, run: Run) -> RunLock:
    """The lock that a trainer of `run` holds; a context manager."""
    return RunLock(root / run.folder)


def place_efficiency(root: Path) -> None:
    counted = {
        "dg-sct": (461_282_531, 201_160_647, 86_394_288, 460_528_873_984, 544_216_508_544, 482_971_764_864),
        "lavish-star": (374_888_243, 114_766_359, 0, 415_780_000_000, 499_480_000_000, 440_000_000_000),
    }
    for method, (total, trainable, attention, module, release_order, ours) in counted.items():
        value = {
            "key": efficiency_key(method),
            "method": method,
            "scale": "paper",
            "clip": "10 frames + 10 s",
            "parameters": {"total": total, "trainable": trainable, "without_gradient": 4_740_144, "components": {}},
            "trainable_parts": {"conv_linear": 98_435_280, "attention": attention},
            "macs": {"module": module, "release_order": release_order, "ours": ours},
        }
        write_json_atomic(root / "efficiency" / f"{method}.json", value)


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
        key = None if state == "missing" else "0123456789abcdef" * 4
        return Source(f"runs/x/s{seed}/record.json", key, seed, state, value)

    cells = {
        "ok": Cell("ok", 81.26, 0.34, (source(0, value=81.5), source(1, value=81.02)), 82.2, "Table 0", seeds=2),
        "partial": Cell("partial", 80.0, None, (source(0), source(1, "missing", None)), 79.0, "Table 0", (1,), seeds=1),
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
            f"{name} | <b> & 100 % of *A_B*",
            {"ave": cell, "avqa": other},
            {"Visual": "Swin"},
            {"S": i % 2 == 0},
            "baseline",
            design="inferred" if name == "partial" else "published",
        )
        for i, (name, cell) in enumerate(cells.items())
    ]
    counts = (Source("efficiency/dg-sct.json", "fedcba9876543210" * 4, None, "ok", 461.282531),)
    counted = Cell("ok", 461.282531, None, counts, 461.3, "Table 6", exact=461282531, seeds=1)
    rows.append(Row("yard", "yardstick", {"ave": counted, "avqa": Cell("planned")}, {}, {}, "yardstick", True, (8,)))
    notes = [
        "print only",
        "mean of 1 of 2 seeds",
        "failed: CUDA error",
        "as printed",
        "stale: code changed",
        "corrupt: no JSON",
        "missing: fill with snakemake states --config seeds=2",
        "not run yet: no method",
        "no training",
    ]
    return Table(
        name="states",
        title="Every state | α = 0.3",
        source="Table 0",
        scale="paper",
        protocol="release",
        stamp="paper scale; every state",
        columns=(
            Column("ave", "Accuracy (%)", "AVE", exact=True),
            Column("avqa", "Avg", "AVQA", False, notes=(0,), design="inferred"),
        ),
        rows=tuple(rows),
        footnotes=tuple(notes),
        remarks=("this harness: mean ± sample standard deviation",),
        text_columns=("Visual",),
        mark_columns=("S",),
    )

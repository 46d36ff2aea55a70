"""Would the mini numbers notice that the mechanism is broken, or gone? DG-SCT with something wrong in it, three seeds.

    python -m pytest benchmarks/test_mechanism_benchmark.py -s

It needs the results of `make tables` (records, best weights and data below `results/`) and writes
`results/reference/mechanism.json`, which a test of the reference result reads.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from dgsct.atomic import write_json_atomic
from dgsct.checkpoints.evaluation import evaluate
from dgsct.engine.again import shared_world
from dgsct.engine.execute import execute
from dgsct.models.interaction import AdapterPair
from dgsct.ops.precision import lowered
from dgsct.records.results import read_record
from dgsct.runs.inputs import BEST
from dgsct.runs.run import Run

ROOT = Path(__file__).resolve().parent.parent / "results"
SEEDS = (0, 1, 2)
METRICS = {"ave": ("acc_batch8",), "avs-s4": ("miou_batch4", "fscore_batch4"), "avs-ms3": ("miou_batch4", "fscore_batch4")}
DIRECTIONS = {
    "no direction": {"A2V": False, "V2A": False},
    "sound guides vision": {"V2A": False},
    "vision guides sound": {"A2V": False},
}


def guided_by_itself(self: AdapterPair, v, a):
    """`AdapterPair.forward` with the two directions' guides exchanged: each stream guides itself."""
    return self.a2v(v, lowered(v)), self.v2a(a, lowered(a))


def run_of(task: str, seed: int, **options) -> Run:
    return Run.make(task, "dg-sct", overrides=options, seed=seed)


def chosen(task: str, metrics: dict[str, float]) -> dict[str, float]:
    return {name: metrics[name] for name in METRICS[task]}


def trained(task: str, folder: Path, **options) -> list[dict[str, float]]:
    """The metrics of runs that are trained here, in a results folder that shares data and encoders."""
    runs = [run_of(task, seed, **options) for seed in SEEDS]
    return [chosen(task, read_record(execute(run, shared_world(run, ROOT, folder)))["metrics"]) for run in runs]


def evaluated(task: str, **options) -> list[dict[str, float]]:
    """The metrics of the best weights of the runs as they are, evaluated as runs with these options."""
    pairs = [(run_of(task, seed, **options), ROOT / run_of(task, seed).folder / BEST) for seed in SEEDS]
    return [chosen(task, evaluate(run, weights, ROOT).metrics) for run, weights in pairs]


def test_broken_on_purpose(tmp_path, monkeypatch):
    if not all((ROOT / run_of(task, 0).folder / BEST).exists() for task in METRICS):
        pytest.skip("there are no best weights below results/: run `make tables` first")
    numbers: dict[str, dict[str, list[dict[str, float]]]] = {}

    def note(task: str, name: str, values: list[dict[str, float]]) -> None:
        numbers.setdefault(task, {})[name] = values
        print(f"{task:8} {name:32}", {metric: [round(v[metric], 1) for v in values] for metric in METRICS[task]}, flush=True)

    for task in METRICS:
        note(task, "as it is", evaluated(task))
        (metric, *_), records = METRICS[task], [read_record(ROOT / run_of(task, s).folder / "record.json") for s in SEEDS]
        assert [v[metric] for v in numbers[task]["as it is"]] == [record["metrics"][metric] for record in records]
        for name, options in DIRECTIONS.items():
            note(task, name, trained(task, tmp_path / "directions", **options))
    s4 = "avs-s4"  # whose numbers differ least from seed to seed
    ways: dict[str, Callable[[], list[dict[str, float]]]] = {
        "evaluated with exchanged guides": lambda: evaluated(s4),
        "trained with exchanged guides": lambda: trained(s4, tmp_path / "exchanged"),
    }
    note(s4, "evaluated with alpha = -0.3", evaluated(s4, alpha=-0.3))
    note(s4, "trained with alpha = -0.3", trained(s4, tmp_path / "alpha", alpha=-0.3))
    monkeypatch.setattr(AdapterPair, "forward", guided_by_itself)
    for name, way in ways.items():
        note(s4, name, way())
    monkeypatch.undo()
    write_json_atomic(ROOT / "reference/mechanism.json", {"method": "dg-sct", "seeds": SEEDS, "tasks": numbers})

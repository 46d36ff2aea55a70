"""Would the mini numbers notice that the mechanism is broken? DG-SCT on MS3, three seeds, with something wrong in it.

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
METRICS = ("miou_batch4", "fscore_batch4")


def guided_by_itself(self: AdapterPair, v, a):
    """`AdapterPair.forward` with the two directions' guides exchanged: each stream guides itself."""
    return self.a2v(v, lowered(v)), self.v2a(a, lowered(a))


def run_of(seed: int, **options) -> Run:
    return Run.make("avs-ms3", "dg-sct", overrides=options, seed=seed)


def trained(run: Run, folder: Path) -> dict[str, float]:
    """The metrics of a run that is trained here, in a results folder that shares data and encoders."""
    world = shared_world(run, ROOT, folder)
    metrics = read_record(execute(run, world))["metrics"]
    return {name: metrics[name] for name in METRICS}


def evaluated(seed: int, **options) -> dict[str, float]:
    """The metrics of the best weights of the run as it is, evaluated as a run with these options."""
    weights = ROOT / run_of(seed).folder / BEST
    metrics = evaluate(run_of(seed, **options), weights, ROOT).metrics
    return {name: metrics[name] for name in METRICS}


def test_broken_on_purpose(tmp_path, monkeypatch):
    if not (ROOT / run_of(0).folder / BEST).exists():
        pytest.skip("there are no best weights below results/: run `make tables` first")
    ways: dict[str, Callable[[int], dict[str, float]]] = {
        "as it is": evaluated,
        "evaluated with alpha = -0.3": lambda seed: evaluated(seed, alpha=-0.3),
        "trained with alpha = -0.3": lambda seed: trained(run_of(seed, alpha=-0.3), tmp_path / f"alpha/{seed}"),
    }
    broken = {
        "evaluated with exchanged guides": evaluated,
        "trained with exchanged guides": lambda seed: trained(run_of(seed), tmp_path / f"exchanged/{seed}"),
    }
    numbers = {name: [way(seed) for seed in SEEDS] for name, way in ways.items()}
    monkeypatch.setattr(AdapterPair, "forward", guided_by_itself)
    numbers |= {name: [way(seed) for seed in SEEDS] for name, way in broken.items()}
    monkeypatch.undo()
    for name, values in numbers.items():
        print(f"{name:34}", {metric: [round(v[metric], 1) for v in values] for metric in METRICS})
    assert [v["miou_batch4"] for v in numbers["as it is"]] == [
        read_record(ROOT / run_of(seed).folder / "record.json")["metrics"]["miou_batch4"] for seed in SEEDS
    ]
    write_json_atomic(ROOT / "reference/mechanism.json", {"task": "avs-ms3", "method": "dg-sct", "seeds": SEEDS, **numbers})

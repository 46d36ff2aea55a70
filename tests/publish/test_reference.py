"""What the committed reference result of scale mini can tell: that listening matters, when it does, and by how much.

Made by `make tables` and `python -m pytest benchmarks/test_mechanism_benchmark.py` (results/README.md).
"""

import json
from statistics import fmean, stdev

import pytest

from dgsct.methods import METHODS
from dgsct.runs.experiments import expand, load_experiments
from dgsct.runs.run import Run
from dgsct.runs.schema import Settings

SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def reference(repository):
    return repository / "results/reference"


@pytest.fixture(scope="module")
def metric(reference):
    """Values over seeds of a reported metric, from the reference's records."""

    def read(task: str, method: str, seeds=SEEDS, name: str | None = None, **options) -> list[float]:
        runs = [Run.make(task, method, overrides=options, seed=seed) for seed in seeds]
        records = [json.loads((reference / run.folder / "record.json").read_text()) for run in runs]
        return [record["metrics"][name or record["reported"]] for record in records]

    return read


@pytest.fixture(scope="module")
def mechanism(reference):
    """What became of DG-SCT with something wrong in it: values over seeds, by what it is."""
    tasks = json.loads((reference / "mechanism.json").read_text())["tasks"]

    def read(task: str, metric: str | None = None) -> dict[str, list[float]]:
        name = metric or {"ave": "acc_batch8"}.get(task, "miou_batch4")
        return {way: [seed[name] for seed in seeds] for way, seeds in tasks[task].items()}

    return read


def pooled(first: list[float], second: list[float]) -> float:
    return ((stdev(first) ** 2 + stdev(second) ** 2) / 2) ** 0.5


def test_on_ave_it_is_above_what_adds_and_what_fuses_late(metric):
    ours = fmean(metric("ave", "dg-sct"))
    assert ours > fmean(metric("ave", "linear-probe"))
    assert ours > fmean(metric("ave", "late-fusion"))
    blind = [metric("ave", name, seeds=(0,))[0] for name in ("all-background", "majority-class")]
    assert ours >= max(blind) + 20


@pytest.mark.parametrize("task", ["avs-s4", "avs-ms3"])
def test_in_segmentation_adapters_matter(task, metric):
    """Late fusion knows what a whole clip sounds like; which second it was, only an adapter tells."""
    ours, without = metric(task, "dg-sct"), metric(task, "late-fusion")
    assert fmean(ours) > fmean(without) + 2 * pooled(ours, without)


@pytest.mark.parametrize("task", ["ave", "avs-s4", "avs-ms3"])
def test_it_is_above_its_own_form_without_guidance(task, mechanism):
    ways = mechanism(task)
    assert fmean(ways["as it is"]) > fmean(ways["no direction"]) + 2 * pooled(ways["as it is"], ways["no direction"])
    assert fmean(ways["sound guides vision"]) > fmean(ways["no direction"])


def test_on_ave_either_direction_alone_is_above_none(mechanism):
    ways = mechanism("ave")
    assert min(fmean(ways["sound guides vision"]), fmean(ways["vision guides sound"])) > fmean(ways["no direction"])


@pytest.mark.parametrize("broken", ["guides", "alpha"])
def test_what_breaks_the_mechanism_moves_a_number(mechanism, broken):
    for metric in ("miou_batch4", "fscore_batch4"):
        ways = mechanism("avs-s4", metric)
        values = [values for name, values in ways.items() if broken in name]
        whole = ways["as it is"]
        assert values
        if any(abs(fmean(some) - fmean(whole)) > 2 * stdev(whole) for some in values):
            return
    pytest.fail("no cell moves by more than two standard deviations")


@pytest.mark.parametrize("table", ["table3", "table5", "table8"])
def test_no_trained_row_is_below_a_prediction_that_looks_at_nothing(table, metric):
    for cell in expand(load_experiments()[table], Settings()):
        for run in cell.runs:
            yardsticks = [one for one in METHODS.values() if run.task in one.tasks and one.on(run.task).kind == "yardstick"]
            blind = [one.name for one in yardsticks if not one.sees_test_labels]
            best = max(metric(run.task, name, (0,), cell.metric)[0] for name in blind)
            if run.kind == "trained":
                value = metric(run.task, run.method, (run.seed,), cell.metric, **dict(run.overrides))[0]
                assert value >= best, (cell.row, cell.column, run.seed)

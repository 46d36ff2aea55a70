"""Whose weights stay whatever a site says."""

import pytest

from dgsct.methods import METHODS
from dgsct.methods.base import Method, Parent, Part
from dgsct.runs.experiments import Settings, load_experiments
from dgsct.runs.retention import keep_of, runs_with_needed_weights
from dgsct.runs.run import Run

SETTINGS = Settings(seeds=2)


def of_masks() -> set[Run]:
    return {Run.make(task, method) for task in ("avs-s4", "avs-ms3") for method in ("dg-sct", "late-fusion")}


def test_those_that_a_figure_of_masks_is_made_from():
    needed = runs_with_needed_weights(load_experiments().values(), SETTINGS)
    assert of_masks() <= needed
    assert keep_of(Run.make("avs-s4", "dg-sct"), "record", needed) == "weights"
    assert keep_of(Run.make("avs-s4", "dg-sct", seed=1), "record", needed) == "record"
    assert keep_of(Run.make("avs-s4", "dg-sct", seed=1), "weights", needed) == "weights"


def test_those_that_runs_of_the_matrix_start_from():
    """Table 3's row on MS3 from weights of S4, whatever part of the matrix a call is for."""
    parent = Run.make("avs-s4", "avs-pvt")
    for settings in (SETTINGS, Settings(tasks=("avs-ms3",)), Settings(tasks=("avs-s4",)), Settings(methods=("dg-sct",))):
        needed = runs_with_needed_weights(load_experiments().values(), settings)
        assert parent in needed
        assert Run.make("avs-s4", "avs-r50") not in needed
        assert keep_of(parent, "record", needed) == "weights"


@pytest.fixture
def chain(monkeypatch):
    """A method whose runs on MS3 start from those on S4, which start from those on AVE."""
    parts = {
        "avs-ms3": Part("none", parents=lambda _: (Parent("s4", "avs-s4", "chain"),)),
        "avs-s4": Part("none", parents=lambda _: (Parent("ave", "ave", "chain"),)),
        "ave": Part("none"),
    }
    monkeypatch.setitem(METHODS, "chain", Method("chain", "", parts))


def test_those_that_other_runs_start_from_at_any_depth(chain):
    (experiment,) = [one for one in load_experiments().values() if one.name == "table3"]
    column = next(column for column in experiment.columns if column.task == "avs-ms3")
    row = experiment.rows[0].model_copy(update={"method": "chain", "overrides": {}})
    one = experiment.model_copy(update={"columns": [column], "rows": [row]})
    needed = runs_with_needed_weights([one], SETTINGS)
    assert needed == {Run.make(task, "chain", seed=seed) for task in ("ave", "avs-s4") for seed in (0, 1)}

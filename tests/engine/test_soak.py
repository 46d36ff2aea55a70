"""One short pass of `dgsct soak` (the command goes on for minutes), and that it would see a difference."""

import json
import random
import shutil

import pytest

from dgsct.engine.soak import Soak, soak
from dgsct.errors import DgsctError
from dgsct.runs.run import Run

RUNS = [Run.make("ave", "late-fusion", seed=1), Run.make("ave", "majority-class")]


@pytest.fixture(autouse=True)
def _this_world(mini_world, monkeypatch):
    """The world that `soak` makes for itself, made before."""
    monkeypatch.setattr("dgsct.engine.soak.make_world", lambda _: mini_world)


def test_killed_by_chance_the_records_are_the_same():
    told = soak(0, seed=3, runs=RUNS, hits=5)
    assert told.rounds == 1
    assert 3 <= sum(told.signals.values()) <= 5  # one may find nobody
    assert told.starts > 2  # the reference, and more than one for the round


def test_another_record_is_seen(tmp_path):
    this = Soak(tmp_path, RUNS[1:], random.Random(0), print)
    roots = [this.clone(name) for name in ("one", "other")]
    this.round(roots[0], hits=0)
    this.end()
    shutil.copytree(roots[0] / "runs", roots[1] / "runs")
    this.compare(*roots)
    path = roots[0] / RUNS[1].folder / "record.json"
    record = json.loads(path.read_text())
    record["metrics"]["acc_exact"] += 1e-9
    path.write_text(json.dumps(record))
    with pytest.raises(DgsctError, match="differs from the undisturbed"):
        this.compare(*roots)

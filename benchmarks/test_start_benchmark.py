"""What starting a run costs beyond its own work: a yardstick (a few milliseconds of work) alone and in a bundle."""

import subprocess
import sys

import pytest

from dgsct.data.prepare import prepare_set
from dgsct.runs.run import Run
from dgsct.settings.scales import MINI
from dgsct.tasks import get_set
from dgsct.tasks.generate import write_mini


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    write_mini("ave", root / "raw", splits={"train": 6, "val": 1, "test": 1}, progress=False)
    prepare_set(get_set("ave"), root / "raw", root / "data/mini/ave/packed", MINI, progress=False)
    return root


def _folders(world):
    runs = [Run.make("ave", "majority-class", protocol=p) for p in ("release", "paper", "clean")]
    for run in runs:
        (world / run.folder / "record.json").unlink(missing_ok=True)
    return [str(world / run.folder) for run in runs]


def test_a_fresh_process(benchmark, world):
    def start():
        subprocess.run([sys.executable, "-m", "dgsct.engine.execute", folder], check=True, capture_output=True)

    folder = _folders(world)[0]
    benchmark.pedantic(start, setup=lambda: _folders(world) and None, rounds=3)


def test_three_runs_in_a_bundle(benchmark, world):
    def start():
        subprocess.run([sys.executable, "-m", "dgsct.cli", "bundle", *folders], check=True, capture_output=True)

    folders = _folders(world)
    benchmark.pedantic(start, setup=lambda: _folders(world) and None, rounds=3)


def test_through_the_run_server(benchmark, world):
    """As the DAG starts runs; the server is up after the warm-up round."""

    def start():
        subprocess.run([sys.executable, "-m", "dgsct.engine.worker", "train", folder], check=True, capture_output=True)

    folder = _folders(world)[0]
    benchmark.pedantic(start, setup=lambda: _folders(world) and None, rounds=5, warmup_rounds=1)

"""What stays of a finished run, whatever ends it on the way; and a run in the processes that its site asks for."""

import json
import subprocess
from pathlib import Path

import pytest
from avs_rig import write_world
from call_rig import call
from toy_rig import clone, worker

from dgsct.checkpoints.save_masks import save_masks
from dgsct.engine import execute as engine
from dgsct.engine.execute import execute
from dgsct.engine.execution import Execution
from dgsct.errors import DgsctError
from dgsct.records.results import validity
from dgsct.runs.run import Run

LESS = Execution(keep="record")


@pytest.fixture
def run(pixels) -> Run:
    return Run.make("avs-s4", "pixels")


@pytest.fixture
def root(tmp_path) -> Path:
    return write_world(tmp_path)


def left(root: Path, run: Run) -> set[str]:
    return {path.name for path in (root / run.folder / "checkpoints").iterdir()}


@pytest.fixture
def trained_once(monkeypatch):
    """Whoever trains a second time fails."""
    monkeypatch.setattr(engine, "Training", lambda *_: pytest.fail("it is trained again"))


def test_by_default_the_best_weights_stay(root, run):
    execute(run, root)
    assert "best.safetensors" in left(root, run)


def test_of_a_record_alone_no_weights_stay_and_it_is_done(root, run, request):
    path = execute(run, root, LESS)
    before = path.read_bytes()
    assert left(root, run) == {"finished.json", "units.npz"}
    assert (path.parent / "units.npz").exists()  # what the metrics are computed from
    assert validity(run, root).name == "ok"
    request.getfixturevalue("trained_once")
    assert execute(run, root, LESS) == execute(run, root) == path
    assert path.read_bytes() == before


def test_killed_before_the_weights_are_dropped_the_next_start_drops_them(root, run, request):
    path = execute(run, root)  # as a run that is killed behind its record
    before = path.read_bytes()
    request.getfixturevalue("trained_once")
    execute(run, root, LESS)
    assert "best.safetensors" not in left(root, run)
    assert path.read_bytes() == before


def test_killed_while_they_are_dropped_a_record_that_the_dag_deletes_costs_no_training(root, run, request):
    """Snakemake deletes the output of a job that it does not know to have ended."""
    path = execute(run, root, LESS)
    record = json.loads(path.read_text())
    (path.parent / "checkpoints" / "best.safetensors").write_bytes(b"half")
    path.unlink()
    request.getfixturevalue("trained_once")
    assert json.loads(execute(run, root, LESS).read_text()) == record
    assert "best.safetensors" not in left(root, run)


def test_masks_without_weights_are_one_sentence_that_says_what_to_do(root, run):
    execute(run, root, LESS)
    told = f"best.safetensors does not exist; delete the folder {root / run.folder}, and train the run again for its masks"
    with pytest.raises(DgsctError) as error:
        save_masks(run, root)
    assert str(error.value).endswith(told)


def test_a_run_that_is_stopped_keeps_what_it_goes_on_from(mini_world, tmp_path, toys):
    root, run = clone(mini_world, tmp_path / "results"), Run.make("ave", "pixels")
    less = worker(root, run, "--keep", "record")
    assert subprocess.run([*less, "--time-budget", "2"], capture_output=True).returncode == 75  # two minutes are the margin
    assert list((root / run.folder / "checkpoints").glob("step-*"))
    done = subprocess.run(less, capture_output=True, text=True)
    assert "resumed at epoch" in done.stdout
    assert left(root, run) == {"finished.json", "units.npz"}


def test_a_wrong_word_for_what_stays_is_one_sentence(tmp_path):
    done = call(tmp_path, "run", "ave", "late-fusion", "--keep", "all")
    assert done.code == 2
    assert done.err == "dgsct: --keep 'all' must be one of: weights, record\n"

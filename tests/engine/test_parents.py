"""A run that starts from the best weights of another: what its result depends on, and what it does where they are not there."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from family_rig import CHILD, PARENT, copy_runs, share
from toy_rig import known

from dgsct.data.units import Units
from dgsct.engine.checkpoint import best_weights, check_best, save_best
from dgsct.engine.execute import execute
from dgsct.engine.training import Training, start_model
from dgsct.errors import DgsctError, GivenUp
from dgsct.records.failures import clear, failed_record
from dgsct.records.results import read_record, validity
from dgsct.runs.inputs import BEST, checksums
from dgsct.runs.run import Run

RECORD, NOTE = "record.json", Path("checkpoints/finished.json")


@pytest.fixture(autouse=True)
def _known(pixels) -> None:
    """The toy method is known."""


@pytest.fixture(scope="module")
def trained(family, tmp_path_factory) -> Path:
    """Parent and child, trained."""
    root = share(family, tmp_path_factory.mktemp("family") / "results")
    with known():
        for run in (PARENT, CHILD):
            execute(run, root)
    return root


@pytest.fixture
def root(trained, tmp_path) -> Path:
    """A copy of both runs."""
    return copy_runs(trained, tmp_path / "results")


def forget(folder: Path, *names: str | Path) -> None:
    for name in names:
        (folder / name).unlink()


def replace_weights(root: Path) -> None:
    """Other best weights of the parent, as if it had been trained elsewhere."""
    folder, key = root / PARENT.folder, read_record(root / PARENT.folder / RECORD)["key"]
    weights = {name: t + 0.01 if t.is_floating_point() else t for name, t in best_weights(folder / BEST).items()}
    save_best(folder / "checkpoints", weights, key, 1, Units({}, ()))


def never(*_, **__):
    raise AssertionError("nothing is to be trained")


def test_it_starts_from_the_best_weights_of_its_parent(trained):
    first, given = start_model(CHILD, trained).state_dict(), best_weights(trained / PARENT.folder / BEST)
    assert first.keys() == given.keys()
    assert all(torch.equal(t, given[name]) for name, t in first.items())
    alone = start_model(Run("avs-ms3", "pixels"), trained).state_dict()
    assert not all(torch.equal(t, alone[name]) for name, t in first.items())


def test_its_record_holds_the_checksum_of_the_parents_tensors_alone(trained):
    record = read_record(trained / CHILD.folder / RECORD)
    assert record["key_parts"].keys() == {"plan", "data/avs-ms3", "features/avs-ms3/vggish", "runs/s4"}
    assert record["key"] == CHILD.key(checksums(CHILD, trained))
    again = trained.parent / "again"
    same = best_weights(trained / PARENT.folder / BEST)
    save_best(again / "checkpoints", same, "another key", 7, Units({}, ()))
    header = json.loads((again / BEST).read_bytes()[8:].split(b"}}", 1)[0] + b"}}")
    assert header["__metadata__"]["epoch"] == "7"
    assert record["key_parts"]["runs/s4"] == header["__metadata__"]["tensors_sha256"]


def test_a_parent_trained_again_to_equal_weights_leaves_it_valid(root):
    parent, child = root / PARENT.folder, root / CHILD.folder
    before, weights = (child / RECORD).read_bytes(), check_best(parent / BEST)
    forget(parent, RECORD, NOTE, BEST)
    execute(PARENT, root)
    assert check_best(parent / BEST) == weights
    assert validity(CHILD, root).name == "ok"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "__init__", never)
        execute(CHILD, root)
        assert (child / RECORD).read_bytes() == before
        forget(child, RECORD)  # as Snakemake does before a job whose inputs are newer
        execute(CHILD, root)
    assert (child / RECORD).read_bytes() == before
    assert validity(CHILD, root).name == "ok"


def test_a_parent_with_other_weights_makes_it_stale_and_is_named(root):
    before = read_record(root / CHILD.folder / RECORD)
    replace_weights(root)
    assert validity(PARENT, root).name == "ok"
    state = validity(CHILD, root)
    assert (state.name, state.reason) == ("stale", "the weights of its parent (s4) changed since this run")
    after = read_record(execute(CHILD, root))
    assert after["key"] != before["key"]
    assert after["curve"][0]["loss"] != before["curve"][0]["loss"]
    assert validity(CHILD, root).name == "ok"


def test_where_its_parent_is_cleaned_away_the_record_still_counts(root):
    shutil.rmtree(root / PARENT.folder)
    assert validity(CHILD, root).name == "ok"


@pytest.mark.parametrize("gone", [(RECORD,), (RECORD, BEST)])
def test_without_a_finished_parent_it_ends_in_a_sentence(root, gone):
    """A record is what says that a training is over: best weights lie there long before."""
    shutil.rmtree(root / CHILD.folder)
    forget(root / PARENT.folder, *gone)
    with pytest.raises(DgsctError) as told:
        execute(CHILD, root)
    folder = root / PARENT.folder
    assert str(told.value) == f"the best weights of {folder} are missing; make them with `snakemake {folder}/record.json`"
    assert not (root / CHILD.folder).exists()


@pytest.mark.parametrize("harm", ["no weights", "another training's", "cut", "empty"])
def test_weights_that_are_not_those_of_the_record_are_none(root, harm):
    shutil.rmtree(root / CHILD.folder)
    folder, best = root / PARENT.folder, root / PARENT.folder / BEST
    if harm == "no weights":
        best.unlink()
    elif harm == "another training's":  # one that has begun anew beside an old record
        save_best(best.parent, best_weights(best), "0" * 64, 1, Units({}, ()))
    else:
        best.write_bytes(best.read_bytes()[: 20 if harm == "cut" else 0])
    with pytest.raises(DgsctError, match="are gone, or not those of its record; delete that folder and make it again") as told:
        execute(CHILD, root)
    assert str(told.value).endswith(f"`snakemake {folder}/record.json`")


def test_a_flipped_bit_in_its_parents_weights_is_one_sentence(root):
    shutil.rmtree(root / CHILD.folder)
    best = root / PARENT.folder / BEST
    content = bytearray(best.read_bytes())
    content[-1] ^= 1
    best.write_bytes(bytes(content))
    with pytest.raises(DgsctError, match="is damaged; delete that folder and the record beside it, and train the run again"):
        execute(CHILD, root)


def test_it_is_given_up_with_its_parent_and_comes_back_with_it(root, capsys):
    """So that the DAG typesets what is there; mending the parent is enough."""
    good = (root / PARENT.folder / RECORD).read_bytes()
    shutil.rmtree(root / CHILD.folder)
    record = failed_record(PARENT, "0" * 64, {"plan": "0" * 64}, DgsctError("the loss is nan"), 2)
    (root / PARENT.folder / RECORD).write_text(json.dumps(record))
    with pytest.raises(
        DgsctError, match=r"from whose best weights it starts, is given up; mend what it says, then `dgsct retry"
    ):
        execute(CHILD, root)
    for _ in range(2):
        with pytest.raises(GivenUp):
            execute(CHILD, root)
    state = validity(CHILD, root)
    assert (state.name, state.given_up) == ("failed", True)
    assert "from whose best weights it starts, is given up" in state.reason
    clear([root / PARENT.folder], root)
    (root / PARENT.folder / RECORD).write_bytes(good)
    assert validity(CHILD, root).name == "missing"
    execute(CHILD, root)
    assert validity(CHILD, root).name == "ok"

"""The DAG where one run starts from the weights of another: order, what is trained again, and what is not."""

import re
from pathlib import Path

import pytest
from family_rig import CHILD, PARENT, share
from toy_rig import known_everywhere
from workflow_rig import snakemake

from dgsct.runs.inputs import BEST

TARGET = f"results/{CHILD.folder}/record.json"
CALL = (TARGET, "--cores", "1", "--config", "seeds=1")


@pytest.fixture(autouse=True)
def _known(toys) -> None:
    """The toy method is known, in the jobs of the DAG too."""


@pytest.fixture(scope="module")
def world(family, tmp_path_factory, once):
    """A folder in which the child has been asked for, and what was said."""
    folder = tmp_path_factory.mktemp("family_dag")
    share(family, folder / "results")
    with known_everywhere(once):
        said = snakemake(folder, *CALL, timeout=1800)
    assert said.code == 0, said.text
    return folder, said


def order(text: str) -> list[str]:
    """The settings that jobs were started for."""
    return [task for task, _ in re.findall(r"run (avs-\w+) pixels (\S+) seed 0", text)]


def log(folder: Path, run) -> str:
    return (folder / "results" / run.folder / "job.log").read_text()


def test_a_dry_run_plans_the_parent_before_its_child(tmp_path):
    said = snakemake(tmp_path, TARGET, "-n")
    assert said.code == 0, said.text
    assert said.jobs == {"mini_world": 2, "prepare": 2, "pretrain": 1, "features": 2, "train": 2}
    drawn = snakemake(tmp_path, TARGET, "--dag").text
    jobs = {name: number for number, name in re.findall(r'(\d+)\[label = "train.*task: (avs-\w+)"', drawn)}
    assert f"{jobs['avs-s4']} -> {jobs['avs-ms3']}" in drawn


def test_both_are_trained_in_that_order(world):
    _, said = world
    assert said.jobs == {"train": 2}
    assert order(said.text) == ["avs-s4", "avs-ms3"]


def test_asked_again_nothing_is_done(world):
    assert "Nothing to be done" in snakemake(world[0], *CALL).text


def test_a_parent_that_is_made_again_to_equal_weights_trains_no_child(world):
    folder, _ = world
    parent, child = (folder / "results" / run.folder for run in (PARENT, CHILD))
    record, note, best = ((child / name).read_bytes() for name in ("record.json", "checkpoints/finished.json", BEST))
    stamps = {path: path.stat().st_mtime_ns for path in (child / "checkpoints").iterdir()}
    (parent / "record.json").unlink()
    (parent / "checkpoints/finished.json").unlink()
    assert "Nothing to be done" in snakemake(folder, *CALL).text  # nobody asks for the parent
    said = snakemake(folder, f"results/{PARENT.folder}/record.json", *CALL, timeout=1800)
    assert said.code == 0, said.text
    # The child's job is started, as its input is newer, and finds how its training has ended.
    assert order(said.text) == ["avs-s4", "avs-ms3"]
    epochs = PARENT.recipe.epochs
    assert f"epoch {epochs}/{epochs}" in log(folder, PARENT)
    assert "epoch" not in log(folder, CHILD)
    assert (child / "record.json").read_bytes() == record
    assert (child / "checkpoints/finished.json").read_bytes() == note
    assert (child / BEST).read_bytes() == best
    assert {path: path.stat().st_mtime_ns for path in (child / "checkpoints").iterdir()} == stamps
    assert "Nothing to be done" in snakemake(folder, *CALL).text

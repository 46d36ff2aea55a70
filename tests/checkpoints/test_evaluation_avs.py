"""`dgsct evaluate` and the masks of a segmentation run: the record's numbers, every clip, masks that give them again."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from avs_rig import COUNTS, SIDE, T, write_packed
from call_rig import call

from dgsct.checkpoints.convert import run_of
from dgsct.checkpoints.evaluation import Evaluation, evaluate, print_evaluation, write_evaluation
from dgsct.checkpoints.save_masks import save_masks
from dgsct.engine.execute import execute
from dgsct.engine.training import open_view
from dgsct.errors import DgsctError
from dgsct.records.masks import PredictedMasks, choose_clips, masks_path, read_masks, write_masks
from dgsct.records.results import read_record
from dgsct.runs.run import Run
from dgsct.tasks import get_task

RUN = Run.make("avs-ms3", "late-fusion")
TASK = get_task("avs-ms3")


@pytest.fixture(scope="module")
def trained(mini_world, tmp_path_factory) -> Path:
    """A results folder with a real run of two epochs on a tiny set."""
    root = tmp_path_factory.mktemp("evaluated") / "results"
    write_packed(root / "data" / "mini" / "avs-ms3" / "packed", "avs-ms3")
    (root / "encoders").symlink_to(mini_world / "encoders")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TASK.recipes, "mini", replace(TASK.recipes["mini"], epochs=2))
        execute(RUN, root)
    return root


@pytest.fixture(scope="module")
def checkpoint(trained) -> Path:
    return trained / RUN.folder / "checkpoints" / "best.safetensors"


@pytest.fixture(scope="module")
def evaluated(trained, checkpoint) -> Evaluation:
    return evaluate(RUN, checkpoint, trained)


def test_best_weights_give_the_record_s_metrics(trained, checkpoint, evaluated):
    assert run_of(checkpoint) == (RUN, trained)
    assert evaluated.metrics == read_record(trained / RUN.folder / "record.json")["metrics"]


def test_every_clip_is_told(evaluated, tmp_path):
    clips = evaluated.details.clips
    assert len(clips) == COUNTS["test"]
    assert np.mean([c.miou for c in clips]) == pytest.approx(evaluated.metrics["miou"])
    assert np.mean([c.fscore for c in clips]) == pytest.approx(evaluated.metrics["fscore_clip"])
    assert [c.frames_with_object for c in clips] == [T] * 7 + [T - 1]
    paths = write_evaluation(evaluated, tmp_path)
    assert [p.name for p in paths] == ["evaluation.json", "per_clip.csv"]
    rows = list(csv.DictReader(paths[1].open(encoding="utf-8")))
    assert [(row["clip"], float(row["miou"])) for row in rows] == [(c.name, c.miou) for c in clips]
    said = json.loads(paths[0].read_text(encoding="utf-8"))
    assert said["metrics"] == evaluated.metrics
    assert said["clips"][0]["category"] == "dog_barking"


def test_print_has_a_line_a_category(evaluated, capsys):
    print_evaluation(evaluated)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["clips", "all", "dog_barking"]
    assert any(line.startswith("fscore_batch4 ") for line in lines)


def test_masks_give_the_record_s_miou(trained):
    path = save_masks(RUN, trained)
    assert path == trained / "masks/mini/release/avs-ms3/late-fusion/default/s0.npz"
    found, record = read_masks(path), read_record(trained / RUN.folder / "record.json")
    assert found.key == record["key"]
    assert found.masks.shape == (COUNTS["test"], T, SIDE, SIDE)
    view = open_view(RUN, trained)
    rows = view.splits["test"]
    assert list(found.names) == view.names(rows)
    units = view.units(view.keep({"masks": found.masks.astype(np.float32)}, rows), rows, 8)
    assert TASK.measure_all(units)["miou"] == pytest.approx(record["metrics"]["miou"])
    assert np.array_equal(found.of(found.names[3]), found.masks[3])


def test_masks_without_weights(trained, tmp_path):
    for name in ("data", "encoders"):
        (tmp_path / name).symlink_to(trained / name)
    with pytest.raises(DgsctError, match=r"record\.json does not exist"):
        save_masks(RUN, tmp_path)
    (tmp_path / RUN.folder).mkdir(parents=True)
    (tmp_path / RUN.folder / "record.json").write_bytes((trained / RUN.folder / "record.json").read_bytes())
    with pytest.raises(DgsctError, match=r"best\.safetensors does not exist; delete the folder .*, and train the run again"):
        save_masks(RUN, tmp_path)


def masks(iou: list[float], objects: list[int]) -> PredictedMasks:
    names = tuple("abcdefgh"[: len(iou)])
    drawn = np.random.default_rng(0).random((len(iou), 2, 5, 7)) > 0.5
    return PredictedMasks("k", names, np.array(iou), np.array(objects), drawn)


def test_a_file_of_masks_holds_what_was_written(tmp_path):
    before = masks([10.0, 20.0], [1, 0])
    after = read_masks(write_masks(tmp_path, RUN, before))
    assert (after.key, after.names) == (before.key, before.names)
    assert np.array_equal(after.masks, before.masks)
    assert after.iou.tolist() == [10.0, 20.0]


def test_damaged_masks_are_one_sentence(tmp_path):
    with pytest.raises(DgsctError, match="does not exist; run `snakemake"):
        read_masks(tmp_path / masks_path(RUN))
    path = write_masks(tmp_path, RUN, masks([1.0], [1]))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DgsctError, match="is damaged"):
        read_masks(path)


def test_best_median_and_worst_by_rule():
    """Clip b never has an object: its 100 % mean silence. Of four clips the lower one in the middle is the median."""
    found = choose_clips(masks([40.0, 100.0, 90.0, 10.0, 60.0], [5, 0, 5, 1, 3]))
    assert found == {"best": "c", "median": "a", "worst": "d"}
    assert choose_clips(masks([50.0, 50.0, 50.0], [1, 1, 1])) == {"best": "a", "median": "b", "worst": "c"}
    assert set(choose_clips(masks([50.0], [1])).values()) == {"a"}
    with pytest.raises(DgsctError, match="nothing to show"):
        choose_clips(masks([100.0], [0]))


@pytest.mark.parametrize("arguments", [("runs/mini/release/ave/dg-sct/default/s0",), ("somewhere",)])
def test_the_command_refuses_what_is_no_segmentation_run(tmp_path, arguments):
    done = call(tmp_path, "masks", *arguments)
    assert done.code == 2
    assert len(done.err.strip().splitlines()) == 1

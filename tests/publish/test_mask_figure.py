"""The qualitative figure from placed records, masks and prepared data: the clips of the rule, and what stands elsewhere."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest
from avs_rig import T, write_packed
from results_rig import place

from dgsct.data.packed import Packed
from dgsct.publish.figures import write_figure
from dgsct.publish.mask_figure import WORDS, draw, settings_of
from dgsct.records.masks import PredictedMasks, masks_path, write_masks
from dgsct.runs.experiments import Settings, all_runs, load_experiments
from dgsct.runs.inputs import inputs_of
from dgsct.runs.run import Run

TASKS, METHODS = ("avs-s4", "avs-ms3"), ("late-fusion", "dg-sct")
NAMES = [f"clip{i:07d}" for i in range(20, 28)]  # the test clips of the rig


@pytest.fixture(scope="module")
def fig9():
    return load_experiments()["fig9"]


def place_masks(root, run: Run, iou: list[float], **changes) -> None:
    """A record, and the ground truth as its masks with the stated mIoU."""
    folder = root / "data" / "mini" / run.task / "packed"
    sums = {one.name: one.checksum or "e" * 64 for one in inputs_of(run, root)}  # there are data, and no encoders
    place(root, run, float(np.mean(iou)), sums=sums)
    packed = Packed.open(folder)
    truth = packed.take("masks", packed.splits["test"]) > 0
    objects = truth.any(axis=(2, 3)).sum(axis=1)
    value = {"key": run.key(sums), "names": tuple(NAMES), "iou": np.array(iou), "objects": objects, "masks": truth}
    write_masks(root, run, PredictedMasks(**{**value, **changes}))


@pytest.fixture
def root(tmp_path):
    """Both settings and both methods; DG-SCT's best, median and worst clips are 3, 4 and 0."""
    for task in TASKS:
        write_packed(tmp_path / "data" / "mini" / task / "packed", task)
        place_masks(tmp_path, Run.make(task, "late-fusion"), [50.0] * 8)
        place_masks(tmp_path, Run.make(task, "dg-sct"), [1.0, 60.0, 70.0, 99.0, 50.0, 40.0, 30.0, 80.0])
    yield tmp_path
    plt.close("all")


def states(found) -> dict[str, list[str]]:
    return {setting.task: [row.state for row in setting.rows] for setting in found}


def test_one_run_a_cell_whatever_the_seeds(fig9):
    runs = all_runs([fig9], Settings(seeds=5))
    assert runs == [Run.make(task, method) for method in METHODS for task in TASKS]
    assert fig9.drawn
    assert fig9.count_seeds(Settings(seeds=5)) == 1


def test_the_clips_of_the_rule(fig9, root):
    s4, ms3 = settings_of(fig9, Settings(), root)
    assert s4.clips == ms3.clips == {"best": NAMES[3], "median": NAMES[4], "worst": NAMES[0]}
    assert [s4.iou(row, "best") for row in s4.rows] == [50.0, 99.0]
    assert s4.categories["best"] == "dog_barking"
    packed = Packed.open(root / "data/mini/avs-s4/packed")
    row = packed.splits["test"][3:4]
    assert np.array_equal(s4.frames["best"], packed.take("frames", row)[0])
    assert np.array_equal(s4.truth["best"], packed.take("masks", row)[0])


def test_what_is_drawn(fig9, root):
    figure = draw(fig9, Settings(), settings_of(fig9, Settings(), root))
    assert [len(axes.images) for axes in figure.axes] == [len(WORDS) * (2 + len(METHODS)) * T] * 2
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert "S4, best: dog barking\nmIoU Late fusion 50.0, DG-SCT 99.0" in texts
    assert texts.count("Ground truth") == 2
    shown = figure.axes[0].images[5].get_array()  # the first clip's truth, first frame
    assert shown.shape == (16, 16)
    assert set(np.unique(shown)) == {0, 1}
    assert any("not a reproduction" in text.get_text() for text in figure.texts)


def test_its_three_files_and_the_same_bytes_again(fig9, root, tmp_path):
    first = write_figure(fig9, Settings(), root, tmp_path / "a")
    again = write_figure(fig9, Settings(), root, tmp_path / "b")
    assert [path.name for path in first] == ["fig9.pdf", "fig9.png", "fig9.json"]
    assert [a.read_bytes() for a in first] == [b.read_bytes() for b in again]
    told = json.loads(first[2].read_text(encoding="utf-8"))
    assert told["settings"][1]["clips"]["worst"] == NAMES[0]
    row = told["settings"][0]["rows"][1]
    assert (row["state"], row["miou"]["median"]) == ("ok", 50.0)
    assert row["record"] == str(root / "runs/mini/release/avs-s4/dg-sct/default/s0/record.json")


def test_what_is_missing_is_said_in_its_place(fig9, root):
    (root / masks_path(Run.make("avs-s4", "late-fusion"))).unlink()
    (root / masks_path(Run.make("avs-ms3", "dg-sct"))).write_bytes(b"PK")
    s4, ms3 = found = settings_of(fig9, Settings(), root)
    assert states(found) == {"avs-s4": ["missing", "ok"], "avs-ms3": ["ok", "corrupt"]}
    assert "run `snakemake" in s4.rows[0].reason
    assert str(root) not in ms3.rows[1].reason
    figure = draw(fig9, Settings(), found)
    words = [text.get_text() for text in figure.axes[0].texts]
    assert words.count("missing") == 3
    assert len(figure.axes[1].images) == 0  # nothing to choose the clips by
    assert [text.get_text() for text in figure.axes[1].texts].count("corrupt") == 3


def test_masks_of_an_earlier_run_are_stale(fig9, root):
    place_masks(root, Run.make("avs-s4", "dg-sct"), [1.0] * 8, key="0" * 64)
    found = settings_of(fig9, Settings(), root)
    assert states(found)["avs-s4"] == ["ok", "stale"]
    assert found[0].clips == {}


def test_nothing_at_all_still_builds(fig9, tmp_path):
    assert len(write_figure(fig9, Settings(), tmp_path, tmp_path / "out")) == 3
    told = json.loads((tmp_path / "out" / "fig9.json").read_text(encoding="utf-8"))
    assert {row["state"] for setting in told["settings"] for row in setting["rows"]} == {"missing"}
    filtered = settings_of(fig9, Settings(tasks=("ave",)), tmp_path)
    assert states(filtered) == {task: ["planned", "planned"] for task in TASKS}


def test_a_set_without_the_chosen_clips_is_one_sentence(fig9, root):
    """The masks are there, the prepared data are gone."""
    (root / "data/mini/avs-s4/packed/frames.npy").unlink()
    s4, _ = found = settings_of(fig9, Settings(), root)
    assert "frames.npy is missing or damaged" in s4.reason
    assert "\n" not in s4.reason
    draw(fig9, Settings(), found)

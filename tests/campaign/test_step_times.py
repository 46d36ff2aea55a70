"""Step times from records and probes: which count, which are nearest, and that every answer names its source."""

import json

import pytest
from results_rig import place, place_stale, record_of, times

from dgsct.campaign.step_times import (
    Device,
    closest,
    cost_options,
    device_here,
    device_of_plan,
    history,
    probe_file,
    probes,
    step_time,
    write_probe,
)
from dgsct.engine.execute import execute
from dgsct.records.provenance import processor
from dgsct.runs.run import Run

HERE = Device(processor(), False)
FULL, OTHER_SEED = Run.make("ave", "dg-sct"), Run.make("ave", "dg-sct", seed=1)
FIGURES = {"learn": 3.0, "still": 1.0, "evaluation": 0.5, "parameters": 20, "trainable": 7, "made": "2026-11-25T05:00:00+00:00"}


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def told(root, run=FULL, device=HERE):
    return step_time(run, [*history(root, run.scale), *probes(root, run.scale)], device)


def test_a_real_record_tells_its_times(mini_world, tmp_path):
    for name in ("data", "encoders"):
        (tmp_path / name).symlink_to(mini_world / name)
    record = json.loads(execute(Run.make("ave", "majority-class"), tmp_path).read_text())
    assert record["curve"] == []
    assert history(tmp_path, "mini") == []
    record = json.loads(execute(Run.make("ave", "late-fusion"), tmp_path).read_text())
    (measured,) = history(tmp_path, "mini")
    seconds = sum(entry["seconds"] for entry in record["curve"])
    # 24 clips are 3 batches, 12 are 2; nine epochs, the last one evaluated on the test split.
    assert measured.training == {"release": pytest.approx(seconds / 27)}
    assert measured.evaluation == pytest.approx((record["provenance"]["wall_seconds"] - seconds) / 2)
    assert (measured.epochs, measured.current, measured.probe) == (9, True, False)
    assert measured.trainable == record["efficiency"]["trainable"] == 338_085
    assert (measured.device.name == HERE.name) or measured.device.gpu


def test_the_median_of_records_of_one_setting(tmp_path):
    for seed, step in enumerate((1.0, 2.0, 9.0)):
        place(tmp_path, Run.make("ave", "dg-sct", seed=seed), **times(10, step, beside=20 * 0.5))
    found = told(tmp_path)
    assert (found.training, found.evaluation, found.epochs) == (2.0, 0.5, 10)
    assert found.source == f"history of 3 records of dg-sct on {HERE.name} (10 epochs in the median)"


def test_what_alpha_is_and_which_protocol_selects_changes_no_step(tmp_path):
    place(tmp_path, Run.make("ave", "dg-sct", {"alpha": 0.7}), **times(4, 2.0, beside=4.0))
    assert told(tmp_path).source == f"history of 1 record of dg-sct on {HERE.name} (4 epochs in the median)"


@pytest.mark.parametrize(
    "changes",
    [
        {"cpu": "another processor"},
        {"gpu": "a GPU"},
        {"processes": 2},
    ],
)
def test_other_hardware_and_several_processes_do_not_count(tmp_path, changes):
    place(tmp_path, FULL, **times(10, 2.0, 10.0, **changes))
    assert told(tmp_path) is None


@pytest.mark.parametrize(
    "other",
    [
        Run.make("ave", "lavish-star"),
        Run.make("ave", "dg-sct", {"precision": "bf16"}),
        Run.make("ave", "dg-sct", {"accumulation": "off"}),
    ],
)
def test_another_method_precision_or_accumulation_does_not_count(tmp_path, other):
    place(tmp_path, other, **times(10, 2.0, 10.0))
    assert told(tmp_path) is None


@pytest.mark.parametrize("damage", ["no curve", "cut", "no hardware"])
def test_a_record_that_does_not_tell_is_passed_over(tmp_path, damage):
    place(tmp_path, OTHER_SEED, **times(10, 2.0, 10.0))
    fields = {**times(10, 5.0, 10.0)}
    if damage == "no curve":
        fields["curve"] = []
    if damage == "no hardware":
        fields["provenance"] = {"resumed": 0}
    path = place(tmp_path, FULL, **fields)
    if damage == "cut":
        path.write_text(path.read_text()[:100])
    assert told(tmp_path).training == 2.0


def test_nearest_first_setting_then_code_then_record(tmp_path):
    """Each further measurement is nearer than those before, and says what it is."""
    place_stale(tmp_path, Run.make("ave", "dg-sct", {"S": "off"}), **times(10, 1.0, 0.0))
    assert told(tmp_path).source.endswith(", of other settings (S=off), of older code")
    place(tmp_path, Run.make("ave", "dg-sct", {"C": "off"}), **times(10, 2.0, 0.0))
    assert told(tmp_path).source.endswith(", of other settings (C=off)")
    place_stale(tmp_path, OTHER_SEED, **times(10, 3.0, 0.0))
    assert told(tmp_path).training == 3.0
    assert told(tmp_path).source == f"history of 1 record of dg-sct on {HERE.name} (10 epochs in the median), of older code"
    write_probe(tmp_path, FULL, HERE, FIGURES)
    assert told(tmp_path).training == (3.0 + 1.0) / 2
    assert told(tmp_path).source == f"probe of dg-sct on {HERE.name}"
    assert told(tmp_path).epochs is None
    place(tmp_path, FULL, **times(10, 5.0, 0.0))
    assert told(tmp_path).training == 5.0


def test_a_probe_serves_both_kinds_of_accumulation(tmp_path):
    write_probe(tmp_path, FULL, HERE, FIGURES)
    off = Run.make("ave", "dg-sct", {"accumulation": "off"})
    assert (told(tmp_path).training, told(tmp_path, off).training) == (2.0, 3.0)


def test_a_probe_of_the_same_step_takes_the_others_place(tmp_path):
    write_probe(tmp_path, FULL, HERE, FIGURES)
    write_probe(tmp_path, Run.make("ave", "dg-sct", {"S": "off"}), HERE, FIGURES)
    write_probe(tmp_path, Run.make("ave", "dg-sct", {"beta": 0.3}), HERE, {**FIGURES, "learn": 5.0})
    assert [m.training["off"] for m in probes(tmp_path, "mini")] == [3.0, 5.0]
    assert told(tmp_path).training == 3.0


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 99, "probes": []}', '{"schema": 1, "probes": [{"run": 3}]}'])
def test_a_damaged_probe_file_tells_nothing_and_is_written_anew(tmp_path, text):
    probe_file(tmp_path, "mini").parent.mkdir()
    probe_file(tmp_path, "mini").write_text(text)
    assert told(tmp_path) is None
    write_probe(tmp_path, FULL, HERE, FIGURES)
    assert told(tmp_path).training == 2.0


def test_a_probe_of_other_code_is_said_to_be_one(tmp_path):
    write_probe(tmp_path, FULL, HERE, FIGURES)
    path = probe_file(tmp_path, "mini")
    path.write_text(path.read_text().replace(FULL.code(), "0" * 64))
    assert told(tmp_path).source == f"probe of dg-sct on {HERE.name}, of older code"


def test_an_option_that_a_record_does_not_know_had_its_default(tmp_path):
    record = record_of(FULL, **times(10, 2.0, 0.0))
    del record["resolved"]["options"]["spatial_prompt"]
    path = place(tmp_path, FULL)
    path.write_text(json.dumps(record))
    (measured,) = history(tmp_path, "mini")
    assert measured.cost == cost_options(FULL)


def test_a_plan_at_full_size_is_made_for_the_newest_gpu_or_else_this_processor(tmp_path):
    assert device_here() == HERE
    assert device_of_plan("paper", []) == HERE
    old, new = (Run.make("ave", "dg-sct", scale="paper", seed=seed) for seed in (0, 1))
    fields = times(20, 1.0, 0.0, train=3339, test=402, gpu="GPU B")
    fields["provenance"]["finished"] = "2026-11-26T00:00:00+00:00"
    place(tmp_path, old, **times(20, 1.0, 0.0, train=3339, test=402, gpu="GPU A"))
    place(tmp_path, new, **fields)
    known = history(tmp_path, "paper")
    assert device_of_plan("paper", known) == Device("GPU B", True)
    assert [m.run for m in closest(old, known, Device("GPU B", True))] == [new]
    assert device_of_plan("mini", known) == HERE

"""What stands beside a record: its metrics come from it, today's and those of tomorrow; nothing else is taken for it."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from avs_rig import write_world
from call_rig import call

from dgsct.data.units import Units, read_units, write_units
from dgsct.engine.execute import execute
from dgsct.errors import DgsctError, UsageError
from dgsct.records.failures import note_failure
from dgsct.records.remeasure import recorded, remeasure
from dgsct.records.results import read_record, validity
from dgsct.runs.run import Run
from dgsct.tasks import TASKS, get_task
from dgsct.tasks.metric import Metric

RUN = Run("avs-s4", "pixels")
YARDSTICK = Run("avs-s4", "all-foreground")


@pytest.fixture
def root(tmp_path, pixels):
    """A results folder with a trained run."""
    execute(RUN, write_world(tmp_path))
    return tmp_path


@pytest.fixture
def declare(monkeypatch):
    """Declares one more metric of S4, whose code lies in a module that its runs do not import."""

    def change(name: str, value: Callable[[Units], float]) -> None:
        later, task = ModuleType("measured_later"), TASKS["avs-s4"]
        later.MEASURES = {name: value}
        monkeypatch.setitem(sys.modules, later.__name__, later)
        more = Metric(name, name, later.__name__)
        monkeypatch.setitem(TASKS, "avs-s4", replace(task, metrics=(*task.metrics, more)))

    return change


@pytest.fixture
def share(declare):
    """A metric that came later: the share of frames with an object."""
    declare("objects", lambda u: float(100 * (u["counts"][..., 2:258].sum(axis=-1) > 0).mean()))


def edit(path: Path, **metrics: float) -> None:
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "metrics": {**record["metrics"], **metrics}}))


def measured_again(root: Path, run: Run) -> dict[str, float]:
    folder = root / run.folder
    return get_task(run.task).measure_all(
        read_units(folder / "units.npz", read_record(folder / "record.json")["units"]["sha256"])
    )


def test_a_records_metrics_are_those_of_its_units(root):
    for run in (RUN, *(Run("avs-s4", name) for name in ("all-foreground", "centre-prior", "mean-mask"))):
        record = read_record(execute(run, root))
        assert measured_again(root, run) == record["metrics"]
        units = read_units(root / run.folder / "units.npz")
        assert len(units) == record["coverage"]["test"]["present"]
        assert units["counts"].shape == (8, 5, 514)


def test_ave_too(mini_world, tmp_path, trained_by):
    for name in ("data", "encoders"):
        (tmp_path / name).symlink_to(mini_world / name)
    trained_by("ave", "late-fusion", epochs=2)
    for run in (Run("ave", "late-fusion"), *(Run("ave", one.name) for one in TASKS["ave"].yardsticks)):
        record = read_record(execute(run, tmp_path))
        assert measured_again(tmp_path, run) == pytest.approx(record["metrics"], abs=0, nan_ok=True)
        units = read_units(tmp_path / run.folder / "units.npz")
        assert units["segments"].shape == units["labels"].shape == (12, 10)
        assert remeasure(tmp_path / run.folder) == "nothing changed"


def test_where_clips_are_absent_the_bounds_are_in_the_units_too(tmp_path, pixels):
    record = read_record(execute(RUN, write_world(tmp_path, absent=2)))
    assert measured_again(tmp_path, RUN) == record["metrics"]
    assert record["metrics"]["miou_lower"] < record["metrics"]["miou"] < record["metrics"]["miou_upper"]


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(bytes(content))


def foreign(path: Path) -> None:
    units = read_units(path)
    write_units(path, Units({**units.of, "counts": units["counts"][:, :, ::-1]}, units.ids, units.facts))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (damage, r"units\.npz is not the file that its record was written with; delete it and the record"),
        (foreign, r"units\.npz is not the file that its record was written with; delete it and the record"),
        (Path.unlink, r"units\.npz cannot be read \(No such file"),
    ],
)
def test_other_units_are_refused(root, spoil, said):
    folder = root / RUN.folder
    before = (folder / "record.json").read_bytes()
    spoil(folder / "units.npz")
    with pytest.raises(DgsctError, match=said):
        remeasure(folder)
    assert (folder / "record.json").read_bytes() == before


@pytest.mark.parametrize("place", [0, -30, -1])
def test_a_damaged_file_is_a_sentence_also_without_a_checksum(root, place):
    path = root / RUN.folder / "units.npz"
    content = bytearray(path.read_bytes())
    path.write_bytes(content[:place] if place else b"no archive")
    with pytest.raises(DgsctError, match=r"units\.npz is damaged \(.*\); delete it and the record beside it, and run again"):
        read_units(path)


def test_equal_units_are_equal_bytes(root, tmp_path):
    units = read_units(root / RUN.folder / "units.npz")
    write_units(tmp_path / "again.npz", units)
    assert (tmp_path / "again.npz").read_bytes() == (root / RUN.folder / "units.npz").read_bytes()


def test_where_nothing_changed_a_record_stays_as_it_is_to_the_byte(root):
    path = root / RUN.folder / "record.json"
    before, stamp = path.read_bytes(), path.stat().st_mtime_ns
    assert remeasure(path.parent) == "nothing changed"
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (before, stamp)


def test_what_differs_is_told_and_written_and_nothing_else(root):
    path = root / RUN.folder / "record.json"
    right = read_record(path)
    edit(path, miou=12.5, miou_of_old=3.0)
    told = remeasure(path.parent)
    assert told == f"miou 12.5 -> {right['metrics']['miou']:.10g}, miou_of_old (not measured any more)"
    assert read_record(path) == right
    assert sorted(p.name for p in path.parent.iterdir()) == ["checkpoints", "record.json", "units.npz"]


def test_a_metric_that_came_later_needs_no_training(root, share):
    """Its code is none of the run's: keys hold, and the curve stays as it was."""
    path = root / RUN.folder / "record.json"
    before = read_record(path)
    assert validity(RUN, root).name == "ok"
    assert remeasure(path.parent) == f"objects {100 * 39 / 40:.10g} (new)"
    after = read_record(path)
    assert after["metrics"] == {**before["metrics"], "objects": 97.5}
    assert {**after, "metrics": None} == {**before, "metrics": None}
    assert validity(RUN, root).name == "ok"
    path.unlink()
    assert read_record(execute(RUN, root))["metrics"] == after["metrics"]  # a record made again has it from the start


def test_a_stale_record_is_left_alone_unless_asked_for(root, share, monkeypatch):
    path = root / RUN.folder / "record.json"
    before = read_record(path)
    monkeypatch.setattr(Run, "code", lambda self: "other measures")
    told = remeasure(path.parent)
    assert told == "left as it is: the run's description or code changed since this run; --stale measures it all the same"
    assert read_record(path) == before
    assert remeasure(path.parent, stale=True) == "objects 97.5 (new)"
    assert read_record(path)["key"] == before["key"]
    assert validity(RUN, root).name == "stale"


def test_units_that_hold_too_little_are_one_sentence(root, declare, monkeypatch):
    declare("edges", lambda u: float(u["edges"].mean()))
    said = r"units\.npz holds is too little for today's metrics \(KeyError: 'edges'\); run it again"
    with pytest.raises(DgsctError, match=said):
        remeasure(root / RUN.folder)
    task = TASKS["avs-s4"]
    monkeypatch.setitem(TASKS, "avs-s4", replace(task, metrics=task.metrics[:1]))
    with pytest.raises(DgsctError, match="reports 'miou_batch4', which task 'avs-s4' measures no more"):
        remeasure(root / RUN.folder, stale=True)


def test_folders_without_a_record_and_failed_runs(root, tmp_path):
    with pytest.raises(UsageError, match="is no run folder"):
        remeasure(root)
    with pytest.raises(DgsctError, match="does not exist; run `snakemake"):
        remeasure(root / Run("avs-s4", "pixels", seed=7).folder)
    assert recorded(root) == [root / RUN.folder]
    assert recorded(root / "nothing") == []
    path = root / RUN.folder / "record.json"
    path.write_text("{")
    with pytest.raises(DgsctError, match="is not a readable record"):
        remeasure(path.parent)


def test_a_run_that_fails_today_is_left_alone(root, monkeypatch):
    monkeypatch.setattr(Run, "key", lambda self, inputs: "another")
    note_failure(root / RUN.folder, "another", ValueError("an index beyond the last class"))
    assert remeasure(root / RUN.folder, stale=True).startswith("left as it is: the run has failed (ValueError")


def test_the_command(tmp_path):
    """All records below the results folder; what is wrong with one keeps none of the others."""
    write_world(tmp_path)
    names = ("all-foreground", "centre-prior")
    folders = [execute(Run("avs-s4", name), tmp_path).parent for name in names]
    edit(folders[1] / "record.json", fscore_frame=1.5)
    done = call(tmp_path, "remeasure", "--results", tmp_path)
    assert done.code == 0, done.err
    first, second = done.out.splitlines()
    assert first == f"{folders[0]}: nothing changed"
    assert second.startswith(f"{folders[1]}: fscore_frame 1.5 -> ")
    (folders[0] / "units.npz").unlink()
    done = call(tmp_path, "remeasure", "--results", tmp_path)
    assert done.code == 1
    assert done.out == f"{folders[1]}: nothing changed\n"
    assert done.err.startswith(f"dgsct: {folders[0]}/units.npz cannot be read")
    assert "Traceback" not in done.err
    done = call(tmp_path, "remeasure", tmp_path)
    assert (done.code, done.err.count("\n")) == (2, 1)
    empty = tmp_path / "empty"
    done = call(tmp_path, "remeasure", "--results", empty)
    assert (done.code, done.err) == (0, f"no run below {empty} has a record\n")


@pytest.mark.parametrize("damaged", [1, 2])
def test_an_outcome_is_taken_up_with_either_copy_of_its_units_and_trained_again_with_none(root, capsys, damaged):
    path = root / RUN.folder / "record.json"
    before = read_record(path)
    path.unlink()
    for units in (path.parent / "checkpoints/units.npz", path.with_name("units.npz"))[:damaged]:
        damage(units)
    capsys.readouterr()
    after = read_record(execute(RUN, root))
    said = capsys.readouterr()
    assert ("units.npz is gone or damaged: the run is trained again" in said.err) == (damaged == 2)
    assert ("epoch 1/" in said.out) == (damaged == 2)
    assert (after["metrics"], after["units"]) == (before["metrics"], before["units"])
    assert remeasure(path.parent) == "nothing changed"

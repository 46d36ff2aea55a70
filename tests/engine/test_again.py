"""`dgsct run --again`: a run repeated beside its record, which is left alone, and what is said of both."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from avs_rig import write_world
from frozen_rig import JUDGE, write_encoder
from typer.testing import CliRunner

from dgsct.cli import app
from dgsct.engine import again
from dgsct.engine.again import kept_folder, print_repeat, repeat
from dgsct.engine.execute import execute
from dgsct.engine.execution import Execution
from dgsct.errors import DgsctError, Stopped
from dgsct.methods import METHODS
from dgsct.records.provenance import commit_words
from dgsct.records.results import read_record, validity, write_record
from dgsct.runs.run import Run

RUN = Run("avs-s4", "pixels", seed=1)


@pytest.fixture
def root(tmp_path, pixels) -> Path:
    """Data and a finished run."""
    execute(RUN, write_world(tmp_path))
    return tmp_path


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file with its content and its time."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


def change(path: Path, **fields) -> None:
    """Another record in the place of this one."""
    write_record(path, {**read_record(path), **fields})


def dgsct(*arguments: object):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_a_repeat_is_equal_and_the_first_run_stays_as_it_is(root):
    before = files(root / "runs")
    done = repeat(RUN, root)
    assert (done.equal, done.differences, done.stale) == (True, [], "")
    assert done.repeat["metrics"] == done.record["metrics"]
    assert done.repeat["provenance"]["finished"] >= done.record["provenance"]["finished"]
    assert done.repeat["curve"] != done.record["curve"]  # it was trained again, in a time of its own
    assert files(root / "runs") == before
    assert validity(RUN, root).name == "ok"


def test_only_record_and_units_of_the_latest_repeat_stay(root):
    for _ in range(2):
        done = repeat(RUN, root)
        kept = kept_folder(RUN, root)
        assert kept == root / "again/mini/release/avs-s4/pixels/default/s1"
        assert sorted(path.name for path in kept.iterdir()) == ["record.json", "units.npz"]
        assert read_record(kept / "record.json") == done.repeat
    assert (root / "data/mini/avs-s4/packed/frames.npy").exists()


@pytest.mark.parametrize(
    ("part", "fields"),
    [
        ("miou", lambda record: {"metrics": {**record["metrics"], "miou": np.nextafter(record["metrics"]["miou"], 0)}}),
        ("best epoch", lambda record: {"best_epoch": record["best_epoch"] + 1}),
        ("curve", lambda record: {"curve": record["curve"][:-1]}),
        ("units.npz", lambda record: {"units": {"sha256": "0" * 64}}),
        ("fscore_clip", lambda record: {"metrics": {k: v for k, v in record["metrics"].items() if k != "fscore_clip"}}),
    ],
)
def test_one_bit_is_a_difference_and_exit_code_3(root, part, fields):
    path = root / RUN.folder / "record.json"
    change(path, **fields(read_record(path)))
    before = path.read_bytes()
    call = dgsct("run", "avs-s4", "pixels", "--seed", 1, "--results", root, "--again")
    assert call.exit_code == again.DIFFERS == 3
    assert f"They differ in {part}." in call.output
    assert path.read_bytes() == before


def test_the_report_of_an_equal_repeat(root):
    call = dgsct("run", "avs-s4", "pixels", "--seed", 1, "--results", root, "--again")
    assert call.exit_code == 0
    record, kept = read_record(root / RUN.folder / "record.json"), read_record(kept_folder(RUN, root) / "record.json")
    for one in (record, kept):
        assert commit_words(one["provenance"]) in call.output
        assert one["provenance"]["finished"][:16].replace("T", " ") in call.output
        assert f"{one['provenance']['wall_seconds']}" in call.output
    assert call.output.count(f"{record['metrics']['miou_batch4']:.6f}") >= 2
    assert f"record: {root / RUN.folder / 'record.json'}" in call.output
    assert f"repeat: {kept_folder(RUN, root) / 'record.json'}" in call.output
    assert "Equal to the bit: metrics, curve of 6 epochs, numbers of every test clip." in call.output


def test_without_a_record_it_is_refused_and_nothing_is_made(root):
    other = Run("avs-s4", "pixels", seed=2)
    with pytest.raises(DgsctError, match=r"no record to compare with in .*/s2 \(not run yet\); run it without --again first"):
        repeat(other, root)
    assert not (root / "again").exists()
    path = root / RUN.folder / "record.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(DgsctError, match="not a readable record"):
        repeat(RUN, root)
    assert not (root / "again").exists()


def test_what_it_starts_from_is_named_by_its_own_place_where_it_is_missing(root):
    manifest = root / "data/mini/avs-s4/packed/manifest.json"
    manifest.unlink()
    with pytest.raises(DgsctError, match=f"^{manifest} is missing"):
        repeat(RUN, root)
    assert not (root / "again").exists()


def test_a_stale_record_is_compared_and_said_to_be_stale(root, trained_by, capsys):
    trained_by("avs-s4", "pixels", batch_size=3)
    done = repeat(RUN, root)
    why = "the run's description or code changed since this run"
    assert (done.stale, done.equal) == (why, False)
    assert "curve" in done.differences
    assert capsys.readouterr().err == f"the record is stale ({why}): a difference may come from that\n"
    print_repeat(done)
    assert f"The record is stale: {why}." in capsys.readouterr().out


def test_a_stopped_repeat_goes_on_and_ends_equal(root):
    before = files(root / "runs")
    with pytest.raises(Stopped):
        repeat(RUN, root, Execution(deadline=time.time()))
    world = kept_folder(RUN, root) / "world"
    assert list((world / RUN.folder / "checkpoints").glob("step-*"))
    done = repeat(RUN, root)
    assert (done.equal, done.repeat["provenance"]["resumed"]) == (True, 1)
    assert not world.exists()
    assert files(root / "runs") == before


def test_killed_before_its_units_are_kept_it_ends_without_another_training(root, monkeypatch):
    real = os.replace

    def killed(source, target):
        real(source, target)
        if Path(target) == kept_folder(RUN, root) / "record.json":
            raise KeyboardInterrupt

    monkeypatch.setattr(again.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        repeat(RUN, root)
    monkeypatch.setattr(again.os, "replace", real)
    monkeypatch.setattr("dgsct.engine.execute.Training", lambda *_: pytest.fail("it is trained again"))
    assert repeat(RUN, root).equal
    assert sorted(path.name for path in kept_folder(RUN, root).iterdir()) == ["record.json", "units.npz"]


def test_a_run_that_starts_from_another_is_repeated_from_the_same_weights(root, monkeypatch):
    monkeypatch.setitem(METHODS, JUDGE.name, JUDGE)
    write_encoder(root)
    judge, parent = Run("avs-s4", "judge"), Run("avs-s4", "pixels")
    execute(parent, root)
    execute(judge, root)
    repeat(parent, root)
    before = files(root / "runs")
    done = repeat(judge, root)
    assert done.equal
    assert json.dumps(done.record["key_parts"]) == json.dumps(done.repeat["key_parts"])
    assert files(root / "runs") == before

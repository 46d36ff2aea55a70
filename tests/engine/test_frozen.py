"""A run that trains nothing: its model is built, gets its encoders' and its parents' weights, and is evaluated once."""

import shutil

import pytest
from avs_rig import write_world
from frozen_rig import JUDGE, Judge, write_encoder

from dgsct.data.units import read_units
from dgsct.engine.execute import execute
from dgsct.engine.stopping import StopRequest
from dgsct.errors import DgsctError, Stopped
from dgsct.methods import METHODS
from dgsct.records.results import read_record, validity
from dgsct.runs.run import Run
from dgsct.tasks import get_task

RUN, PARENT = Run("avs-s4", "judge"), Run("avs-s4", "pixels")


@pytest.fixture
def root(tmp_path, pixels, monkeypatch):
    """Data, the encoder's file and a trained parent."""
    monkeypatch.setitem(METHODS, JUDGE.name, JUDGE)
    write_encoder(write_world(tmp_path))
    execute(PARENT, tmp_path)
    return tmp_path


def test_its_record_has_units_no_curve_and_its_parents_metrics(root):
    record, parent = read_record(execute(RUN, root)), read_record(root / PARENT.folder / "record.json")
    assert record["metrics"] == parent["metrics"]  # the same weights, beside an encoder that says nothing
    assert (record["curve"], record["best_epoch"], record["selection"]) == ([], None, None)
    assert record["resolved"]["kind"] == "frozen"
    assert set(record["key_parts"]) == {"plan", "data/avs-s4", "features/avs-s4/vggish", "encoders/swin", "runs/learned"}
    assert record["efficiency"]["parameters"] == sum(p.numel() for p in Judge().parameters())
    assert record["efficiency"]["trainable"] == 0
    assert record["coverage"]["test"] == {"present": 8, "total": 8}
    units = read_units(root / RUN.folder / "units.npz", record["units"]["sha256"])
    assert get_task("avs-s4").measure_all(units) == record["metrics"]
    assert sorted(path.name for path in (root / RUN.folder).iterdir()) == ["record.json", "units.npz"]
    assert validity(RUN, root).name == "ok"


def test_chance_has_no_part_in_it():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(METHODS, JUDGE.name, JUDGE)
        assert Run.make("avs-s4", "judge", seed=3).seed == 0


def test_another_encoder_or_parent_gives_another_result(root):
    before = read_record(execute(RUN, root))
    write_encoder(root, bias=9.0)  # more pixels sound
    assert validity(RUN, root).reason == "the encoder (swin) changed since this run"
    after = read_record(execute(RUN, root))
    assert after["metrics"] != before["metrics"]
    write_encoder(root)
    assert read_record(execute(RUN, root))["metrics"] == before["metrics"]


def test_a_second_call_finds_it_done(root, monkeypatch, capsys):
    path = execute(RUN, root)
    before = path.read_bytes()
    monkeypatch.setattr(Judge, "forward", None)
    capsys.readouterr()
    execute(RUN, root)
    assert capsys.readouterr().out == f"{root / RUN.folder} is already done\n"
    assert path.read_bytes() == before


def test_asked_to_stop_it_leaves_nothing_and_can_be_started_again(root, monkeypatch):
    undisturbed = read_record(execute(RUN, root))["metrics"]
    shutil.rmtree(root / RUN.folder)
    requests, made = [], StopRequest.__init__
    forward = Judge.forward

    def noting(self, deadline=None):
        made(self, deadline)
        requests.append(self)

    def stopping(self, frames, vggish):
        requests[-1].asked = True
        return forward(self, frames, vggish)

    with monkeypatch.context() as patch:
        patch.setattr(StopRequest, "__init__", noting)
        patch.setattr(Judge, "forward", stopping)
        with pytest.raises(Stopped, match=f"{RUN.folder} stopped in its evaluation; start it again"):
            execute(RUN, root)
    assert list((root / RUN.folder).iterdir()) == []
    assert read_record(execute(RUN, root))["metrics"] == undisturbed


def test_without_its_parent_it_says_what_makes_it(root):
    shutil.rmtree(root / PARENT.folder)
    with pytest.raises(DgsctError, match=r"the best weights of .*pixels/default/s0 are missing; make them with `snakemake "):
        execute(RUN, root)


def test_weights_that_do_not_fit_are_one_sentence(root, monkeypatch):
    monkeypatch.setattr(Judge, "start_from", lambda self, name, weights: self.encoders.load_state_dict(weights))
    with pytest.raises(DgsctError, match=r"best\.safetensors does not fit judge on avs-s4 .*; train that run again") as told:
        execute(RUN, root)
    assert "\n" not in str(told.value)
    assert validity(RUN, root).name == "failed"

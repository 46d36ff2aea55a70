"""Failures: which count, when two are the same, the failed record, and how it is cleared."""

import json

import pytest
import torch
from avs_rig import write_world
from call_rig import call

from dgsct.atomic import write_text_atomic
from dgsct.checkpoints.save_masks import save_masks
from dgsct.engine.execute import execute
from dgsct.engine.execute import main as engine_main
from dgsct.engine.training import Training
from dgsct.errors import DgsctError, GivenUp, MachineError, Stopped, UsageError
from dgsct.records.failures import clear, note_failure, read_failure, signature
from dgsct.records.masks import read_masks
from dgsct.records.results import judged, validity
from dgsct.runs.run import Run

RUN = Run("avs-s4", "pixels", seed=1)


@pytest.fixture
def root(tmp_path, pixels):
    return write_world(tmp_path)


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except type(error) as caught:
        return caught


@pytest.fixture
def fail(root, monkeypatch):
    """Fail with an error in the third epoch; an own step that makes it NaN by default."""

    def start(error: BaseException | None = None) -> BaseException:
        whole = Training._step

        def step(self, *batch):
            if self.progress.step == 5:
                if error is not None:
                    raise error
                self.plain.layer.weight.data[:] = torch.nan
            return whole(self, *batch)

        with monkeypatch.context() as patch:
            patch.setattr(Training, "_step", step)
            with pytest.raises((Exception, KeyboardInterrupt)) as told:
                execute(RUN, root)
        return told.value

    return start


def test_two_equal_failures_make_a_failed_record_that_is_not_tried_again(root, fail):
    folder = root / RUN.folder
    assert "the loss is nan at step 5" in str(fail())
    assert not (folder / "record.json").exists()
    assert validity(RUN, root).name == "failed"
    told = fail()
    assert isinstance(told, GivenUp)
    sentence = f"{folder} has failed twice in the same way ({RUN.folder}: the loss is nan at step 5; lower the learning rate)"
    assert str(told).startswith(sentence)
    state = validity(RUN, root)
    assert (state.name, state.record) == ("failed", None)
    assert "the loss is nan at step 5; lower the learning rate (twice; `dgsct retry` clears it)" in state.reason
    with pytest.raises(GivenUp, match=r"is not tried again; mend that, then `dgsct retry "):
        execute(RUN, root)
    assert clear([folder], root) == [folder]
    assert validity(RUN, root).name == "missing"
    execute(RUN, root)  # from the checkpoint before the failure
    assert validity(RUN, root).name == "ok"
    assert not (folder / "failed.json").exists()


def test_for_the_dag_a_failed_record_is_a_record(root, fail, capsys):
    fail(), fail()
    assert engine_main([str(root / RUN.folder)]) == 0
    assert capsys.readouterr().err.startswith(f"dgsct: {root / RUN.folder} has failed twice")


def test_changed_code_clears_a_failed_record_by_itself(root, fail, monkeypatch):
    fail(), fail()
    assert judged(root / RUN.folder / "record.json", validity(RUN, root)) is True
    monkeypatch.setattr(Run, "code", lambda self: "mended")
    assert validity(RUN, root).name == "missing"
    assert judged(root / RUN.folder / "record.json", validity(RUN, root)) is False
    execute(RUN, root)
    assert validity(RUN, root).name == "ok"


@pytest.mark.parametrize(
    "others",
    [
        [RuntimeError("CUDA error: an illegal memory access")],
        [ValueError("another")],
        [Stopped("asked to")],
        [MachineError("cannot write: no space left; free space")],
        [OSError(116, "Stale file handle")],
        [KeyboardInterrupt()],
        [OSError(28, "No space left"), MachineError("cannot write"), Stopped("asked to")],
    ],
)
def test_what_is_no_equal_failure_gives_nothing_up(root, fail, others):
    """Other failures begin to count anew; stops, disks and kills do not count at all, and forget nothing."""
    fail()
    for other in others:
        assert not isinstance(fail(other), GivenUp)
    counted = [type(other) in (RuntimeError, ValueError) for other in others]
    assert isinstance(fail(), GivenUp) != any(counted)


def test_memory_that_runs_out_is_the_same_failure_with_any_figures(root, fail):
    fail(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. 3 MiB is free."))
    assert isinstance(fail(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.50 GiB.")), GivenUp)


def test_a_failure_after_a_request_to_stop_is_its_consequence(root, monkeypatch):
    def step(self, *batch):
        self.stop.asked = True
        raise RuntimeError("Connection reset")

    monkeypatch.setattr(Training, "_step", step)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="reset"):
            execute(RUN, root)
    assert validity(RUN, root).name == "missing"


def test_equal_means_type_place_and_message_without_numbers(tmp_path):
    same = [raised(RuntimeError(f"size 1{i} at 0.{i}")) for i in range(2)]
    assert signature(same[0]) == signature(same[1])
    assert signature(same[0]) != signature(raised(ValueError("size 10 at 0.0")))
    assert note_failure(tmp_path, "key", same[0]) == 1
    assert note_failure(tmp_path, "other key", same[1]) == 1
    assert note_failure(tmp_path, "other key", same[0]) == 2
    assert read_failure(tmp_path, "key") is None
    (tmp_path / "failed.json").write_text("{")
    assert note_failure(tmp_path, "other key", same[0]) == 1


def test_processes_of_one_attempt_count_once(root, monkeypatch):
    """Each notes what it meets; the launcher above them and its port are what an attempt is."""
    (root / RUN.folder).mkdir(parents=True)
    monkeypatch.setenv("WORLD_SIZE", "3")
    counted = []
    for port in ("4001", "4001", "4002", "4002"):
        monkeypatch.setenv("MASTER_PORT", port)
        counted.append(note_failure(root / RUN.folder, "key", ValueError("an index beyond the last class")))
    assert counted == [1, 0, 2, 0]


def test_clearing(root, fail):
    with pytest.raises(UsageError, match="is no run folder"):
        clear([root], root)
    with pytest.raises(UsageError, match="does not exist"):
        clear([root / RUN.folder], root)
    assert clear([], root) == []
    fail()
    other = root / Run("avs-s4", "pixels", seed=2).folder
    execute(Run("avs-s4", "pixels", seed=2), root)
    good = (other / "record.json").read_bytes()
    assert clear([], root) == [root / RUN.folder]
    assert (other / "record.json").read_bytes() == good
    assert clear([other], root) == []
    assert (other / "record.json").exists()


def test_a_broken_failed_record_is_a_corrupt_record(root):
    path = root / RUN.folder / "record.json"
    write_text_atomic(path, json.dumps({"failed": {"error": 3}}))
    assert validity(RUN, root).name == "corrupt"
    with pytest.raises(DgsctError, match="delete it and run again"):
        execute(RUN, root)


def test_a_figure_of_masks_is_drawn_without_a_failed_run(root, fail):
    fail(), fail()
    path = save_masks(RUN, root)
    assert read_masks(path).names == ()


def test_the_command(root, fail):
    fail(), fail()
    done = call(root, "retry", "--results", root)
    assert (done.code, done.out.strip()) == (0, str(root / RUN.folder))
    assert not (root / RUN.folder / "record.json").exists()
    done = call(root, "retry", "--results", root)
    assert (done.code, "no run has a noted failure" in done.err) == (0, True)

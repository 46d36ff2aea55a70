"""The lock of a run's folder: who holds it, when it is abandoned, and what a copy does that has lost it."""

import json
import os
import time

import pytest

from dgsct.engine.run_lock import RunLock, machine
from dgsct.errors import DgsctError, Stopped

HERE, ELSEWHERE = {"host": "here", "machine": machine()}, {"host": "elsewhere", "machine": "elsewhere", "pid": 1}


def hold(folder, owner: dict, age: float = 0.0):
    path = folder / "lock.json"
    path.write_text(json.dumps({"token": "other", **owner}))
    os.utime(path, (time.time() - age, time.time() - age))
    return path


@pytest.mark.parametrize(
    ("owner", "age", "free"),
    [
        ({**HERE, "pid": 2**22 + 1, "born": "1"}, 0, True),
        ({**HERE, "pid": os.getpid(), "born": "1"}, 0, True),  # the number of a dead process, used again
        ({**ELSEWHERE, "job": None}, 60, False),
        ({**ELSEWHERE, "job": "78"}, 60, False),
        ({**ELSEWHERE, "job": "78"}, 130, True),
        ({**ELSEWHERE, "job": "77"}, 0, False),  # another node of the same job may train
        ({**ELSEWHERE, "job": "77"}, 20, True),  # the same job, requeued onto another node
        ({**ELSEWHERE, "job": "77", "restart": "1"}, 0, True),  # the same, where Slurm counts the restarts
    ],
)
def test_a_lock_holds_while_its_owner_may_live(tmp_path, monkeypatch, owner, age, free):
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    if "restart" in owner:
        monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    path = hold(tmp_path, owner, age)
    if free:
        with RunLock(tmp_path):
            assert json.loads(path.read_text())["pid"] == os.getpid()
        assert not list(tmp_path.iterdir())
    else:
        with pytest.raises(DgsctError, match="process 1 on elsewhere"), RunLock(tmp_path):
            pass
        assert json.loads(path.read_text())["token"] == "other"
        assert [p.name for p in tmp_path.iterdir()] == ["lock.json"]


def test_the_clock_of_this_machine_does_not_matter(tmp_path, monkeypatch):
    hold(tmp_path, ELSEWHERE)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    with pytest.raises(DgsctError, match="elsewhere"), RunLock(tmp_path):
        pass


def test_a_waiting_copy_goes_on_when_the_first_is_done_and_stops_when_told(tmp_path, capsys):
    path, asked = hold(tmp_path, ELSEWHERE), []

    def wait() -> bool:
        asked.append(1)
        if len(asked) == 2:
            path.unlink()
        return True

    with RunLock(tmp_path, wait):
        assert len(asked) == 2
    assert capsys.readouterr().out.count("process 1 on elsewhere trains this run") == 1
    hold(tmp_path, ELSEWHERE)
    with pytest.raises(Stopped, match="stopped while process 1"), RunLock(tmp_path, lambda: False):
        pass


def test_a_copy_that_was_held_up_writes_no_more_and_leaves_the_new_owners_lock(tmp_path):
    with RunLock(tmp_path) as lock:
        lock.check()
        hold(tmp_path, ELSEWHERE)
        with pytest.raises(Stopped, match="taken over by another copy"):
            lock.check()
    assert (tmp_path / "lock.json").exists()


def test_links_to_another_disk_are_followed(tmp_path):
    """The run's folder and that of its checkpoints, where nothing is yet."""
    (tmp_path / "run").symlink_to("disk/run")
    (tmp_path / "disk/run").mkdir(parents=True)
    (tmp_path / "run/checkpoints").symlink_to(tmp_path / "disk/kept")
    for _ in range(2):
        with RunLock(tmp_path / "run"):
            assert (tmp_path / "disk/run/lock.json").exists()
            assert (tmp_path / "run/checkpoints").is_dir()
    assert (tmp_path / "run/checkpoints").is_symlink()
    (tmp_path / "gone").symlink_to("disk/gone")
    with RunLock(tmp_path / "gone"):
        assert (tmp_path / "disk/gone/lock.json").exists()

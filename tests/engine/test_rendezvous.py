"""Where runs meet their server: in a temporary folder of any length, and in none with a sentence."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from avs_rig import write_world

from dgsct.engine.rendezvous import meet, name_of, own_folder
from dgsct.errors import MachineError
from dgsct.records.results import read_record
from dgsct.runs.run import Run
from dgsct.tasks import TASKS

RUN = Run("avs-s4", TASKS["avs-s4"].yardsticks[0].name)


def test_a_run_is_served_where_the_temporary_folder_has_a_long_name(tmp_path):
    """157 characters, with ranks of another launcher, a notebook's backend and an ASCII terminal about it."""
    root = write_world(tmp_path / "résultats")
    folder = tmp_path / ("n" * (156 - len(str(tmp_path))))
    folder.mkdir()
    env = {"TMPDIR": str(folder), "RANK": "3", "WORLD_SIZE": "8", "MPLBACKEND": "module://none", "GIT_DIR": str(tmp_path)}
    env |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "dgsct.engine.worker", "train", str(root / RUN.folder)]
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, timeout=300, check=False)
    (server,) = [pid for pid in os.listdir("/proc") if pid.isdigit() and str(folder).encode() in commanded(pid)]
    os.kill(int(server), signal.SIGTERM)
    assert done.returncode == 0, done.stderr
    assert read_record(root / RUN.folder / "record.json")["run"]["task"] == "avs-s4"


def commanded(pid: str) -> bytes:
    try:
        return Path("/proc", pid, "cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("length", [20, 105, 157, 1000])
def test_a_socket_has_a_name_that_the_kernel_takes(tmp_path, length):
    folder = tmp_path
    while len(str(folder)) < length:
        folder /= "é" * min(100, length - len(str(folder)))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "a.sock"
    with name_of(path) as name, socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(name)
        listener.listen()
        client.connect(name)
    assert path.is_socket()


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """A temporary folder as a new process takes it."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path / f"dgsct-{os.getuid()}"


def test_a_folder_of_others_ends_in_a_sentence(elsewhere):
    assert meet() == elsewhere
    elsewhere.chmod(0o755)
    with pytest.raises(MachineError, match=r"is open to others; remove it or set TMPDIR$"):
        own_folder()


def test_a_folder_that_takes_nothing_ends_in_a_sentence(elsewhere, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(MachineError, match=r"no temporary files in .*\(No space left on device\); set TMPDIR to a folder"):
        own_folder()


def test_a_file_in_its_place_ends_in_a_sentence(elsewhere):
    elsewhere.touch(mode=0o600)
    with pytest.raises(MachineError, match="set TMPDIR to a folder"):
        meet()

"""Copies of packed data on a machine's own disk: shared, verified, made anew when damaged, and never in the way."""

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from avs_rig import write_world

from dgsct.data.packed import Packed
from dgsct.engine.execute import execute
from dgsct.engine.execution import Execution
from dgsct.engine.scratch import local_copy
from dgsct.errors import DgsctError, Stopped
from dgsct.runs.run import Run

ARRAYS = ("frames", "wave", "logmel", "masks", "vggish_examples", "annotated")


@pytest.fixture
def packed(tmp_path):
    """A prepared set whose manifest has the arrays' checksums, as `dgsct prepare` writes them."""
    folder = write_world(tmp_path) / "data/mini/avs-s4/packed"
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, said in manifest["arrays"].items():
        said["sha256"] = hashlib.sha256(np.ascontiguousarray(np.load(folder / f"{name}.npy")).data).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def same(one, other) -> bool:
    return all((one / f"{n}.npy").read_bytes() == (other / f"{n}.npy").read_bytes() for n in ARRAYS)


def flip(path, keep_stamp=False):
    stat = path.stat()
    with open(path, "rb+") as file:
        file.seek(-2, 2)
        byte = file.read(1)[0]
        file.seek(-2, 2)
        file.write(bytes([byte ^ 1]))
    if keep_stamp:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_a_copy_is_made_once_and_serves_all(packed, tmp_path):
    copy = local_copy(packed, str(tmp_path / "disk"))
    assert copy.is_relative_to(tmp_path / "disk")
    assert same(copy, packed)
    assert Packed.open(copy).manifest == Packed.open(packed).manifest
    inodes = [(copy / f"{name}.npy").stat().st_ino for name in ARRAYS]
    assert local_copy(packed, str(tmp_path / "disk")) == copy
    assert [(copy / f"{name}.npy").stat().st_ino for name in ARRAYS] == inodes


def test_runs_that_start_together_copy_once(packed, tmp_path):
    start = (
        "import sys, shutil; from pathlib import Path; from dgsct.engine import scratch; copy = scratch._copy\n"
        "def noted(*a): print('copied'); copy(*a)\n"
        "scratch._copy = noted; print(scratch.local_copy(Path(sys.argv[1]), sys.argv[2]))"
    )
    command = [sys.executable, "-c", start, str(packed), str(tmp_path / "disk")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate()[0].split() for process in processes]
    assert len({lines[-1] for lines in said}) == 1
    assert sum("copied" in lines for lines in said) == 1


@pytest.mark.parametrize("damage", ["flipped", "flipped with its old stamp", "truncated", "missing", "not verified"])
def test_a_damaged_copy_is_made_anew(packed, tmp_path, monkeypatch, damage):
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    copy = local_copy(packed, str(tmp_path / "disk"))
    path = copy / "wave.npy"
    if damage == "flipped":
        flip(path)
    elif damage == "flipped with its old stamp":  # seen by the next job, which reads it whole
        flip(path, keep_stamp=True)
        monkeypatch.setenv("SLURM_JOB_ID", "2")
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-8])
    elif damage == "missing":
        path.unlink()
    else:
        flip(path)
        (copy / "verified.json").unlink()
    assert local_copy(packed, str(tmp_path / "disk")) == copy
    assert same(copy, packed)


@pytest.mark.parametrize("place", ["$NO_SUCH_VARIABLE/x", "not/absolute", "/proc/nothing"])
def test_where_there_is_no_disk_the_shared_one_is_read(packed, capsys, place):
    assert local_copy(packed, place) == packed
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "reading" in said


def test_no_room_is_one_notice(packed, capsys, small_disk):
    assert local_copy(packed, str(small_disk)) == packed
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "GB are free); reading the shared disk" in said
    assert not [p for p in small_disk.rglob("*") if p.suffix == ".npy"]


def test_damaged_data_are_no_data(packed, tmp_path):
    flip(packed / "masks.npy")
    with pytest.raises(DgsctError, match=r"masks\.npy is not what its manifest says; prepare the data again"):
        local_copy(packed, str(tmp_path / "disk"))
    assert not list((tmp_path / "disk").rglob("*.npy"))


def test_a_copy_is_stopped_when_asked(packed, tmp_path):
    with pytest.raises(Stopped, match="while the packed data were copied"):
        local_copy(packed, str(tmp_path / "disk"), lambda: True)
    assert not list((tmp_path / "disk").rglob("*.npy"))


def test_the_record_is_the_same_to_the_bit(packed, tmp_path, pixels, monkeypatch):
    monkeypatch.setenv("NODE_DISK", str(tmp_path / "disk"))
    opened = []
    whole = Packed.open.__func__
    monkeypatch.setattr(Packed, "open", classmethod(lambda cls, folder: opened.append(folder) or whole(cls, folder)))
    run, told = Run("avs-s4", "pixels", seed=1), []
    for execution in (Execution(), Execution(scratch="$NODE_DISK")):
        path = execute(run, tmp_path, execution)
        record = json.loads(path.read_text())
        told.append((record["key"], record["metrics"], [e["loss"] for e in record["curve"]]))
        path.unlink()
        (path.parent / "checkpoints/finished.json").unlink()
    assert told[0] == told[1]
    assert opened[0] == packed
    assert opened[-1].is_relative_to(tmp_path / "disk")

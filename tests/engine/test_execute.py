"""One run, for real, on a small generated set: records, determinism, kill and resume, bundles, clear refusals.

What a model must do for it is proven of every model in `conformance`; here DG-SCT goes the whole way, and the toy
method as often as needed. What a run in several processes does: `test_processes.py`.
"""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from fork_rig import Forked, command_line
from pixels import PACE
from safetensors import safe_open
from toy_rig import DG_SCT, clone, killed, read, wait_for, without_times, worker

from dgsct.engine.execute import execute
from dgsct.engine.recipe import epoch_batches
from dgsct.engine.run_lock import RunLock
from dgsct.engine.worker import _socket_path
from dgsct.errors import DgsctError
from dgsct.records.results import validity
from dgsct.runs.run import Run
from dgsct.settings.recipe import Recipe

TOY = Run("ave", "pixels", seed=1)
SLOWLY = "0.05"  # seconds of a step: so long that a signal meets it in its training


@pytest.fixture
def root(mini_world, tmp_path, toys) -> Path:
    return clone(mini_world, tmp_path / "results")


@pytest.fixture
def undisturbed(mini_world, tmp_path, pixels) -> dict:
    """The record of the toy, trained in this process without any disturbance."""
    other = clone(mini_world, tmp_path / "undisturbed")
    execute(TOY, other)
    return read(other, TOY)


@pytest.fixture
def slowly(monkeypatch) -> None:
    monkeypatch.setenv(PACE, SLOWLY)


def checkpoints(root: Path, run: Run = TOY) -> set[str]:
    return {path.name for path in (root / run.folder / "checkpoints").glob("step-*")}


def started(root: Path, run: Run = TOY, *options: str) -> subprocess.Popen:
    """The DAG's command for a run, which the run server trains."""
    command = worker(root, run, *options)
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finished(root: Path, run: Run = TOY, *options: str) -> str:
    """What is printed until the run is over, which must be a good end."""
    done = subprocess.run(worker(root, run, *options), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_record_tells_everything(trained):
    record = read(trained, DG_SCT)
    assert record["reported"] == "acc_batch8"
    assert record["selection"] == "test"
    assert len(record["curve"]) == record["resolved"]["recipe"]["epochs"]
    assert 0 <= record["metrics"]["acc_exact"] <= 100
    assert record["coverage"]["test"]["present"] == record["coverage"]["test"]["total"]
    assert set(record["curve"][0]["loss_terms"]) == {"relevance", "gate", "events", "av"}


def test_learning_rate_falls_by_the_schedule(trained):
    record = read(trained, DG_SCT)
    recipe = record["resolved"]["recipe"]
    for entry in record["curve"]:
        expected = recipe["lr"] * recipe["lr_gamma"] ** ((entry["epoch"] - 1) // recipe["lr_step"])
        assert entry["lr"] == pytest.approx(expected)
    assert record["curve"][-1]["lr"] < recipe["lr"]


def test_best_weights_are_the_model_without_what_is_frozen(trained):
    with safe_open(trained / DG_SCT.folder / "checkpoints/best.safetensors", "pt") as best:
        assert int(best.metadata()["epoch"]) == read(trained, DG_SCT)["best_epoch"]
        names = set(best.keys())
    assert "temporal.audio_gate.theta.weight" in names
    assert "backbone.encoders.htsat.bn0.running_mean" in names  # drifts in training, so it belongs to the result
    assert not any(name.startswith("backbone.encoders.swin") for name in names)


def test_dg_sct_killed_on_its_way_ends_with_the_same_bits(trained, root):
    """By the run server, whose forks have trained nothing before."""
    process = started(root, DG_SCT)
    wait_for(lambda: checkpoints(root, DG_SCT) or process.poll() is not None, "checkpoint")
    killed(root, DG_SCT, signal.SIGKILL)
    assert process.wait() == 128 + signal.SIGKILL
    assert "resumed at epoch" in finished(root, DG_SCT)
    assert read(root, DG_SCT) == read(trained, DG_SCT)


def test_killed_at_random_moments_it_ends_with_the_same_bits(root, undisturbed, monkeypatch, slowly):
    luck, kills = random.Random(5), 0
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
        seen = checkpoints(root)
        assert len(seen) <= 3  # two, and a new one where the kill came before the oldest was deleted
        process = started(root)
        wait_for(lambda seen=seen, process=process: checkpoints(root) - seen or process.poll() is not None, "checkpoint")
        time.sleep(luck.uniform(0, 0.3))
        killed(root, TOY, number)
        if code := process.wait():
            kills += 1
            assert code == (75 if number == signal.SIGTERM else 128 + signal.SIGKILL)
            assert not (root / TOY.folder / "record.json").exists()
    assert kills >= 2
    monkeypatch.delenv(PACE)
    finished(root)
    assert read(root, TOY) == undisturbed
    assert not checkpoints(root)


def test_a_bundle_gives_the_same_records_as_a_run_alone(root, undisturbed, tmp_path):
    other = Run.make("ave", "pixels", seed=2)
    folders = [root / run.folder for run in (TOY, other)]
    bundle = Forked(command_line("bundle", *folders, "--jobs", "2"), tmp_path / "said")
    assert bundle.wait() == 0
    assert "2/2" in bundle.said()
    assert read(root, TOY) == undisturbed
    assert read(root, other)["run"]["seed"] == 2


def test_the_run_server_gives_the_same_record_and_passes_signals_on(root, undisturbed, slowly):
    process = started(root)
    wait_for(lambda: checkpoints(root) or process.poll() is not None, "checkpoint")
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 75
    assert "resumed" in finished(root)
    assert read(root, TOY) == undisturbed


def test_a_valid_record_is_left_alone_and_a_stale_one_is_made_again(root):
    run = Run.make("ave", "majority-class")
    path = execute(run, root)
    before = path.read_bytes()
    execute(run, root)
    assert path.read_bytes() == before
    record = json.loads(before)
    path.write_text(json.dumps({**record, "key": "0" * 64}))
    execute(run, root)
    assert json.loads(path.read_text())["key"] == record["key"]


def test_a_client_that_dies_early_does_not_hold_up_the_run_server(root):
    finished(root, Run.make("ave", "all-background"))
    with socket.socket(socket.AF_UNIX) as dying:
        dying.connect(str(_socket_path()))
    run = Run.make("ave", "majority-class")
    subprocess.run(worker(root, run), check=True, capture_output=True, timeout=60)
    assert (root / run.folder / "record.json").exists()


def test_what_a_stopped_bundle_did_not_start_counts_as_stopped(root, tmp_path, slowly):
    folders = [root / Run.make("ave", "pixels", seed=seed).folder for seed in (1, 2)]
    bundle = Forked(command_line("bundle", *folders), tmp_path / "said")
    wait_for(lambda: Path(folders[0], "lock.json").exists() or bundle.poll() is not None, "lock")
    bundle.send_signal(signal.SIGTERM)
    assert bundle.wait() == 75
    assert not Path(folders[1]).exists()


def test_a_bundle_stops_in_time(root, tmp_path):
    bundle = Forked(command_line("bundle", root / TOY.folder, "--time-budget", "2"), tmp_path / "said")
    assert bundle.wait() == 75  # two minutes are the margin
    assert "stopped at epoch 1, step 1" in (root / TOY.folder / "log.txt").read_text()


def test_yardsticks(root):
    accuracy = {}
    for method in ("all-background", "majority-class", "oracle-category"):
        accuracy[method] = json.loads(execute(Run.make("ave", method), root).read_text())["metrics"]["acc_exact"]
    assert accuracy["all-background"] + accuracy["oracle-category"] == pytest.approx(100)
    assert accuracy["majority-class"] < accuracy["oracle-category"]


def test_a_second_copy_is_refused_while_the_first_lives(root):
    with RunLock(root / TOY.folder), pytest.raises(DgsctError, match=f"process {os.getpid()} on .*; wait for it"):
        execute(TOY, root)
    with RunLock(root / TOY.folder):  # given back by the first, refused to the second, free again
        pass


def test_a_run_stops_by_itself_before_its_time_is_over_and_goes_on_later(root, undisturbed):
    done = subprocess.run(worker(root, TOY, "--time-budget", "2"), capture_output=True, text=True)  # all of it is the margin
    assert done.returncode == 75
    assert "stopped at epoch 1, step 1; start it again" in done.stderr
    finished(root, TOY, "--time-budget", "60")
    assert read(root, TOY) == undisturbed


def test_missing_data_is_one_sentence(tmp_path, toys):
    done = subprocess.run(worker(tmp_path, DG_SCT), capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("dgsct: ")
    assert "manifest.json is missing or unreadable; make it with `snakemake " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_finished_training_is_not_repeated(root, undisturbed):
    """Killed between the end of training and the record, or its record deleted by the DAG: the outcome is taken up."""
    finished(root)
    folder = root / TOY.folder
    assert sorted(p.name for p in (folder / "checkpoints").iterdir()) == ["best.safetensors", "finished.json", "units.npz"]
    record = json.loads((folder / "record.json").read_text())
    (folder / "record.json").unlink()
    assert "epoch" not in finished(root)
    assert json.loads((folder / "record.json").read_text()) == record
    assert without_times(record) == undisturbed


def test_a_failure_is_noted_with_its_reason_until_the_run_succeeds(root, mini_world):
    (root / "encoders").unlink()
    shutil.copytree(mini_world / "encoders", root / "encoders")
    weights = root / "encoders/mini/swin.safetensors"
    content = weights.read_bytes()
    weights.unlink()
    done = subprocess.run(worker(root, DG_SCT), capture_output=True, text=True)
    assert done.returncode == 1
    assert "swin.safetensors are missing" in done.stderr
    state = validity(DG_SCT, root)
    assert state.name == "failed"
    assert "swin.safetensors are missing" in state.reason
    weights.write_bytes(content)
    process = started(root, DG_SCT)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait() == 75
    assert validity(DG_SCT, root).name == "failed"  # until it succeeds: being stopped is no success


def test_a_full_disk_is_one_sentence_and_the_run_goes_on_when_there_is_room(mini_world, small_disk, toys, undisturbed):
    """Whichever write it is that meets the end of the disk."""
    root = clone(mini_world, small_disk / "results")
    for pages in (1, 2, 4, 8, 12):
        (small_disk / "filler").unlink(missing_ok=True)
        (small_disk / "filler").write_bytes(bytes(shutil.disk_usage(small_disk).free - pages * 4096))
        done = subprocess.run(worker(root, TOY), capture_output=True, text=True)
        assert done.returncode == 1
        assert done.stderr.count("dgsct: cannot write ") == 1, done.stderr
        assert "free space" in done.stderr
        assert "Traceback" not in done.stderr
        assert not list((root / TOY.folder).glob("**/.*"))
        assert not (root / TOY.folder / "record.json").exists()
    subprocess.run(["mount", "-o", "remount,size=100m", str(small_disk)], check=True)
    finished(root)
    assert read(root, TOY) == undisturbed


def test_batches_depend_on_seed_and_epoch_alone_and_cover_every_clip():
    rows = np.arange(100, 121)
    recipe = Recipe(epochs=1, patience=1, batch_size=8, lr=1e-3)
    first = epoch_batches(rows, recipe, seed=3, epoch=2)
    assert [len(b) for b in first] == [8, 8, 5]
    assert sorted(np.concatenate(first)) == sorted(rows)
    assert all(np.array_equal(a, b) for a, b in zip(first, epoch_batches(rows, recipe, 3, 2), strict=True))
    assert not np.array_equal(np.concatenate(first), np.concatenate(epoch_batches(rows, recipe, 3, 3)))

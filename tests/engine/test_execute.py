"""One run, for real, on a small generated set: records, determinism, kill and resume, bundles, clear refusals."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from dgsct.engine.execute import execute
from dgsct.engine.recipe import epoch_batches
from dgsct.engine.run_lock import RunLock
from dgsct.engine.worker import _socket_path
from dgsct.errors import DgsctError
from dgsct.records.results import validity
from dgsct.runs.run import Run
from dgsct.settings.recipe import Recipe

TIMES = ("seconds", "seconds_per_update", "provenance", "peak_memory_bytes")


def without_times(value):
    """A record without what the clock decides."""
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if k not in TIMES}
    return [without_times(v) for v in value] if isinstance(value, list) else value


def read(root: Path, run: Run) -> dict:
    return without_times(json.loads((root / run.folder / "record.json").read_text()))


def clone(world: Path, target: Path) -> Path:
    """A results folder that shares the prepared data and encoders of `world`."""
    target.mkdir()
    for name in ("data", "encoders"):
        (target / name).symlink_to(world / name)
    return target


def command(root: Path, run: Run) -> list[str]:
    """The DAG's: the run server trains."""
    return [sys.executable, "-m", "dgsct.engine.worker", "train", str(root / run.folder)]


def alone(root: Path, run: Run) -> list[str]:
    """A process that trains itself."""
    return [sys.executable, "-m", "dgsct.engine.execute", str(root / run.folder)]


DG_SCT = Run.make("ave", "dg-sct", seed=1)


@pytest.fixture(scope="module")
def undisturbed(mini_world, tmp_path_factory) -> dict:
    root = clone(mini_world, tmp_path_factory.mktemp("undisturbed") / "results")
    subprocess.run(alone(root, DG_SCT), check=True, capture_output=True)
    return read(root, DG_SCT)


def test_record_tells_everything(undisturbed):
    assert undisturbed["reported"] == "acc_batch8"
    assert undisturbed["selection"] == "test"
    assert len(undisturbed["curve"]) == undisturbed["resolved"]["recipe"]["epochs"]
    assert 0 <= undisturbed["metrics"]["acc_exact"] <= 100
    assert undisturbed["coverage"]["test"]["present"] == undisturbed["coverage"]["test"]["total"]
    assert set(undisturbed["curve"][0]["loss_terms"]) == {"relevance", "gate", "events", "av"}


def test_learning_rate_falls_by_the_schedule(undisturbed):
    recipe = undisturbed["resolved"]["recipe"]
    for entry in undisturbed["curve"]:
        expected = recipe["lr"] * recipe["lr_gamma"] ** ((entry["epoch"] - 1) // recipe["lr_step"])
        assert entry["lr"] == pytest.approx(expected)


def test_killed_at_random_moments_it_ends_with_the_same_bits(mini_world, tmp_path, undisturbed):
    root = clone(mini_world, tmp_path / "results")
    luck = random.Random(5)
    checkpoints = root / DG_SCT.folder / "checkpoints"
    kills = 0
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        seen = {p.name for p in checkpoints.glob("step-*")}
        assert len(seen) <= 2
        process = subprocess.Popen(alone(root, DG_SCT), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and {p.name for p in checkpoints.glob("step-*")} <= seen:
            time.sleep(0.02)
        time.sleep(luck.uniform(0, 0.6))
        process.send_signal(number)
        code = process.wait()
        if code:
            kills += 1
            assert code == (75 if number == signal.SIGTERM else -signal.SIGKILL)
            assert not (root / DG_SCT.folder / "record.json").exists()
    assert kills >= 2
    subprocess.run(command(root, DG_SCT), check=True, capture_output=True)
    assert read(root, DG_SCT) == undisturbed
    assert not list(checkpoints.glob("step-*"))


def test_a_bundle_gives_the_same_records_as_a_run_alone(mini_world, tmp_path, undisturbed):
    root = clone(mini_world, tmp_path / "results")
    other = Run.make("ave", "late-fusion", seed=1)
    folders = [str(root / run.folder) for run in (DG_SCT, other)]
    done = subprocess.run(
        [sys.executable, "-m", "dgsct.cli", "bundle", *folders, "--jobs", "2"], check=True, capture_output=True, text=True
    )
    assert "2/2" in done.stdout
    assert read(root, DG_SCT) == undisturbed
    assert read(root, other)["run"]["method"] == "late-fusion"


def test_the_run_server_gives_the_same_record_and_passes_signals_on(mini_world, tmp_path, undisturbed):
    root = clone(mini_world, tmp_path / "results")
    process = subprocess.Popen(command(root, DG_SCT), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while process.poll() is None and not list((root / DG_SCT.folder / "checkpoints").glob("step-*")):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 75
    done = subprocess.run(command(root, DG_SCT), check=True, capture_output=True, text=True)
    assert "resumed" in done.stdout
    assert read(root, DG_SCT) == undisturbed


def test_a_valid_record_is_left_alone_and_a_stale_one_is_made_again(mini_world, tmp_path):
    root = clone(mini_world, tmp_path / "results")
    run = Run.make("ave", "majority-class")
    path = execute(run, root)
    before = path.read_bytes()
    execute(run, root)
    assert path.read_bytes() == before
    record = json.loads(before)
    path.write_text(json.dumps({**record, "key": "0" * 64}))
    execute(run, root)
    assert json.loads(path.read_text())["key"] == record["key"]


def test_a_client_that_dies_early_does_not_hold_up_the_run_server(mini_world, tmp_path):
    root = clone(mini_world, tmp_path / "results")
    subprocess.run(command(root, Run.make("ave", "all-background")), check=True, capture_output=True)
    with socket.socket(socket.AF_UNIX) as dying:
        dying.connect(str(_socket_path()))
    run = Run.make("ave", "majority-class")
    subprocess.run(command(root, run), check=True, capture_output=True, timeout=60)
    assert (root / run.folder / "record.json").exists()


def test_what_a_stopped_bundle_did_not_start_counts_as_stopped(mini_world, tmp_path):
    root = clone(mini_world, tmp_path / "results")
    folders = [str(root / Run.make("ave", "dg-sct", seed=seed).folder) for seed in (1, 2)]
    process = subprocess.Popen(
        [sys.executable, "-m", "dgsct.cli", "bundle", *folders], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    while process.poll() is None and not Path(folders[0], "lock.json").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 75
    assert not Path(folders[1]).exists()


def test_a_bundle_stops_in_time(mini_world, tmp_path):
    root = clone(mini_world, tmp_path / "results")
    folder = root / Run.make("ave", "late-fusion").folder
    bundle = [sys.executable, "-m", "dgsct.cli", "bundle", str(folder), "--time-budget", "2"]  # two minutes are the margin
    assert subprocess.run(bundle, capture_output=True).returncode == 75
    assert "stopped at epoch 1, step 1" in (folder / "log.txt").read_text()


def test_yardsticks(mini_world, tmp_path):
    root = clone(mini_world, tmp_path / "results")
    accuracy = {}
    for method in ("all-background", "majority-class", "oracle-category"):
        accuracy[method] = json.loads(execute(Run.make("ave", method), root).read_text())["metrics"]["acc_exact"]
    assert accuracy["all-background"] + accuracy["oracle-category"] == pytest.approx(100)
    assert accuracy["majority-class"] < accuracy["oracle-category"]


@pytest.mark.parametrize(
    ("protocol", "options"),
    [
        ("clean", {}),
        ("paper", {}),
        ("release", {"S": False, "T": False}),
        ("release", {"head": "cmbs_full", "tile": 3, "precision": "bf16"}),
    ],
)
def test_every_protocol_and_switch_trains(mini_world, tmp_path, protocol, options):
    root = clone(mini_world, tmp_path / "results")
    run = Run.make("ave", "dg-sct", options, protocol)
    process = subprocess.Popen(command(root, run), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in process.stdout:
        if line.startswith("epoch 1/"):
            process.send_signal(signal.SIGTERM)
            assert ("val" in line) == (protocol != "release")
    assert process.wait() == 75


def test_a_second_copy_is_refused_while_the_first_lives(mini_world, tmp_path):
    root = clone(mini_world, tmp_path / "results")
    with RunLock(root / DG_SCT.folder), pytest.raises(DgsctError, match=f"process {os.getpid()} on .*; wait for it"):
        execute(DG_SCT, root)
    with RunLock(root / DG_SCT.folder):  # given back by the first, refused to the second, free again
        pass


def test_a_run_stops_by_itself_before_its_time_is_over_and_goes_on_later(mini_world, tmp_path, undisturbed):
    root = clone(mini_world, tmp_path / "results")
    two_minutes = [*command(root, DG_SCT), "--time-budget", "2"]  # all of them are the margin
    done = subprocess.run(two_minutes, capture_output=True, text=True)
    assert done.returncode == 75
    assert "stopped at epoch 1, step 1; start it again" in done.stderr
    subprocess.run([*command(root, DG_SCT), "--time-budget", "60"], check=True, capture_output=True)
    assert read(root, DG_SCT) == undisturbed


def test_missing_data_is_one_sentence(tmp_path):
    done = subprocess.run(command(tmp_path, DG_SCT), capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("dgsct: ")
    assert "manifest.json is missing or unreadable; make it with `snakemake " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_finished_training_is_not_repeated_and_leaves_its_best_weights(mini_world, tmp_path, undisturbed):
    """Killed between the end of training and the record, or its record deleted by the DAG: the outcome is taken up."""
    root = clone(mini_world, tmp_path / "results")
    subprocess.run(command(root, DG_SCT), check=True, capture_output=True)
    folder = root / DG_SCT.folder
    assert sorted(p.name for p in (folder / "checkpoints").iterdir()) == ["best.safetensors", "finished.json", "units.npz"]
    (folder / "record.json").unlink()
    begin = time.monotonic()
    execute(DG_SCT, root)
    assert time.monotonic() - begin < 5
    assert read(root, DG_SCT) == undisturbed
    with safe_open(folder / "checkpoints/best.safetensors", "pt") as best:
        assert int(best.metadata()["epoch"]) == undisturbed["best_epoch"]
        names = set(best.keys())
    assert "temporal.audio_gate.theta.weight" in names
    assert "backbone.encoders.htsat.bn0.running_mean" in names  # drifts in training, so it belongs to the result
    assert not any(name.startswith("backbone.encoders.swin") for name in names)


def test_a_failure_is_noted_with_its_reason_until_the_run_succeeds(mini_world, tmp_path):
    root = clone(mini_world, tmp_path / "results")
    (root / "encoders").unlink()
    shutil.copytree(mini_world / "encoders", root / "encoders")
    weights = root / "encoders/mini/swin.safetensors"
    content = weights.read_bytes()
    weights.unlink()
    done = subprocess.run(command(root, DG_SCT), capture_output=True, text=True)
    assert done.returncode == 1
    assert "swin.safetensors are missing" in done.stderr
    state = validity(DG_SCT, root)
    assert state.name == "failed"
    assert "swin.safetensors are missing" in state.reason
    weights.write_bytes(content)
    process = subprocess.Popen(command(root, DG_SCT), stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait() == 75
    assert validity(DG_SCT, root).name == "failed"  # until it succeeds: being stopped is no success


def test_a_full_disk_is_one_sentence_and_the_run_goes_on_when_there_is_room(mini_world, small_disk, undisturbed):
    """Whichever write it is that meets the end of the disk."""
    root = clone(mini_world, small_disk / "results")
    for filled in (2_990_000, 2_600_000, 1_800_000, 1_000_000):
        (small_disk / "filler").write_bytes(bytes(filled))
        done = subprocess.run(command(root, DG_SCT), capture_output=True, text=True)
        assert done.returncode == 1
        assert done.stderr.count("dgsct: cannot write ") == 1, done.stderr
        assert "free space" in done.stderr
        assert "Traceback" not in done.stderr
        assert not list((root / DG_SCT.folder).glob("**/.*"))
        assert not (root / DG_SCT.folder / "record.json").exists()
    subprocess.run(["mount", "-o", "remount,size=100m", str(small_disk)], check=True)
    subprocess.run(command(root, DG_SCT), check=True, capture_output=True)
    assert read(root, DG_SCT) == undisturbed


def test_a_damaged_checkpoint_is_passed_over_with_a_notice(mini_world, tmp_path, undisturbed):
    root = clone(mini_world, tmp_path / "results")
    process = subprocess.Popen(command(root, DG_SCT), stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("epoch 2/"):
            process.send_signal(signal.SIGTERM)
    assert process.wait() == 75
    newest = max((root / DG_SCT.folder / "checkpoints").glob("step-*")) / "model.safetensors"
    newest.write_bytes(newest.read_bytes()[:-100])
    done = subprocess.run(command(root, DG_SCT), check=True, capture_output=True, text=True)
    assert f"checkpoint {newest.parent.name} is damaged" in done.stdout
    assert "resumed at epoch" in done.stdout
    assert read(root, DG_SCT) == undisturbed


def as_on_two_gpus(root: Path, run: Run) -> list[str]:
    """The DAG's command at a scale whose long runs take two GPUs; without a GPU the processes talk by gloo."""
    change = "from dataclasses import replace; from dgsct.engine import worker; from dgsct.settings import scales"
    change += "; scales.SCALES['mini'] = replace(scales.MINI, gpus=2, short_runs=False)"
    return [sys.executable, "-c", f"{change}; raise SystemExit(worker.main())", "train", str(root / run.folder)]


def test_two_processes_stopped_once_agree_with_one(mini_world, tmp_path):
    """Within two segments of the test clips: each process draws its own dropout."""
    run = Run.make("ave", "late-fusion", seed=1)
    one, two = clone(mini_world, tmp_path / "one"), clone(mini_world, tmp_path / "two")
    subprocess.run(command(one, run), check=True, capture_output=True)
    process = subprocess.Popen(as_on_two_gpus(two, run), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not list((two / run.folder / "checkpoints").glob("step-*")):
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)  # to the launcher, which tells both
    assert process.wait() == 75
    done = subprocess.run(as_on_two_gpus(two, run), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("resumed at epoch") == 1  # one process speaks
    alone, shared = read(one, run), read(two, run)
    assert len(shared["curve"]) == len(alone["curve"])
    for name, value in shared["metrics"].items():
        segments = 2 if name in ("acc_exact", "acc_batch8") else 20  # a category is that of a clip of ten segments
        assert value == pytest.approx(alone["metrics"][name], abs=segments * 100 / (12 * 10)), name


NO_CHANCE = """
import sys
from torch import nn
from dgsct.engine.execute import main
nn.Dropout.forward = lambda self, x: x
made = nn.MultiheadAttention.__init__
nn.MultiheadAttention.__init__ = lambda self, *args, dropout=0.0, **more: made(self, *args, **more)
sys.exit(main(sys.argv[1:]))
"""


def test_two_processes_of_dg_sct_normalise_whole_batches(mini_world, tmp_path):
    """Without dropout, DG-SCT, whose adapters use statistics of the batch, learns as in one process."""
    run = Run.make("ave", "dg-sct", protocol="clean", seed=1)
    (tmp_path / "main.py").write_text(NO_CHANCE)
    records = []
    for count in (1, 2):
        root = clone(mini_world, tmp_path / str(count))
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        call = [*launch, str(tmp_path / "main.py"), str(root / run.folder)]
        done = subprocess.run(call, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        records.append(read(root, run))
    one, two = records
    for alone, shared in zip(one["curve"], two["curve"], strict=True):
        assert shared["loss"] == pytest.approx(alone["loss"], rel=1e-5)
    assert two["metrics"] == pytest.approx(one["metrics"], abs=100 / (12 * 10))  # a segment of the test clips


def test_two_processes_share_every_batch_and_write_one_record(mini_world, tmp_path, undisturbed):
    root = clone(mini_world, tmp_path / "results")
    done = subprocess.run(as_on_two_gpus(root, DG_SCT), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 1/") == 1
    record = read(root, DG_SCT)
    assert len(record["curve"]) == len(undisturbed["curve"])
    assert record["curve"][-1]["loss"] < record["curve"][0]["loss"]


THE_SECOND_FAILS = """
import os
if os.environ.get("RANK") == "1":
    from dgsct.engine.training import Training
    whole = Training._step
    def step(self, *batch):
        if self.progress.step == 5:
            raise ValueError("an index beyond the last class")
        return whole(self, *batch)
    Training._step = step
"""


def test_a_process_that_fails_alone_counts_as_the_run(mini_world, tmp_path, monkeypatch):
    """The first process only waits for it. At the second time a failed record is the outcome, and that is no failure."""
    root, run = clone(mini_world, tmp_path / "results"), Run.make("ave", "late-fusion", seed=1)
    (tmp_path / "sitecustomize.py").write_text(THE_SECOND_FAILS)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[2]}")
    first = subprocess.run(as_on_two_gpus(root, run), capture_output=True, text=True)
    assert first.returncode not in (0, 75)
    assert validity(run, root).reason == "ValueError: an index beyond the last class"
    second = subprocess.run(as_on_two_gpus(root, run), capture_output=True, text=True)
    assert second.returncode == 0, second.stderr
    assert validity(run, root).given_up


def test_a_failure_in_two_processes_is_told(tmp_path):
    done = subprocess.run(as_on_two_gpus(tmp_path, DG_SCT), capture_output=True, text=True)
    assert done.returncode == 1
    assert "manifest.json is missing or unreadable; make it with" in done.stderr


def test_batches_depend_on_seed_and_epoch_alone_and_cover_every_clip():
    rows = np.arange(100, 121)
    recipe = Recipe(epochs=1, patience=1, batch_size=8, lr=1e-3)
    first = epoch_batches(rows, recipe, seed=3, epoch=2)
    assert [len(b) for b in first] == [8, 8, 5]
    assert sorted(np.concatenate(first)) == sorted(rows)
    assert all(np.array_equal(a, b) for a, b in zip(first, epoch_batches(rows, recipe, 3, 2), strict=True))
    assert not np.array_equal(np.concatenate(first), np.concatenate(epoch_batches(rows, recipe, 3, 3)))

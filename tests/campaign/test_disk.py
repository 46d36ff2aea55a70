"""Disk reckoned from sizes: against models, prepared clips and checkpoints that are really there."""

import signal
import time
from dataclasses import replace

import pytest
from fork_rig import Forked
from toy_rig import DG_SCT

from dgsct.campaign.disk import (
    CHECKPOINT_BYTES,
    CHECKPOINTS,
    WEIGHT_BYTES,
    data_bytes,
    disk_needed,
    feature_bytes,
)
from dgsct.campaign.step_times import StepTime
from dgsct.encoders.public import module_of
from dgsct.encoders.sources import WEIGHTS
from dgsct.engine.checkpoint import KEEP
from dgsct.engine.execute import main
from dgsct.methods import METHODS
from dgsct.runs.run import Run
from dgsct.settings.scales import MINI, PAPER, SCALES
from dgsct.tasks.ave.files import AVE
from dgsct.tasks.avs.files import S4


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("encoder", WEIGHTS)
def test_encoders_are_as_large_as_said(scale, encoder):
    """How many numbers a model trains: conformance/test_methods.py."""
    state = module_of(encoder, SCALES[scale]).state_dict()
    assert sum(t.numel() * t.element_size() for t in state.values()) == WEIGHTS[encoder].stored[scale]


def test_prepared_clips_are_as_large_as_said(mini_world):
    folder = mini_world / "data/mini/ave/packed"
    real = sum((folder / f"{name}.npy").stat().st_size for name in ("frames", "wave", "logmel"))
    assert real == pytest.approx(44 * AVE.bytes_of_clip(MINI), rel=1e-3)  # 24 + 8 + 12 clips
    assert data_bytes("ave", "mini") == 180 * AVE.bytes_of_clip(MINI)
    assert data_bytes("avs-s4", "paper") == 4932 * S4.bytes_of_clip(PAPER)


def test_best_weights_are_as_large_as_said(trained):
    best = (trained / DG_SCT.folder / "checkpoints/best.safetensors").stat().st_size
    assert best == pytest.approx(WEIGHT_BYTES * DG_SCT.part.trainable["mini"], rel=0.05)


def test_checkpoints_are_as_large_as_said(mini_world, tmp_path):
    for name in ("data", "encoders"):
        (tmp_path / name).symlink_to(mini_world / name)
    run = Run.make("ave", "dg-sct")
    folder = tmp_path / run.folder / "checkpoints"
    process = Forked(lambda: main([str(tmp_path / run.folder)]), tmp_path / "said")
    while process.poll() is None and len(list(folder.glob("step-*"))) < KEEP:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 75
    for path in folder.glob("step-*"):
        share = sum(file.stat().st_size for file in path.iterdir()) / (CHECKPOINT_BYTES * run.part.trainable["mini"])
        # Parameters that never get a gradient have no moments: two fifths of them at this scale.
        assert 0.7 < share < 1.02


def test_the_largest_runs_train_at_a_time_and_all_weights_stay(tmp_path):
    runs = [(Run.make("ave", name, scale="paper"), None) for name in ("late-fusion", "dg-sct", "lavish-star")]
    disk = disk_needed(runs, tmp_path, "paper", count=2)
    assert disk.checkpoints == CHECKPOINTS * 12 * (201_160_647 + 114_766_359)
    assert disk.results == 4 * (201_160_647 + 114_766_359 + 12_621_783) + 3 * 100_000
    # 4,097 videos of 10 frames (float16), 10 s at 32 kHz and 10 x 201 x 64 log-mel values (float32)
    assert disk.data == 4097 * (10 * 3 * 192 * 192 * 2 + 10 * 32_000 * 4 + 10 * 201 * 64 * 4)
    assert disk.encoders == 915_090_196 + 125_301_092
    assert disk.total == disk.checkpoints + disk.results + disk.data + disk.encoders
    assert (disk.there, disk.unknown) == ((), ())


def test_weights_that_do_not_stay_take_room_while_their_run_trains(tmp_path):
    runs = [(Run.make("ave", name, scale="paper"), None) for name in ("late-fusion", "dg-sct", "lavish-star")]
    disk = disk_needed(runs, tmp_path, "paper", count=2, passing={runs[1][0], runs[2][0]})
    assert disk.checkpoints == (CHECKPOINTS * 12 + 4) * (201_160_647 + 114_766_359)
    assert disk.results == 4 * 12_621_783 + 3 * 100_000


def test_what_is_there_is_not_counted_again(mini_world):
    disk = disk_needed([(Run.make("ave", "dg-sct"), None)], mini_world, "mini", count=1)
    assert (disk.data, disk.encoders) == (0, 0)
    assert disk.there == ("prepared data of ave", "encoder swin", "encoder htsat")


def test_features_are_as_large_as_said(tmp_path):
    """VGGish of every second, float32; its encoder is needed for them, though no model holds it."""
    clips = data_bytes("avs-s4", "mini") // S4.bytes_of_clip(MINI)
    assert feature_bytes("avs-s4", "vggish", "mini") == clips * 5 * 128 * 4
    disk = disk_needed([(Run.make("avs-s4", "avs-pvt"), None)], tmp_path, "mini", count=1)
    assert disk.data == data_bytes("avs-s4", "mini") + feature_bytes("avs-s4", "vggish", "mini")
    assert disk.encoders == WEIGHTS["pvt"].stored["mini"] + WEIGHTS["vggish"].stored["mini"]


def test_nothing_to_train_needs_nothing(tmp_path):
    assert disk_needed([], tmp_path / "not/there", "paper", count=8).total == 0


def test_a_method_that_nobody_has_counted_is_as_large_as_its_record_says_or_named(tmp_path, monkeypatch):
    part = METHODS["dg-sct"].on("ave")
    uncounted = replace(METHODS["dg-sct"], parts={"ave": replace(part, trainable={})})
    monkeypatch.setitem(METHODS, "dg-sct", uncounted)
    run = Run.make("ave", "dg-sct", scale="paper")
    disk = disk_needed([(run, None)], tmp_path, "paper", count=1)
    assert (disk.checkpoints, disk.unknown) == (0, ("dg-sct",))
    disk = disk_needed([(run, StepTime(1.0, 1.0, None, 1_000, "a record"))], tmp_path, "paper", count=1)
    assert (disk.checkpoints, disk.unknown) == (36_000, ())

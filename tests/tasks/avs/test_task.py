"""The AVS task: batches, which frames count, streamed statistics, measures, absent clips, clips of training videos."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from avs_rig import COUNTS, SIDE, T, write_packed

from dgsct.settings.scales import MINI
from dgsct.tasks.avs.metrics import IOU, frame_statistics
from dgsct.tasks.avs.options import AvsOptions as Options
from dgsct.tasks.avs.task import ID_LENGTH, open_task

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "avsbench" / "derived"
OPTIONS = Options(tile=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_packed(tmp_path_factory.mktemp("avs") / "packed")


@pytest.fixture(scope="module")
def task(folder):
    return open_task(folder, MINI, OPTIONS)


def test_a_batch(task):
    rows = np.array([2, 17, 3])
    frames, audio, targets = task.batch(rows)
    assert (frames.shape, frames.dtype) == ((3, T, 3, SIDE, SIDE), torch.float32)
    assert 0 <= frames.min() < 0.3 < 0.9 < frames.max() <= 1
    assert audio.shape == (3, T, 51, MINI.htsat.mel_bins)
    assert (targets["masks"].shape, targets["masks"].dtype) == ((3, T, SIDE, SIDE), torch.float32)
    assert set(targets["masks"].unique().tolist()) == {0.0, 1.0}
    first = [True, False, False, False, False]
    assert targets["annotated"].tolist() == [first, [True] * T, first]


@pytest.mark.parametrize(
    ("audio", "tile", "shape"),
    [
        ("logmel", 5, (T, 51, 16)),
        ("logmel", 1, (T, 32000)),  # the stored one is tiled five times: the wave itself is handed out
        ("wave", 5, (T, 32000)),
        ("vggish", 5, (T, 1, 96, 64)),
    ],
)
def test_the_sound_that_a_method_asks_for(folder, audio, tile, shape):
    task = open_task(folder, MINI, Options(tile=tile), audio)
    assert task.batch(np.array([0, 1]))[1].shape == (2, *shape)


def test_measured_in_pieces_is_measured_at_once(task):
    rows = task.splits["test"]
    p = np.random.default_rng(0).random((len(rows), T, SIDE, SIDE), dtype=np.float32)
    whole = task.measured(p, rows)
    pieces = [task.measured(p[i : i + 3], rows[i : i + 3]) for i in range(0, len(rows), 3)]
    assert np.array_equal(np.concatenate(pieces), whole)
    assert whole.shape == (len(rows), T, 257)
    assert whole.nbytes < p.astype(np.float32).nbytes * 50  # at 224 x 224 it is a two-hundredth
    truth = task.masks(rows)
    assert whole[3, 2, IOU] == frame_statistics(p[3, 2], truth[3, 2])[IOU]


def test_measures(task):
    rows = task.splits["test"]
    perfect = task.metrics(task.measured(task.masks(rows).astype(np.float32), rows), rows, 8)
    assert perfect == pytest.approx(dict.fromkeys(perfect, 100.0), abs=1e-4)
    assert set(perfect) == {"miou", "miou_batch4", "fscore_batch4", "fscore_clip", "fscore_frame"}
    nothing = task.metrics(task.measured(np.zeros((len(rows), T, SIDE, SIDE), np.float32), rows), rows, 8)
    assert nothing["miou"] == pytest.approx(100 / (len(rows) * T))  # the one frame without an object


def test_the_batch_of_training_has_no_part_in_measures(task):
    rows = task.splits["test"]
    p = np.random.default_rng(1).random((len(rows), T, SIDE, SIDE), dtype=np.float32)
    assert task.metrics(task.measured(p, rows), rows, 2) == task.metrics(task.measured(p, rows), rows, 8)


def test_frames_without_a_mask_are_never_measured(task):
    rows = task.splits["train"]
    p = np.full((len(rows), T, SIDE, SIDE), 0.9, np.float32)
    measured = task.measured(p, rows)
    assert not np.isnan(measured[:, 0]).any()
    assert np.isnan(measured[:, 1:]).all()
    with pytest.raises(ValueError, match="need a mask for every frame"):
        task.metrics(measured, rows, 4)


def test_by_clip(task):
    rows = task.splits["test"]
    measured = task.measured(task.masks(rows).astype(np.float32), rows)
    iou, fscore, objects = task.by_clip(measured)
    assert iou == pytest.approx(100, abs=1e-4)
    assert fscore == pytest.approx(100, abs=1e-4)
    assert objects.tolist() == [T] * (len(rows) - 1) + [T - 1]
    assert iou.mean() == pytest.approx(task.metrics(measured, rows, 4)["miou"])


def test_absent_clips_bound_miou(tmp_path):
    task = open_task(write_packed(tmp_path / "packed", absent=2), MINI, OPTIONS)
    rows = task.splits["test"]
    assert len(rows) == COUNTS["test"] - 2
    metrics = task.metrics(task.measured(np.full((len(rows), T, SIDE, SIDE), 0.9, np.float32), rows), rows, 4)
    share = len(rows) / COUNTS["test"]
    assert metrics["miou_lower"] == pytest.approx(share * metrics["miou"])
    assert metrics["miou_upper"] == pytest.approx(share * metrics["miou"] + 100 * (1 - share))


def test_clips_of_training_videos_are_told(tmp_path):
    """MS3 cuts several clips from one video: `{id}_{k}`."""
    names = [f"video{i % 20:06d}_{i}" for i in range(sum(COUNTS.values()))]
    task = open_task(write_packed(tmp_path / "packed", "avs-ms3", names=names), MINI, OPTIONS)
    rows = task.splits["test"]
    p = np.random.default_rng(0).random((len(rows), T, SIDE, SIDE), dtype=np.float32)
    measured = task.measured(p, rows)
    assert task.metrics(measured, rows, 4)["miou"] == pytest.approx(100 * measured[..., IOU].mean())
    assert "miou_unseen_ids" not in task.metrics(measured, rows, 4)  # rows 20 to 27 repeat the ids of 0 to 7: all are seen
    half = [name if i != 20 else "another_one_20" for i, name in enumerate(names)]
    task = open_task(write_packed(tmp_path / "other", "avs-ms3", names=half), MINI, OPTIONS)
    assert task.metrics(measured, rows, 4)["miou_unseen_ids"] == pytest.approx(100 * measured[0, :, IOU].mean())


def test_38_of_the_64_test_clips_of_ms3_come_from_training_videos():
    path = SHARED / "ms3_meta_data.rebuilt.csv"
    if not path.exists():
        pytest.skip("the real metadata are not here")
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    train = {row["name"][:ID_LENGTH] for row in rows if row["split"] == "train"}
    test = [row["name"] for row in rows if row["split"] == "test"]
    assert (len(test), sum(name[:ID_LENGTH] in train for name in test)) == (64, 38)

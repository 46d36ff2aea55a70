"""The AVS task: batches, which frames count, streamed statistics, measures, absent clips, clips of training videos."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from avs_rig import COUNTS, SIDE, T, write_packed, write_world

from dgsct.data.prepared import Prepared
from dgsct.engine.recipe import draw_of
from dgsct.methods.base import sound
from dgsct.settings.scales import MINI
from dgsct.tasks import get_task
from dgsct.tasks.avs.metrics import IOU, frame_statistics, statistics_of
from dgsct.tasks.avs.options import AvsOptions as Options
from dgsct.tasks.avs.task import ID_LENGTH, Avs, open_task

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "avsbench" / "derived"
DRAW = draw_of(0, 0, 0)


def opened(folder: Path, *inputs: str, **features: Path) -> Avs:
    return open_task(Prepared.open(folder, features), MINI, Options(), inputs)


def measured(view: Avs, probability: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return view.keep({"masks": probability}, rows)["counts"]


def metrics(view: Avs, counts: np.ndarray, rows: np.ndarray, batch_size: int = 4) -> dict[str, float]:
    return get_task("avs-s4").measure_all(view.units({"counts": counts}, rows, batch_size))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_packed(tmp_path_factory.mktemp("avs") / "packed")


@pytest.fixture(scope="module")
def view(folder) -> Avs:
    return opened(folder, "frames", "logmel")


def test_a_batch(view):
    rows = np.array([2, 17, 3])
    inputs, targets = view.batch(rows, DRAW)
    assert list(inputs) == ["frames", "logmel"]
    frames = inputs["frames"]
    assert (frames.shape, frames.dtype) == ((3, T, 3, SIDE, SIDE), torch.float32)
    assert 0 <= frames.min() < 0.3 < 0.9 < frames.max() <= 1
    assert inputs["logmel"].shape == (3, T, 51, MINI.htsat.mel_bins)
    assert (targets["masks"].shape, targets["masks"].dtype) == ((3, T, SIDE, SIDE), torch.float32)
    assert set(targets["masks"].unique().tolist()) == {0.0, 1.0}
    first = [True, False, False, False, False]
    assert targets["annotated"].tolist() == [first, [True] * T, first]


@pytest.mark.parametrize(
    ("options", "name", "shape"),
    [
        (Options(), "logmel", (T, 51, 16)),
        (Options(tile=1), "wave", (T, 32000)),  # the stored log-mel is tiled five times
        (Options(audio_encoder="trained"), "wave", (T, 32000)),  # which trains the spectrogram's own weights
    ],
)
def test_the_sound_that_a_method_asks_for(folder, options, name, shape):
    assert sound(options) == name
    inputs, _ = opened(folder, sound(options)).batch(np.array([0, 1]), DRAW)
    assert {key: value.shape for key, value in inputs.items()} == {name: (2, *shape)}


def test_features_are_those_of_the_rows_clips(tmp_path):
    root = write_world(tmp_path)
    features = root / "features/mini/avs-s4/vggish"
    view = opened(root / "data/mini/avs-s4/packed", "features/vggish", vggish=features)
    inputs, _ = view.batch(np.array([17, 2]), DRAW)
    assert np.array_equal(inputs["vggish"].numpy(), np.load(features / "features.npy")[[17, 2]])


def test_measured_in_pieces_is_measured_at_once(view):
    rows = view.splits["test"]
    p = np.random.default_rng(0).random((len(rows), T, SIDE, SIDE), dtype=np.float32)
    whole = measured(view, p, rows)
    pieces = [measured(view, p[i : i + 3], rows[i : i + 3]) for i in range(0, len(rows), 3)]
    assert np.array_equal(np.concatenate(pieces), whole)
    assert whole.shape == (len(rows), T, 514)
    assert whole.nbytes < p.astype(np.float32).nbytes * 50  # at 224 x 224 it is a two-hundredth
    truth = view.masks(rows)
    assert statistics_of(whole)[3, 2, IOU] == frame_statistics(p[3, 2], truth[3, 2])[IOU]


def test_measures(view):
    rows = view.splits["test"]
    perfect = metrics(view, measured(view, view.masks(rows).astype(np.float32), rows), rows, 8)
    assert perfect.pop("mask_area") == pytest.approx(100 * view.masks(rows).mean())
    assert perfect == pytest.approx(dict.fromkeys(perfect, 100.0), abs=1e-4)
    assert set(perfect) == {"miou", "miou_batch4", "fscore_batch4", "fscore_clip", "fscore_frame"}
    nothing = metrics(view, measured(view, np.zeros((len(rows), T, SIDE, SIDE), np.float32), rows), rows, 8)
    assert nothing["mask_area"] == 0
    assert nothing["miou"] == pytest.approx(100 / (len(rows) * T))  # the one frame without an object


def test_the_batch_of_training_has_no_part_in_measures(view):
    rows = view.splits["test"]
    p = np.random.default_rng(1).random((len(rows), T, SIDE, SIDE), dtype=np.float32)
    assert metrics(view, measured(view, p, rows), rows, 2) == metrics(view, measured(view, p, rows), rows, 8)


def test_frames_without_a_mask_are_never_measured(view):
    rows = view.splits["train"]
    p = np.full((len(rows), T, SIDE, SIDE), 0.9, np.float32)
    found = measured(view, p, rows)
    assert (found[:, 0].sum(axis=-1) >= SIDE * SIDE).all()
    assert not found[:, 1:].any()
    with pytest.raises(ValueError, match="need a mask for every frame"):
        metrics(view, found, rows, 4)


def test_by_clip(view):
    rows = view.splits["test"]
    found = measured(view, view.masks(rows).astype(np.float32), rows)
    iou, fscore, objects = view.by_clip(found)
    assert iou == pytest.approx(100, abs=1e-4)
    assert fscore == pytest.approx(100, abs=1e-4)
    assert objects.tolist() == [T] * (len(rows) - 1) + [T - 1]
    assert iou.mean() == pytest.approx(metrics(view, found, rows, 4)["miou"])


def test_absent_clips_bound_miou(tmp_path):
    view = opened(write_packed(tmp_path / "packed", absent=2))
    rows = view.splits["test"]
    assert len(rows) == COUNTS["test"] - 2
    bounded = metrics(view, measured(view, np.full((len(rows), T, SIDE, SIDE), 0.9, np.float32), rows), rows, 4)
    share = len(rows) / COUNTS["test"]
    assert bounded["miou_lower"] == pytest.approx(share * bounded["miou"])
    assert bounded["miou_upper"] == pytest.approx(share * bounded["miou"] + 100 * (1 - share))


def test_clips_of_training_videos_are_told(tmp_path):
    """MS3 cuts several clips from one video: `{id}_{k}`."""
    names = [f"video{i % 20:06d}_{i}" for i in range(sum(COUNTS.values()))]
    view = opened(write_packed(tmp_path / "packed", "avs-ms3", names=names))
    rows = view.splits["test"]
    p = np.random.default_rng(0).random((len(rows), T, SIDE, SIDE), dtype=np.float32)
    found = measured(view, p, rows)
    assert metrics(view, found, rows, 4)["miou"] == pytest.approx(100 * statistics_of(found)[..., IOU].mean())
    assert "miou_unseen_ids" not in metrics(view, found, rows, 4)  # rows 20 to 27 repeat the ids of 0 to 7: all are seen
    half = [name if i != 20 else "another_one_20" for i, name in enumerate(names)]
    view = opened(write_packed(tmp_path / "other", "avs-ms3", names=half))
    assert metrics(view, found, rows, 4)["miou_unseen_ids"] == pytest.approx(100 * statistics_of(found)[0, :, IOU].mean())


def test_38_of_the_64_test_clips_of_ms3_come_from_training_videos():
    path = SHARED / "ms3_meta_data.rebuilt.csv"
    if not path.exists():
        pytest.skip("the real metadata are not here")
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    train = {row["name"][:ID_LENGTH] for row in rows if row["split"] == "train"}
    test = [row["name"] for row in rows if row["split"] == "test"]
    assert (len(test), sum(name[:ID_LENGTH] in train for name in test)) == (64, 38)

"""Packed arrays: right content, honest counts, and one clear sentence for every bad input."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dgsct.data.media import read_audio, read_frames, write_mp4
from dgsct.data.packed import Packed, read_manifest
from dgsct.data.prepare import prepare_set
from dgsct.encoders.frontend import log_mel_compact
from dgsct.errors import DgsctError, UsageError
from dgsct.settings.scales import MINI
from dgsct.tasks import get_set
from dgsct.tasks.ave.annotations import read_index
from dgsct.tasks.generate import write_mini

SPLITS = {"train": 7, "val": 2, "test": 3}


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("ave") / "raw"
    write_mini("ave", root, splits=SPLITS, progress=False)
    return root


@pytest.fixture(scope="module")
def packed(raw) -> Path:
    prepare_set(get_set("ave"), raw, raw.parent / "packed", MINI, progress=False)
    return raw.parent / "packed"


@pytest.fixture
def own(raw, tmp_path) -> Path:
    shutil.copytree(raw, tmp_path / "raw")
    return tmp_path / "raw"


@pytest.fixture
def own_packed(packed, tmp_path) -> Path:
    shutil.copytree(packed, tmp_path / "packed")
    return tmp_path / "packed"


def test_content(raw, packed):
    index, data = read_index(raw), Packed.open(packed)
    assert isinstance(data.arrays["frames"], np.memmap)
    assert (data.arrays["frames"].shape, data.arrays["frames"].dtype) == ((12, 10, 3, 32, 32), np.float16)
    assert (data.arrays["wave"].shape, data.arrays["wave"].dtype) == ((12, 10, 32000), np.float32)
    logmel = data.arrays["logmel"]
    assert (logmel.shape[:2], logmel.shape[3], logmel.dtype) == ((12, 10), 16, np.float32)
    assert np.array_equal(data.arrays["labels"], index.labels)
    assert data.media_of_row.tolist() == list(range(12))
    assert {s: rows.tolist() for s, rows in data.splits.items()} == {s: r.tolist() for s, r in index.splits.items()}
    path = raw / "AVE" / f"{index.rows[5].video_id}.mp4"
    wave = read_audio(path).reshape(10, 32000)
    assert np.array_equal(data.arrays["wave"][5], wave)
    assert np.array_equal(data.arrays["logmel"][5], log_mel_compact(torch.from_numpy(wave), MINI.htsat, 10).numpy())
    pixels = torch.from_numpy(read_frames(path).transpose(0, 3, 1, 2) / np.float32(255))
    resized = torch.nn.functional.interpolate(pixels, (32, 32), mode="bicubic", align_corners=False)
    assert np.array_equal(data.arrays["frames"][5], resized.half().numpy())


def test_manifest(raw, packed):
    manifest = read_manifest(packed)
    text = (packed / "manifest.json").read_text()
    assert str(raw.parent) not in text
    assert manifest["front_end"] == {
        "tile": 10, "n_fft": 256, "hop": 1280, "mel_bins": 16, "f_min": 50.0, "f_max": 14000.0, "sample_rate": 32000,
    }  # fmt: skip
    assert (manifest["dataset"], manifest["scale"], manifest["image_size"]) == ("ave", "mini", 32)
    assert manifest["coverage"]["train"] == {"present": 7, "total": 7}
    assert manifest["rows"][0].keys() == {"id", "category", "start", "end", "media"}
    for name, described in manifest["arrays"].items():
        array = np.load(packed / f"{name}.npy")
        assert described["sha256"] == __import__("hashlib").sha256(array.tobytes()).hexdigest()
    assert Packed.open(packed).manifest == manifest


def test_prepared_again_it_is_left_alone_until_the_sources_change(own, tmp_path, capsys):
    out = tmp_path / "packed"
    first = prepare_set(get_set("ave"), own, out, MINI, progress=False)
    before = (out / "manifest.json").stat().st_mtime_ns
    capsys.readouterr()
    assert prepare_set(get_set("ave"), own, out, MINI, progress=False) == first
    assert "already prepared" in capsys.readouterr().out
    assert (out / "manifest.json").stat().st_mtime_ns == before
    # A touched file is decoded again; equal content gives an equal manifest, so that no result becomes stale.
    os.utime(next((own / "AVE").iterdir()))
    assert prepare_set(get_set("ave"), own, out, MINI, jobs=1, progress=False) == first
    assert "already prepared" not in capsys.readouterr().out
    # A damaged array is made anew.
    (out / "wave.npy").write_bytes((out / "wave.npy").read_bytes()[:1000])
    prepare_set(get_set("ave"), own, out, MINI, progress=False)
    assert Packed.open(out).manifest == first
    larger = replace(MINI, swin=replace(MINI.swin, image_size=48))
    assert prepare_set(get_set("ave"), own, out, larger, progress=False)["arrays"]["frames"]["shape"] == [12, 10, 3, 48, 48]


def test_bad_clips_are_counted_and_left_out(own, tmp_path, capsys):
    index = read_index(own)
    clips = [own / "AVE" / f"{row.video_id}.mp4" for row in index.rows]
    clips[0].unlink()
    clips[1].write_bytes(clips[1].read_bytes()[:5000])
    write_mp4(clips[2], read_frames(clips[2]), 1, None, 32000)
    clips[3].write_bytes(b"")
    clips[7].write_text("this is no video")
    clips[8].rename(own / clips[8].name)  # the other public layout: beside the annotations
    manifest = prepare_set(get_set("ave"), own, tmp_path / "packed", MINI, progress=False)
    status = [manifest["clips"][row.video_id]["status"] for row in index.rows]
    assert status[:4] == ["missing", "truncated", "no_audio", "empty"]
    assert status[7:9] == ["unreadable", "ready"]
    assert {kind: of["count"] for kind, of in manifest["report"].items() if of["count"]} == {
        "ready": 7, "missing": 1, "empty": 1, "truncated": 1, "no_audio": 1, "unreadable": 1,
    }  # fmt: skip
    assert manifest["report"]["no_audio"]["ids"] == [index.rows[2].video_id]
    said = capsys.readouterr().out
    assert f"  truncated             1  cut off: {index.rows[1].video_id}" in said
    assert "train: 3 of 7 annotated clips are present" in said
    assert f"left out, for example: {clips[1]} is cut off" in said
    data = Packed.open(tmp_path / "packed")
    assert data.manifest["coverage"] == {
        "train": {"present": 3, "total": 7}, "val": {"present": 1, "total": 2}, "test": {"present": 3, "total": 3},
    }  # fmt: skip
    assert data.splits["train"].tolist() == [4, 5, 6]
    assert data.media_of_row.tolist() == [-1, -1, -1, -1, 0, 1, 2, -1, 3, 4, 5, 6]
    assert len(data.arrays["frames"]) == 7
    assert len(data.arrays["labels"]) == 12
    assert np.array_equal(data.arrays["wave"][3], read_audio(own / clips[8].name).reshape(10, 32000))


def test_rows_of_one_video_share_its_media(own, tmp_path):
    lines = (own / "Annotations.txt").read_text().splitlines()
    category, video_id, *_ = lines[0].split("&")
    other = next(line.split("&")[0] for line in lines if line.split("&")[0] != category)
    extra = f"{other}&{video_id}&good&0&3"
    (own / "Annotations.txt").write_text("\n".join([*lines, extra]) + "\n")
    (own / "testSet.txt").write_text((own / "testSet.txt").read_text() + extra + "\n")
    prepare_set(get_set("ave"), own, tmp_path / "packed", MINI, progress=False)
    data = Packed.open(tmp_path / "packed")
    assert len(data.arrays["frames"]) == 12
    assert len(data.arrays["labels"]) == 13
    assert data.media_of_row[12] == data.media_of_row[0] == 0
    assert 12 in data.splits["test"]


def test_a_split_without_a_clip_is_an_error_that_leaves_nothing(own, tmp_path):
    index = read_index(own)
    for i in index.splits["val"]:
        (own / "AVE" / f"{index.rows[i].video_id}.mp4").unlink()
    with pytest.raises(DgsctError, match=r"no clip of split 'val' is usable \(2 missing\); put its videos into .*AVE"):
        prepare_set(get_set("ave"), own, tmp_path / "out" / "packed", MINI, progress=False)
    assert not (tmp_path / "out").exists()


def test_a_foreign_folder_is_never_replaced(raw, own):
    with pytest.raises(UsageError, match="holds something else"):
        prepare_set(get_set("ave"), raw, own, MINI, progress=False)
    assert (own / "Annotations.txt").exists()


def damage(folder: Path, **changes: object) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda f: (f / "manifest.json").unlink(), "manifest.json does not exist"),
        (lambda f: (f / "manifest.json").write_text("{"), "manifest.json cannot be read"),
        (lambda f: (f / "manifest.json").write_text("[]"), "manifest.json has schema None"),
        (lambda f: damage(f, schema=99), "has schema 99"),
        (lambda f: damage(f, rows=None), "lacks 'rows'"),
        (lambda f: damage(f, rows=[{}] * 12), "is damaged"),
        (lambda f: damage(f, rows=[]), "do not fit the rows"),
        (lambda f: damage(f, arrays={}), "do not fit the rows"),
        (lambda f: damage(f, splits={"train": [99]}), "is damaged"),
        (lambda f: (f / "wave.npy").unlink(), "wave.npy is missing or damaged"),
        (lambda f: (f / "wave.npy").write_bytes((f / "wave.npy").read_bytes()[:-4]), "wave.npy is missing or damaged"),
        (lambda f: (f / "wave.npy").write_bytes(b""), "wave.npy is missing or damaged"),
        (lambda f: np.save(f / "labels.npy", np.zeros((3, 10))), "where its manifest says int64"),
    ],
)
def test_a_damaged_packed_folder_says_prepare_again(own_packed, harm, message):
    harm(own_packed)
    with pytest.raises(DgsctError, match=message.replace(".", r"\.")) as caught:
        Packed.open(own_packed)
    assert "prepare the data again" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_disk_that_is_too_small_is_said_before_starting(raw, small_disk):
    told = r"preparing needs 16\.5 MB more on the disk of .*packed, of which 3\.15 MB are free; free space or give"
    with pytest.raises(DgsctError, match=told) as caught:
        prepare_set(get_set("ave"), raw, small_disk / "packed", MINI, progress=False)
    assert "\n" not in str(caught.value)
    assert not (small_disk / "packed").exists()


def test_a_full_disk_while_generating_leaves_nothing(small_disk):
    splits = {"train": 60, "val": 1, "test": 1}
    with pytest.raises(DgsctError, match=r"No space left on device.*; free space") as caught:
        write_mini("ave", small_disk / "raw", splits=splits, progress=False)
    assert "\n" not in str(caught.value)
    assert list(small_disk.iterdir()) == []

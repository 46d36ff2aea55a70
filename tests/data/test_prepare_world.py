"""A hundred real clips of every kind: each oddity is reported, exactly; the release's layout gives the same."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from ave_rig import HERTZ, NOTED, ODD, ORDINARY, SIZES, kind, write_clip, write_release_layout
from PIL import Image

from dgsct.data.media import read_audio, read_frames, sampled_indices
from dgsct.data.packed import Packed, read_manifest
from dgsct.data.prepare import prepare_set
from dgsct.errors import DgsctError, UsageError
from dgsct.settings.scales import MINI
from dgsct.tasks import get_set
from dgsct.tasks.ave.annotations import AveIndex, Row, read_index, write_index
from dgsct.tasks.ave.decode import resize

REPORT = {
    "ready": 94, "missing": 1, "empty": 1, "truncated": 1, "no_video": 1, "no_audio": 1, "wrong_length": 0, "unreadable": 1,
    "silent": 1, "short": 2, "long": 1,
}  # fmt: skip
IN_TIME = dict.fromkeys(("wrong_range", "late", "gap", "uneven"), 0)


def test_each_oddity_is_reported(ave_undisturbed):
    manifest = read_manifest(ave_undisturbed)
    clips, report = manifest["clips"], manifest["report"]
    assert len(clips) == 100
    odd_rates = [f"clip_{i:03}" for i in range(ORDINARY) if kind(i)[2] != 32000]
    assert {kind: of["count"] for kind, of in report.items()} == {**REPORT, **IN_TIME, "wrong_rate": len(odd_rates)}
    assert {name: clips[name]["status"] for name in ODD} == ODD
    assert all(report[status]["ids"] == [name] for name, status in ODD.items())
    assert report["wrong_rate"]["ids"] == odd_rates
    assert {clips[name]["notes"]["wrong_rate"] for name in odd_rates} == set(HERTZ) - {32000}
    assert {name: clips[name]["notes"] for name in NOTED} == {
        "seven_sec": {"short": {"video": 7.0, "sound": 7.0}},
        "silent": {"silent": 0.0},
        "upright": {},
        "glöckchen_字": {},
        "half_min": {"long": {"video": 30.0, "sound": 30.0}},
        "video_short": {"short": {"video": 4.0, "sound": 10.0}},
    }
    assert all(clips[f"clip_{i:03}"]["notes"].keys() <= {"wrong_rate"} for i in range(ORDINARY))
    assert {split: of["total"] - of["present"] for split, of in manifest["coverage"].items()} == {
        "train": 6, "val": 0, "test": 0,
    }  # fmt: skip


def test_what_is_packed_is_what_the_files_hold(ave_world, ave_undisturbed):
    data = Packed.open(ave_undisturbed)
    for name in ("clip_007", "upright", "seven_sec", "glöckchen_字"):
        path, media = ave_world / "AVE" / f"{name}.mp4", data.manifest["clips"][name]["media"]
        assert np.array_equal(data.arrays["frames"][media], resize(read_frames(path), 32))
        assert np.array_equal(data.arrays["wave"][media].ravel(), read_audio(path))
        assert data.arrays["frames"][media][-1].mean() > data.arrays["frames"][media][0].mean() + 0.4  # brightness runs up
    assert read_frames(ave_world / "AVE/upright.mp4").shape == (10, 64, 48, 3)
    seven = data.arrays["wave"][data.manifest["clips"]["seven_sec"]["media"]]
    assert np.abs(seven[6]).max() > 0.3
    assert not seven[8:].any()
    # Both channels count: the second is half as loud as the first.
    loud = {i: np.abs(data.arrays["wave"][data.manifest["clips"][f"clip_{i:03}"]["media"]]).mean() for i in (0, 1)}
    assert loud[1] / loud[0] == pytest.approx(0.75, abs=0.02)


def test_the_report_is_printed(ave_world, ave_undisturbed, tmp_path, capsys):
    few = tmp_path / "few"
    (few / "AVE").mkdir(parents=True)
    index = read_index(ave_world)
    names = [*ODD, *NOTED, *(f"clip_{i:03}" for i in range(3, 9))]
    rows = tuple(row for row in index.rows if row.video_id in names)
    for row in rows:
        path = ave_world / "AVE" / f"{row.video_id}.mp4"
        if path.exists():
            shutil.copy(path, few / "AVE")
    order = np.argsort([row.video_id.startswith("clip") for row in rows], kind="stable")
    write_index(few, AveIndex(rows, index.categories, {"train": order[:-2], "val": order[-2:-1], "test": order[-1:]}))
    prepare_set(get_set("ave"), few, tmp_path / "out", MINI, jobs=1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("17 of 18 clips are there (videos); 23.")
    assert any(line.startswith("about ") and line.endswith(" to go, by the first 8 clips") for line in lines)
    assert "clips/s per process" in " ".join(lines)
    assert "  ready                12" in lines
    assert "  missing               1  no file: gone" in lines
    assert "  note: short           2  used; below 10 s, sound padded with zeros: seven_sec, video_short" in lines
    assert "  note: wrong rate      6  used; resampled: clip_003, clip_004, clip_005, ..." in lines
    assert lines[-3:] == [f"{split}: {n} annotated clips are present" for split, n in
                          (("train", "10 of 16"), ("val", "1 of 1"), ("test", "1 of 1"))]  # fmt: skip


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Path:
    """Five clips in both layouts: as mp4 in `videos`, as jpg and npy in `frames`."""
    root = tmp_path_factory.mktemp("release")
    media = root / "videos" / "AVE"
    media.mkdir(parents=True)
    rows = tuple(Row("Bark", name, "good", 0, 10) for name in ("one", "two", "three", "four", "-五"))
    index = AveIndex(rows, ("Bark",), {"train": np.arange(3), "val": np.array([3]), "test": np.array([4])})
    for i, row in enumerate(rows):
        write_clip(media / f"{row.video_id}.mp4", (6, 4, 12, 5, 2)[i], SIZES[i], HERTZ[i], 1 + i % 2, tone=300 + 50 * i)
    write_index(root / "videos", index)
    write_release_layout(index, media, root / "frames")
    return root


def test_both_layouts_give_the_same_sound_and_almost_the_same_frames(release, tmp_path):
    data = {}
    for layout in ("videos", "frames"):
        manifest = prepare_set(get_set("ave"), release / layout, tmp_path / layout, MINI, jobs=1, progress=False)
        assert manifest["layout"] == layout
        assert manifest["report"]["ready"]["count"] == 5
        data[layout] = Packed.open(tmp_path / layout)
    videos, frames = data["videos"], data["frames"]
    assert np.array_equal(videos.arrays["wave"], frames.arrays["wave"])
    assert np.array_equal(videos.arrays["logmel"], frames.arrays["logmel"])
    assert np.array_equal(videos.arrays["labels"], frames.arrays["labels"])
    difference = np.abs(videos.arrays["frames"].astype(float) - frames.arrays["frames"].astype(float))
    assert 0 < difference.mean() < 0.01  # jpg is lossy; a neighbouring frame would differ by more
    files = sorted((release / "frames/frames/three").iterdir())
    assert files[0].name == "00000001.jpg"
    chosen = np.stack([np.asarray(Image.open(files[i])) for i in sampled_indices(len(files))])
    assert np.array_equal(frames.arrays["frames"][2], resize(chosen, 32))
    assert videos.manifest["report"]["wrong_rate"]["count"] == 4
    assert frames.manifest["report"]["wrong_rate"]["count"] == 0


def test_four_digits_and_the_folder_ave_are_read_too(release, tmp_path):
    index = read_index(release / "videos")
    write_release_layout(index, release / "videos/AVE", tmp_path / "raw/AVE", digits=4)
    write_index(tmp_path / "raw", index)
    prepare_set(get_set("ave"), tmp_path / "raw", tmp_path / "four", MINI, jobs=1, progress=False)
    prepare_set(get_set("ave"), release / "frames", tmp_path / "eight", MINI, jobs=1, progress=False)
    for name in ("frames.npy", "wave.npy", "manifest.json"):
        assert (tmp_path / "four" / name).read_bytes() == (tmp_path / "eight" / name).read_bytes()


def test_where_both_layouts_are_there_the_fuller_one_is_used(release, tmp_path, capsys):
    root = tmp_path / "raw"
    shutil.copytree(release / "videos", root)
    shutil.copytree(release / "frames/frames", root / "frames")
    shutil.copytree(release / "frames/wave", root / "wave")
    assert prepare_set(get_set("ave"), root, tmp_path / "a", MINI, progress=False)["layout"] == "videos"
    assert (
        "5 clips as mp4 and 5 as frames and wave: videos are used (--layout frames takes the others)" in capsys.readouterr().out
    )
    # Another layout is another content: what was prepared from the mp4 files does not pass for it.
    assert prepare_set(get_set("ave"), root, tmp_path / "a", MINI, progress=False, layout="frames")["layout"] == "frames"
    (root / "AVE/two.mp4").unlink()
    assert prepare_set(get_set("ave"), root, tmp_path / "b", MINI, progress=False)["layout"] == "frames"
    with pytest.raises(UsageError, match="unknown layout 'pictures'; choose one of: videos, frames"):
        prepare_set(get_set("ave"), root, tmp_path / "c", MINI, layout="pictures")
    with pytest.raises(UsageError, match="has no folder 'frames'"):
        prepare_set(get_set("ave"), release / "videos", tmp_path / "c", MINI, layout="frames")


def first(folder: Path) -> Path:
    return folder / "00000001.jpg"


@pytest.mark.parametrize(
    ("harm", "status", "sentence"),
    [
        (lambda f, w: (shutil.rmtree(f), w.unlink()), "missing", "do not exist"),
        (lambda f, w: shutil.rmtree(f), "no_video", "holds no frame named NNNNNNNN.jpg"),
        (lambda f, w: w.unlink(), "no_audio", "three.npy does not exist"),
        (lambda f, w: (f / "00000007.jpg").unlink(), "truncated", "their numbers are not 1 to n"),
        (lambda f, w: first(f).write_bytes(b""), "empty", "00000001.jpg is empty"),
        (lambda f, w: first(f).write_bytes(first(f).read_bytes()[:-300]), "truncated", "it has no end mark"),
        (lambda f, w: first(f).write_text("no picture"), "unreadable", "is no readable jpg"),
        (lambda f, w: w.write_bytes(b""), "empty", "three.npy is empty"),
        (lambda f, w: w.write_bytes(w.read_bytes()[:-100]), "truncated", "three.npy is cut off (100 bytes are missing)"),
        (lambda f, w: w.write_bytes(w.read_bytes()[:30]), "unreadable", "is no npy file"),
        (lambda f, w: np.save(w, np.zeros(160000, np.float32)), "wrong_length", "holds 160000 samples instead of 320000"),
        (lambda f, w: np.save(w, np.zeros(320000, np.int16)), "unreadable", "holds int16 instead of floats"),
        (lambda f, w: np.save(w, np.array([{"a": 1}])), "unreadable", "holds object instead of floats"),
        (lambda f, w: np.save(w, np.full(320000, np.nan)), "unreadable", "not finite"),
    ],
)
def test_bad_files_of_the_release_layout(release, tmp_path, capsys, harm, status, sentence):
    root = tmp_path / "raw"
    shutil.copytree(release / "frames", root)
    harm(root / "frames/three", root / "wave/three.npy")
    manifest = prepare_set(get_set("ave"), root, tmp_path / "out", MINI, jobs=1, progress=False)
    assert manifest["clips"]["three"] == {"status": status, "media": None, "notes": {}}
    assert manifest["report"][status] == {"count": 1, "ids": ["three"]}
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("left out")]
    assert len(said) == 1
    assert sentence in said[0]
    assert "; " in said[0]


def test_a_wave_of_any_shape_and_float_is_taken_as_it_is(release, tmp_path):
    root = tmp_path / "raw"
    shutil.copytree(release / "frames", root)
    wave = np.load(root / "wave/three.npy")
    np.save(root / "wave/three.npy", wave.astype(np.float64).reshape(10, 32000))
    np.save(root / "wave/two.npy", np.zeros((1, 320000), np.float32))
    manifest = prepare_set(get_set("ave"), root, tmp_path / "out", MINI, jobs=1, progress=False)
    assert np.array_equal(Packed.open(tmp_path / "out").arrays["wave"][2].ravel(), wave)
    assert manifest["report"]["silent"]["ids"] == ["two"]


def test_only_what_is_used_counts_as_a_change(release, tmp_path, capsys):
    root, out = tmp_path / "raw", tmp_path / "out"
    shutil.copytree(release / "frames", root)
    prepare_set(get_set("ave"), root, out, MINI, jobs=1, progress=False)
    names = sorted(path.name for path in (root / "frames/three").iterdir())
    used = {names[i] for i in sampled_indices(len(names))}
    os.utime(root / "frames/three" / next(name for name in names if name not in used))
    capsys.readouterr()
    prepare_set(get_set("ave"), root, out, MINI, jobs=1, progress=False)
    assert "already prepared" in capsys.readouterr().out
    os.utime(root / "frames/three" / names[0])
    prepare_set(get_set("ave"), root, out, MINI, jobs=1, progress=False)
    assert "already prepared" not in capsys.readouterr().out


def test_a_lost_manifest_is_written_anew_without_decoding(release, tmp_path, capsys):
    """Snakemake deletes the declared output before it makes it again, for whatever reason."""
    out = tmp_path / "out"
    prepare_set(get_set("ave"), release / "videos", out, MINI, jobs=1, progress=False)
    before = (out / "manifest.json").read_bytes()
    (out / "manifest.json").unlink()
    prepare_set(get_set("ave"), release / "videos", out, MINI, jobs=1, progress=False)
    assert "already prepared" in capsys.readouterr().out
    assert (out / "manifest.json").read_bytes() == before
    (out / "manifest.json").write_text(json.dumps({**json.loads(before), "rows": []}))
    prepare_set(get_set("ave"), release / "videos", out, MINI, jobs=1, progress=False)
    assert (out / "manifest.json").read_bytes() == before


def test_a_set_without_media_is_one_sentence_and_leaves_nothing(release, tmp_path):
    root = tmp_path / "raw"
    root.mkdir()
    write_index(root, read_index(release / "videos"))
    with pytest.raises(DgsctError, match=r"no clip of split 'train' is usable \(3 missing\); put its videos into") as caught:
        prepare_set(get_set("ave"), root, tmp_path / "out", MINI)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]

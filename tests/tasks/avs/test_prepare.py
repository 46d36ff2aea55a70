"""AVSBench through the shared preparation: content, layouts, oddities, refusals, going on after a stop."""

import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dgsct.data.media import MediaError, read_frames, read_sound, write_mp4
from dgsct.data.packed import Packed
from dgsct.data.prepare import prepare_set
from dgsct.encoders.frontend import log_mel_compact
from dgsct.encoders.vggish_frontend import examples
from dgsct.errors import DgsctError, UsageError
from dgsct.settings.scales import MINI, PAPER
from dgsct.tasks.avs.decode import binary_mask, frame_indices, resize
from dgsct.tasks.avs.files import MS3, S4
from dgsct.tasks.avs.mini import clip_scene, truth, write

SETS = {"avs-s4": S4, "avs-ms3": MS3}
SPLITS = {"train": 5, "val": 2, "test": 2}


@pytest.fixture(scope="module")
def worlds(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("avs")
    for task in SETS:
        write(task, root / task, splits=SPLITS, progress=False)
        prepare_set(SETS[task], root / task, root / f"{task}-packed", MINI, progress=False)
    return {task: root / task for task in SETS}


@pytest.fixture(params=["avs-s4", "avs-ms3"])
def task(request) -> str:
    return request.param


@pytest.fixture
def own(worlds, task, tmp_path) -> Path:
    return shutil.copytree(worlds[task], tmp_path / "raw")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def rows_of(task: str, root: Path) -> list:
    return list(SETS[task].read_index(root).rows)


def test_content(worlds, task):
    root, data = worlds[task], Packed.open(worlds[task].with_name(f"{task}-packed"))
    rows = rows_of(task, root)
    assert {name: (array.shape, str(array.dtype)) for name, array in data.arrays.items()} == {
        "frames": ((9, 5, 3, 32, 32), "uint8"), "wave": ((9, 5, 32000), "float32"), "logmel": ((9, 5, 51, 16), "float32"),
        "vggish_examples": ((9, 5, 1, 96, 64), "float32"), "masks": ((9, 5, 32, 32), "uint8"), "annotated": ((9, 5), "bool"),
    }  # fmt: skip
    manifest = data.manifest
    assert (manifest["dataset"], manifest["layout"], manifest["image_size"]) == (task, "frames", 32)
    assert manifest["front_end"] == {"tile": 5, **MINI.htsat.front_end}
    assert [row["id"] for row in manifest["rows"]] == [row.video_id for row in rows]
    assert sorted(data.media_of_row) == list(range(9))
    assert {split: len(found) for split, found in data.splits.items()} == SPLITS
    for i in (0, 6, 8):
        media, row, scene = data.media_of_row[i], rows[i], clip_scene(task, 0, i)
        known = data.arrays["annotated"][i]
        assert known.sum() == row.annotated
        assert np.array_equal(data.arrays["masks"][media][known], truth(scene, 32)[known])
        assert not data.arrays["masks"][media][~known].any()
        (packed,) = SETS[task].paths(root, row, "wave")
        wave = np.load(packed, allow_pickle=True).item()[f"{row.video_id}.wav"]
        assert np.array_equal(data.arrays["wave"][media].ravel(), wave)
        seconds = torch.from_numpy(wave.reshape(5, 32000))
        assert np.array_equal(data.arrays["logmel"][media], log_mel_compact(seconds, MINI.htsat, 5).numpy())
        (speech,) = SETS[task].paths(root, row, "audio_wav")
        assert np.array_equal(data.arrays["vggish_examples"][media], examples(read_sound(speech, 16000, 5), 5))
        picture = Image.open(SETS[task].paths(root, row, "visual_frames")[2])
        assert np.array_equal(data.arrays["frames"][media][2], np.asarray(picture).transpose(2, 0, 1))


def test_full_size_takes_frames_of_224_pixels():
    forms = S4.forms(PAPER)
    assert forms["frames"] == ((5, 3, 224, 224), "uint8")
    assert forms["masks"] == ((5, 224, 224), "uint8")
    assert forms["logmel"] == ((5, 201, 64), "float32")
    assert S4.bytes_of_clip(PAPER) == 752_640 + 640_000 + 257_280 + 122_880 + 250_880


def test_all_layouts_show_and_sound_alike(worlds, task, tmp_path):
    data = {"frames": Packed.open(worlds[task].with_name(f"{task}-packed"))}
    for layout in ("published", "videos"):
        manifest = prepare_set(SETS[task], worlds[task], tmp_path / layout, MINI, jobs=1, progress=False, layout=layout)
        assert (manifest["layout"], manifest["report"]["ready"]["count"]) == (layout, 9)
        data[layout] = Packed.open(tmp_path / layout)
    assert data["videos"].manifest["report"]["wrong_rate"]["count"] == 0
    first = data["frames"]
    for other in (data["published"], data["videos"]):
        for i in range(9):
            a, b = first.media_of_row[i], other.media_of_row[i]
            assert np.array_equal(first.arrays["masks"][a], other.arrays["masks"][b])
            # H.264 is lossy; the frame before would differ by far more at the edges of what moves.
            assert np.abs(first.arrays["frames"][a].astype(float) - other.arrays["frames"][b]).mean() < 6
            quiet = np.abs(first.arrays["wave"][a]).max()
            assert np.abs(first.arrays["vggish_examples"][a] - other.arrays["vggish_examples"][b]).mean() < 0.35
            assert np.abs(other.arrays["wave"][b]).max() == pytest.approx(quiet, rel=0.5)


def test_frames_are_those_of_the_rule():
    for fps, expected in ((24, (22, 46, 70, 94, 118)), (25, (23, 48, 73, 98, 123)), (30, (28, 58, 88, 118, 148))):
        assert frame_indices(5 * fps, fps, 0) == list(expected)
        assert frame_indices(5 * fps, fps - 0.03, 5) == list(expected)
    assert frame_indices(120, 25, 0) == [23, 48, 73, 98, 119]  # no frame beyond the last one
    assert frame_indices(125, 25, 6) == [23, 48, 73, 98, 98]  # four seconds; the last one stands for two
    assert frame_indices(1, 25, 0) == [0] * 5


def test_frames_are_resized_by_bilinear_interpolation():
    frames = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    halved = frames.reshape(2, 32, 2, 32, 2, 3).mean(axis=(2, 4)).round().astype(np.uint8).transpose(0, 3, 1, 2)
    assert np.array_equal(resize(frames, 32), halved)
    assert np.array_equal(resize(frames, 64), frames.transpose(0, 3, 1, 2))
    assert resize(frames, 224).shape == (2, 3, 224, 224)


shapes = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).random((9, 7)) < 0.4)


def palette(mask: np.ndarray, colours: dict[int, tuple[int, int, int]], index: int) -> Image.Image:
    picture = Image.new("P", mask.shape[::-1])
    picture.putdata((index * mask).ravel().tolist())
    table = [0] * 768
    for place, colour in colours.items():
        table[3 * place : 3 * place + 3] = colour
    picture.putpalette(table)
    return picture


def stored(mask: np.ndarray, form: str) -> Image.Image:
    """A mask as it may be stored (avs, section 2.5)."""
    grey = Image.fromarray(255 * mask.astype(np.uint8))
    match form:
        case "L":
            return grey
        case "1":
            return grey.convert("1")
        case "P 255":
            return palette(mask, {255: (255, 255, 255)}, 255)
        case "P 1":
            return palette(mask, {1: (255, 255, 255)}, 1)
        case "RGB":
            return grey.convert("RGB")
        case _:
            return Image.fromarray(np.uint8((128, 0, 0)) * mask[..., None])


@pytest.mark.parametrize("grey", [False, True], ids=["S4", "MS3"])
@pytest.mark.parametrize("form", ["L", "1", "P 255", "P 1", "RGB", "coloured"])
@given(mask=shapes)
def test_masks_are_binary_or_refused(form, grey, mask):
    """The table of the fact sheet: what the release would read as anything else than 0 and 1 is no mask."""
    refused = form in {False: ("coloured",), True: ("P 1", "RGB", "coloured")}[grey] and mask.any()
    if refused:
        with pytest.raises(MediaError, match=r"mask\.png is not black and white") as caught:
            binary_mask(stored(mask, form), grey, Path("mask.png"))
        assert caught.value.reason == "wrong_mask"
    else:
        assert np.array_equal(binary_mask(stored(mask, form), grey, Path("mask.png")), mask)


def first_clip(task: str, root: Path) -> dict[str, list[Path]]:
    row = rows_of(task, root)[0]
    return {
        kind: SETS[task].paths(root, row, kind) for kind in ("visual_frames", "audio_wav", "gt_masks", "wave", "raw_videos")
    }


def edit_pack(path: Path, change) -> None:
    pack = np.load(path, allow_pickle=True).item()
    key = next(iter(pack))
    change(pack, key)
    np.save(path, np.array(pack, dtype=object))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def wide(path: Path) -> None:
    Image.new("L", (64, 32)).save(path)


def coloured(path: Path) -> None:
    Image.fromarray(np.full((32, 32, 3), (128, 0, 0), np.uint8)).save(path)


def grey(path: Path) -> None:
    """White with a soft edge, as a resized mask has it."""
    soft = np.zeros((32, 32), np.uint8)
    soft[8:24, 8:24], soft[10:22, 10:22] = 128, 255
    Image.fromarray(soft).save(path)


HARM = {
    "no frame": (lambda p: p["visual_frames"][1].unlink(), "no_video", "_2.png does not exist"),
    "empty frame": (lambda p: p["visual_frames"][1].write_bytes(b""), "empty", "_2.png is empty"),
    "cut frame": (lambda p: cut(p["visual_frames"][1]), "truncated", "_2.png cannot be read to its end"),
    "text": (lambda p: p["visual_frames"][1].write_text("no picture"), "unreadable", "_2.png is no picture"),
    "no mask": (lambda p: p["gt_masks"][0].unlink(), "no_mask", "_1.png does not exist"),
    "wide mask": (lambda p: wide(p["gt_masks"][0]), "wrong_mask", "is 64 x 32 pixels, the set's masks are 32 x 32"),
    "coloured mask": (lambda p: coloured(p["gt_masks"][0]), "wrong_mask", "is not black and white"),
    "grey mask": (lambda p: grey(p["gt_masks"][0]), "wrong_mask", "is not black and white"),
    "cut wav": (lambda p: cut(p["audio_wav"][0]), "truncated", ".wav is cut off"),
    "no sound": (lambda p: edit_pack(p["wave"][0], lambda w, k: w.pop(k)), "no_audio", "has no sound named"),
    "short sound": (lambda p: edit_pack(p["wave"][0], lambda w, k: w.update({k: w[k][:9]})), "wrong_length", "holds 9 samples"),
    "integers": (
        lambda p: edit_pack(p["wave"][0], lambda w, k: w.update({k: w[k].astype(np.int16)})),
        "unreadable",
        "holds int16 instead of floats",
    ),
    "not a number": (
        lambda p: edit_pack(p["wave"][0], lambda w, k: w.update({k: w[k] * np.nan})),
        "unreadable",
        "numbers that are not finite",
    ),
}


@pytest.mark.parametrize("harm", HARM)
def test_a_bad_clip_is_counted_and_left_out(own, task, tmp_path, capsys, harm):
    change, status, sentence = HARM[harm]
    change(first_clip(task, own))
    manifest = prepare_set(SETS[task], own, tmp_path / "packed", MINI, jobs=1, progress=False)
    name = manifest["rows"][0]["id"]
    assert manifest["clips"][name] == {"status": status, "media": None, "notes": {}}
    assert manifest["report"][status] == {"count": 1, "ids": [name]}
    assert manifest["coverage"]["train"] == {"present": 4, "total": 5}
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("left out")]
    assert len(said) == 1
    assert sentence in said[0]
    assert "; " in said[0]
    data = Packed.open(tmp_path / "packed")
    assert data.media_of_row[0] == -1
    assert 0 not in data.splits["train"]
    assert len(data.arrays["masks"]) == 8


class Evil:
    def __reduce__(self):
        return os.mkdir, ("owned",)


@pytest.mark.parametrize(("layout", "kind"), [("published", "audio_wav"), ("videos", "raw_videos")])
def test_a_clip_without_its_only_sound_is_left_out(own, task, tmp_path, capsys, layout, kind):
    """In layout `frames` a wav is one of two sounds and may be absent (note `no_wav`); elsewhere there is no other."""
    (path,) = first_clip(task, own)[kind]
    path.unlink()
    manifest = prepare_set(SETS[task], own, tmp_path / "packed", MINI, jobs=1, progress=False, layout=layout)
    assert manifest["clips"][manifest["rows"][0]["id"]]["status"] == "missing"
    (said,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("left out")]
    assert f"{path} does not exist" in said


@pytest.mark.parametrize("what", ["code", "text", "list", "floats", "empty", "cut"])
def test_a_pack_of_waves_that_is_none_runs_no_code(own, tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    task = "avs-ms3" if (own / "Multi-sources").exists() else "avs-s4"
    for path in SETS[task].media(own).glob("wave/**/AVS.npy"):
        match what:
            case "code":
                np.save(path, np.array({"a.wav": Evil()}, dtype=object))
            case "text":
                path.write_text("no array")
            case "list":
                np.save(path, np.array([1, None], dtype=object))
            case "floats":
                np.save(path, np.zeros(160000, np.float32))
            case "empty":
                path.write_bytes(b"")
            case _:
                cut(path)
    with pytest.raises(DgsctError, match=r"no clip of split 'train' is usable \(5 (unreadable|empty)\)") as caught:
        prepare_set(SETS[task], own, tmp_path / "packed", MINI, jobs=1, progress=False, layout="frames")
    assert "\n" not in str(caught.value)
    assert not Path("owned").exists()


def test_packs_of_old_numpy_are_read(own, task, tmp_path):
    """The release wrote them with NumPy 1, whose modules have other names inside a pickle."""
    for path in SETS[task].media(own).glob("wave/**/AVS.npy"):
        data = path.read_bytes()
        header = data[: data.index(b"\n") + 1]
        pack = pickle.dumps(np.load(path, allow_pickle=True), protocol=3)
        assert b"numpy._core.multiarray" in pack
        path.write_bytes(header + pack.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))
    prepare_set(SETS[task], own, tmp_path / "old", MINI, jobs=1, progress=False)
    prepare_set(SETS[task], own, tmp_path / "published", MINI, jobs=1, progress=False, layout="published")
    assert Packed.open(tmp_path / "old").manifest["report"]["ready"]["count"] == 9


def test_notes(own, task, tmp_path):
    files = first_clip(task, own)
    row = rows_of(task, own)[0]
    edit_pack(files["wave"][0], lambda w, k: w.update({f"{row.video_id}.wav": np.zeros(160000, np.float32)}))
    files["audio_wav"][0].unlink()
    Image.new("L", (32, 32)).save(files["gt_masks"][0])
    manifest = prepare_set(SETS[task], own, tmp_path / "frames", MINI, jobs=1, progress=False)
    notes = manifest["clips"][row.video_id]["notes"]
    assert notes.keys() == {"silent", "no_wav", "empty_masks"}
    assert notes["empty_masks"] >= 1
    (video,) = files["raw_videos"]
    write_mp4(video, read_frames(video, 30), 10, 0.2 * np.ones(3 * 16000, np.float32), 16000)
    manifest = prepare_set(SETS[task], own, tmp_path / "videos", MINI, jobs=1, progress=False, layout="videos")
    notes = manifest["clips"][row.video_id]["notes"]
    assert notes.keys() == {"short", "wrong_rate", "empty_masks"}
    assert notes["wrong_rate"] == 16000
    data = Packed.open(tmp_path / "videos")
    media = data.media_of_row[0]
    assert not data.arrays["wave"][media][4:].any()
    found = data.arrays["vggish_examples"][media]
    assert np.array_equal(found[3:], found[[2, 2]])  # three examples, the last one repeated


def test_the_layout_with_more_clips_is_used(own, task, tmp_path, capsys):
    place = SETS[task].media(own)
    assert prepare_set(SETS[task], own, tmp_path / "a", MINI, jobs=1, progress=False)["layout"] == "frames"
    told = "has 9 clips as frames and wave (AVS.npy), 9 as frames and audio_wav and 9 as mp4: frames are used"
    assert told in capsys.readouterr().out
    shutil.rmtree(place / "wave")
    assert prepare_set(SETS[task], own, tmp_path / "a", MINI, jobs=1, progress=False)["layout"] == "published"
    with pytest.raises(UsageError, match=r"wave does not exist, which layout frames needs"):
        prepare_set(SETS[task], own, tmp_path / "a", MINI, layout="frames")
    shutil.rmtree(place / "audio_wav")
    shutil.rmtree(place / "visual_frames")
    assert prepare_set(SETS[task], own, tmp_path / "a", MINI, jobs=1, progress=False)["layout"] == "videos"
    shutil.rmtree(place / "raw_videos")
    with pytest.raises(UsageError, match="holds none of the folders wave, audio_wav, raw_videos; put the clips there"):
        prepare_set(SETS[task], own, tmp_path / "b", MINI)
    with pytest.raises(UsageError, match="unknown layout 'pictures'; choose one of: frames, published, videos"):
        prepare_set(SETS[task], own, tmp_path / "b", MINI, layout="pictures")
    assert not (tmp_path / "b").exists()


def test_the_settings_folder_itself_may_be_given(worlds, task, tmp_path):
    inner = worlds[task] / SETS[task].folder
    prepare_set(SETS[task], inner, tmp_path / "packed", MINI, jobs=1, progress=False)
    assert content(tmp_path / "packed")["manifest.json"] == content(worlds[task].with_name(f"{task}-packed"))["manifest.json"]


def test_again_it_does_nothing_until_a_file_that_is_used_changes(own, task, tmp_path, capsys):
    out = tmp_path / "packed"
    first = prepare_set(SETS[task], own, out, MINI, jobs=1, progress=False)
    files = first_clip(task, own)
    os.utime(files["raw_videos"][0])
    capsys.readouterr()
    assert prepare_set(SETS[task], own, out, MINI, jobs=1, progress=False) == first
    assert "already prepared" in capsys.readouterr().out
    (out / "manifest.json").unlink()
    assert prepare_set(SETS[task], own, out, MINI, jobs=1, progress=False) == first
    assert "already prepared" in capsys.readouterr().out
    for kind in ("visual_frames", "gt_masks", "wave", "audio_wav"):
        os.utime(files[kind][0])
        assert prepare_set(SETS[task], own, out, MINI, jobs=1, progress=False) == first
        assert "already prepared" not in capsys.readouterr().out
    larger = replace(MINI, swin=replace(MINI.swin, image_size=48))  # frames keep the set's own size
    assert prepare_set(SETS[task], own, out, larger, jobs=1, progress=False) == first


def test_what_a_stopped_preparation_has_done_is_taken_up(own, worlds, task, tmp_path, capsys):
    """Stopped by the last of all clips: a split without a usable clip ends it after all others are written."""
    rows = rows_of(task, own)
    masks = [path for row in rows if row.split == "val" for path in SETS[task].paths(own, row, "gt_masks")]
    kept = {path: (path.read_bytes(), path.stat()) for path in masks}
    for path in masks:
        path.write_bytes(b"")
    with pytest.raises(DgsctError, match=r"no clip of split 'val' is usable \(2 empty\); for example .*_1\.png is empty"):
        prepare_set(SETS[task], own, tmp_path / "packed", MINI, jobs=1, progress=False)
    for path, (data, stat) in kept.items():
        path.write_bytes(data)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    capsys.readouterr()
    prepare_set(SETS[task], own, tmp_path / "packed", MINI, jobs=1, progress=False)
    said = capsys.readouterr().out
    assert "of 9 clips are taken up from an earlier call" in said
    got, wanted = content(tmp_path / "packed"), content(worlds[task].with_name(f"{task}-packed"))
    assert {**got, "source.json": b""} == {**wanted, "source.json": b""}

"""The mini AVSBench sets: in the data set's own layout, deterministic, and solved neither by a prior nor by sight alone."""

import numpy as np
import pytest
from PIL import Image

from dgsct.data.media import Media, read_frames, read_sound
from dgsct.data.scenes import active, events, render_frames, render_masks, render_wave
from dgsct.errors import UsageError
from dgsct.settings.scales import MINI
from dgsct.tasks.avs.decode import frame_indices, resize
from dgsct.tasks.avs.files import MS3, S4, SPLITS
from dgsct.tasks.avs.mini import CATEGORIES, SIZES, THINGS, clip_scene, truth, write
from dgsct.tasks.generate import main

SIDE = MINI.frame_size
SMALL = {"avs-s4": {"train": 6, "val": 2, "test": 2}, "avs-ms3": {"train": 4, "val": 2, "test": 2}}
SETS = {"avs-s4": S4, "avs-ms3": MS3}


@pytest.fixture(scope="module", params=["avs-s4", "avs-ms3"])
def written(request, tmp_path_factory):
    task = request.param
    root = tmp_path_factory.mktemp(task) / "raw"
    return task, root, write(task, root, seed=3, splits=SMALL[task], progress=False)


def scenes_of(task: str, split: str) -> list:
    sizes = SIZES[task]
    first = sum(sizes[s] for s in SPLITS[: SPLITS.index(split)])
    return [clip_scene(task, 0, first + i) for i in range(sizes[split])]


def image(path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_the_layout_is_the_data_sets_own(written):
    task, root, index = written
    data_set = SETS[task]
    again = data_set.read_index(root)
    assert again.rows == index.rows
    assert {split: len(rows) for split, rows in again.splits.items()} == SMALL[task]
    kinds = ("raw_videos", "visual_frames", "audio_wav", "gt_masks", "wave")
    wanted = {path for row in index.rows for kind in kinds for path in data_set.paths(root, row, kind)}
    found = {path for path in data_set.media(root).rglob("*") if path.is_file()}
    assert found == wanted
    train = [index.rows[i] for i in index.splits["train"]]
    assert {len(data_set.paths(root, row, "gt_masks")) for row in train} == {1 if task == "avs-s4" else 5}
    assert sorted(path.name for path in root.iterdir()) == sorted([data_set.folder, "mini.json"])


def test_all_files_show_the_scene(written):
    task, root, index = written
    data_set = SETS[task]
    for clip in (0, len(index.rows) - 1):
        row, scene = index.rows[clip], clip_scene(task, 3, clip)
        rendered = render_frames(scene, 64, 64, 10)
        (video,) = data_set.paths(root, row, "raw_videos")
        assert Media.open(video).timeline.end == pytest.approx(5, abs=0.01)
        assert np.abs(read_frames(video, 50).astype(float) - rendered).mean() < 6
        chosen = rendered[frame_indices(50, 10.0, 0)]
        frames = np.stack([image(path) for path in data_set.paths(root, row, "visual_frames")])
        assert np.array_equal(frames.transpose(0, 3, 1, 2), resize(chosen, SIDE))
        masks = [image(path) for path in data_set.paths(root, row, "gt_masks")]
        assert np.array_equal(np.stack(masks), 255 * truth(scene, SIDE)[: len(masks)].astype(np.uint8))
        wave = render_wave(scene, 32000)
        (packed,) = data_set.paths(root, row, "wave")
        assert np.array_equal(np.load(packed, allow_pickle=True).item()[f"{row.video_id}.wav"], wave)
        (speech,) = data_set.paths(root, row, "audio_wav")
        assert read_sound(speech, 16000, 9).shape == (80000,)
        heard = np.any([event.heard for event in events(scene)], axis=0)
        loud = np.sqrt((wave.reshape(5, -1) ** 2).mean(axis=1))
        assert np.array_equal(loud > 0.03, heard)


def test_equal_seeds_give_equal_files(written, tmp_path):
    task, root, _ = written
    write(task, tmp_path / "again", seed=3, splits=SMALL[task], jobs=1, progress=False)
    other = write(task, tmp_path / "other", seed=4, splits=SMALL[task], progress=False)
    for path in root.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "again" / path.relative_to(root)).read_bytes(), path
    assert not {row.video_id for row in other.rows} & {row.video_id for row in written[2].rows}


def test_masks_are_what_is_seen_of_what_sounds():
    for task in SETS:
        for scene in scenes_of(task, "test")[:20]:
            seen, times = render_masks(scene, SIDE, SIDE, 10, sounding=False)[:, 9::10], np.arange(5) + 0.9
            sounding = np.stack([active(source.audible, times) for source in scene.sources])
            assert np.array_equal(truth(scene, SIDE), (seen & sounding[:, :, None, None]).any(axis=0))


def moments(scene) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each thing whether it is on screen and whether it is heard in the five annotated frames."""
    times = np.arange(5) + 0.9
    return [(active(s.visible, times), active(s.audible, times)) for s in scene.sources]


def test_each_thing_has_a_look_and_a_sound_of_its_own():
    assert [len(things) for things in THINGS.values()] == [len(CATEGORIES)] * 2
    for scene in [*scenes_of("avs-s4", "train"), *scenes_of("avs-ms3", "train")]:
        assert len({s.look for s in scene.sources}) == len(scene.sources)
        assert all((s.look, s.sound) in THINGS["avs-ms3"] for s in scene.sources)


@pytest.mark.parametrize("split", SPLITS)
def test_in_s4_one_thing_sounds_at_a_time_and_that_of_the_category_first(split):
    scenes = scenes_of("avs-s4", split)
    before = sum(SIZES["avs-s4"][other] for other in SPLITS[: SPLITS.index(split)])
    for i, scene in enumerate(scenes, before):
        (first,) = [s for s, (_, heard) in zip(scene.sources, moments(scene), strict=True) if heard[0]]
        assert (first.look, first.sound) == THINGS["avs-s4"][i % 6]
        # The sound of the clip as a whole names all things, and only that of a frame tells which of them is meant in it.
        assert all(seen.all() and heard.any() for seen, heard in moments(scene))
        assert np.array_equal(np.sum([heard for _, heard in moments(scene)], axis=0), np.ones(5))
    assert {len(scene.sources) for scene in scenes} == {1, 2}
    assert 0.4 < np.mean([len(scene.sources) - 1 for scene in scenes]) < 0.75


@pytest.mark.parametrize("split", SPLITS)
def test_in_ms3_each_thing_falls_silent_for_up_to_three_seconds(split):
    scenes = scenes_of("avs-ms3", split)
    assert {len(scene.sources) for scene in scenes} == {2, 3}
    pauses = [int((~heard).sum()) for scene in scenes for _, heard in moments(scene)]
    assert all(seen.all() for scene in scenes for seen, _ in moments(scene))
    assert set(pauses) == {0, 1, 2, 3}
    changing = [any(0 < heard.sum() < 5 for _, heard in moments(scene)) for scene in scenes]
    assert np.mean(changing) > 0.9  # in nearly every clip it matters when
    masks = np.stack([truth(scene, SIDE) for scene in scenes])
    assert 0.05 < (~masks.any(axis=(2, 3))).mean() < 0.25  # seconds of silence, as the real set has some


@pytest.mark.parametrize("task", SETS)
def test_what_is_on_screen_sounds_more_often_than_not(task):
    """Else whoever sees but does not yet hear would do best with empty masks."""
    for split in SPLITS:
        scenes = scenes_of(task, split)
        shown = [render_masks(scene, SIDE, SIDE, 10, sounding=False)[:, 9::10].any(axis=0) for scene in scenes]
        share = np.mean([truth(scene, SIDE).sum() for scene in scenes]) / np.mean([one.sum() for one in shown])
        print(f"{task} {split}: {100 * share:.0f} % of what is on screen sounds")
        assert share > 0.6
        things = [seen & heard for scene in scenes for seen, heard in moments(scene)]
        assert np.sum(things) >= 0.6 * np.sum([seen for scene in scenes for seen, _ in moments(scene)])


def mean_iou(predicted: np.ndarray, masks: np.ndarray) -> float:
    """Per cent over frames [N, H, W]; a frame without object counts its share of background."""
    union = (predicted | masks).sum(axis=(1, 2))
    overlap = (predicted & masks).sum(axis=(1, 2)) / np.maximum(union, 1)
    return 100 * float(np.where(masks.any(axis=(1, 2)), overlap, (~predicted).mean(axis=(1, 2))).mean())


# What can be had at most from all that is on screen, or from the largest thing of each frame or clip.
OF_SIGHT = 75


@pytest.mark.parametrize("task", SETS)
def test_neither_a_prior_nor_sight_suffices(task):
    """Upper bounds: the best threshold of the mean mask and the best disc in the middle, chosen on the test clips."""
    scenes = scenes_of(task, "test")
    masks = np.concatenate([truth(scene, SIDE) for scene in scenes])
    training = np.concatenate([truth(scene, SIDE) for scene in scenes_of(task, "train")])
    mean = training.mean(axis=0)
    place = np.indices((SIDE, SIDE)) - (SIDE - 1) / 2
    radius = np.hypot(*place)
    frame = np.ones_like(masks)
    blind = {
        "all": mean_iou(frame, masks),
        "mean mask": max(mean_iou(frame & (mean >= level), masks) for level in np.linspace(0, mean.max(), 30)),
        "middle": max(mean_iou(frame & (radius < r), masks) for r in range(2, SIDE)),
    }
    shown = [render_masks(scene, SIDE, SIDE, 10, sounding=False)[:, 9::10] for scene in scenes]
    sight = {
        "everything": np.concatenate([one.any(axis=0) for one in shown]),
        "largest in a frame": np.concatenate([one[one.sum(axis=(2, 3)).argmax(axis=0), range(5)] for one in shown]),
        "largest in a clip": np.concatenate([one[one.sum(axis=(1, 2, 3)).argmax()] for one in shown]),
    }
    values = {name: mean_iou(predicted, masks) for name, predicted in sight.items()}
    print(task, {name: round(value, 1) for name, value in (blind | values).items()})
    assert max(blind.values()) < 31
    assert max(values.values()) < OF_SIGHT
    # Whoever hears too can be right everywhere: looks tell apart what sounds from what does not.
    both = by_both_senses(task, scenes, shown, lambda source, t: active(source.audible, np.array(t + 0.9)))
    assert np.array_equal(both, masks)
    # Who hears only the clip as a whole learns no more than everything on screen: each thing sounds at some time.
    whole = by_both_senses(task, scenes, shown, lambda source, _: active(source.audible, np.arange(5) + 0.9).any())
    assert np.array_equal(whole, sight["everything"])


def by_both_senses(task: str, scenes: list, shown: list[np.ndarray], heard) -> np.ndarray:
    """Frames [N, H, W] of what is seen of the looks whose sound is `heard(source, frame)`, from whatever source."""
    its = {sound: look for look, sound in THINGS[task]}
    frames = []
    for scene, masks in zip(scenes, shown, strict=True):
        for t in range(5):
            meant = {its[s.sound] for s in scene.sources if heard(s, t)}
            chosen = np.array([s.look in meant for s in scene.sources])
            frames.append((masks[:, t] & chosen[:, None, None]).any(axis=0))
    return np.stack(frames)


def test_command_line_and_wrong_sizes(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(SIZES, "avs-ms3", SMALL["avs-ms3"])
    assert main(["avs-ms3", str(tmp_path / "raw"), "--jobs", "1"]) == 0
    assert "8 clips in " in capsys.readouterr().out
    assert main(["avs-ms3", str(tmp_path / "raw"), "--seed", "-1"]) == 2
    with pytest.raises(UsageError, match="mini avs-s4 splits"):
        write("avs-s4", tmp_path / "few", splits={"train": 1, "val": 0, "test": 1})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/clip.mp4").write_text("precious")
    with pytest.raises(UsageError, match="holds something else"):
        write("avs-s4", tmp_path / "mine", splits=SMALL["avs-s4"], progress=False)


def test_the_pack_of_waves_is_a_dict_of_plain_arrays(written):
    task, root, index = written
    (path,) = SETS[task].paths(root, index.rows[0], "wave")
    pack = np.load(path, allow_pickle=True).item()
    assert {type(wave) for wave in pack.values()} == {np.ndarray}
    assert {(wave.shape, wave.dtype.name) for wave in pack.values()} == {((160000,), "float32")}

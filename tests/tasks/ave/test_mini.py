"""The mini AVE set: balanced, whole, deterministic, and not to be solved by one sense."""

import shutil

import numpy as np
import pytest

from dgsct.data.folders import check_replaceable
from dgsct.data.media import read_audio, read_frames
from dgsct.data.scenes import active, events
from dgsct.errors import DgsctError, UsageError
from dgsct.settings.scales import MINI
from dgsct.tasks import get_task
from dgsct.tasks.ave import mini
from dgsct.tasks.ave.annotations import SPLIT_FILES, read_index
from dgsct.tasks.ave.mini import CATEGORIES, CLASSES, LOOKS, SIZES, SOUNDS, classes_by_second, clip_scene, write
from dgsct.tasks.generate import main

SPLITS = SIZES["ave"]
SMALL = {"train": 6, "val": 3, "test": 3}
BACKGROUND = len(CLASSES)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    root = tmp_path_factory.mktemp("mini") / "raw"
    return root, write("ave", root, seed=3, splits=SMALL, progress=False)


def scenes_of_split(split: str) -> list[tuple]:
    first = {"train": 0, "val": SPLITS["train"], "test": SPLITS["train"] + SPLITS["val"]}[split]
    return [(*clip_scene(0, first + i, i % BACKGROUND), i % BACKGROUND) for i in range(SPLITS[split])]


def labels_of(scenes: list[tuple]) -> np.ndarray:
    return np.array([[c if a <= t < b else BACKGROUND for t in range(10)] for _, a, b, c in scenes])


def test_the_written_set_is_read_back(small):
    root, index = small
    again = read_index(root)
    assert again.rows == index.rows
    assert again.categories == CATEGORIES
    assert (root / "categories.txt").read_text().splitlines() == list(CATEGORIES)
    assert {split: len(rows) for split, rows in again.splits.items()} == SMALL
    assert len(set(again.video_ids)) == 12
    assert {len(name) for name in again.video_ids} == {11}
    assert sorted(p.stem for p in (root / "AVE").iterdir()) == sorted(again.video_ids)
    assert len({row.category for row in again.rows[:6]}) == 6
    assert any("," in name for name in CATEGORIES)
    assert list(root.parent.iterdir()) == [root]


def test_the_clips_are_the_scenes(small):
    root, index = small
    for clip in (0, 4, 10):
        path = root / "AVE" / f"{index.rows[clip].video_id}.mp4"
        scene, start, end = clip_scene(3, clip, clip % 6 if clip < 9 else clip - 9)
        assert (index.rows[clip].start, index.rows[clip].end) == (start, end)
        # H.264 keeps the picture, AAC the loudness of every second.
        rendered = mini.render_frames(scene, 64, 64, 10)[::11]
        assert np.abs(read_frames(path).astype(float) - rendered).mean() < 6
        heard = np.any([event.heard for event in events(scene)], axis=0)
        loud = np.sqrt((read_audio(path).reshape(10, -1) ** 2).mean(axis=1))
        assert np.array_equal(loud > 0.035, heard)


def test_equal_seeds_give_equal_files(small, tmp_path):
    root, index = small
    again = write("ave", tmp_path / "again", seed=3, splits=SMALL, jobs=1, progress=False)
    other = write("ave", tmp_path / "other", seed=4, splits=SMALL, progress=False)
    assert again.rows == index.rows
    assert not set(again.video_ids) & set(other.video_ids)
    for path in (root / "AVE").iterdir():
        assert path.read_bytes() == (tmp_path / "again/AVE" / path.name).read_bytes()


def test_shares_and_balance():
    assert get_task("ave").at(MINI).classes == BACKGROUND == len(CATEGORIES)
    assert max(len(LOOKS), len(SOUNDS)) <= MINI.swin.num_classes == MINI.htsat.num_classes
    everything = []
    for split in SPLIT_FILES:
        scenes = scenes_of_split(split)
        everything += scenes
        assert len(set(np.bincount([c for *_, c in scenes]))) == 1
    labels = labels_of(everything)
    assert 0.25 < (labels == BACKGROUND).mean() < 0.35
    assert 0.30 <= (labels != BACKGROUND).all(axis=1).mean() <= 0.40


def test_every_second_has_one_right_answer():
    for split in SPLIT_FILES:
        scenes = scenes_of_split(split)
        for (scene, *_), labels in zip(scenes, labels_of(scenes), strict=True):
            assert classes_by_second(scene) == [set() if c == BACKGROUND else {c} for c in labels]


def one_sense_accuracy(scenes: list[tuple], sense: str) -> float:
    """Expected accuracy of a reader who knows all that one sense can tell, and guesses between the classes that fit.

    In every second it knows which looks are on screen (or which sounds are heard) and, beyond what a sense can tell,
    which of them is the event's own; it takes every such second for an event and guesses one of the two classes.
    """
    right = []
    for scene, start, end, category in scenes:
        own = events(scene)[-1]
        present = own.seen if sense == "visual" else own.heard
        part = 0 if sense == "visual" else 1
        fitting = [c for c in CLASSES if c[part] == CLASSES[category][part]]
        event = (np.arange(10) >= start) & (np.arange(10) < end)
        right.append(np.where(present, event / len(fitting), ~event))
    return 100 * float(np.mean(right))


def test_neither_sense_suffices():
    scenes = scenes_of_split("test")
    both = [[min(c, default=BACKGROUND) for c in classes_by_second(scene)] for scene, *_ in scenes]
    assert np.array_equal(both, labels_of(scenes))  # both senses together: 100 %
    for sense in ("visual", "audio"):
        accuracy = one_sense_accuracy(scenes, sense)
        print(f"{sense} oracle: {accuracy:.1f} %")
        assert 35 < accuracy < 65
    for names in ([kind.name for kind in kinds] for kinds in zip(*CLASSES, strict=True)):
        assert sorted(names.count(name) for name in set(names)) == [2, 2, 2]


def test_companions_come_and_go():
    looks, sounds = ({pair[part] for pair in CLASSES} for part in (0, 1))
    kinds = {"silent event": 0, "off-screen event": 0, "class-look bystander": 0, "class-sound away": 0}
    for scene, start, end, _ in scenes_of_split("train"):
        *others, own = events(scene)
        outside = (np.arange(10) < start) | (np.arange(10) >= end)
        kinds["silent event"] += bool((own.seen & outside).any())
        kinds["off-screen event"] += bool((own.heard & outside).any())
        kinds["class-look bystander"] += any(e.seen.any() and e.source.look in looks for e in others)
        kinds["class-sound away"] += any(e.heard.any() and e.source.sound in sounds for e in others)
    assert min(kinds.values()) >= 10, kinds


def test_every_event_keeps_two_lit_seconds():
    shaded, clips = [], 0
    for split in SPLIT_FILES:
        for scene, start, end, _ in scenes_of_split(split):
            seen = [e for e in events(scene) if e.seen.any()]
            in_shade = [active(e.source.shade, np.arange(10) + 0.5) for e in seen]
            *_, own = in_shade
            assert (~own[start:end]).sum() >= mini.LIT == 2
            shaded += [second for e, shade in zip(seen, in_shade, strict=True) for second in shade[e.seen]]
            clips += bool(own[start:end].any())
            # Shade comes and goes with whole seconds, so that a second has one answer.
            assert all(float(edge).is_integer() for s in scene.sources for interval in s.shade for edge in interval)
    print(f"in shade: {100 * np.mean(shaded):.0f} % of the seconds of what is seen; {clips} of 180 events for some seconds")
    assert 0.3 < np.mean(shaded) < 0.4  # 40 % of all but the lit seconds
    assert clips > 120


def test_a_foreign_folder_is_never_replaced(tmp_path, small):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "mine.mp4").write_text("precious")
    with pytest.raises(UsageError, match=r"videos holds something else \(it has no mini\.json\)"):
        write("ave", tmp_path / "videos", splits=SMALL, progress=False)
    assert (tmp_path / "videos" / "mine.mp4").read_text() == "precious"
    own = tmp_path / "own"
    shutil.copytree(small[0], own)
    (own / "Annotations.txt").unlink()
    write("ave", own, seed=3, splits=SMALL, progress=False)
    assert (own / "Annotations.txt").exists()


def test_folders_without_a_file_are_no_foreign_folder(tmp_path):
    (tmp_path / "raw/Multi-sources").mkdir(parents=True)
    check_replaceable(tmp_path / "raw", "mini.json")
    (tmp_path / "raw/Multi-sources/notes.txt").touch()
    with pytest.raises(UsageError, match="something else"):
        check_replaceable(tmp_path / "raw", "mini.json")


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mini, "write_index", full)
    with pytest.raises(DgsctError, match=r"cannot write .*No space left on device.*; free space"):
        write("ave", tmp_path / "raw", splits=SMALL, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(SIZES, "ave", SMALL)
    assert main(["ave", str(tmp_path / "raw"), "--seed", "5", "--jobs", "2"]) == 0
    assert "12 clips of 6 classes" in capsys.readouterr().out
    for wrong in (["--jobs", "0"], ["--seed", "-1"]):
        assert main(["ave", str(tmp_path / "raw"), *wrong]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(UsageError, match="give train 6 clips or more"):
        write("ave", tmp_path / "few", splits={"train": 5, "val": 1, "test": 1})

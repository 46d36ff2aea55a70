"""AVSBench's own files: facts recomputed from the real metadata, both trees, and malformed files."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgsct.data.base import is_name
from dgsct.errors import DgsctError, UsageError
from dgsct.tasks.avs.categories import AVSBENCH
from dgsct.tasks.avs.files import MS3, S4, AvsIndex, AvsRow, write_metadata

# Clips of each S4 category, train / val / test (avs, section 2.3).
CATEGORIES = {
    "ambulance_siren": (138, 29, 29), "baby_laughter": (63, 14, 14), "cap_gun_shooting": (86, 18, 18),
    "cat_meowing": (126, 27, 27), "chainsawing_trees": (173, 37, 37), "coyote_howling": (44, 9, 9),
    "dog_barking": (182, 39, 39), "driving_buses": (105, 22, 22), "female_singing": (214, 46, 45), "helicopter": (217, 47, 47),
    "horse_clip-clop": (134, 29, 29), "lawn_mowing": (57, 12, 12), "lions_roaring": (175, 37, 37), "male_speech": (155, 33, 34),
    "mynah_bird_singing": (140, 30, 30), "playing_acoustic_guitar": (209, 45, 45), "playing_glockenspiel": (154, 33, 33),
    "playing_piano": (208, 45, 45), "playing_tabla": (194, 41, 41), "playing_ukulele": (137, 30, 30),
    "playing_violin": (205, 44, 44), "race_car": (143, 31, 31), "typing_on_computer_keyboard": (193, 42, 42),
}  # fmt: skip
SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def shared(repository) -> Path:
    folder = repository.parent / "shared/data/avsbench"
    if not (folder / "derived/s4_meta_data.rebuilt.csv").exists():
        pytest.skip("the AVSBench metadata is not on this machine (../shared/data/avsbench)")
    return folder


@pytest.fixture(scope="module")
def real(shared, tmp_path_factory) -> dict[str, AvsIndex]:
    """The rebuilt metadata under the official names and places."""
    root = tmp_path_factory.mktemp("AVSBench_data")
    for data_set in (S4, MS3):
        path = data_set.index_file(root)
        path.parent.mkdir()
        path.write_bytes((shared / f"derived/{data_set.prefix}_meta_data.rebuilt.csv").read_bytes())
    return {data_set.name: data_set.read_index(root) for data_set in (S4, MS3)}


def semantic(shared: Path, label: str) -> list[dict[str, str]]:
    with open(shared / "avsbench_semantic_metadata.csv", encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["label"] == label]


def source(name: str) -> str:
    """The YouTube id of a clip."""
    return name[:11]


def test_counts_of_the_real_metadata(real):
    s4, ms3 = real["avs-s4"], real["avs-ms3"]
    assert {split: len(s4.splits[split]) for split in SPLITS} == dict(S4.published) == {"train": 3452, "val": 740, "test": 740}
    assert {split: len(ms3.splits[split]) for split in SPLITS} == dict(MS3.published) == {"train": 296, "val": 64, "test": 64}
    assert len(s4.rows) + len(ms3.rows) == 5356
    assert [int(index.annotated.sum()) for index in (s4, ms3)] == [10_852, 2_120]
    assert int(s4.annotated.sum() + ms3.annotated.sum()) == 12_972
    assert s4.annotated[s4.splits["train"]].sum(axis=0).tolist() == [3452, 0, 0, 0, 0]
    assert s4.annotated[s4.splits["test"]].all()
    assert ms3.annotated.all()


def test_s4_categories_and_starts(real):
    found = Counter((row.category, row.split) for row in real["avs-s4"].rows)
    assert len(real["avs-s4"].categories) == 23
    assert found == {(name, split): n for name, counts in CATEGORIES.items() for split, n in zip(SPLITS, counts, strict=True)}
    starts = Counter(row.start for row in real["avs-s4"].rows)
    assert starts == {0: 3062, 1: 280, 2: 363, 3: 252, 4: 236, 5: 725, 6: 14}
    assert real["avs-ms3"].categories == ()


def test_clips_of_one_video_are_in_several_ms3_splits(real):
    ids = {split: [source(real["avs-ms3"].rows[i].video_id) for i in real["avs-ms3"].splits[split]] for split in SPLITS}
    assert sum(name in ids["train"] for name in ids["test"]) == 38
    every = {name for names in ids.values() for name in names}
    assert len(every) == 219
    assert sum(sum(name in ids[split] for split in SPLITS) > 1 for name in every) == 56
    assert not every & {source(row.video_id) for row in real["avs-s4"].rows}


def test_ms3_objects(shared):
    objects = [row["a_obj"].split("_") for row in semantic(shared, "v1m")]
    assert Counter(map(len, objects)) == {1: 233, 2: 177, 3: 14}
    sounding = [{name for name in names if name != "background"} for names in objects]
    assert len(set().union(*sounding)) == 21
    assert sum("background" in names for names in objects) == 5


def test_the_rebuilt_files_are_the_semantic_metadata_and_the_test_lists(shared, real):
    for task, label in (("avs-s4", "v1s"), ("avs-ms3", "v1m")):
        listed = semantic(shared, label)
        assert [(row.video_id, row.split) for row in real[task].rows] == [(row["vid"], row["split"]) for row in listed]
        prefix = {"avs-s4": "s4", "avs-ms3": "ms3"}[task]
        with open(shared / f"avs1_{prefix}_test.csv", encoding="utf-8", newline="") as file:
            frames = [(name, what) for name, what in csv.reader(file)]
        test = [real[task].rows[i] for i in real[task].splits["test"]]
        assert {name for name, _ in frames} == {f"{row.video_id}_{k}" for row in test for k in range(1, 6)}
        if task == "avs-s4":
            category = {row.video_id: row.category for row in test}
            assert all(category[name.rpartition("_")[0]] == what for name, what in frames)
    starts = [60 * int(row["s_min"]) + int(row["s_sec"]) for row in semantic(shared, "v1s")]
    assert [row.start for row in real["avs-s4"].rows] == starts


def test_both_trees():
    s4 = AvsRow("-AvdTx9HVjo", "train", "dog_barking", 3, annotated=1)
    data, part = Path("R/Single-source/s4_data"), "train/dog_barking"
    assert S4.index_file(Path("R")) == Path("R/Single-source/s4_meta_data.csv")
    assert S4.paths(Path("R"), s4, "raw_videos") == [data / f"raw_videos/{part}/-AvdTx9HVjo.mp4"]
    assert S4.paths(Path("R"), s4, "visual_frames")[4] == data / f"visual_frames/{part}/-AvdTx9HVjo/-AvdTx9HVjo_5.png"
    assert S4.paths(Path("R"), s4, "gt_masks") == [data / f"gt_masks/{part}/-AvdTx9HVjo/-AvdTx9HVjo_1.png"]
    assert S4.paths(Path("R"), s4, "audio_wav") == [data / f"audio_wav/{part}/-AvdTx9HVjo.wav"]
    assert S4.paths(Path("R"), s4, "wave") == [data / f"wave/{part}/AVS.npy"]
    ms3, data, name = AvsRow("0WxgIKuetYI_0", "test"), Path("R/Multi-sources/ms3_data"), "0WxgIKuetYI_0"
    assert MS3.paths(Path("R"), ms3, "raw_videos") == [data / f"raw_videos/{name}.mp4"]
    assert MS3.paths(Path("R"), ms3, "visual_frames")[0] == data / f"visual_frames/{name}/{name}.mp4_1.png"
    assert MS3.paths(Path("R"), ms3, "gt_masks")[4] == data / f"gt_masks/test/{name}/{name}_5.png"
    assert MS3.paths(Path("R"), ms3, "wave") == [data / "wave/test/AVS.npy"]


names = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters="/."), min_size=1).filter(
    is_name
)


@given(found=st.lists(names, min_size=3, max_size=9, unique=True), start=st.integers(0, 9), single=st.booleans())
def test_metadata_round_trip(tmp_path_factory, found, start, single):
    """Any name, commas and quotation marks too; a `split` that stands elsewhere is found by its header."""
    root = tmp_path_factory.mktemp("set")
    data_set = S4 if single else MS3
    path = data_set.index_file(root)
    path.parent.mkdir()
    splits = [SPLITS[i % 3] for i in range(len(found))]
    kinds = [AVSBENCH[-1 - i] for i in range(len(found))] if single else [""] * len(found)
    rows = tuple(
        AvsRow(name, split, kind, start if single else 0, 1 if single and split == "train" else 5)
        for name, split, kind in zip(found, splits, kinds, strict=True)
    )
    write_metadata(path, AvsIndex(rows, AVSBENCH if single else (), {}))
    index = data_set.read_index(root)
    assert index.rows == rows
    assert index.categories == (AVSBENCH if single else ())
    assert {s: [splits[i] for i in indices] for s, indices in index.splits.items()} == {
        s: [s] * splits.count(s) for s in SPLITS
    }
    with open(path, encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))
    with open(path, "w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([*line[:-1], "x", line[-1]] for line in lines)
    text = path.read_text(encoding="utf-8-sig")
    path.write_text(text.replace(",x,split", ",extra,split", 1), encoding="utf-8-sig")
    assert data_set.read_index(root).rows == rows


HEAD = "name,start,category,split\n"
GOOD = "aaaaaaaaaaa,0,dog_barking,train\nbbbbbbbbbbb,0,dog_barking,val\nccccccccccc,0,dog_barking,test\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", r"has the header ''; it must be 'name,start,category,split'"),
        ("name,start,category\n", r"it must be 'name,start,category,split'"),
        ("name,split\naaaaaaaaaaa,train\n", r"has the header 'name,split'"),
        (HEAD, "holds no clip; put the data set's own file there"),
        (f"{HEAD}{GOOD}aaaaaaaaaaa,0,dog_barking,val\n", r"the clip 'aaaaaaaaaaa' occurs twice"),
        (f"{HEAD}aaaaaaaaaaa,0,dog_barking,train\n", r"holds no clip of split 'val'"),
        (f"{HEAD}{GOOD}ddddddddddd,0,dog_barking,dev\n", r"line 5: unknown split 'dev'; write one of: train, val, test"),
        (f"{HEAD}{GOOD}ddddddddddd,x,dog_barking,val\n", r"line 5: start 'x' is no whole second"),
        (f"{HEAD}{GOOD}ddddddddddd,-1,dog_barking,val\n", r"line 5: start '-1' is no whole second"),
        (f"{HEAD}{GOOD}ddddddddddd,4.5,dog_barking,val\n", r"line 5: start '4.5' is no whole second"),
        (f"{HEAD}{GOOD}ddddddddddd,12,dog_barking,val\n", r"line 5: start '12' is no whole second"),
        (f"{HEAD}{GOOD}ddddddddddd,0,dog\n", r"line 5: 3 values where the header has 4"),
        (f"{HEAD}{GOOD}../secret,0,dog_barking,val\n", r"line 5: '\.\./secret' is no name"),
        (
            f"{HEAD}{GOOD}ddddddddddd,0,dog_braking,val\n",
            r"line 5: unknown category 'dog_braking'; did you mean 'dog_barking'\?",
        ),
        (
            f"{HEAD}{GOOD}ddddddddddd,0,..,val\n",
            r"line 5: unknown category '\.\.'; write one of AVSBench-object",
        ),
        (f"{HEAD}{GOOD},0,dog_barking,val\n", r"line 5: '' is no name"),
    ],
)
def test_malformed_metadata_is_one_sentence(tmp_path, text, sentence):
    (tmp_path / "s4_meta_data.csv").write_text(text)
    with pytest.raises(UsageError, match=sentence) as caught:
        S4.read_index(tmp_path)
    assert "s4_meta_data.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_absent_and_unreadable_metadata(tmp_path):
    with pytest.raises(UsageError, match="is no folder; give the folder that holds Multi-sources"):
        MS3.read_index(tmp_path / "nowhere")
    with pytest.raises(DgsctError, match=r"Multi-sources/ms3_meta_data\.csv does not exist"):
        MS3.read_index(tmp_path)
    (tmp_path / "ms3_meta_data.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DgsctError, match="cannot be read as a table"):
        MS3.read_index(tmp_path)
    assert MS3.source_stamps(tmp_path) == []


def test_a_start_with_decimals_is_read(tmp_path):
    (tmp_path / "s4_meta_data.csv").write_text(HEAD + GOOD.replace(",0,", ",4.0,"))
    assert {row.start for row in S4.read_index(tmp_path).rows} == {4}


def test_annotated_frames():
    rows = (AvsRow("a", "train", "dog", annotated=1), AvsRow("b", "val", "dog"))
    assert np.array_equal(AvsIndex(rows, ("dog",), {}).annotated, [[True, False, False, False, False], [True] * 5])

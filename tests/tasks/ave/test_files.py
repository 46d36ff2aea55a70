"""The AVE set's own files: the real ones, both public variants, and malformed ones; how frames are resized."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import resize as tv_resize

from dgsct.data.base import is_name
from dgsct.errors import DgsctError, UsageError
from dgsct.tasks.ave import annotations as ave
from dgsct.tasks.ave.annotations import AveIndex, Row, read_annotations, read_index, read_split, segment_labels, write_index
from dgsct.tasks.ave.decode import resize
from dgsct.tasks.ave.metrics import segment_accuracy
from dgsct.tasks.ave.yardsticks import predict

CATEGORIES = ("Church bell", "Male speech, man speaking", "Frying (food)")


@pytest.fixture(scope="module")
def real(repository) -> Path:
    folder = repository.parent / "shared/data/ave"
    if not (folder / "Annotations.txt").exists():
        pytest.skip("the real AVE annotation files are not on this machine (../shared/data/ave)")
    return folder


def copied(real: Path, target: Path, *names: str) -> Path:
    target.mkdir()
    for name in names:
        shutil.copy(real / name, target / name)
        (target / name).chmod(0o644)
    return target


def test_the_real_files(real):
    index = read_index(real)
    assert len(index.rows) == 4143
    assert index.categories == tuple((real / "categories.txt").read_text().splitlines())
    assert len(index.categories) == 28
    assert index.categories[1] == "Male speech, man speaking"
    assert {split: len(rows) for split, rows in index.splits.items()} == {"train": 3339, "val": 402, "test": 402}
    assert len(index.video_ids) == 4097
    expected = np.load(real / "labels_class_index.npy")
    assert np.array_equal(index.labels, expected)
    assert index.labels.dtype == np.int64
    assert (index.labels == 28).sum() == 7078
    assert set(np.concatenate(list(index.splits.values()))) == set(range(4143))


def test_statistics_of_the_real_files(real):
    index = read_index(real)
    labels = {split: index.labels[rows] for split, rows in index.splits.items()}
    assert {split: int((found != 28).sum()) for split, found in labels.items()} == {
        "train": 27_759,
        "val": 3_288,
        "test": 3_305,
    }
    ids = {split: {index.rows[i].video_id for i in rows} for split, rows in index.splits.items()}
    assert (len(ids["test"] & ids["train"]), len(ids["val"] & ids["train"])) == (8, 10)
    test = labels["test"]
    for name, accuracy in (("all-background", 17.79), ("oracle-category", 82.21)):
        assert round(segment_accuracy(predict(name, labels["train"], test, 28), test), 2) == accuracy


def test_the_copy_without_header_reads_the_same(real, tmp_path):
    folder = copied(real, tmp_path / "set", "Annotations.txt", "trainSet.txt", "valSet.txt", "testSet.txt")
    lines = (folder / "Annotations.txt").read_text().splitlines(keepends=True)
    assert lines[0].startswith("Category&")
    (folder / "Annotations.txt").write_text("".join(lines[1:]))
    with_header, without = read_index(real), read_index(folder)
    assert without.rows == with_header.rows
    assert all(np.array_equal(without.splits[s], with_header.splits[s]) for s in with_header.splits)


def test_order_files_and_text_lists_agree(real, tmp_path):
    pytest.importorskip("h5py")
    orders = copied(real, tmp_path / "set", "Annotations.txt", "train_order.h5", "val_order.h5", "test_order.h5")
    texts = copied(real, tmp_path / "texts", "Annotations.txt", "trainSet.txt", "valSet.txt", "testSet.txt")
    by_text, by_order = read_index(texts), read_index(orders)
    for split in ("train", "val", "test"):
        assert np.array_equal(by_text.splits[split], by_order.splits[split])
    assert np.array_equal(read_split(orders, "val"), by_order.splits["val"])
    # Where both are present and differ, the order file counts.
    for name in ("trainSet.txt", "valSet.txt", "testSet.txt"):
        (orders / name).write_text((texts / "valSet.txt").read_text())
    by_both = read_index(orders)
    assert all(np.array_equal(by_both.splits[split], by_order.splits[split]) for split in by_order.splits)


@given(start=st.integers(0, 10), length=st.integers(0, 10), category=st.sampled_from(CATEGORIES))
def test_label_rule(start, length, category):
    row = Row(category, "a" * 11, "good", start, min(start + length, 10))
    labels = segment_labels(row, CATEGORIES)
    c = CATEGORIES.index(category)
    assert labels.tolist() == [c if row.start <= t < row.end else 3 for t in range(10)]


names = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters="&/"), min_size=1).filter(
    is_name
)
times = st.tuples(st.integers(0, 10), st.integers(0, 10)).map(sorted)
rows = st.builds(lambda c, i, t: Row(c, i, "good", *t), names.map(lambda n: f"{n}, b (c)"), names, times)


@given(found=st.lists(rows, min_size=3, max_size=12), header=st.booleans(), cut=st.data())
def test_index_round_trip(tmp_path_factory, found, header, cut):
    folder = tmp_path_factory.mktemp("set")
    a = cut.draw(st.integers(1, len(found) - 2))
    b = cut.draw(st.integers(a + 1, len(found) - 1))
    parts = np.split(np.arange(len(found)), [a, b])
    names = tuple(dict.fromkeys(row.category for row in found))
    index = AveIndex(tuple(found), names, dict(zip(("train", "val", "test"), parts, strict=True)))
    write_index(folder, index, header)
    again = read_index(folder)
    assert again.rows == index.rows
    assert again.categories == index.categories
    for split, expected in index.splits.items():
        assert [again.rows[i] for i in again.splits[split]] == [index.rows[i] for i in expected]
    assert np.array_equal(again.labels, index.labels)


def test_a_line_that_occurs_twice_means_two_rows(tmp_path):
    lines = ["Bark&aaaaaaaaaaa&good&0&4", "Truck&bbbbbbbbbbb&good&0&10", "Bark&aaaaaaaaaaa&good&0&4"]
    (tmp_path / "Annotations.txt").write_text("\r\n".join(lines) + "\r\n")
    (tmp_path / "trainSet.txt").write_text("\n".join([lines[0], lines[0]]))
    assert read_split(tmp_path, "train").tolist() == [0, 2]
    (tmp_path / "trainSet.txt").write_text("\n".join([lines[1], lines[1]]))
    with pytest.raises(UsageError, match="more often"):
        read_split(tmp_path, "train")


@pytest.mark.parametrize(
    "line",
    [
        "Bark&aaaaaaaaaaa&good&0",
        "Bark&aaaaaaaaaaa&good&0&4&5",
        "Bark&aaaaaaaaaaa&good&zero&4",
        "Bark&aaaaaaaaaaa&good&0.5&4",
        "Bark&aaaaaaaaaaa&good&-1&4",
        "Bark&aaaaaaaaaaa&good&5&4",
        "Bark&aaaaaaaaaaa&good&0&11",
        "Bark&aaaaaaaaaaa&good&²&4",
        "Bark&&good&0&4",
        "&aaaaaaaaaaa&good&0&4",
        "Bark&../../secret&good&0&4",
        "Bark,aaaaaaaaaaa,good,0,4",
    ],
)
def test_a_malformed_row_is_named_with_file_and_line(tmp_path, line):
    path = tmp_path / "Annotations.txt"
    path.write_text(f"{ave.HEADER}\nBark&aaaaaaaaaaa&good&0&4\n{line}\n")
    with pytest.raises(UsageError, match=r"Annotations\.txt, line 3: ") as caught:
        read_annotations(path)
    assert "\n" not in str(caught.value)


def test_other_wrong_files_end_in_one_sentence(tmp_path):
    with pytest.raises(DgsctError, match="is no folder"):
        read_index(tmp_path / "absent")
    with pytest.raises(DgsctError, match=r"Annotations\.txt does not exist"):
        read_index(tmp_path)
    path = tmp_path / "Annotations.txt"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DgsctError, match="cannot be read as text"):
        read_annotations(path)
    path.write_text(ave.HEADER)
    with pytest.raises(DgsctError, match="holds no annotation"):
        read_annotations(path)
    path.write_text("Bark&aaaaaaaaaaa&good&0&4\n")
    with pytest.raises(DgsctError, match=r"trainSet\.txt does not exist"):
        read_index(tmp_path)
    (tmp_path / "trainSet.txt").write_text("Bark&bbbbbbbbbbb&good&0&4\n")
    with pytest.raises(DgsctError, match=r"is not in Annotations\.txt"):
        read_index(tmp_path)
    with pytest.raises(UsageError, match="unknown split 'dev'"):
        read_split(tmp_path, "dev")


def test_an_order_file_of_another_set_is_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    (tmp_path / "Annotations.txt").write_text("Bark&aaaaaaaaaaa&good&0&4\n")
    (tmp_path / "train_order.h5").write_bytes(b"no hdf5")
    with pytest.raises(DgsctError, match=r"train_order\.h5 is no order file"):
        read_split(tmp_path, "train")
    with h5py.File(tmp_path / "train_order.h5", "w") as file:
        file["order"] = np.array([0, 1])
    with pytest.raises(DgsctError, match="points outside the 1 annotation rows"):
        read_split(tmp_path, "train")


def test_frames_are_resized_as_by_torchvision_without_antialiasing():
    frames = np.random.default_rng(0).integers(0, 256, (2, 360, 640, 3), dtype=np.uint8)
    ours = resize(frames, 192)
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2) / 255
    plain, smooth = (tv_resize(pixels, [192, 192], InterpolationMode.BICUBIC, antialias=a) for a in (False, True))
    assert (ours.shape, ours.dtype) == ((2, 3, 192, 192), np.float16)
    assert np.array_equal(ours, plain.half().numpy())
    assert (plain - smooth).abs().mean().item() == pytest.approx(0.171, abs=2e-3)
    # Bicubic interpolation overshoots the range of colours, and nothing is clipped.
    assert ours.min() < -0.1
    assert ours.max() > 1.1

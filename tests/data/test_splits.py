"""Splits are not believed: what would make a number worthless is refused, what is odd is told with its count."""

import math
from dataclasses import dataclass

import h5py
import numpy as np
import pytest

from dgsct.data.prepared import Prepared
from dgsct.data.splits import check_splits, remarks
from dgsct.engine.training import open_view
from dgsct.errors import DgsctError, UsageError
from dgsct.runs.run import Run
from dgsct.tasks.ave.annotations import SPLIT_FILES, AveIndex, Row, read_index, write_index
from dgsct.tasks.ave.categories import GENERATED

ROWS = tuple(Row(GENERATED[i % 6], f"clip{i}", "good", 0, 5) for i in range(12))
SPLITS = {"train": np.arange(6), "val": np.arange(6, 9), "test": np.arange(9, 12)}


def told(rows=ROWS, **splits):
    return remarks(AveIndex(tuple(rows), GENERATED, {**SPLITS, **{name: np.array(some) for name, some in splits.items()}}))


def test_a_sound_set_has_no_remark():
    assert told() == []


def test_oddities_are_a_line_each_with_their_count():
    assert told([*ROWS, ROWS[0], ROWS[3], ROWS[3]]) == ["2 annotation rows stand there more than once, for example "
                                                         "Disc, humming&clip0&good&0&5"]  # fmt: skip
    assert told(test=[9, 9, 10, 11]) == ["1 row stands more than once in the split 'test', for example clip9"]
    assert told(val=[6, 7, 8, 0, 1]) == ["2 clips lie in the splits 'train' and 'val', for example clip0"]
    assert told(test=[9, 10, 2]) == ["1 clip lies in the splits 'train' and 'test', for example clip2"]
    against = Row(GENERATED[1], "clip0", "good", 4, 8)
    assert told([*ROWS, against]) == ["1 clip has annotation rows that contradict each other, for example clip0"]
    assert told([*ROWS, Row(GENERATED[1], "clip0", "good", 5, 8)]) == []  # one after the other
    assert len(told([*ROWS, against, ROWS[1]], val=[6, 7, 0], test=[9, 9])) == 4


def test_the_real_set_s_own_oddities(repository):
    real = repository.parent / "shared" / "data" / "ave"
    if not real.is_dir():
        pytest.skip("the public annotation files are not here (shared/data/ave)")
    assert [line.partition(",")[0] for line in remarks(read_index(real))] == [
        "45 clips have annotation rows that contradict each other",
        "10 clips lie in the splits 'train' and 'val'",
        "8 clips lie in the splits 'train' and 'test'",
    ]


def test_what_nothing_can_be_measured_by_is_refused():
    ids = [row.video_id for row in ROWS]
    for splits, sentence in (
        ({**SPLITS, "test": []}, r"^here holds no clip of split 'test'; do this$"),
        ({**SPLITS, "train": np.array([], dtype=np.int64)}, r"holds no clip of split 'train'"),
        ({**SPLITS, "test": [0, 1, 5]}, r"^here: all 3 clips of the split 'test' are training clips, too, so that"),
        ({**SPLITS, "val": [3, 3]}, r"all 1 clips of the split 'val' are training clips"),
    ):
        with pytest.raises(UsageError, match=sentence):
            check_splits(ids, splits, "here", "do this")
    check_splits(ids, {**SPLITS, "val": [0, 6], "test": [1, 9]}, "here", "do this")


@pytest.fixture
def raw(tmp_path):
    root = tmp_path / "raw"
    root.mkdir()
    write_index(root, AveIndex(ROWS, GENERATED, SPLITS))
    return root


def order(root, split, values):
    with h5py.File(root / f"{split}_order.h5", "w") as file:
        file["order"] = values


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (np.array([], dtype=np.int64), r"test_order.h5 holds no row"),
        (np.array([], dtype=np.float64), r"test_order.h5 holds no row"),
        (np.array([1.5, 2]), r"test_order.h5 holds float64 \[2\] in place of row numbers"),
        (np.array([[9, 10]]), r"test_order.h5 holds int64 \[1, 2\] in place of row numbers"),
        (np.array([b"clip9"]), r"test_order.h5 holds \S+ \[1\] in place of row numbers"),
        (np.array([9, np.inf]), r"test_order.h5 holds float64 \[2\] in place of row numbers"),
        (np.array([9, 12]), r"test_order.h5 points outside the 12 annotation rows"),
        (np.array([-1, 9]), r"test_order.h5 points outside"),
    ],
)
def test_an_order_file_of_something_else_is_refused(raw, values, sentence):
    order(raw, "test", values)
    with pytest.raises(UsageError, match=sentence):
        read_index(raw)


def test_an_order_file_that_disagrees_with_the_list_beside_it_is_told(raw):
    order(raw, "test", [9, 10, 11])
    assert read_index(raw).remarks == ()
    order(raw, "test", [9, 10, 8])
    (line,) = read_index(raw).remarks
    assert line.endswith("testSet.txt are not in both")
    assert "test_order.h5 counts: 2 of its rows" in line
    (raw / SPLIT_FILES["test"]).write_text("nonsense\n")
    assert "cannot be compared" in read_index(raw).remarks[0]


def test_a_prepared_set_whose_splits_are_worthless_gives_no_view(mini_world, monkeypatch):
    run, real = Run.make("ave", "all-background", scale="mini"), Prepared.open
    assert len(open_view(run, mini_world).splits["test"])

    def changed(**splits):
        def open_changed(folder, features=None):
            data = real(folder, features)
            data.manifest["splits"] = {**data.manifest["splits"], **splits}
            return data

        monkeypatch.setattr(Prepared, "open", staticmethod(open_changed))
        return pytest.raises(DgsctError, match="the prepared set 'ave'")

    with changed(test=[]):
        open_view(run, mini_world)
    with changed(test=[0, 1]):
        open_view(run, mini_world)


def test_a_number_that_is_none_is_no_record(mini_world, tmp_path, monkeypatch):
    from dgsct.engine import execute

    @dataclass
    class Fake:
        folder: str = "runs/x"
        reported: str = "acc"

    execute._measured(Fake(), {"metrics": {"acc": 0.0}})
    for value in (math.nan, math.inf, None):
        with pytest.raises(DgsctError, match=r"runs/x: acc is \S+, which is no number"):
            execute._measured(Fake(), {"metrics": {"acc": value}})

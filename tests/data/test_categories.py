"""Class numbers mean the same whatever the order, the gaps and the blanks of an annotation file."""

import numpy as np
import pytest

from dgsct.data.categories import category_names, check_categories, read_names
from dgsct.errors import DgsctError, UsageError
from dgsct.settings.scales import MINI, PAPER
from dgsct.tasks import TASKS, get_set
from dgsct.tasks.ave.annotations import SPLIT_FILES, AveIndex, Row, read_index, write_index
from dgsct.tasks.ave.categories import AVE, GENERATED

ROWS = tuple(Row(name, f"clip{i}{k}", "good", k, 5 + k) for i, name in enumerate(GENERATED) for k in range(3))
SPLITS = {split: np.arange(k, len(ROWS), 3) for k, split in enumerate(SPLIT_FILES)}


def written(root, rows=ROWS, listed=None):
    """A set of the generated categories in `root`, its rows in any order; `listed` is categories.txt."""
    root.mkdir()
    places = {split: [rows.index(ROWS[i]) for i in order if ROWS[i] in rows] for split, order in SPLITS.items()}
    write_index(root, AveIndex(tuple(rows), GENERATED, {split: np.array(some) for split, some in places.items()}))
    (root / "categories.txt").unlink()
    if listed is not None:
        (root / "categories.txt").write_text("\n".join(listed) + "\n")
    return root


def numbers(index):
    """The labels by clip."""
    return {row.video_id: labels.tolist() for row, labels in zip(index.rows, index.labels, strict=True)}


RIGHT = {row.video_id: [GENERATED.index(row.category) if row.start <= t < row.end else 6 for t in range(10)] for row in ROWS}


@pytest.mark.parametrize(
    "order",
    [ROWS, ROWS[::-1], sorted(ROWS, key=lambda r: r.video_id[::-1]), sorted(ROWS, key=lambda r: (r.start, r.category))],
    ids=["as generated", "backwards", "by id", "by start"],
)
def test_any_order_of_the_rows_gives_the_same_numbers(tmp_path, order):
    index = read_index(written(tmp_path / "a", tuple(order)))
    assert index.categories == GENERATED
    assert numbers(index) == RIGHT


@pytest.mark.parametrize("gone", range(6))
def test_without_the_rows_of_a_category_background_keeps_its_number(tmp_path, gone):
    rows = tuple(row for row in ROWS if row.category != GENERATED[gone])
    index = read_index(written(tmp_path / "a", rows))
    assert index.categories == GENERATED
    assert numbers(index) == {row.video_id: RIGHT[row.video_id] for row in rows}


@pytest.mark.parametrize("change", ["{} ", " {}", "{}\t", "{}\u00a0"])
def test_blanks_around_a_name_make_no_category(tmp_path, change):
    root = written(tmp_path / "a")
    path = root / "Annotations.txt"
    lines = path.read_text().splitlines()
    lines[3] = "&".join([change.format(lines[3].split("&")[0]), *lines[3].split("&")[1:]])
    path.write_text("\r\n".join(lines) + "\r\n")
    index = read_index(root)
    assert index.categories == GENERATED
    assert numbers(index) == RIGHT


@pytest.mark.parametrize("wrong", ["disc, humming", "Disc humming", "Disc, hummming", "Bark"])
def test_a_name_that_is_none_is_named_with_its_nearest(tmp_path, wrong):
    root = written(tmp_path / "a")
    path = root / "Annotations.txt"
    path.write_text(path.read_text().replace("Disc, humming&clip01", f"{wrong}&clip01"))
    for split in SPLIT_FILES.values():
        (root / split).write_text((root / split).read_text().replace("Disc, humming&clip01", f"{wrong}&clip01"))
    with pytest.raises(UsageError, match=rf"the row of clip01: unknown category '{wrong}'") as caught:
        read_index(root)
    assert wrong == "Bark" or "did you mean 'Disc, humming'?" in str(caught.value)


def test_the_list_of_names_counts_where_there_is_one(tmp_path):
    own = ("zebra", "ape", "cow")
    rows = tuple(Row(name, f"clip{i}", "good", 0, 10) for i, name in enumerate(("ape", "cow", "ape")))
    splits = {split: np.array([i]) for i, split in enumerate(SPLIT_FILES)}
    write_index(tmp_path, AveIndex(rows, own, splits))
    index = read_index(tmp_path)
    assert index.categories == own
    assert index.labels[:, 0].tolist() == [1, 2, 1]
    (tmp_path / "categories.txt").unlink()
    with pytest.raises(UsageError, match=r"unknown category 'ape'; a set with categories of its own needs .*categories.txt"):
        read_index(tmp_path)


@pytest.mark.parametrize(
    ("listed", "sentence"),
    [
        (GENERATED[::-1], r"categories.txt, line 1: class 0 is 'Disc, humming', not 'Triangle, humming'"),
        ([*sorted(GENERATED[1:]), GENERATED[0]], r"categories.txt, line 1: class 0 is 'Disc, humming'"),
        (GENERATED[:5], r"unknown category 'Triangle, humming'; .*categories.txt has no such line; add it there"),
        ([*GENERATED[:2], "", *GENERATED[2:]], r"categories.txt, line 3: no name stands there"),
        ([*GENERATED, GENERATED[2]], r"categories.txt, line 7: 'Square, chirping' stands there again"),
        ([""], r"categories.txt, line 1: no name stands there"),
        ([*GENERATED, "Background"], r"categories.txt, line 7: the set has 6 categories, without 'Background'"),
        (["Background", *GENERATED], r"categories.txt, line 1: class 0 is 'Disc, humming', not 'Background'"),
        ([f"{i} {name}" for i, name in enumerate(GENERATED)], r"line 1: '0 Disc, humming' is none of the names .*bare names"),
        ([name.lower() for name in GENERATED], r"line 1: 'disc, humming' is none of the names .*, such as 'Disc, humming'"),
    ],
    ids=[
        "backwards",
        "sorted",
        "one less",
        "an empty line",
        "twice",
        "empty",
        "background last",
        "background first",
        "numbers",
        "lower case",
    ],
)
def test_a_list_that_contradicts_the_set_is_refused(tmp_path, listed, sentence):
    with pytest.raises(UsageError, match=sentence):
        read_index(written(tmp_path / "a", listed=listed))


def test_a_list_may_end_in_blank_lines_and_begin_with_a_mark(tmp_path):
    path = tmp_path / "categories.txt"
    path.write_text("\ufeff" + "\r\n".join(GENERATED) + "\r\n\r\n", encoding="utf-8")
    assert read_names(path) == GENERATED
    path.write_bytes("Käse\n".encode("latin-1"))
    with pytest.raises(DgsctError, match=r"categories.txt cannot be read as text"):
        read_names(path)


def test_the_real_set_has_its_list_without_the_file(repository, tmp_path):
    real = repository.parent / "shared" / "data" / "ave"
    if not real.is_dir():
        pytest.skip("the public annotation files are not here (shared/data/ave)")
    assert read_names(real / "categories.txt") == AVE
    for name in ("Annotations.txt", *SPLIT_FILES.values()):
        (tmp_path / name).write_bytes((real / name).read_bytes())
    lines = (tmp_path / "Annotations.txt").read_text().splitlines()
    (tmp_path / "Annotations.txt").write_text("\n".join(sorted(lines[1:], key=lambda line: line.split("&")[1])) + "\n")
    ours, theirs = read_index(tmp_path), read_index(real)
    assert ours.categories == theirs.categories == AVE
    by_row = dict(zip(theirs.rows, theirs.labels.tolist(), strict=True))
    assert all(by_row[row] == labels for row, labels in zip(ours.rows, ours.labels.tolist(), strict=True))


def test_one_source_gives_a_task_its_number_of_classes():
    assert TASKS["ave"].classes == {"paper": 28, "mini": 6}
    assert get_set("ave").names(PAPER) == AVE
    assert get_set("ave").names(MINI) == GENERATED


def opened(change=None, labels=None):
    """The check of a prepared set that consists of ROWS, with something changed."""
    index = AveIndex(ROWS, GENERATED, SPLITS)
    manifest = {
        "dataset": "ave", "scale": "mini", "categories": list(GENERATED), "rows": [row.fields() for row in ROWS],
        "splits": {split: some.tolist() for split, some in SPLITS.items()}, **(change or {}),
    }  # fmt: skip
    get_set("ave").check(manifest, {"labels": index.labels if labels is None else labels}, MINI)


def test_a_prepared_set_of_other_numbers_is_not_opened():
    opened()
    with pytest.raises(DgsctError, match=r"has 'Triangle, humming' as class 0 where scale mini has 'Disc, humming'"):
        opened({"categories": list(GENERATED[::-1])})
    with pytest.raises(DgsctError, match=r"has 5 categories, scale mini has 6"):
        opened({"categories": list(GENERATED[:5])})
    with pytest.raises(DgsctError, match=r"as class 1 where"):
        opened({"categories": [GENERATED[0], f"{GENERATED[1]} ", *GENERATED[2:]]})
    right = AveIndex(ROWS, GENERATED, SPLITS).labels
    for wrong in (np.where(right == 6, 5, right), np.where(right == 6, 7, right), right[::-1]):
        with pytest.raises(DgsctError, match="its labels are not those of its rows; prepare the data again"):
            opened(labels=wrong)


def test_sets_to_come_find_the_same_checks():
    assert category_names({"b": "x", "a": "y"}, (("a", "b", "c"), ("b", "a"))) == ("a", "b", "c")
    with pytest.raises(UsageError, match=r"file, line 2: unknown category 'd'; a set with categories of its own needs a list"):
        category_names({"a": "x", "d": "file, line 2"}, (("a", "b"),))
    check_categories({"dataset": "llp", "scale": "paper", "categories": ["a"]}, ("a",))

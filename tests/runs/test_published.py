"""The experiment files against the paper: printed numbers, marks, and what is said to be inferred."""

import csv

import pytest

from dgsct.runs.experiments import (
    Settings,
    expand,
)


def numbers(experiment, row):
    return {c.column: c.published.value for c in expand(experiment, Settings()) if c.row == row and c.published}


def rows_of(experiment):
    return {row.id: list(numbers(experiment, row.id).values()) for row in experiment.rows}


def test_experiments_of_the_paper(experiments):
    assert list(experiments) == [
        "fig4", "fig8", "fig9", "table1", "table2", "table3", "table4", "table5", "table6", "table7", "table8", "table9",
    ]  # fmt: skip
    assert [r.id for r in experiments["table5"].rows] == ["none", "c", "s", "sc", "t", "sct"]
    assert len(experiments["table1"].rows) == 19


def test_published_numbers(experiments):
    table1 = {r.id: numbers(experiments["table1"], r.id).get("ave") for r in experiments["table1"].rows}
    assert [v for v in table1.values() if v] == [
        71.4, 72.7, 72.6, 73.3, 74.5, 77.4, 77.8, 79.3, 81.1, 79.7, 78.6, 82.2,
    ]  # fmt: skip
    table3 = experiments["table3"]
    assert {row.id: list(numbers(table3, row.id).values()) for row in table3.rows if row.group == "baseline"} == {
        "avs": [78.7, 87.9, 54.0, 64.5], "lavish": [80.1, 88.0, 49.8, 60.3], "lavish-star": [78.0, 87.0, 49.1, 59.9],
        "dg-sct": [80.9, 89.2, 53.5, 64.2],
    }  # fmt: skip
    assert list(numbers(experiments["table5"], "sc").values()) == [
        82.0, 52.3, 45.9, 80.0, 88.6, 51.8, 62.3, 77.0, 81.9, 70.3, 74.6,
    ]  # fmt: skip
    assert list(numbers(experiments["table8"], "a2v").values()) == [
        79.2, 80.7, 89.0, 51.4, 61.6, 76.1, 82.0, 70.8, 74.7,
    ]  # fmt: skip
    assert list(numbers(experiments["table6"], "dg-sct").values()) == [43.6, 461.3, 460.8]
    assert rows_of(experiments["table2"]) == {
        "ave": [49.9, 37.3, 37.0, 41.4, 43.6, 43.6, 32.4, 32.6, 36.2, 37.4],
        "avsdn": [47.8, 52.0, 37.1, 45.7, 50.8, 34.1, 46.3, 26.5, 35.6, 37.7],
        "han": [60.1, 52.9, 48.9, 54.0, 55.4, 51.3, 48.9, 43.0, 47.7, 48.0],
        "mgn": [60.7, 55.5, 50.6, 55.6, 57.2, 51.0, 52.4, 44.4, 49.3, 49.2],
        "dg-sct": [59.0, 59.4, 52.8, 57.1, 57.0, 49.2, 56.1, 46.1, 50.5, 49.1],
    }
    assert rows_of(experiments["table4"]) == {
        "avsd": [68.5, 70.8, 65.5, 67.4], "pano-avqa": [70.7, 72.6, 66.6, 68.9], "st-avqa": [74.1, 74.0, 69.5, 71.5],
        "lavish": [75.7, 80.4, 70.4, 74.0], "lavish-star": [75.4, 79.6, 70.1, 73.6], "dg-sct": [77.4, 81.9, 70.7, 74.8],
    }  # fmt: skip
    assert rows_of(experiments["table9"]) == {
        "neither": [57.8, 56.3, 49.8, 55.2, 54.9, 48.2, 51.7, 43.9, 48.8, 47.6],
        "a2v": [56.4, 59.5, 53.3, 56.4, 55.0, 47.4, 55.9, 46.3, 49.9, 47.8],
        "v2a": [59.4, 57.3, 50.8, 55.8, 56.8, 49.2, 54.1, 44.4, 49.2, 48.6],
        "both": [59.0, 59.4, 52.8, 57.1, 57.0, 49.2, 56.1, 46.1, 50.5, 49.1],
    }
    assert rows_of(experiments["table7"]) == {
        "ave": [4143, 41430, 28], "llp": [11849, 11849], "avsbench": [5356, 12972, 23], "music-avqa": [9288, 45867, 42],
        "vggsound-40k": [40801, 408010, 141],
    }  # fmt: skip


def test_printed_sums_add_up(experiments):
    """Type is the mean of A, V and AV, but for the row of Table 9 that says so; Avg is over all questions."""
    off = set()
    for name in ("table2", "table9"):
        for row in experiments[name].rows:
            said = numbers(experiments[name], row.id)
            for level in ("segment", "event"):
                mean = sum(said[f"{level}_{part}"] for part in ("a", "v", "av")) / 3
                if abs(mean - said[f"{level}_type"]) > 0.1:
                    off.add((name, row.id))
                    assert f"which is {mean:.1f}" in row.published[f"{level}_type"].note
    assert off == {("table9", "neither")}
    questions = {"aq": 1623, "vq": 2427, "avq": 5135}
    for name, prefix in (("table4", ""), ("table5", "avqa_"), ("table8", "avqa_")):
        for row in experiments[name].rows:
            said = numbers(experiments[name], row.id)
            mean = sum(said[prefix + part] * count for part, count in questions.items()) / sum(questions.values())
            assert said[f"{prefix}avg"] == pytest.approx(mean, abs=0.1)


def test_figure_4_is_the_digitised_one(experiments, repository):
    path = repository.parent / "shared" / "data" / "paper" / "fig4.csv"
    if not path.exists():
        pytest.skip(f"{path} is not there: the digitised curves lie beside the repository, not in it")
    panels = {panel.title.replace("AVE localization", "AVE"): panel for panel in experiments["fig4"].panels}
    found = [
        (f"{title}{'' if shot else ' (zero-shot)'}", line.label, str(shot), number.value, number.read_off)
        for title, panel in panels.items()
        for line in panel.lines
        for shot, number in line.published.items()
    ]
    with path.open(encoding="utf-8") as file:
        wanted = [
            (r["panel"], r["method"], r["shot"], float(r["value"]), float(r["source"].partition("+-")[2] or 0) or None)
            for r in csv.DictReader(file)
        ]
    assert len(wanted) == 96
    assert sorted(found, key=str) == sorted(wanted, key=str)


def test_figure_4_prints_six_of_its_numbers(experiments):
    printed = {
        (c.row, c.column): c.published.value
        for c in expand(experiments["fig4"], Settings())
        if c.published and c.published.read_off is None
    }
    assert printed == {
        ("ave.dg-sct", "0"): 64.7, ("ave.dg-sct", "16"): 72.4,
        ("ave-classification.dg-sct", "0"): 76.6, ("ave-classification.dg-sct", "16"): 84.2,
        ("llp-classification.dg-sct", "0"): 35.8, ("llp-classification.dg-sct", "16"): 32.6,
    }  # fmt: skip


def test_rows_that_mean_the_same_carry_the_same_numbers(experiments):
    for left, right in (("none", "neither"), ("sct", "both")):
        five, eight = numbers(experiments["table5"], left), numbers(experiments["table8"], right)
        assert eight == {column: five[column] for column in eight}
    three = {row: numbers(experiments["table3"], row) for row in ("lavish-star", "dg-sct")}
    five = {row: numbers(experiments["table5"], row) for row in ("none", "sct")}
    assert three["lavish-star"] == {column: five["none"][column] for column in three["lavish-star"]}
    assert three["dg-sct"] == {column: five["sct"][column] for column in three["dg-sct"]}
    nine = {row: numbers(experiments["table9"], row) for row in ("neither", "both")}
    assert nine["both"] == numbers(experiments["table2"], "dg-sct")
    for row, same in (("neither", "none"), ("both", "sct")):
        assert (nine[row]["segment_av"], nine[row]["event_av"]) == (five[same]["avvp_segment"], five[same]["avvp_event"])
    for row, same in (("lavish-star", "none"), ("dg-sct", "sct")):
        four = {f"avqa_{column}": value for column, value in numbers(experiments["table4"], row).items()}
        assert four == {column: five[same][column] for column in four}


def test_marks_agree_with_overrides(experiments):
    for name in ("table5", "table8", "table9"):
        for row in experiments[name].rows:
            off = {option for option, on in row.marks.items() if not on}
            said = {option for option, value in row.overrides.items() if value == "off"}
            assert said == (set() if row.method == "lavish-star" else off)
            assert all(row.marks[option] for option in row.overrides if option not in said)


def test_what_is_inferred_is_marked(experiments):
    """LAVisH* wherever it stands, every row that switches something off, and systems without code or a full description."""
    marked = {name: [row.id for row in e.rows if row.design == "inferred"] for name, e in experiments.items() if e.rows}
    assert marked == {
        "fig9": [], "table1": ["avsdn", "cman", "dam", "lavish-star", "linear-probe"],
        "table2": ["ave", "avsdn"], "table3": ["lavish-star"],
        "table4": ["avsd", "pano-avqa", "lavish-star"], "table5": ["none", "c", "s", "sc", "t"], "table6": ["lavish-star"],
        "table7": [], "table8": ["neither", "a2v", "v2a"], "table9": ["neither", "a2v", "v2a"],
    }  # fmt: skip
    for experiment in experiments.values():
        assert all(row.design == "inferred" for row in experiment.rows if row.method == "lavish-star")
    assert {panel.design for panel in experiments["fig8"].panels} == {"inferred"}
    for panel in experiments["fig4"].panels:
        assert [line.id for line in panel.lines if line.design == "published"] == ["dg-sct"]


def test_a_row_that_asks_for_what_is_on_is_the_plain_run(experiments):
    """S + C + T asks for T by name: on AVQA the release has none, elsewhere it is the run of Tables 1 and 3."""
    cells = {c.column: c for c in expand(experiments["table5"], Settings()) if c.row == "sct"}
    assert {c.runs[0].setting for c in cells.values() if c.runs} == {"default"}
    assert cells["s4_j"].runs == next(c.runs for c in expand(experiments["table3"], Settings()) if c.row == "dg-sct")

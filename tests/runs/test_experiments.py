"""Experiment files: their numbers, their runs, and one sentence for every mistake."""

import csv
import re

import pytest
import yaml

from dgsct.errors import UsageError
from dgsct.methods import METHODS
from dgsct.runs.experiments import (
    EXPERIMENTS,
    Published,
    Settings,
    all_runs,
    expand,
    load_experiment,
    load_experiments,
    make_settings,
)
from dgsct.runs.run import Run
from dgsct.runs.schema import PLANNED_METHODS, PLANNED_TASKS
from dgsct.tasks import TASKS

TABLE = """\
name: mine
kind: table
title: My table
source: Table 0
columns:
  - {id: ave, task: ave, label: AVE, metric: reported}
  - {id: s4, task: avs-s4, label: S4, metric: miou}
rows:
  - {id: full, label: DG-SCT, method: dg-sct, published: {ave: 82.2}}
  - id: half
    label: half
    method: dg-sct
    overrides: {S: off, accumulation: off}
  - {id: guest, label: AVEL, method: avel, published: {ave: {value: "71.4", source: elsewhere, note: old}}}
"""


@pytest.fixture(scope="module")
def experiments():
    return load_experiments()


@pytest.fixture
def write(tmp_path):
    """Writes the table with one replacement and returns the path."""

    def _write(old: str = "", new: str = ""):
        assert old in TABLE
        path = tmp_path / "mine.yaml"
        path.write_text(TABLE.replace(old, new, 1), encoding="utf-8")
        return path

    return _write


def numbers(experiment, row):
    return {c.column: c.published.value for c in expand(experiment, Settings()) if c.row == row and c.published}


def rows_of(experiment):
    return {row.id: list(numbers(experiment, row.id).values()) for row in experiment.rows}


def test_experiments_of_the_paper(experiments):
    assert list(experiments) == [
        "fig4", "fig8", "fig9", "table1", "table2", "table3", "table4", "table5", "table6", "table7", "table8", "table9",
    ]  # fmt: skip
    assert [r.id for r in experiments["table5"].rows] == ["none", "c", "s", "sc", "t", "sct"]
    assert len(experiments["table1"].rows) == 18


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
        "fig9": [], "table1": ["avsdn", "cman", "dam", "lavish-star"], "table2": ["ave", "avsdn"], "table3": ["lavish-star"],
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


def test_tables_share_runs(experiments):
    settings = Settings()
    runs = {name: set(all_runs([e], settings)) for name, e in experiments.items()}
    assert {name: len(r) for name, r in runs.items()} == {
        "table1": 18, "table3": 17, "table5": 18, "table8": 12, "fig8": 13, "fig9": 4, "table6": 0,
        "table2": 0, "table4": 0, "table7": 0, "table9": 0, "fig4": 0,
    }  # fmt: skip
    everything = all_runs(experiments, settings)
    assert len(everything) == len(set(everything)) == len({r.folder for r in everything}) == 65
    assert len([r for r in everything if r.task != "ave" and r.kind == "trained"]) == 23
    assert everything == all_runs(load_experiments(), settings)
    assert len(runs["table1"] & runs["table5"] & runs["table8"]) == 2
    assert len(runs["table3"] & runs["table5"] & runs["table8"]) == 4


def test_a_column_may_have_fewer_seeds(experiments):
    """At mini scale AVS has one seed where AVE has three; elsewhere all columns have the same."""
    counted = {(c.column, len(c.runs)) for c in expand(experiments["table5"], Settings()) if c.runs}
    assert counted == {("ave", 1), ("s4_j", 1), ("s4_f", 1), ("ms3_j", 1), ("ms3_f", 1)}
    assert {len(c.runs) for c in expand(experiments["table5"], Settings("paper")) if c.runs} == {3}


def test_an_option_that_one_task_has_leaves_the_cells_of_the_others_empty(experiments):
    """MS3 may start from weights of S4; there is no such run on S4, for which the row prints nothing either."""
    cells = {c.column: c for c in expand(experiments["table3"], Settings()) if c.row == "avs-from-s4"}
    (run,) = cells["ms3_j"].runs
    assert run == Run.make("avs-ms3", "avs-pvt", {"start": "s4"}) == cells["ms3_f"].runs[0]
    assert cells["ms3_j"].published.value == 57.34
    assert "re-checked ([M]" in cells["ms3_j"].published.note
    assert not any(cells[name].no_run for name in ("ms3_j", "ms3_f"))
    for name in ("s4_j", "s4_f"):
        assert (cells[name].runs, cells[name].published) == ((), None)
        assert cells[name].no_run == "there is no such run: avs-pvt has no option start on avs-s4"
    assert {c.no_run for e in experiments.values() for c in expand(e, Settings()) if c.row != "avs-from-s4"} == {""}


def test_an_option_that_no_task_of_the_table_has_is_still_a_mistake(tmp_path):
    text = (EXPERIMENTS / "table3.yaml").read_text(encoding="utf-8")
    for old, new, said in (
        ("overrides: {start: s4}", "overrides: {head: release}", "unknown option 'head'"),
        ("overrides: {start: s4}", "overrides: {alpha: 0.1}", "method 'avs-pvt' has no option 'alpha'; its options: "),
        ("overrides: {start: s4}", "overrides: {start: s5}", "option start='s5' must be one of: encoders, s4"),
    ):
        (tmp_path / "table3.yaml").write_text(text.replace(old, new), encoding="utf-8")
        with pytest.raises(UsageError, match=f"row 'avs-from-s4', key 'overrides': {re.escape(said)}"):
            load_experiment(tmp_path / "table3.yaml")


def test_two_metrics_of_one_run(experiments):
    cells = {c.column: c for c in expand(experiments["table3"], Settings()) if c.row == "dg-sct"}
    assert cells["s4_j"].runs == cells["s4_f"].runs != cells["ms3_j"].runs
    assert [cells[name].metric for name in ("s4_j", "s4_f")] == ["miou_batch4", "fscore_batch4"]
    clean = {c.column: c for c in expand(experiments["table3"], Settings(protocol="clean")) if c.row == "dg-sct"}
    assert [clean[name].metric for name in ("ms3_j", "ms3_f")] == ["miou", "fscore_frame"]


def test_figure(experiments):
    cells = expand(experiments["fig8"], Settings())
    assert [c.column for c in cells if c.row == "beta.dg-sct"] == ["0.01", "0.05", "0.1", "0.2", "0.3"]
    assert [(c.row, c.column) for c in cells if c.published] == [
        ("alpha.dg-sct", "0.3"), ("beta.dg-sct", "0.05"), ("gamma.dg-sct", "0.1"),
    ]  # fmt: skip
    assert {len(c.runs) for c in cells} == {1}
    assert {len(c.runs) for c in expand(experiments["fig8"], Settings(scale="paper", seeds=2))} == {2}


def test_a_figure_of_several_lines(experiments):
    """Figure 4: a line has the points of its panel's grid, or of its own; nothing runs before the tasks are there."""
    cells = expand(experiments["fig4"], Settings())
    assert [c.column for c in cells if c.row == "ave.maple"] == ["0", "1", "2", "4", "8", "16"]
    assert [c.column for c in cells if c.row == "ave.clap"] == ["0"]
    assert {(c.task, c.method) for c in cells if c.row == "llp-classification.dg-sct"} == {("classification-llp", "dg-sct")}
    assert not any(c.runs for c in cells)


def test_protocol_and_scale_reach_the_runs(experiments):
    cell = next(c for c in expand(experiments["table1"], Settings("paper", "clean", 5)) if c.row == "dg-sct")
    assert (len(cell.runs), cell.runs[4].seed, cell.runs[0].scale, cell.metric) == (5, 4, "paper", "acc_exact")
    assert next(c for c in expand(experiments["table1"], Settings()) if c.row == "dg-sct").metric == "acc_batch8"


def test_filters_keep_rows(experiments):
    cells = expand(experiments["table1"], Settings(methods=("lavish-star",)))
    assert len(cells) == 18
    assert [c.row for c in cells if c.runs] == ["lavish-star"]
    assert not all_runs(experiments, Settings(tasks=("avqa",)))


def test_expansion(write):
    cells = expand(load_experiment(write()), Settings(seeds=2))
    assert [(c.row, c.column, len(c.runs)) for c in cells] == [
        ("full", "ave", 2), ("full", "s4", 2), ("half", "ave", 2), ("half", "s4", 2),
        ("guest", "ave", 0), ("guest", "s4", 0),
    ]  # fmt: skip
    assert cells[0].published == Published(82.2, "Table 0")
    assert cells[4].published == Published("71.4", "elsewhere", "old")
    assert cells[1].metric == "miou_batch4"
    assert cells[4].metric is None


@pytest.mark.parametrize(
    "words", ["{S: off, accumulation: off}", '{S: "off", accumulation: "off"}', "{S: no, accumulation: false}"]
)
def test_on_and_off_with_or_without_quotes(write, words):
    cell = expand(load_experiment(write("{S: off, accumulation: off}", words)), Settings())[2]
    assert dict(cell.runs[0].overrides) == {"S": False, "accumulation": "off"}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("method: dg-sct, p", "method: dg-stc, p", "row 'full', key 'method': unknown method 'dg-stc'; did you mean"),
        ("method: avel", "method: off", "row 'guest', key 'method': False is no name of a method; put it in quotes or"),
        ("label: AVEL", "? [a, b] : c, label: AVEL", ", line 14: not valid YAML"),
        ("method: avel", "method: avell", "row 'guest', key 'method': unknown method 'avell'; did you mean 'avel'?"),
        ("task: avs-s4", "task: avs-4", "column 's4', key 'task': unknown task 'avs-4'; did you mean 'avs-s4'?"),
        ("overrides", "overides", "row 'half', key 'overides': unknown key; did you mean 'overrides'?"),
        ("label: half", "label: 3", "row 'half', key 'label': input should be a valid string, not 3; change the value"),
        ("    label: half\n", "", "row 'half', key 'label': this key is missing; add it"),
        ("{S: off", "{alhpa: 0.2", "row 'half', key 'overrides': unknown option 'alhpa'; did you mean 'alpha'?"),
        ("{S: off", "{modality: audio", "row 'half', key 'overrides': method 'dg-sct' has no option 'modality'; its"),
        ("{S: off", "{alpha: off", "row 'half', key 'overrides': option alpha='off' must be a number"),
        ("{S: off", "{pooling: max", "row 'half', key 'overrides': option pooling='max' must be one of: attention"),
        ("{ave: 82.2}", "{avee: 82.2}", "row 'full', key 'published': unknown column 'avee'; did you mean 'ave'?"),
        ("{value: \"71.4\",", "{valu: 71.4,", "row 'guest', key 'published.ave.valu': unknown key; did you mean"),
        ("kind: table", "kind: tabel", "key 'kind': input should be 'table', 'efficiency', 'statistics', 'figure' or 'masks'"),
        ("kind: table", "kind: figure", "kind 'figure' needs the key 'panels'"),
        ("name: mine", "name: yours", "key 'name': 'yours' must equal the file's name 'mine'"),
        ("id: half", "id: full", "the id 'full' appears twice in rows"),
        ("source: Table 0", "source: Table 0\nseeds: {mini: 0}", "seeds of scale 'mini' must be at least 1"),
        ("source: Table 0", "source: Table 0\nseeds: {tiny: 1}", "unknown scale 'tiny'"),
        ("source: Table 0", "source: [Table 0", ", line 5: not valid YAML"),
        ("source: Table 0", "source: Table 0\nkind: table", ", line 5: not valid YAML (the key 'kind' appears twice)"),
    ],
)  # fmt: skip
def test_mistakes_end_in_one_sentence(write, old, new, said):
    path = write(old, new)
    with pytest.raises(UsageError) as error:
        load_experiment(path)
    message = str(error.value)
    assert said in message
    assert message.startswith(str(path))
    assert "\n" not in message


FIGURE = """\
name: mine
kind: figure
title: My figure
source: Figure 0
axis: Accuracy
paper_settings: {row: coop, columns: [1]}
panels:
  - id: ave
    label: shots
    task: fewshot-ave
    option: shots
    grid: [0, 1, 2]
    lines:
      - {id: coop, label: CoOp, method: coop, published: {0: 59.2, 1: {value: 59.6, read_off: 0.05}}}
      - {id: clip, label: CLIP, method: clip, grid: [0]}
      - {id: dg-sct, label: DG-SCT, method: dg-sct, overrides: {S: off}}
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("method: coop", "method: copp", "panel 'ave', line 'coop', key 'method': unknown method 'copp'; did you mean 'coop'?"),
        ("label: CoOp", "lable: CoOp", "panel 'ave', line 'coop', key 'lable': unknown key; did you mean 'label'?"),
        ("read_off: 0.05", "read_off: 0", "line 'coop', key 'published.1.read_off': input should be greater than 0"),
        ("value: 59.6", "valeu: 59.6", "line 'coop', key 'published.1.valeu': unknown key; did you mean 'value'?"),
        ("1: {value", "4: {value", "panel 'ave': the value 4 of line 'coop' is not on the grid; add it there"),
        ("grid: [0]}", "grid: [8]}", "panel 'ave': the value 8 is not on the grid; add it there"),
        ("    grid: [0, 1, 2]", "    grid: [0, 1, 2]\n    optimum: 5", "panel 'ave': the value 5 is not on the grid; add"),
        ("id: clip", "id: coop", "panel 'ave': the id 'coop' appears twice in lines; rename one"),
        ("option: shots", "option: shosts", "panel 'ave', line 'dg-sct', key 'option': unknown option 'shosts'; did you mean"),
        ("task: fewshot-ave", "task: ave", "panel 'ave', line 'dg-sct', key 'option': unknown option 'shots'; "),
        ("S: off", "alpha: off", "panel 'ave', line 'dg-sct', key 'option': option alpha='off' must be a number"),
        ("axis: Accuracy\n", "", "kind 'figure' needs the key 'axis'"),
        ("row: coop", "row: cop", "key 'paper_settings': there is no row or line 'cop'; name one that is"),
        ("columns: [1]", "columns: [2]", "key 'paper_settings': 'ave' has no published number for 2; add it there"),
    ],
)  # fmt: skip
def test_mistakes_in_a_figure_end_in_one_sentence(tmp_path, old, new, said):
    path = tmp_path / "mine.yaml"
    path.write_text(FIGURE, encoding="utf-8")
    load_experiment(path)
    assert old in FIGURE
    path.write_text(FIGURE.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(UsageError) as error:
        load_experiment(path)
    message = str(error.value)
    assert said in message
    assert message.startswith(str(path))
    assert "\n" not in message


@pytest.mark.parametrize("text", ["", "just words", "- a\n- b\n", "\x00", "name: [unclosed"])
def test_files_that_are_no_experiment(tmp_path, text):
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"mine\.yaml"):
        load_experiments(tmp_path)


def test_no_files(tmp_path):
    with pytest.raises(UsageError, match="no experiment files"):
        load_experiments(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="cannot be read"):
        load_experiment(tmp_path / "mine.yaml")


def test_settings():
    config = yaml.safe_load((EXPERIMENTS.parent / "config" / "config.yaml").read_text(encoding="utf-8"))
    assert make_settings({k: v for k, v in config.items() if k not in ("experiments", "site")}) == Settings()
    assert make_settings({"tasks": "ave", "methods": "dg-sct, lavish-star", "seeds": "2"}) == Settings(
        seeds=2, tasks=("ave",), methods=("dg-sct", "lavish-star")
    )


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"seed": 3}, "unknown setting 'seed'; did you mean 'seeds'?"),
        ({"seeds": 0}, "at least 1"),
        ({"seeds": True}, "at least 1"),
        ({"seeds": "many"}, "at least 1"),
        ({"scale": "big"}, "unknown scale 'big'"),
        ({"protocol": "papr"}, "did you mean 'paper'"),
        ({"methods": "dg-sct,lavish"}, ""),
        ({"methods": "dg-scct"}, "did you mean 'dg-sct'"),
        ({"tasks": ["av"]}, "unknown task 'av'"),
    ],
)
def test_wrong_settings(config, said):
    if not said:
        assert make_settings(config).methods == ("dg-sct", "lavish")
        return
    with pytest.raises(UsageError, match=said.replace("?", r"\?")):
        make_settings(config)


def test_what_has_moved_in_is_planned_no_longer():
    assert not set(PLANNED_TASKS).intersection(TASKS)
    assert not set(PLANNED_METHODS).intersection(METHODS)

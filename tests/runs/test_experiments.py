"""Experiment files: their numbers, their runs, and one sentence for every mistake."""

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


def test_experiments_of_the_paper(experiments):
    assert list(experiments) == ["fig8", "fig9", "table1", "table3", "table5", "table6", "table8"]
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


def test_rows_that_mean_the_same_carry_the_same_numbers(experiments):
    for left, right in (("none", "neither"), ("sct", "both")):
        five, eight = numbers(experiments["table5"], left), numbers(experiments["table8"], right)
        assert eight == {column: five[column] for column in eight}
    three = {row: numbers(experiments["table3"], row) for row in ("lavish-star", "dg-sct")}
    five = {row: numbers(experiments["table5"], row) for row in ("none", "sct")}
    assert three["lavish-star"] == {column: five["none"][column] for column in three["lavish-star"]}
    assert three["dg-sct"] == {column: five["sct"][column] for column in three["dg-sct"]}


def test_marks_agree_with_overrides(experiments):
    for name in ("table5", "table8"):
        for row in experiments[name].rows:
            off = {option for option, on in row.marks.items() if not on}
            assert set(row.overrides) == (set() if row.method == "lavish-star" else off)


def test_tables_share_runs(experiments):
    settings = Settings()
    runs = {name: set(all_runs([e], settings)) for name, e in experiments.items()}
    assert {name: len(r) for name, r in runs.items()} == {
        "table1": 18, "table3": 16, "table5": 18, "table8": 12, "fig8": 13, "fig9": 4, "table6": 0,
    }  # fmt: skip
    everything = all_runs(experiments, settings)
    assert len(everything) == len(set(everything)) == len({r.folder for r in everything}) == 64
    assert len([r for r in everything if r.task != "ave" and METHODS[r.method].trains]) == 22
    assert everything == all_runs(load_experiments(), settings)
    assert len(runs["table1"] & runs["table5"] & runs["table8"]) == 2
    assert len(runs["table3"] & runs["table5"] & runs["table8"]) == 4


def test_a_column_may_have_fewer_seeds(experiments):
    """At mini scale AVS has one seed where AVE has three; elsewhere all columns have the same."""
    counted = {(c.column, len(c.runs)) for c in expand(experiments["table5"], Settings()) if c.runs}
    assert counted == {("ave", 1), ("s4_j", 1), ("s4_f", 1), ("ms3_j", 1), ("ms3_f", 1)}
    assert {len(c.runs) for c in expand(experiments["table5"], Settings("paper")) if c.runs} == {3}


def test_two_metrics_of_one_run(experiments):
    cells = {c.column: c for c in expand(experiments["table3"], Settings()) if c.row == "dg-sct"}
    assert cells["s4_j"].runs == cells["s4_f"].runs != cells["ms3_j"].runs
    assert [cells[name].metric for name in ("s4_j", "s4_f")] == ["miou_batch4", "fscore_batch4"]
    clean = {c.column: c for c in expand(experiments["table3"], Settings(protocol="clean")) if c.row == "dg-sct"}
    assert [clean[name].metric for name in ("ms3_j", "ms3_f")] == ["miou", "fscore_frame"]


def test_figure(experiments):
    cells = expand(experiments["fig8"], Settings())
    assert [c.column for c in cells if c.row == "beta"] == ["0.01", "0.05", "0.1", "0.2", "0.3"]
    assert [(c.row, c.column) for c in cells if c.published] == [("alpha", "0.3"), ("beta", "0.05"), ("gamma", "0.1")]
    assert {len(c.runs) for c in cells} == {1}
    assert {len(c.runs) for c in expand(experiments["fig8"], Settings(scale="paper", seeds=2))} == {2}


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
        ("kind: table", "kind: tabel", "key 'kind': input should be 'table', 'efficiency', 'figure' or 'masks', not 'tabel'"),
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


def test_a_point_off_the_grid(tmp_path):
    text = (EXPERIMENTS / "fig8.yaml").read_text(encoding="utf-8").replace("{0.3: 82.2}", "{0.35: 82.2}")
    (tmp_path / "fig8.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"panel 'alpha': the value 0.35 is not on the grid"):
        load_experiment(tmp_path / "fig8.yaml")


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

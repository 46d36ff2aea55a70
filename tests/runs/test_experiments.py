"""Experiment files: their runs, and one sentence for every mistake. What the paper prints: `test_published.py`."""

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
from dgsct.runs.protocols import PROTOCOLS
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


@pytest.fixture
def write(tmp_path):
    """Writes the table with one replacement and returns the path."""

    def _write(old: str = "", new: str = ""):
        assert old in TABLE
        path = tmp_path / "mine.yaml"
        path.write_text(TABLE.replace(old, new, 1), encoding="utf-8")
        return path

    return _write


def test_tables_share_runs(experiments):
    settings = Settings()
    runs = {name: set(all_runs([e], settings)) for name, e in experiments.items()}
    assert {name: len(r) for name, r in runs.items()} == {
        "table1": 17, "table3": 27, "table5": 26, "table8": 20, "fig8": 7, "fig9": 4, "table6": 0,
        "table2": 0, "table4": 0, "table7": 0, "table9": 0, "fig4": 0,
    }  # fmt: skip
    everything = all_runs(experiments, settings)
    assert len(everything) == len(set(everything)) == len({r.folder for r in everything}) == 68
    assert len([r for r in everything if r.task != "ave" and r.kind == "trained"]) == 31
    assert everything == all_runs(load_experiments(), settings)
    assert len(runs["table1"] & runs["table5"] & runs["table8"]) == 6
    assert len(runs["table3"] & runs["table5"] & runs["table8"]) == 8


HEADLINES = {
    "table1": [
        "avel", "avel-att", "avsdn", "cman", "dam", "cmran", "psp", "cmbs",
        "lavish-star", "dg-sct", "late-fusion", "linear-probe",
    ],
    "table2": ["ave", "avsdn", "han", "mgn", "dg-sct"],
    "table3": ["dg-sct", "late-fusion"],
    "table4": ["st-avqa", "lavish-star", "dg-sct"],
}  # fmt: skip


def test_headline_rows_have_three_seeds_at_mini_scale_and_the_rest_one(experiments):
    """At full size every row has three; a number in the configuration is that of every row, at any scale."""
    for name, e in experiments.items():
        wanted = {row.id: 3 if row.id in HEADLINES.get(name, []) else 1 for row in e.rows}
        counts = {row.id: {e.count_seeds(Settings(), row, c.task) for c in e.columns} for row in e.rows}
        if name in HEADLINES:
            assert counts == {row: {count} for row, count in wanted.items()}
        for settings, count in ((Settings("paper"), 3), (Settings(seeds=3), 3), (Settings("paper", seeds=5), 5)):
            numbers = {e.count_seeds(settings, row, c.task) for row in e.rows for c in e.columns}
            assert numbers <= {1 if e.kind == "masks" else count}
    assert experiments["fig8"].count_seeds(Settings()) == experiments["fig4"].count_seeds(Settings()) == 1
    assert {c.row: len(c.runs) for c in expand(experiments["table1"], Settings()) if c.runs} == {
        "lavish-star": 3, "dg-sct": 3, "late-fusion": 3, "linear-probe": 3, "audio-only": 1, "visual-only": 1,
        "all-background": 1, "majority-class": 1, "oracle-category": 1,
    }  # fmt: skip


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_run_shows_the_same_number_in_every_table(experiments, protocol):
    """Where two tables share a run they share its seeds, too: DG-SCT of Tables 1 and 3 in Tables 5 and 8."""
    seeds: dict[Run, set[int]] = {}
    for e in experiments.values():
        for cell in expand(e, Settings(protocol=protocol)) if e.kind == "table" else []:
            if cell.runs:
                seeds.setdefault(cell.runs[0], set()).add(len(cell.runs))
    assert {run.folder: counts for run, counts in seeds.items() if len(counts) > 1} == {}


def test_a_row_may_have_its_own_seeds_for_some_of_its_tasks(write):
    own = write("label: half\n", "label: half\n    seeds: {mini: {ave: 2}}\n")
    text = own.read_text(encoding="utf-8").replace("source: Table 0", "source: Table 0\nseeds: {mini: 1}")
    own.write_text(text, encoding="utf-8")
    cells = expand(load_experiment(own), Settings())
    assert [(c.row, c.column, len(c.runs)) for c in cells if c.runs] == [
        ("full", "ave", 1), ("full", "s4", 1), ("half", "ave", 2), ("half", "s4", 1),
    ]  # fmt: skip


def test_an_option_that_one_task_has_leaves_the_cells_of_the_others_empty(experiments):
    """MS3 may start from weights of S4; there is no such run on S4, for which the row prints nothing either."""
    cells = {c.column: c for c in expand(experiments["table3"], Settings()) if c.row == "avs-from-s4"}
    (run,) = cells["ms3_j"].runs
    assert run == Run.make("avs-ms3", "avs-pvt", {"start": "s4"}) == cells["ms3_f"].runs[0]
    assert cells["ms3_j"].published.value == 57.34
    assert cells["ms3_j"].published.note.endswith("from memory and not checked again")
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
    assert [c.column for c in cells if c.row == "beta.dg-sct"] == ["0.01", "0.05", "0.3"]
    full = expand(experiments["fig8"], Settings("paper"))
    assert [c.column for c in full if c.row == "beta.dg-sct"] == ["0.01", "0.05", "0.1", "0.2", "0.3"]
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
    assert len(cells) == 19
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
        ("source: Table 0", "source: Table 0\nseeds: {mini: 0}", "key 'seeds': seeds of scale 'mini' must be a whole"),
        ("source: Table 0", "source: Table 0\nseeds: {tiny: 1}", "key 'seeds': unknown scale 'tiny'"),
        ("source: Table 0", "source: Table 0\nseeds: 3", "key 'seeds': seeds are numbers by scale, such as {mini: 1}; write"),
        ("label: half", "label: half\n    seeds: {mini: {avee: 3}}", "'half', key 'seeds': unknown task 'avee'; did you mean"),
        ("label: half", "label: half\n    seeds: {mini: {ave: no}}", "'half', key 'seeds': seeds of scale 'mini' must be"),
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
        ("grid: [0, 1, 2]", "grid: {mini: [0, 1, 2]}", "panel 'ave', key 'grid': there is no grid for scale 'paper'; add it"),
        ("grid: [0, 1, 2]", "grid: {paper: [0, 1, 2], mini: []}", "panel 'ave', key 'grid.mini': list should have at least 1"),
        ("grid: [0]}", "grid: [8]}", "panel 'ave': the value 8 is not on the grid; add it there"),
        ("    grid: [0, 1, 2]", "    grid: [0, 1, 2]\n    optimum: 5", "panel 'ave': the value 5 is not on the grid of scale"),
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

"""From cells to the neutral table: numbers, states, footnotes with their remedy, stamps, and Table 6's units."""

import csv
import json
import math

import pytest
from results_rig import (
    metrics_of,
    place,
    place_corrupt,
    place_efficiency,
    place_failure,
    place_given_up,
    place_stale,
    small_experiment,
)

from dgsct.publish.cells import stamp
from dgsct.publish.render import RENDERERS
from dgsct.publish.render.model import difference, own_number
from dgsct.publish.tables import build_table
from dgsct.records.results import efficiency_key
from dgsct.runs.experiments import Settings, load_experiments
from dgsct.runs.run import Run

TWO = Settings(seeds=2)
FILL = "snakemake table0 --config scale=mini protocol=release seeds=2"


def full(seed: int = 0) -> Run:
    return Run.make("ave", "dg-sct", seed=seed)


def cells(table, column: str = "ave") -> dict:
    return {row.id: row.cells[column] for row in table.rows}


def notes(table, numbers) -> list[str]:
    return [table.footnotes[n] for n in numbers]


def test_a_complete_cell(tmp_path):
    for seed, value in enumerate((81.0, 82.0)):
        place(tmp_path, full(seed), value)
    cell = cells(build_table(small_experiment(), TWO, tmp_path))["full"]
    assert (cell.state, cell.mean, cell.seeds, cell.published) == ("ok", 81.5, 2, 82.2)
    assert cell.std == pytest.approx(math.sqrt(0.5))
    assert (own_number(cell), cell.difference) == ("81.5 ± 0.7", None)
    assert cell.notes == ()
    for seed, source in enumerate(cell.sources):
        record = json.loads((tmp_path / source.record).read_text(encoding="utf-8"))
        assert (source.key, source.seed, source.value) == (record["key"], seed, record["metrics"]["acc_batch8"])


def test_one_seed_has_no_spread(tmp_path):
    place(tmp_path, full(), 80.0)
    table = build_table(small_experiment(), Settings(seeds=1), tmp_path)
    assert own_number(cells(table)["full"]) == "80.0"
    assert table.remarks[0] == "this harness: one seed"
    assert (
        build_table(small_experiment(), TWO, tmp_path).remarks[0]
        == "this harness: mean ± sample standard deviation over 2 seeds"
    )


def test_a_yardstick_has_one_run_whatever_the_seeds(tmp_path):
    place(tmp_path, Run.make("ave", "all-background"), 17.0)
    table = build_table(small_experiment(), Settings(seeds=5), tmp_path)
    cell = cells(table)["zero"]
    assert (cell.state, cell.mean, cell.std, cell.seeds, cell.difference) == ("ok", 17.0, None, 1, None)
    assert [row.rule_before for row in table.rows] == [False, False, False, True]


def test_a_missing_seed_is_named_and_the_others_count(tmp_path):
    place(tmp_path, full(0), 81.0)
    table = build_table(small_experiment(), TWO, tmp_path)
    cell = cells(table)["full"]
    assert (cell.state, cell.mean, cell.std, cell.seeds) == ("partial", 81.0, None, 1)
    assert notes(table, cell.notes) == ["mean of 1 of 2 seeds (seed 1 missing)", f"missing: fill with {FILL}"]


@pytest.mark.parametrize(
    ("put", "state", "note"),
    [
        (lambda root, run: None, "missing", f"missing: fill with {FILL}"),
        (
            place_stale,
            "stale",
            f"stale: the run's description or code changed since this run; make it again with {FILL}",
        ),
        (place_failure, "failed", f"failed: the loss is nan at step 3; mend that, then {FILL}"),
        (
            place_given_up,
            "failed",
            f"failed: the loss is nan at step 3 (twice; `dgsct retry` clears it); mend that, then {FILL}",
        ),
        (place_corrupt, "corrupt", f"; delete it in the results folder, then {FILL}"),
        (lambda root, run: place(root, run, math.nan), "corrupt", "record.json has no finite metric 'acc_batch8'"),
        (
            lambda root, run: place(root, run, metrics={"x": 1.0}, reported="x"),
            "corrupt",
            "'acc_batch8'; dgsct remeasure adds it",
        ),
    ],
)
def test_every_state_has_its_word_and_a_footnote_with_the_remedy(tmp_path, put, state, note):
    for seed in range(2):
        put(tmp_path, full(seed))
    table = build_table(small_experiment(), TWO, tmp_path)
    cell = cells(table)["full"]
    assert (cell.state, cell.mean, cell.std, cell.difference) == (state, None, None, None)
    assert own_number(cell) == state
    assert cell.published == 82.2
    texts = notes(table, cell.notes)
    assert any(note in text for text in texts)
    assert all(text.startswith(f"{state}: ") and text.endswith(FILL) for text in texts)
    assert str(tmp_path) not in " ".join(texts)


def test_planned_cells_show_print_only(tmp_path):
    table = build_table(small_experiment(), TWO, tmp_path)
    cell = cells(table)["cmbs"]
    assert (cell.state, own_number(cell), cell.published, cell.sources) == ("planned", "not run yet", 79.3, ())
    assert notes(table, cell.notes) == ["not run yet: this method is not in the harness yet; only the printed number is shown"]
    assert notes(table, cell.published_notes) == ["a re-run"]
    measured, print_only = table.columns
    assert measured.measured
    assert not print_only.measured
    assert "not run yet: this task is not in the harness yet; only printed numbers are shown" in notes(table, print_only.notes)
    assert {cell.state for cell in cells(table, "avqa").values()} == {"planned"}
    assert cells(table, "avqa")["full"].published == 74.8


def test_cells_that_filters_left_out_say_so(tmp_path):
    place(tmp_path, full())
    table = build_table(small_experiment(), Settings(seeds=1, methods=("lavish-star",)), tmp_path)
    cell = cells(table)["full"]
    assert (cell.state, cell.mean) == ("planned", None)
    said = [*notes(table, cell.notes), *(text for column in table.columns for text in notes(table, column.notes))]
    assert "not run yet: left out by the filters (tasks, methods) of this command" in said


def in_reading_order(table) -> list[int]:
    found = [n for column in table.columns for n in column.notes]
    for row in table.rows:
        found += row.notes
        for cell in row.cells.values():
            found += [*cell.notes, *cell.published_notes]
    return list(dict.fromkeys(found))


def test_footnotes_are_numbered_in_reading_order(tmp_path):
    place_failure(tmp_path, full(0))
    place(tmp_path, full(1))
    table = build_table(small_experiment(note="A remark"), TWO, tmp_path)
    assert len(table.footnotes) == len(set(table.footnotes)) >= 5
    assert in_reading_order(table) == list(range(len(table.footnotes)))
    assert table.remarks[-1] == "A remark"
    place_efficiency(tmp_path)
    for experiment in load_experiments().values():
        if experiment.kind != "figure":
            table = build_table(experiment, TWO, tmp_path)
            assert in_reading_order(table) == list(range(len(table.footnotes)))


def test_the_stamp_names_scale_and_protocol(tmp_path):
    table = build_table(small_experiment(), Settings("mini", "clean"), tmp_path)
    assert table.stamp == stamp("mini", "clean")
    assert "mini scale" in table.stamp
    assert "not a reproduction of the published numbers" in table.stamp
    assert table.stamp.endswith("; protocol clean")
    assert build_table(small_experiment(), Settings("paper"), tmp_path).stamp == "paper scale; protocol release"


@pytest.mark.parametrize(
    ("protocol", "said"),
    [
        ("release", "AVE accuracy is the mean over test batches of 8, at the best epoch on the test split, as in the release"),
        ("clean", "AVE accuracy is over all test segments, at the best epoch on the validation split"),
    ],
)
def test_a_table_says_how_its_protocol_measures(tmp_path, protocol, said):
    table = build_table(load_experiments()["table1"], Settings(protocol=protocol), tmp_path)
    assert f"protocol {protocol}: {said}" in table.remarks
    assert any(text.startswith("encoders are named as in the paper; at scale mini tiny ones") for text in table.remarks)


def test_table_5_from_records(tmp_path):
    """The row `none` and LAVisH* of Table 1 are the same run, placed once."""
    place(tmp_path, Run.make("ave", "lavish-star"), 70.0)
    place(tmp_path, Run.make("ave", "dg-sct", {"S": False, "T": False}), 75.0)
    experiments, one = load_experiments(), Settings(seeds=1)
    table = build_table(experiments["table5"], one, tmp_path)
    assert {name: cell.mean for name, cell in cells(table).items() if cell.mean} == {"none": 70.0, "c": 75.0}
    assert cells(build_table(experiments["table1"], one, tmp_path))["lavish-star"].mean == 70.0
    assert table.mark_columns == ("S", "C", "T")
    assert table.rows[1].marks == {"S": False, "C": True, "T": False}
    assert [column.id for column in table.columns if column.measured] == ["ave", "s4_j", "s4_f", "ms3_j", "ms3_f"]
    several = "this harness: mean ± sample standard deviation over 3 seeds"
    assert (
        f"{several}; a number without ± is that of one run" in build_table(experiments["table5"], Settings(), tmp_path).remarks
    )
    assert several in build_table(experiments["table5"], Settings(seeds=3), tmp_path).remarks


def test_table_3_from_records(tmp_path):
    """Two numbers of one record a setting; the protocol says which mean they are."""
    for task, value in (("avs-s4", 80.0), ("avs-ms3", 50.0)):
        place(tmp_path, Run.make(task, "dg-sct"), value)
        place(tmp_path, Run.make(task, "dg-sct", protocol="clean"), value)
    row = build_table(load_experiments()["table3"], Settings(seeds=1), tmp_path).rows[3].cells
    assert {name: own_number(cell) for name, cell in row.items()} == {
        "s4_j": "80.0", "s4_f": "88.0", "ms3_j": "50.0", "ms3_f": "58.0",
    }  # fmt: skip
    table = build_table(load_experiments()["table3"], Settings(protocol="clean"), tmp_path)
    assert {name: own_number(cell) for name, cell in table.rows[3].cells.items()} == {
        "s4_j": "79.9", "s4_f": "86.0", "ms3_j": "49.9", "ms3_f": "56.0",
    }  # fmt: skip
    assert {cell.state for cell in table.rows[1].cells.values()} == {"planned"}  # LAVisH: print only


@pytest.mark.parametrize("scale", ["mini", "paper"])
def test_numbers_of_generated_clips_are_not_compared_with_printed_ones(tmp_path, scale):
    """At scale mini no form has a difference; at full size every form has."""
    place(tmp_path, Run.make("ave", "dg-sct", scale=scale), 81.0)
    table = build_table(small_experiment(), Settings(scale, seeds=1), tmp_path)
    compared = scale == "paper"
    assert (cells(table)["full"].difference, difference(cells(table)["full"])) == (
        (pytest.approx(-1.2), "-1.2") if compared else (None, "–")
    )
    head = "this harness" if compared else "this harness (mini)"
    words = {
        "md": f"AVE {head} | ",
        "html": head.replace(" (", "<br>("),
        "tex": head.replace(" (", r"\\("),
        "csv": ",published,",
    }
    for ending, word in words.items():
        text = RENDERERS[ending](table)
        assert word in text
        assert "ours" not in text
        assert any(name in text for name in ("difference", r"$\Delta$")) == compared
    found = json.loads(RENDERERS["json"](table))["rows"][0]["cells"]["ave"]
    assert (found.get("difference") is not None) == compared


def test_a_collapsed_run_has_a_footnote(tmp_path):
    """Empty masks score as the yardstick All silent does; a reader of the number alone could not know."""
    experiment = load_experiments()["table3"]
    for task in ("avs-s4", "avs-ms3"):
        for seed in range(3):
            empty = task == "avs-ms3" and seed > 0
            run = Run.make(task, "dg-sct", seed=seed)
            place(tmp_path, run, metrics={**metrics_of(run, 9.0), "mask_area": 0.0 if empty else 12.5})
        for name in ("all-silent", "late-fusion"):
            run = Run.make(task, name)
            place(tmp_path, run, metrics={**metrics_of(run, 9.0), "mask_area": 0.0})
    table = build_table(experiment, Settings(), tmp_path)
    rows = {row.id: row for row in table.rows}
    collapsed = "collapsed, every predicted mask is empty as of the yardstick All silent (Table 3)"

    def texts(row: str, column: str) -> list[str]:
        return [text for text in notes(table, rows[row].cells[column].notes) if "collapsed" in text]

    assert not texts("dg-sct", "s4_j")
    for column in ("ms3_j", "ms3_f"):
        assert texts("dg-sct", column) == [f"seed 1, 2: {collapsed}"]
        assert texts("late-fusion", column) == [collapsed]
        assert not texts("all-silent", column)
    assert json.loads(RENDERERS["json"](table))["rows"][3]["cells"]["ms3_j"]["runs"][1]["remark"] == collapsed


def test_bounds_of_segmentation(tmp_path):
    run, coverage = Run.make("avs-ms3", "dg-sct"), {"test": {"present": 32, "total": 64}}
    bounds = {"miou_lower": 25.0, "miou_upper": 75.0}
    place(tmp_path, run, 50.0, coverage=coverage, metrics={**metrics_of(run, 50.0), **bounds})
    table = build_table(load_experiments()["table3"], Settings(seeds=1), tmp_path)
    cell, other = (table.rows[3].cells[name] for name in ("ms3_j", "ms3_f"))
    assert "over all 64 test clips between 25.0 and 75.0 (exact)" in notes(table, cell.notes)
    assert notes(table, other.notes) == ["32 of 64 test clips present (50.0 %): the number is over present clips"]


def test_table_6_in_the_papers_units(tmp_path):
    place_efficiency(tmp_path)
    table = build_table(load_experiments()["table6"], Settings(scale="mini", protocol="clean"), tmp_path)
    dg_sct, star = table.rows[3].cells, table.rows[2].cells
    assert {name: own_number(cell) for name, cell in dg_sct.items()} == {
        "trainable": "43.6", "params": "461.3", "gflops": "460.5", "all_macs": "544.2",
    }  # fmt: skip
    assert {name: own_number(star[name]) for name in ("trainable", "params", "gflops")} == {
        "trainable": "30.6", "params": "374.9", "gflops": "415.8",
    }  # fmt: skip
    assert (dg_sct["trainable"].exact, dg_sct["params"].exact) == (201_160_647, 461_282_531)
    assert difference(dg_sct["gflops"]) == "-0.3"
    assert dg_sct["params"].sources[0].record == str(tmp_path / "efficiency/dg-sct.json")
    said = notes(table, dg_sct["trainable"].notes)[0]
    assert said.startswith("counted 21.3 + 22.3: 98,435,280 in token convolutions and linear layers, 102,725,367 elsewhere")
    assert "4,740,144 of the trainable never get a gradient" in said
    assert notes(table, dg_sct["all_macs"].notes)[0].startswith("as computed here: 483.0 G")
    assert (table.scale, table.protocol) == ("paper", "release")
    assert table.stamp == "paper scale, protocol release: counted, nothing trained"
    assert {cell.state for cell in table.rows[0].cells.values()} == {"planned"}


def test_table_6_states(tmp_path):
    experiment, fill = load_experiments()["table6"], "snakemake table6 --config scale=mini protocol=release"
    table = build_table(experiment, Settings(), tmp_path)
    assert {cell.state for cell in table.rows[3].cells.values()} == {"missing"}
    assert f"missing: fill with {fill}" in table.footnotes
    place_efficiency(tmp_path)
    path = tmp_path / "efficiency/dg-sct.json"
    counted = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**counted, "key": "0" * 64}), encoding="utf-8")
    table = build_table(experiment, Settings(), tmp_path)
    assert {(cell.state, cell.sources) for cell in table.rows[3].cells.values()} == {("stale", ())}
    assert any(text.startswith("stale: ") and text.endswith(fill) for text in table.footnotes)
    path.write_text(json.dumps({**counted, "macs": {}}), encoding="utf-8")
    row = build_table(experiment, Settings(), tmp_path).rows[3].cells
    assert {name: cell.state for name, cell in row.items()} == {
        "trainable": "ok", "params": "ok", "gflops": "corrupt", "all_macs": "corrupt",
    }  # fmt: skip
    path.write_text("{", encoding="utf-8")
    table = build_table(experiment, Settings(), tmp_path)
    assert {cell.state for cell in table.rows[3].cells.values()} == {"corrupt"}
    said = f"corrupt: efficiency/dg-sct.json is not a readable count; delete it in the results folder, then {fill}"
    assert [text for text in table.footnotes if text.startswith("corrupt")] == [said]


def test_table_6_is_traced_to_its_counts(tmp_path):
    place_efficiency(tmp_path)
    cell = build_table(load_experiments()["table6"], Settings(), tmp_path).rows[3].cells["params"]
    assert [(s.record, s.key) for s in cell.sources] == [(str(tmp_path / "efficiency/dg-sct.json"), efficiency_key("dg-sct"))]


ABSENT = {
    "train": {"present": 3201, "total": 3339},
    "val": {"present": 402, "total": 402},
    "test": {"present": 393, "total": 402},
}


def place_covered(root, seed, value, lower, upper, coverage=ABSENT):
    metrics = {"acc_batch8": value, "acc_exact": value, "acc_exact_lower": lower, "acc_exact_upper": upper}
    place(root, full(seed), metrics=metrics, coverage=coverage)


def test_a_number_behind_which_clips_are_absent_is_marked_in_every_form(tmp_path):
    place_covered(tmp_path, 0, 82.0, 80.0, 82.3)
    place_covered(tmp_path, 1, 82.2, 80.2, 82.5)
    place(tmp_path, Run.make("ave", "all-background"), 17.0)
    table = build_table(small_experiment(), TWO, tmp_path)
    cell = cells(table)["full"]
    shared = "393 of 402 test clips present (97.8 %; 3,201 of 3,339 training clips): the number is over present clips"
    own = "over all 402 test clips between 80.1 and 82.4 (exact)"
    assert notes(table, cell.notes) == [shared, own]
    assert cells(table)["zero"].notes == ()
    for ending, render in RENDERERS.items():
        if ending != "csv":
            text = " ".join(render(table).replace(r"\%", "%").split())
            assert shared in text.replace(r"\(", "(").replace(r"\)", ")")
            assert own in text
    side = json.loads(RENDERERS["json"](table))["rows"][0]["cells"]["ave"]
    assert side["coverage"] == ABSENT
    assert side["bounds"] == pytest.approx([80.1, 82.4])
    assert [run["bounds"] for run in side["runs"]] == [[80.0, 82.3], [80.2, 82.5]]
    line = next(csv.DictReader(RENDERERS["csv"](table).splitlines()))
    assert [line[name] for name in ("test_present", "test_total", "lower", "upper")] == ["393", "402", "80.1", "82.4"]


@pytest.mark.parametrize(
    ("coverage", "texts"),
    [
        ({"train": ABSENT["train"], "test": {"present": 402, "total": 402}},
         ["3,201 of 3,339 training clips present, and all test clips"]),
        ({"test": {"present": 4019, "total": 4020}},
         ["4,019 of 4,020 test clips present (99.9 %): the number is over present clips",
          "over all 4,020 test clips between 80.0 and 82.3 (exact)"]),
    ],
)  # fmt: skip
def test_what_is_absent_is_told_as_it_is(tmp_path, coverage, texts):
    place_covered(tmp_path, 0, 82.0, 80.0, 82.3, coverage)
    table = build_table(small_experiment(), Settings(seeds=1), tmp_path)
    assert notes(table, cells(table)["full"].notes) == texts

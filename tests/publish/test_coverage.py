"""What the harness covers: the 25 settings with their printed numbers, every system and page, and README's table of it."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from results_rig import place, place_efficiency, place_stale

from dgsct.methods import METHODS
from dgsct.publish.coverage import coverage, coverage_json, coverage_markdown, plain_coverage, summary
from dgsct.runs.experiments import Settings, load_experiments
from dgsct.runs.run import Run
from dgsct.tasks import TASKS

HERE = {"Table 1": 1, "Table 2": 10, "Table 3": 4, "Table 4": 4, "Figure 4": 6}
BEST = {"Table 1": 1, "Table 2": 6, "Table 3": 2, "Table 4": 4, "Figure 4": 6}


@pytest.fixture(scope="module")
def experiments():
    return load_experiments()


@pytest.fixture(scope="module")
def nothing(experiments, tmp_path_factory):
    """The coverage without a record."""
    return coverage(experiments, Settings(), tmp_path_factory.mktemp("none"))


def test_the_25_settings(nothing):
    assert len(nothing.settings) == len({s.id for s in nothing.settings}) == 25
    assert Counter(s.where for s in nothing.settings) == HERE
    assert Counter(s.where for s in nothing.settings if s.best_as_printed) == BEST
    assert sum(BEST.values()) == 19
    lost = {s.id for s in nothing.settings if not s.best_as_printed}
    assert lost == {
        "table2.dg-sct.segment_a", "table2.dg-sct.segment_event", "table2.dg-sct.event_a", "table2.dg-sct.event_event",
        "table3.dg-sct.ms3_j", "table3.dg-sct.ms3_f",
    }  # fmt: skip


def test_a_setting_carries_the_experiment_file_s_number(nothing, experiments):
    by_id = {s.id: s for s in nothing.settings}
    one = by_id["table4.dg-sct.avg"]
    assert (one.where, one.task, one.metric, one.published) == ("Table 4", "avqa", "average", 74.8)
    zero = by_id["fig4.llp-classification.dg-sct.0"]
    assert (zero.where, zero.task, zero.metric, zero.published) == ("Figure 4", "classification-llp", "accuracy", 35.8)
    changed = json.loads(experiments["table3"].model_dump_json())
    changed["rows"][3]["published"]["ms3_j"]["value"] = 54.1
    again = coverage({"table3": type(experiments["table3"]).model_validate(changed)}, Settings(), Path("nowhere"))
    assert [(s.published, s.best_as_printed) for s in again.settings if s.id.endswith("ms3_j")] == [(54.1, True)]


def test_a_number_of_another_publication_beats_nothing_here(experiments):
    """Rows that quote numbers from elsewhere do not decide what is best in a table."""
    changed = json.loads(experiments["table3"].model_dump_json())
    quoted = next(row for row in changed["rows"] if row["id"] == "avs-r50")
    quoted["published"]["s4_j"]["value"] = 99.0
    again = coverage({"table3": type(experiments["table3"]).model_validate(changed)}, Settings(), Path("nowhere"))
    assert [s.best_as_printed for s in again.settings if s.id.endswith("s4_j")] == [True]


def test_what_runs_is_what_the_registries_have(nothing):
    runnable = {s.id for s in nothing.settings if s.runnable}
    assert runnable == {s.id for s in nothing.settings if s.task in TASKS and s.task in METHODS["dg-sct"].tasks}
    assert Counter(s.where for s in nothing.settings if s.runnable) == {"Table 1": 1, "Table 3": 4}
    for system in nothing.systems:
        there = system.method in METHODS and system.task in METHODS[system.method].tasks
        assert system.runnable == (there and (system.where != "Table 6" or METHODS[system.method].counted))


def test_every_row_and_line_is_a_system(nothing, experiments):
    for experiment in experiments.values():
        names = {s.name for s in nothing.systems if s.where == experiment.source}
        rows = {row.label for row in experiment.rows} | {line.label for p in experiment.panels for line in p.lines}
        assert names == (rows if experiment.kind != "statistics" else set())
    assert {s.design for s in nothing.systems if s.name == "LAVisH*"} == {"inferred"}
    five = [s for s in nothing.systems if (s.where, s.name) == ("Table 5", "C")]
    assert {s.task: s.runnable for s in five} == {task: task in TASKS for task in ("ave", "avvp", "avs-s4", "avs-ms3", "avqa")}


def test_pages(nothing, experiments):
    pages = {page.id: page for page in nothing.pages}
    assert [page.id for page in nothing.tables] == [f"table{n}" for n in range(1, 10)]
    assert [page.id for page in nothing.figures] == ["fig4", "fig8", "fig9"]
    assert {name: (p.cells_runnable, p.cells) for name, p in pages.items()} == {
        "table1": (2, 12), "table2": (0, 50), "table3": (12, 16), "table4": (0, 24), "table5": (30, 66), "table6": (6, 12),
        "table7": (0, 14), "table8": (20, 36), "table9": (0, 40), "fig4": (0, 96), "fig8": (3, 3), "fig9": (4, 4),
    }  # fmt: skip
    assert [page.id for page in nothing.pages if page.runnable] == ["fig8", "fig9"]
    assert pages["table1"].rows["LAVisH*†"]
    assert not pages["table1"].rows["CMBS"]


def test_results_come_from_records(experiments, tmp_path):
    for seed, value in enumerate((70.0, 71.0)):
        place(tmp_path, Run.make("ave", "dg-sct", seed=seed), value)
    place_stale(tmp_path, Run.make("avs-s4", "dg-sct"), 99.0)
    place_efficiency(tmp_path)
    covered = coverage(experiments, Settings(seeds=2), tmp_path)
    results = {s.id: (s.ours, s.state) for s in covered.settings if s.state not in ("planned", "missing")}
    assert results == {
        "table1.dg-sct.ave": (70.5, "ok"), "table3.dg-sct.s4_j": (None, "stale"), "table3.dg-sct.s4_f": (None, "stale"),
    }  # fmt: skip
    assert [s.ours for s in covered.systems if (s.where, s.name) == ("Table 1", "DG-SCT")] == [{"ave": 70.5}]
    counted = next(s for s in covered.systems if (s.where, s.method) == ("Table 6", "dg-sct"))
    assert counted.ours["params"] == pytest.approx(461.282531)
    assert {page.id: page.cells_filled for page in covered.pages if page.cells_filled} == {
        "table1": 1, "table5": 1, "table6": 6, "table8": 1, "fig8": 3,
    }  # fmt: skip
    assert summary(covered).startswith("settings: 5 of 25 runnable, 1 with a result; 19 of 25 best as printed")


def test_json_has_the_agreed_keys(nothing):
    value = json.loads(json.dumps(coverage_json(nothing)))
    assert {"settings", "systems", "tables", "figures"} <= set(value)
    keys = {"id", "where", "task", "metric", "published", "best_as_printed", "runnable", "ours"}
    assert all(keys <= set(setting) for setting in value["settings"])
    assert all({"name", "task", "where", "runnable"} <= set(system) for system in value["systems"])
    assert all({"id", "title", "runnable"} <= set(page) for page in [*value["tables"], *value["figures"]])
    assert value["stamp"].startswith("mini scale")


def test_plain_lines_are_short(nothing):
    lines = plain_coverage(nothing).splitlines()
    assert len(lines) == 1 + len(nothing.pages) + 3
    assert lines[1].split()[:6] == ["table1", "no", "2/12", "0", "1/1", "1/1"]
    assert max(map(len, lines)) < 130


def test_readme_holds_the_generated_table(nothing, repository):
    text = (repository / "README.md").read_text(encoding="utf-8")
    held = re.search(r"<!-- coverage: .*? -->\n(.*?)<!-- end of coverage -->", text, re.DOTALL)
    assert held, "README.md has lost the comments around its table of what is there"
    assert held.group(1) == coverage_markdown(nothing), "write it anew with `dgsct coverage --markdown`"


def test_the_table_does_not_depend_on_records(experiments, tmp_path, nothing):
    place(tmp_path, Run.make("ave", "dg-sct"), 70.0)
    assert coverage_markdown(coverage(experiments, Settings(), tmp_path)) == coverage_markdown(nothing)

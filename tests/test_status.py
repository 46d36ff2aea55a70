"""Counts per table as plain text, and what to type for the rest."""

import pytest
from results_rig import place, place_corrupt, place_efficiency, place_failure, place_stale, small_experiment

from dgsct.experiments import Settings, all_runs, load_experiments
from dgsct.runs import Run
from dgsct.status import plain_status, print_status, status_rows

TWO = Settings(seeds=2)
FILL = "snakemake table0 --config scale=mini protocol=release seeds=2"


def full(seed: int) -> Run:
    return Run.make("ave", "dg-sct", seed=seed)


def without_s(seed: int) -> Run:
    return Run.make("ave", "dg-sct", {"S": False}, seed=seed)


def lines(root, experiments, settings=TWO) -> list[list[str]]:
    return [line.split() for line in plain_status(status_rows(experiments, settings, root)).splitlines()]


def test_counts_by_state(tmp_path):
    place(tmp_path, full(0))
    place_failure(tmp_path, full(1))
    place_stale(tmp_path, without_s(0))
    place_corrupt(tmp_path, without_s(1))
    head, row, *_ = lines(tmp_path, {"table0": small_experiment()})
    assert head[:6] == ["table", "done", "failed", "stale", "missing", "corrupt"]
    assert row[:7] == ["table0", "1/5", "1", "1", "1", "1", "5"]
    assert row[7:] == ["A", "small", "table"]


def test_hints_name_the_command_and_where_the_reasons_stand(tmp_path):
    text = plain_status(status_rows({"table0": small_experiment()}, TWO, tmp_path))
    assert text.splitlines()[-1] == f"table0: {FILL}"
    place_failure(tmp_path, full(1))
    text = plain_status(status_rows({"table0": small_experiment()}, TWO, tmp_path))
    assert f"table0: {FILL}" in text.splitlines()
    assert "why a run failed" in text.splitlines()[-1]
    assert "dgsct tables" in text.splitlines()[-1]


def test_when_everything_is_there_it_says_so(tmp_path):
    experiments = {"table0": small_experiment()}
    for run in all_runs(experiments, TWO):
        place(tmp_path, run)
    text = plain_status(status_rows(experiments, TWO, tmp_path))
    assert text.splitlines()[1].split()[:2] == ["table0", "5/5"]
    assert text.splitlines()[-1] == "everything is done"
    assert "snakemake" not in text


def test_the_papers_tables(tmp_path):
    experiments = load_experiments()
    place_efficiency(tmp_path)
    for run in all_runs([experiments["table8"]], Settings()):
        place(tmp_path, run)
    done = {row.name: (row.counts["ok"], row.total, row.complete) for row in status_rows(experiments, Settings(), tmp_path)}
    # Table 8 shares the runs of DG-SCT and LAVisH* with Tables 1, 3 and 5 and with Figure 9, and its first seed of DG-SCT
    # with Figure 8.
    assert done == {
        "fig8": (1, 13, False), "fig9": (2, 4, False), "table1": (6, 18, False), "table3": (4, 16, False),
        "table5": (10, 30, False), "table6": (2, 2, True), "table8": (20, 20, True),
    }  # fmt: skip


def test_columns_are_aligned(tmp_path):
    text = plain_status(status_rows(load_experiments(), Settings(), tmp_path)).splitlines()
    head, rows = text[0], text[1:6]
    for name in ("done", "failed", "missing", "title"):
        place_of = head.index(name)
        assert all(row[place_of - 1] == " " and row[place_of] != " " for row in rows)


def test_in_a_pipe_it_is_plain(tmp_path, capsys):
    rows = status_rows({"table0": small_experiment()}, TWO, tmp_path)
    print_status(rows)
    out = capsys.readouterr().out
    assert out == plain_status(rows) + "\n"
    assert out.isascii()


@pytest.mark.parametrize("width", ["60", "200"])
def test_in_a_terminal_counts_and_commands_are_the_same(tmp_path, capsys, monkeypatch, width):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", width)
    place(tmp_path, full(0))
    print_status(status_rows({"table0": small_experiment()}, TWO, tmp_path))
    out = capsys.readouterr().out
    assert "\x1b[" in out
    assert "1/5" in out
    assert FILL in out

"""Counts per table as plain text, and what to type for the rest."""

import os
import pty
import shutil
import signal
import subprocess
import sys

import pytest
from results_rig import place, place_corrupt, place_efficiency, place_failure, place_stale, small_experiment, training_lock

from dgsct.campaign.status import Board, Status, plain_status, print_status
from dgsct.runs.experiments import EXPERIMENTS, Settings, all_runs, load_experiments
from dgsct.runs.run import Run

TWO = Settings(seeds=2)
FILL = "snakemake table0 --config scale=mini protocol=release seeds=2"


def full(seed: int) -> Run:
    return Run.make("ave", "dg-sct", seed=seed)


def without_s(seed: int) -> Run:
    return Run.make("ave", "dg-sct", {"S": False}, seed=seed)


def look(root, experiments=None, settings=TWO) -> Status:
    return Board(experiments or {"table0": small_experiment()}, settings, root).look()


def lines(root, experiments=None, settings=TWO) -> list[list[str]]:
    return [line.split() for line in plain_status(look(root, experiments, settings)).splitlines()]


def test_counts_by_state(tmp_path):
    place(tmp_path, full(0))
    place_failure(tmp_path, full(1))
    place_stale(tmp_path, without_s(0))
    place_corrupt(tmp_path, without_s(1))
    head, row, *_ = lines(tmp_path)
    assert head[:8] == ["table", "done", "running", "queued", "failed", "stale", "missing", "corrupt"]
    assert row[:9] == ["table0", "1/5", "0", "0", "1", "1", "1", "1", "5"]
    assert row[9:] == ["-", "-", "A", "small", "table"]


def test_hints_name_the_command_and_where_the_reasons_stand(tmp_path):
    text = plain_status(look(tmp_path))
    assert text.splitlines()[-1] == f"table0: {FILL}"
    place_failure(tmp_path, full(1))
    text = plain_status(look(tmp_path))
    assert f"table0: {FILL}" in text.splitlines()
    assert "why a run failed" in text.splitlines()[-1]
    assert "dgsct tables" in text.splitlines()[-1]


def test_when_everything_is_there_it_says_so(tmp_path):
    experiments = {"table0": small_experiment()}
    for run in all_runs(experiments, TWO):
        place(tmp_path, run)
    text = plain_status(look(tmp_path, experiments))
    assert text.splitlines()[1].split()[:2] == ["table0", "5/5"]
    assert text.splitlines()[-1] == "everything is done"
    assert "snakemake" not in text


def test_the_papers_tables(tmp_path):
    experiments = load_experiments()
    place_efficiency(tmp_path)
    for run in all_runs([experiments["table8"]], Settings()):
        place(tmp_path, run)
    done = {row.name: (row.counts["ok"], row.total, row.complete) for row in look(tmp_path, experiments, Settings()).rows}
    # Table 8 shares the runs of DG-SCT and LAVisH* with Tables 1, 3 and 5, their first seeds with Figures 8 and 9.
    assert done == {
        "fig8": (1, 7, False), "fig9": (2, 4, False), "table1": (6, 17, False), "table3": (8, 27, False),
        "table5": (14, 26, False), "table6": (2, 2, True), "table8": (20, 20, True),
        **dict.fromkeys(("fig4", "table2", "table4", "table7", "table9"), (0, 0, True)),
    }  # fmt: skip


def test_columns_are_aligned(tmp_path):
    text = plain_status(look(tmp_path, load_experiments(), Settings())).splitlines()
    head, rows = text[0], text[1:6]
    for name in ("done", "failed", "missing", "title"):
        place_of = head.index(name)
        assert all(row[place_of - 1] == " " and row[place_of] != " " for row in rows)


def test_in_a_pipe_it_is_plain(tmp_path, capsys):
    status = look(tmp_path)
    print_status(status)
    out = capsys.readouterr().out
    assert out == plain_status(status) + "\n"
    assert out.isascii()


@pytest.mark.parametrize("width", ["60", "200"])
def test_in_a_terminal_counts_and_commands_are_the_same(tmp_path, capsys, monkeypatch, width):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", width)
    place(tmp_path, full(0))
    print_status(look(tmp_path))
    out = capsys.readouterr().out
    assert "\x1b[" in out
    assert "1/5" in out
    assert FILL in out


def test_runs_that_several_tables_share_count_once_in_the_last_line(tmp_path):
    place(tmp_path, full(0))
    two = {"table0": small_experiment(), "table00": small_experiment(name="table00")}
    status = look(tmp_path, two)
    assert [row.counts["ok"] for row in status.rows] == [1, 1]
    assert (status.all.counts["ok"], status.all.total) == (1, 5)


def test_a_running_run_has_a_line_of_its_own(tmp_path):
    with training_lock(tmp_path, full(0)):
        text = plain_status(look(tmp_path)).splitlines()
    assert text[1].split()[1:4] == ["0/5", "1", "0"]
    assert any(line.startswith("running: ave dg-sct default seed 0 on ") for line in text)


@pytest.fixture
def campaign(tmp_path):
    """Table 8 alone with one seed, all but one run done, and the words that watch it."""
    (tmp_path / "experiments").mkdir()
    shutil.copy(EXPERIMENTS / "table8.yaml", tmp_path / "experiments")
    runs = list(all_runs(load_experiments(tmp_path / "experiments"), Settings(seeds=1)))
    for run in runs[1:]:
        place(tmp_path / "results", run)
    words = ["status", "--watch", "--interval", "1", "--seeds", "1", "--experiments", "experiments"]
    return tmp_path, runs[0], [sys.executable, "-m", "dgsct.cli", *words]


def first_lines(process) -> list[str]:
    return [process.stdout.readline() for _ in range(3)]


def test_watching_ends_by_itself_when_everything_is_done(campaign):
    folder, last, command = campaign
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert first_lines(process)[2].split()[:2] == ["table8", "11/12"]
        place(folder / "results", last)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert out.splitlines()[-1] == "everything is done"
    assert "12/12" in out


def test_ctrl_c_ends_the_watching_without_a_word(campaign):
    folder, _, command = campaign
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        first_lines(process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")


def test_in_a_terminal_the_table_is_drawn_in_place(campaign):
    folder, last, command = campaign
    place(folder / "results", last)
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "150", "LINES": "50"}
    done = subprocess.run(command, cwd=folder, stdout=theirs, stderr=subprocess.PIPE, env=env, timeout=60, check=False)
    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "\x1b[" in shown
    assert "12/12" in shown
    assert shown.rstrip().endswith("everything is done")

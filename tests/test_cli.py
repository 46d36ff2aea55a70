"""The command line as a user meets it: its output, its exit codes, and never a traceback."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from call_rig import Said, call
from results_rig import place, place_efficiency

from dgsct.methods import METHODS
from dgsct.records.results import efficiency_state, read_record
from dgsct.runs.experiments import EXPERIMENTS, load_experiments
from dgsct.runs.protocols import PROTOCOLS
from dgsct.runs.run import Run
from dgsct.tasks import HOMES, TASKS

COMMANDS = (
    "ls", "run", "bundle", "prepare", "weights", "convert", "evaluate", "efficiency", "tables", "figures", "coverage", "cells",
    "report", "status", "plan", "ledger", "doctor", "masks", "remeasure", "retry", "soak",
    "trace",
)  # fmt: skip


def dgsct(folder: Path, *arguments: object, python: tuple[str, ...] = (), **env: str) -> Said:
    """A call in this process; with options for Python or an environment of its own, in a fresh one."""
    if not python and not env:
        said = call(folder, *arguments)
    else:
        command = [sys.executable, *python, "-m", "dgsct.cli", *map(str, arguments)]
        done = subprocess.run(command, cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, timeout=120)
        said = Said(done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in said.out + said.err
    return said


def test_help_names_every_command(tmp_path):
    said = dgsct(tmp_path, "--help")
    assert said.code == 0
    for command in COMMANDS:
        assert f" {command} " in said.out


@pytest.mark.parametrize(
    ("arguments", "without"),
    [
        (["--help"], ("torch", "pandas", "matplotlib", "yaml", "numpy")),
        (["run", "--help"], ("torch", "pandas", "matplotlib", "yaml", "numpy")),
        (["ls"], ("torch", "pandas", "matplotlib", "numpy")),
        (["ledger"], ("torch", "pandas", "matplotlib", "yaml", "numpy")),
        (["status"], ("torch", "matplotlib")),
        (["plan", "--no-probe"], ("torch", "timm", "matplotlib", "pandas")),
        (["tables", "table1", "--out", "out"], ("torch", "matplotlib")),
        (["trace", "table1", "dg-sct"], ("torch", "matplotlib")),
    ],
)
def test_what_is_not_needed_is_not_imported(tmp_path, arguments, without):
    said = dgsct(tmp_path, *arguments, python=("-X", "importtime"))
    assert said.code == 0
    imported = {line.rsplit("|", 1)[1].strip().split(".")[0] for line in said.err.splitlines() if line.count("|") == 2}
    assert "dgsct" in imported
    assert not imported & set(without)


def test_ls_names_everything(tmp_path):
    said = dgsct(tmp_path, "ls")
    assert said.code == 0
    words = said.out.split()
    for name in (*TASKS, *METHODS, *load_experiments(), *PROTOCOLS):
        assert name in words


def test_ledger_is_the_page(tmp_path, repository):
    said = dgsct(tmp_path, "ledger")
    assert said.code == 0
    assert said.out == (repository / "docs" / "deviations.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "ave", "dg-stc"], "unknown method 'dg-stc'; known methods: dg-sct, "),
        (["run", "avee", "dg-sct"], f"unknown task 'avee'; known tasks: {', '.join(TASKS)} "),
        (["run", "ave", "dg-sct", "--set", "S"], "--set 'S' must have the form NAME=VALUE, for example --set S=off"),
        (["run", "ave", "dg-sct", "--set", "alhpa=1"], "unknown option 'alhpa'; known options: S, C, T, "),
        (["run", "ave", "dg-sct", "--set", "S=maybe"], "option S='maybe' must be on or off"),
        (["run", "ave", "lavish-star", "--set", "S=on"], "method 'lavish-star' has no option 'S'; its options: "),
        (["run", "ave", "dg-sct", "--scale", "huge"], "unknown scale 'huge'; choose one of: paper, mini"),
        (["run", "ave", "dg-sct", "--protocol", "papr"], "unknown protocol 'papr'; did you mean 'paper'? choose one of: "),
        (["bundle", "runs/mini"], "runs/mini is no run folder; it should end in runs/SCALE/PROTOCOL/TASK/METHOD/SETTING/sSEED"),
        (["tables", "table99"], "unknown experiment 'table99'; known: fig4, fig8, fig9, table1, "),
        (["tables", "fig8"], "fig8 is no table; use `dgsct figures fig8`"),
        (["figures", "table1"], "table1 is no figure; use `dgsct tables table1`"),
        (["cells", "--json", "--csv"], "--json and --csv exclude each other; give one of them"),
        (["cells", "table99"], "unknown experiment 'table99'; known: fig4, fig8, fig9, table1, "),
        (["report", "--scale", "huge"], "unknown scale 'huge'; choose one of: paper, mini"),
        (["tables", "--scale", "huge"], "unknown scale 'huge'; choose one of: paper, mini"),
        (["status", "--protocol", "papr"], "unknown protocol 'papr'; did you mean 'paper'?"),
        (["status", "--experiments", "nowhere"], "nowhere: no experiment files (*.yaml) there; give the folder that"),
        (["plan", "tabel1"], "unknown target 'tabel1'; known: all_tables, all_figures, report, fig4, fig8, fig9, table1, "),
        (["plan", "--methods", "dg-stc"], "configuration: unknown method 'dg-stc'; did you mean 'dg-sct'?"),
        (["prepare", "avee", "raw", "out"], f"unknown data set 'avee'; known data sets: {', '.join(HOMES)}"),
    ],
)  # fmt: skip
def test_wrong_use_is_one_sentence_and_exit_code_2(tmp_path, arguments, sentence):
    said = dgsct(tmp_path, *arguments)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"dgsct: {sentence}")
    assert said.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["tables", "--bogus"], "--bogus"),
        (["tabels"], "tabels"),
        (["run", "ave"], "method"),
        (["status", "--seeds", "0"], "--seeds"),
        (["plan", "--gpus", "0"], "--gpus"),
        (["run", "ave", "dg-sct", "--seed", "one"], "--seed"),
    ],
)
def test_a_wrong_option_or_command_is_named_with_exit_code_2(tmp_path, arguments, word):
    said = dgsct(tmp_path, *arguments)
    assert (said.code, said.out) == (2, "")
    assert word in said.err
    assert not list(tmp_path.iterdir())


def test_a_malformed_experiment_file_is_named_with_its_line(tmp_path):
    folder = tmp_path / "experiments"
    shutil.copytree(EXPERIMENTS, folder)
    path = folder / "table8.yaml"
    text = path.read_text(encoding="utf-8")
    wrong = next(i for i, line in enumerate(text.splitlines(), start=1) if line.startswith("source:"))
    path.write_text(text.replace("source: Table 8", "source: [Table 8", 1), encoding="utf-8")
    said = dgsct(tmp_path, "tables", "table1", "--experiments", folder)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"dgsct: {path}, line {wrong + 1}: not valid YAML (")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("command", ["tables", "report"])
def test_a_folder_that_takes_no_files_is_one_sentence_and_exit_code_1(small_disk, command):
    (small_disk / "filler").write_text("% no table")
    (small_disk / "filler.tex").write_text("% no table")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    said = dgsct(small_disk.parent, command, "--out", small_disk)
    assert (said.code, said.out) == (1, "")
    name = {"tables": "table1.tex", "report": "report.tex"}[command]
    assert said.err.startswith(f"dgsct: cannot write {small_disk / name}: Read-only file system; check the folder")
    assert said.err.count("\n") == 1


def test_a_run_without_data_is_one_sentence_and_exit_code_1(tmp_path):
    said = dgsct(tmp_path, "run", "ave", "majority-class")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("dgsct: results/data/mini/ave/packed/manifest.json is missing or unreadable; make it with ")
    assert said.err.count("\n") == 1


def test_a_report_without_pdflatex_is_one_sentence_and_exit_code_1(tmp_path):
    (tmp_path / "table1.tex").write_text("a table")
    said = dgsct(tmp_path, "report", "--out", tmp_path, PATH="")
    assert said.code == 1
    assert said.err.startswith("dgsct: pdflatex is not installed; install ")
    assert said.err.count("\n") == 1


def test_a_run_prints_where_its_record_is(mini_world, tmp_path):
    for name in ("data", "encoders"):
        (tmp_path / name).symlink_to(mini_world / name)
    said = dgsct(tmp_path, "run", "ave", "majority-class", "--results", tmp_path)
    assert said.code == 0
    path = Path(said.out.splitlines()[-1])
    assert path == tmp_path / "runs/mini/release/ave/majority-class/default/s0/record.json"
    assert f"acc_exact {read_record(path)['metrics']['acc_exact']:.2f}" in said.out


def test_efficiency_prints_the_counts_and_json_holds_the_same(tmp_path, monkeypatch, counted):
    monkeypatch.setattr("dgsct.engine.efficiency.efficiency", lambda method, scale: counted[method])  # counted before
    file = tmp_path / "results/efficiency/dg-sct.json"
    shown = dgsct(tmp_path, "efficiency", "dg-sct")
    printed = dgsct(tmp_path, "efficiency", "dg-sct", "--json", "--out", file)
    assert (shown.code, printed.code) == (0, 0)
    found = json.loads(printed.out)
    assert (found["parameters"]["total"], found["parameters"]["trainable"]) == (461_282_531, 201_160_647)
    for number in (461_282_531, 201_160_647, *found["macs"].values()):
        assert f"{number:,}" in shown.out
    assert "43.61" in shown.out
    assert json.loads(file.read_text(encoding="utf-8")) == found
    assert efficiency_state("dg-sct", tmp_path / "results").name == "ok"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    root = tmp_path_factory.mktemp("cli") / "results"
    for seed, value in enumerate((81.0, 82.0, 83.0)):
        place(root, Run.make("ave", "dg-sct", seed=seed), value)
    place_efficiency(root)
    return root


def test_tables_prints_what_it_wrote(results, tmp_path):
    said = dgsct(tmp_path, "tables", "table1", "table6", "--results", results)
    assert (said.code, said.err) == (0, "")
    names = [f"table{n}.{ending}" for n in (1, 6) for ending in ("tex", "md", "csv", "html", "json")]
    assert said.out.split() == [f"paper_tables/mini/release/{name}" for name in names]
    assert "82.0 ± 1.0" in (tmp_path / "paper_tables/mini/release/table1.md").read_text(encoding="utf-8")
    assert "461,282,531" in (tmp_path / "paper_tables/mini/release/table6.md").read_text(encoding="utf-8")


def test_tables_default_to_all_and_take_scale_protocol_and_seeds(results, tmp_path):
    said = dgsct(tmp_path, "tables", "--protocol", "clean", "--seeds", "1", "--results", results, "--out", "out")
    assert said.code == 0
    assert len(said.out.split()) == 9 * 5
    value = json.loads((tmp_path / "out/table1.json").read_text(encoding="utf-8"))
    assert (value["protocol"], len(value["rows"][11]["cells"]["ave"]["runs"])) == ("clean", 1)


def test_figures_prints_what_it_wrote(results, tmp_path):
    said = dgsct(tmp_path, "figures", "--results", results, "--out", "out")
    assert (said.code, said.err) == (0, "")
    assert said.out.split() == [f"out/{name}.{end}" for name in ("fig4", "fig8", "fig9") for end in ("pdf", "png", "json")]
    assert all((tmp_path / name).stat().st_size for name in said.out.split())


def test_coverage_in_a_pipe_as_json_and_as_markdown(results, tmp_path):
    said = dgsct(tmp_path, "coverage", "--results", results)
    assert (said.code, said.err) == (0, "")
    assert "settings: 5 of 25 runnable, 1 with a result; 19 of 25 best as printed" in said.out
    told = json.loads(dgsct(tmp_path, "coverage", "--json", "--results", results).out)
    assert [s["ours"] for s in told["settings"] if s["ours"] is not None] == [82.0]
    assert dgsct(tmp_path, "coverage", "--markdown").out.startswith("|  |  | printed cells")
    both = dgsct(tmp_path, "coverage", "--json", "--markdown")
    assert (both.code, both.out) == (2, "")
    assert both.err == "dgsct: --json and --markdown print different things; give one of them\n"


def test_cells_prints_the_numbers_for_people_and_for_programs(tmp_path):
    for seed, value in enumerate((81.0, 82.0)):
        place(tmp_path, Run.make("ave", "dg-sct", seed=seed), value)
    arguments = ["cells", "table1", "--results", tmp_path, "--seeds", 3]
    lines = dgsct(tmp_path, *arguments).out.splitlines()
    assert lines[0].startswith("table1: mini scale: generated clips")
    assert "  dg-sct ave 81.5 ± 0.7 partial (2 of 3); printed 82.2" in [f"  {' '.join(line.split())}" for line in lines]
    assert len(lines) == 1 + len(load_experiments()["table1"].rows)
    told = {cell["row"]: cell for cell in json.loads(dgsct(tmp_path, *arguments, "--json").out)}
    assert (told["dg-sct"]["mean"], told["dg-sct"]["n"], told["dg-sct"]["state"]) == (81.5, 2, "partial")
    flat = list(csv.DictReader(dgsct(tmp_path, *arguments, "--csv").out.splitlines()))
    mine = [line for line in flat if line["row"] == "dg-sct"]
    assert [(line["seed"], line["value"], line["state"]) for line in mine] == [
        ("0", "81.0", "ok"), ("1", "82.0", "ok"), ("2", "", "missing"),
    ]  # fmt: skip


def test_status_counts(results, tmp_path):
    said = dgsct(tmp_path, "status", "--results", results)
    assert (said.code, said.err) == (0, "")
    counts = {line.split()[0]: line.split()[1] for line in said.out.splitlines()}
    assert (counts["table1"], counts["table5"], counts["table6"], counts["fig8"]) == ("3/17", "3/26", "2/2", "1/7")
    assert "table1: snakemake table1 --config scale=mini protocol=release" in said.out


def test_status_of_an_empty_folder_is_no_failure(tmp_path):
    said = dgsct(tmp_path, "status")
    assert said.code == 0
    assert "0/17" in said.out

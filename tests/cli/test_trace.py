"""`dgsct trace`: from a cell to its runs, what they start from, and the commands that make it again."""

import json
import shlex
from pathlib import Path

import pytest
from results_rig import (
    metrics_of,
    place,
    place_corrupt,
    place_efficiency,
    place_given_up,
    place_inputs,
    place_stale,
    record_of,
)
from typer.testing import CliRunner, Result

from dgsct.cli import app
from dgsct.errors import UsageError
from dgsct.publish import cells
from dgsct.publish.trace import run_command
from dgsct.records.results import read_record, validity
from dgsct.runs.experiments import Settings, all_runs, load_experiments
from dgsct.runs.inputs import inputs_of
from dgsct.runs.run import Run

FULL = Run.make("ave", "dg-sct")
PROVENANCE = {
    "git": "13891e24a39e86fd3be7aa03a0a8baa94e08337c-dirty",
    "hardware": {"cpu": "Some Processor", "gpu": None, "threads": 1, "processes": 1},
    "finished": "2026-11-30T07:13:01+00:00",
    "resumed": 0,
}


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A repository with a results folder, in which a user stands."""
    monkeypatch.setattr(cells, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    return tmp_path / "results"


def place_fresh(root: Path, run: Run, value: float, **changes) -> Path:
    """A record that holds, beside what it starts from."""
    place_inputs(root, run)
    sums = {one.name: str(one.checksum) for one in inputs_of(run, root)}
    path = place(root, run, value, sums=sums, provenance=PROVENANCE, **changes)
    assert validity(run, root).name == "ok"
    return path


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["trace", *map(str, arguments)], catch_exceptions=False)


def told(*arguments: object) -> dict:
    return json.loads(call(*arguments, "--json").stdout)


def lines_of(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_a_cell_is_traced_to_its_runs_and_commands(root):
    for seed, value in enumerate((81.0, 82.5)):
        place_fresh(root, Run.make("ave", "dg-sct", seed=seed), value)
    lines = lines_of(call("table1", "dg-sct", "ave").stdout)
    text = "\n".join(lines)
    assert "value 81.8 ± 1.1, mean ± sample standard deviation over 2 seeds: 81.0000, 82.5000" in " ".join(lines)
    assert "state partial; not run yet" in text
    assert "0 fresh 81.0000 3 2026-11-30 13891e24a3-dirty" in lines
    assert "2 missing - - - -" in lines
    assert "hardware Some Processor, 1 thread" in lines
    assert "run ave dg-sct, scale mini, protocol release" in lines
    assert "overrides none" in lines
    assert "alpha=0.3 beta=0.05 gamma=0.1" in text
    assert "published 82.2 (Table 1)" in text
    swin = next(one for one in inputs_of(FULL, root) if one.name == "encoders/swin")
    assert f"encoders/swin {str(swin.checksum)[:12]}, as it is here" in lines
    assert lines[lines.index("make again") + 1 :][:3] == [
        "dgsct run ave dg-sct --seed 0 --again",
        "dgsct run ave dg-sct --seed 1 --again",
        "dgsct run ave dg-sct --seed 2",
    ]
    assert "snakemake table1 --config scale=mini protocol=release seeds=3" in lines


def test_every_path_leads_from_the_root_to_a_file(root):
    place_fresh(root, FULL, 81.0)
    (root / FULL.folder / "units.npz").touch()
    value = told("table1", "dg-sct", "--seeds", 1)
    (run,) = value["runs"]
    assert run["files"] == [f"results/{FULL.folder}/record.json", f"results/{FULL.folder}/units.npz"]
    paths = [*run["files"], run["inputs"][0]["path"], value["cells"][0]["sources"][0]["record"]]
    assert all((root.parent / path).is_file() for path in paths)
    assert {f"    {path}" for path in run["files"]} <= set(call("table1", "dg-sct", "--seeds", 1).stdout.splitlines())


def test_json_has_whole_checksums_options_and_provenance(root):
    path = place_fresh(root, FULL, 81.0)
    record, (run,) = read_record(path), told("table1", "dg-sct", "ave", "--seeds", 1)["runs"]
    assert {one["name"]: one["recorded"] for one in run["inputs"]} == {
        k: v for k, v in record["key_parts"].items() if k != "plan"
    }
    assert all(one["recorded"] == one["here"] for one in run["inputs"])
    assert (run["key"], run["metrics"], run["provenance"]) == (record["key"], record["metrics"], PROVENANCE)
    assert run["resolved"] == FULL.resolved()
    assert (run["state"], run["changes"], run["seed"], run["units"]) == ("ok", [], 0, record["units"])


@pytest.mark.parametrize(
    ("put", "state", "commands"),
    [
        (lambda root, run: None, "missing", ["dgsct run ave dg-sct --seed 0"]),
        (place_stale, "stale", ["dgsct run ave dg-sct --seed 0"]),
        (place_given_up, "failed", [f"dgsct retry results/{FULL.folder}", "dgsct run ave dg-sct --seed 0"]),
        (place_corrupt, "corrupt", [f"rm results/{FULL.folder}/record.json", "dgsct run ave dg-sct --seed 0"]),
    ],
)
def test_what_stands_in_the_way_goes_first(root, put, state, commands):
    put(root, FULL)
    (run,) = told("table1", "dg-sct", "--seeds", 1)["runs"]
    assert (run["state"], run["commands"]) == (state, commands)
    text = call("table1", "dg-sct", "--seeds", 1).stdout
    assert f"0 {state}" in " ".join(text.split())
    assert all(f"    {command}\n" in text for command in commands)


def test_a_stale_record_says_what_is_different_today(root):
    resolved = FULL.resolved()
    resolved["recipe"]["epochs"] += 5
    place_stale(root, FULL, resolved=resolved)
    changed = f"recipe.epochs: {resolved['recipe']['epochs']} -> {resolved['recipe']['epochs'] - 5}"
    assert told("table1", "dg-sct", "--seeds", 1)["runs"][0]["changes"] == [changed]
    assert f"changed {changed}" in lines_of(call("table1", "dg-sct", "--seeds", 1).stdout)
    place_stale(root, FULL)
    assert told("table1", "dg-sct", "--seeds", 1)["runs"][0]["changes"] == ["the code"]
    sums = {one: "e" * 64 for one in record_of(FULL)["key_parts"] if one != "plan"}
    place(root, FULL, sums=sums)
    place_inputs(root, FULL)
    assert "data/ave eeeeeeeeeeee; here it is " in call("table1", "dg-sct", "--seeds", 1).stdout


def test_cells_of_the_same_runs_stand_together(root):
    run = Run.make("avs-s4", "dg-sct")
    place_fresh(root, run, 40.0)
    text = call("table3", "dg-sct").stdout
    assert [text.count(word) for word in ("column s4_j", "column s4_f", "column ms3_j")] == [1, 1, 1]
    assert text.count("dgsct run avs-s4 dg-sct --seed 0 --again") == 1
    metrics = metrics_of(run, 40.0)
    assert f"0 fresh {metrics['miou_batch4']:.4f} {metrics['fscore_batch4']:.4f}" in " ".join(text.split())


def test_a_parent_that_is_not_there_is_made_first(root):
    commands = [command for run in told("table3", "avs-from-s4", "ms3_j")["runs"] for command in run["commands"]]
    assert commands[:2] == ["dgsct run avs-s4 avs-pvt --seed 0", "dgsct run avs-ms3 avs-pvt --set start=s4 --seed 0"]


def test_a_point_of_a_figure(root):
    run = Run.make("ave", "dg-sct", {"alpha": 0.1})
    place_fresh(root, run, 70.0)
    lines = lines_of(call("fig8", "alpha.dg-sct", "0.1").stdout)
    assert lines[0] == "Figure 8, row alpha.dg-sct: α, DG-SCT"
    assert "overrides alpha=0.1" in lines
    assert "value 70.0, one run" in lines
    assert "dgsct run ave dg-sct --set alpha=0.1 --seed 0 --again" in lines
    assert "snakemake fig8 --config scale=mini protocol=release seeds=3" in lines


def test_a_figure_of_masks_names_them_and_what_makes_them(root):
    run = Run.make("avs-s4", "dg-sct")
    place_fresh(root, run, 40.0)
    lines = lines_of(call("fig9", "dg-sct", "s4").stdout)
    assert "masks missing" in lines
    assert f"dgsct masks results/{run.folder}" in lines


def test_a_count(root):
    place_efficiency(root)
    lines = lines_of(call("table6", "dg-sct", "params").stdout)
    assert "value 461.3, exactly 461,282,531, counted at full size, without data or" in lines
    assert "results/efficiency/dg-sct.json" in lines
    assert "dgsct efficiency dg-sct --out results/efficiency/dg-sct.json" in lines
    assert lines[-1] == "snakemake table6 --config scale=mini protocol=release seeds=3"


def test_a_row_that_nothing_fills_says_why(root):
    lines = lines_of(call("table4", "avsd").stdout)
    assert any(line.startswith("state not run yet: ") for line in lines)
    assert not any(line.startswith("dgsct run") for line in lines)


def test_another_results_folder_scale_and_protocol_are_in_the_commands(root):
    elsewhere = root.parent / "a b"
    elsewhere.mkdir()
    text = call("table1", "dg-sct", "--results", elsewhere, "--scale", "paper", "--protocol", "clean", "--seeds", 1).stdout
    assert "dgsct run ave dg-sct --seed 0 --scale paper --protocol clean --results 'a b'\n" in text
    assert "snakemake table1 --config scale=paper protocol=clean seeds=1\n" in text
    assert "Snakemake fills the folder results, not a b." in text


def test_every_command_says_the_run_that_it_is_of(root):
    """As the command line reads it."""
    for protocol in ("release", "clean"):
        runs = all_runs(load_experiments(), Settings(protocol=protocol))
        assert len({run_command(run, root) for run in runs}) == len(runs) > 50
        for run in runs:
            words = shlex.split(run_command(run, root))
            said = dict(zip(words[4::2], words[5::2], strict=True))
            sets = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
            overrides = dict(item.split("=", 1) for item in sets)
            again = Run.make(
                words[2], words[3], overrides, said.get("--protocol", "release"), "mini", int(said.get("--seed", 0))
            )
            assert again == run


def test_it_is_readable_in_80_columns(root):
    place_fresh(root, FULL, 81.0)
    for row in ("table1", "table3"):
        wide = [line for line in call(row, "dg-sct").stdout.splitlines() if len(line) > 80]
        assert all((line.startswith("    ") and " " not in line.strip()) or "dgsct " in line for line in wide), wide


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["table99", "dg-sct"], "unknown experiment 'table99'; known: fig4, fig8, fig9, table1, "),
        (["table1"], "table1 needs a row; known: avel, "),
        (["table1", "dg-stc"], "table1 has no row 'dg-stc'; known: avel, "),
        (["table1", "dg-sct", "avee"], "row 'dg-sct' of table1 has no column 'avee'; known: ave"),
        (["fig8", "dg-sct"], "fig8 has no row 'dg-sct'; known: alpha.dg-sct, "),
        (["fig8", "alpha.dg-sct", "7"], "row 'alpha.dg-sct' of fig8 has no column '7'; known: "),
    ],
)
def test_an_unknown_name_is_a_sentence_with_the_known_ones(root, arguments, sentence):
    with pytest.raises(UsageError) as error:
        call(*arguments)
    assert str(error.value).startswith(sentence)


def test_nothing_is_written(root):
    place_fresh(root, FULL, 81.0)
    before = {path: path.read_bytes() for path in root.parent.rglob("*") if path.is_file()}
    call("table1", "dg-sct")
    assert {path: path.read_bytes() for path in root.parent.rglob("*") if path.is_file()} == before

"""The DAG as a user meets it: few calls of the real Snakefile, with stubs in place of the commands."""

import shutil
from pathlib import Path

import pytest
from results_rig import place, place_stale
from workflow_rig import ROOT, blocked, snakemake, stub_world

from dgsct.publish.render import write_table
from dgsct.publish.tables import build_table
from dgsct.runs.experiments import Settings, all_runs, load_experiments
from dgsct.runs.inputs import input_paths
from dgsct.tasks import HOMES, get_set

EVERYTHING = {"mini_world": 3, "prepare": 3, "pretrain": 5, "features": 2, "efficiency": 2, "masks": 4}
LATEX = shutil.which("pdflatex") is not None


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder where all tables and figures are made, with its own copy of the experiment files."""
    folder = stub_world(tmp_path_factory.mktemp("world"))
    shutil.copytree(ROOT / "workflow" / "experiments", folder / "experiments")
    said = snakemake(folder, "all_tables", "all_figures", "--config", "experiments=experiments")
    assert said.code == 0, said.text
    return folder, said


def replace(folder, name, old, new):
    path = folder / "experiments" / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return lambda: path.write_text(text, encoding="utf-8")


def test_everything_is_made(world):
    folder, said = world
    wanted = EVERYTHING | {"train": 65, "table": 9, "figure": 3, "all_tables": 1, "all_figures": 1}
    assert said.jobs == wanted | ({"write_report": 1} if LATEX else {})
    for name in (f"table{n}" for n in range(1, 10)):
        for end in ("tex", "md", "csv", "html", "json"):
            assert (folder / "paper_tables/mini/release" / f"{name}.{end}").is_file()
    assert len(list((folder / "results/runs").glob("**/record.json"))) == 65
    assert (folder / "results/masks/mini/release/avs-ms3/late-fusion/default/s0.npz").is_file()
    assert (folder / "results/runs/mini/release/ave/dg-sct/C=off+S=off/s0/benchmark.tsv").is_file()
    assert "run ave dg-sct default seed 0 (mini, release)" in said.text


def test_a_second_call_does_nothing(world):
    assert "Nothing to be done" in snakemake(world[0], "all_tables", "--config", "experiments=experiments").text


def test_every_run_waits_for_what_it_starts_from_and_for_nothing_else(world):
    """As `dgsct.runs.inputs` says; nobody has written a second list."""
    said = snakemake(world[0], "all_tables", "all_figures", "--config", "experiments=experiments", "--detailed-summary")
    head, *lines = [line.split("\t") for line in said.text.splitlines() if line.count("\t") > 5]
    told = {line[0]: set(line[head.index("input-file(s)")].split(",")) for line in lines}
    runs = all_runs(load_experiments(), Settings())
    assert len(runs) == 65
    for run in runs:
        assert told[f"results/{run.folder}/record.json"] == {f"results/{path}" for path in input_paths(run)}


def test_tables_that_were_copied_here_are_no_results(tmp_path):
    shutil.copytree(ROOT / "paper_tables/reference", tmp_path / "paper_tables")
    said = snakemake(tmp_path, "all_tables", "-n")
    assert said.jobs["train"] == 65
    assert said.jobs["table"] == 5  # the other four have no runs yet, so that their copies are as good as made here


def test_a_stale_record_is_made_again_without_any_notes_of_snakemake(tmp_path):
    """As `dgsct run` leaves it, or a copy from another machine."""
    index = {name: get_set(name).index_file(Path(f"data/mini/{name}/raw")).as_posix() for name in HOMES}
    inputs = [*index.values(), *(f"data/mini/{name}/packed/manifest.json" for name in index)]
    inputs += [f"encoders/mini/{name}.{end}" for name in ("swin", "htsat") for end in ("safetensors", "json")]
    for path in [tmp_path / "results" / name for name in inputs]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    experiment = load_experiments()["table8"]
    runs, root = all_runs([experiment], Settings()), tmp_path / "results"
    for run in runs:
        place(root, run)
    write_table(build_table(experiment, Settings(), root), tmp_path / "paper_tables/mini/release")
    assert "Nothing to be done" in snakemake(tmp_path, "table8", "-n").text
    place_stale(root, runs[1])
    assert snakemake(tmp_path, "table8", "-n").jobs["train"] == 1


def test_one_hyperparameter_plans_one_row(world):
    undo = replace(world[0], "table8.yaml", "overrides: {V2A: off}", "overrides: {V2A: off, alpha: 0.4}")
    try:
        said = snakemake(world[0], "all_tables", "all_figures", "-n", "--config", "experiments=experiments")
    finally:
        undo()
    assert said.jobs.pop("train") == 3  # one of AVE and of each AVS setting
    assert said.jobs.pop("table") == 1
    assert set(said.jobs) <= {"write_report", "all_tables"}


def test_a_caption_plans_its_table_only(world):
    undo = replace(world[0], "table5.yaml", "title: Ablation", "title: An ablation")
    try:
        said = snakemake(world[0], "all_tables", "all_figures", "-n", "--config", "experiments=experiments")
    finally:
        undo()
    assert said.jobs.pop("table") == 1
    assert set(said.jobs) <= {"write_report", "all_tables"}


def test_planning_needs_no_torch_and_filters_hold(tmp_path):
    """An empty folder, torch forbidden, one task, two methods, one seed, another protocol."""
    config = ["protocol=clean", "seeds=1", "tasks=ave", "methods=dg-sct,lavish-star"]
    said = snakemake(tmp_path, "table1", "-n", "--config", *config, env=blocked(tmp_path / "blocker"))
    assert said.code == 0, said.text
    assert said.jobs == {"mini_world": 1, "prepare": 1, "pretrain": 2, "train": 2, "table": 1, "table1": 1}


def test_only_in_a_slurm_job_the_trainer_is_told_its_time(tmp_path):
    folder = stub_world(tmp_path)
    (folder / "dgsct/engine/worker.py").write_text(
        "from dgsct.stub import *; write(sys.argv[2] + '/record.json'); print(sys.argv[3:])"
    )
    config = ["--config", "seeds=1", "methods=all-background,majority-class"]
    for method, job, told in (("all-background", "", "[]"), ("majority-class", "7", "['--time-budget', '30']")):
        run = f"results/runs/mini/release/ave/{method}/default/s0"
        said = snakemake(folder, f"{run}/record.json", *config, env={"SLURM_JOB_ID": job})
        assert said.code == 0, said.text
        assert (folder / run / "job.log").read_text().strip() == told


def test_a_run_outside_the_matrix(tmp_path):
    said = snakemake(tmp_path, "results/runs/mini/clean/ave/dg-sct/alpha=0.7/s5/record.json", "-n")
    assert said.jobs == {"mini_world": 1, "prepare": 1, "pretrain": 2, "train": 1}


def test_slurm_profile_from_the_repository_root():
    said = snakemake(ROOT, "--profile", "slurm", "all_tables", "-n")
    assert said.code == 0, said.text
    assert "Using profiles slurm" in said.text


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ("methods=dg-stc", "configuration: unknown method 'dg-stc'; did you mean 'dg-sct'?"),
        ("scale=paper", "scale paper needs data.ave: give its path in"),
    ],
)
def test_wrong_settings_end_in_a_sentence(tmp_path, config, sentence):
    said = snakemake(tmp_path, "all_tables", "-n", "--config", config)
    assert said.code == 1
    assert sentence in said.text
    assert "Traceback" not in said.text

"""The DAG as a user meets it: few calls of the real Snakefile, with stubs in place of the commands."""

import os
import shutil
from pathlib import Path

import pytest
from results_rig import place, place_inputs, place_stale
from workflow_rig import ROOT, blocked, snakemake, stub_world

from dgsct.publish.render import write_table
from dgsct.publish.tables import build_table
from dgsct.runs.experiments import Settings, all_runs, load_experiments
from dgsct.runs.inputs import checksums, encoder_path, encoders_needed, input_paths, with_parents
from dgsct.runs.run import Run
from dgsct.tasks import HOMES, get_set

SMALL = Path(__file__).with_name("experiments")  # every kind of table and figure, with few runs
SHARED = "results/runs/mini/release/ave/dg-sct/default/s0"  # a run of two tables and a figure
LATEX = shutil.which("pdflatex") is not None
CONFIG = ("--config", "experiments=experiments", "seeds=1")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder where all tables and figures are made, with its own copy of the experiment files."""
    folder = stub_world(tmp_path_factory.mktemp("world"))
    shutil.copytree(SMALL, folder / "experiments")
    said = snakemake(folder, "all_tables", "all_figures", *CONFIG)
    assert said.code == 0, said.text
    return folder, said


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    """The runs of these experiments and those that they start from."""
    return with_parents(all_runs(load_experiments(SMALL), Settings(seeds=1)))


def replace(folder, name, old, new):
    path = folder / "experiments" / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return lambda: path.write_text(text, encoding="utf-8")


def test_everything_is_made(world, runs):
    folder, said = world
    datasets, read = {run.dataset for run in runs}, {path for run in runs for path in input_paths(run)}
    encoders = {name for run in runs for name in encoders_needed(run)}
    wanted = {
        "mini_world": len(datasets), "prepare": len(datasets), "pretrain": len(encoders), "train": len(runs),
        "features": sum(path.name == "features.json" for path in read), "efficiency": 1, "masks": 2, "table": 3, "figure": 2,
        "all_tables": 1, "all_figures": 1,
    }  # fmt: skip
    assert said.jobs == wanted | ({"write_report": 1} if LATEX else {})
    for name in ("events", "directions", "costs"):
        for end in ("tex", "md", "csv", "html", "json"):
            assert (folder / "paper_tables/mini/release" / f"{name}.{end}").is_file()
    made = {path.parent.relative_to(folder / "results") for path in (folder / "results/runs").glob("**/record.json")}
    assert made == {run.folder for run in runs}
    assert (folder / "results/masks/mini/release/avs-ms3/late-fusion/default/s0.npz").is_file()
    assert (folder / SHARED / "benchmark.tsv").is_file()
    assert "run ave dg-sct default seed 0 (mini, release)" in said.text


def test_a_second_call_does_nothing(world):
    assert "Nothing to be done" in snakemake(world[0], "all_tables", *CONFIG).text


def test_every_run_waits_for_what_it_starts_from_and_for_nothing_else(world, runs):
    """As `dgsct.runs.inputs` says; nobody has written a second list."""
    said = snakemake(world[0], "all_tables", "all_figures", *CONFIG, "--detailed-summary")
    head, *lines = [line.split("\t") for line in said.text.splitlines() if line.count("\t") > 5]
    told = {line[0]: set(line[head.index("input-file(s)")].split(",")) for line in lines}
    for run in runs:
        assert told[f"results/{run.folder}/record.json"] == {f"results/{path}" for path in input_paths(run)}


def test_the_paper_s_tables_plan_every_run_once(tmp_path):
    """With three seeds; no run of a table is left out, and tables that were copied here are no results."""
    shutil.copytree(ROOT / "paper_tables/reference", tmp_path / "paper_tables")
    said, experiments = snakemake(tmp_path, "all_tables", "-n"), load_experiments()
    assert said.jobs["train"] == len(with_parents(all_runs(experiments, Settings())))
    made_here = [e for e in experiments.values() if not e.drawn and (e.kind == "efficiency" or all_runs([e], Settings()))]
    assert said.jobs["table"] == len(made_here)  # the others have no runs yet, so that their copies are as good as made here


@pytest.fixture(scope="module")
def typeset(tmp_path_factory):
    """A table and its records, with what they are made from in name only and no notes of Snakemake; and the runs."""
    folder = tmp_path_factory.mktemp("typeset")
    experiment, root = load_experiments(SMALL)["directions"], folder / "results"
    shutil.copytree(SMALL, folder / "experiments")
    runs = all_runs([experiment], Settings(seeds=1))
    for name in HOMES:
        get_set(name).index_file(root / f"data/mini/{name}/raw").parent.mkdir(parents=True)
        get_set(name).index_file(root / f"data/mini/{name}/raw").touch()
    for run in runs:
        place_inputs(root, run)
        for path in run.part.encoders:
            (root / encoder_path("mini", path)).touch()
    for run in runs:
        place(root, run, sums=checksums(run, root))
    write_table(build_table(experiment, Settings(seeds=1), root), folder / "paper_tables/mini/release")
    return folder, runs


def stamps(folder: Path) -> dict[Path, int]:
    """When every result was changed."""
    return {path: path.stat().st_mtime_ns for path in (folder / "results").rglob("*") if path.is_file()}


def test_a_stale_record_is_made_again_without_any_notes_of_snakemake(typeset):
    """As `dgsct run` leaves it, or a copy from another machine; and nothing of it stays when the edit is undone."""
    folder, runs = typeset
    assert "Nothing to be done" in snakemake(folder, "directions", "-n", *CONFIG).text
    path = folder / "results" / runs[1].folder / "record.json"
    good, stat = path.read_bytes(), path.stat()
    place_stale(folder / "results", runs[1])
    before = stamps(folder)
    said = snakemake(folder, "directions", "-n", *CONFIG)
    assert said.jobs == {"train": 1, "table": 1, "directions": 1}
    assert stamps(folder) == before
    path.write_bytes(good)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert "Nothing to be done" in snakemake(folder, "directions", "-n", *CONFIG).text


def test_a_valid_record_of_any_age_is_not_made_again(typeset):
    """One dated back by hand, one that is a link made today; all older than a manifest that was copied."""
    folder, runs = typeset
    first, second = (folder / "results" / run.folder / "record.json" for run in runs[:2])
    os.utime(first, (86400, 86400))
    second.rename(folder / "elsewhere.json")
    second.symlink_to(folder / "elsewhere.json")
    os.utime(second, (86400, 86400))
    for manifest in (folder / "results/data").rglob("manifest.json"):
        manifest.touch()
    said = snakemake(folder, "directions", "-n", *CONFIG)
    assert said.jobs == {"table": 1, "directions": 1}  # typeset again in seconds


def test_what_is_made_again_makes_its_valid_records_again(typeset):
    folder, runs = typeset
    (name,) = {run.dataset for run in runs if run.task == "ave"}
    said = snakemake(folder, "directions", "-n", "--forcerun", f"results/data/mini/{name}/packed/manifest.json", *CONFIG)
    assert said.jobs["prepare"] == 1
    assert said.jobs["train"] == sum(run.dataset == name for run in runs)


def test_stale_records_of_other_tables_are_left_alone(typeset):
    """Only what the target needs is made."""
    folder, _ = typeset
    place_stale(folder / "results", Run("ave", "majority-class"))  # of `events`
    assert "train" not in snakemake(folder, "directions", "-n", *CONFIG).jobs


def test_one_hyperparameter_plans_one_row(world):
    undo = replace(world[0], "directions.yaml", "overrides: {V2A: off}", "overrides: {V2A: off, alpha: 0.4}")
    try:
        said = snakemake(world[0], "all_tables", "all_figures", "-n", *CONFIG)
    finally:
        undo()
    assert said.jobs.pop("train") == 3  # one of AVE and of each AVS setting
    assert said.jobs.pop("table") == 1
    assert set(said.jobs) <= {"write_report", "all_tables"}


def test_a_caption_plans_its_table_only(world):
    undo = replace(world[0], "events.yaml", "title: Events", "title: All events")
    try:
        said = snakemake(world[0], "all_tables", "all_figures", "-n", *CONFIG)
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

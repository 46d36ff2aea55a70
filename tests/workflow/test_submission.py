"""What the profile `slurm` asks a cluster for, as sbatch hears it. The sbatch here notes its words and takes no job."""

import re
from pathlib import Path

import pytest
import yaml
from snakemake.target_jobs import parse_target_jobs_cli_args
from snakemake_interface_executor_plugins.utils import TargetSpec, encode_target_jobs_cli_args
from workflow_rig import ROOT, snakemake

from dgsct.campaign.runtimes import write_runtimes
from dgsct.runs.experiments import EXPERIMENTS, all_runs, load_experiments, make_settings

PROGRAMS = {"sbatch": 'echo "$@" >> "$NOTES"; exit 1', "sacctmgr": "echo lab", "squeue": "", "sinfo": ""}
SLURM = ["--profile", str(ROOT / "workflow/profiles/slurm"), "--retries", "0", "--slurm-init-seconds-before-status-checks", "1"]
RUN = "runs/{scale}/release/ave/dg-sct/default/s0"


@pytest.fixture
def world(tmp_path):
    """A folder with data and encoders of both scales, in name only, and a cluster that takes no job."""
    for path in (tmp_path / "results/data/mini/ave/raw/Annotations.txt", tmp_path / "ave/Annotations.txt"):
        path.parent.mkdir(parents=True)
        path.write_text("")
    for scale in ("mini", "paper"):
        for name in ("data/{}/ave/packed/manifest.json", "encoders/{}/swin.safetensors", "encoders/{}/htsat.safetensors"):
            path = tmp_path / "results" / name.format(scale)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}")
            if "encoders" in name:
                path.with_suffix(".json").write_text("{}")
    for name, line in PROGRAMS.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)
    return tmp_path


def submitted(world: Path, *arguments: str, site: dict | None = None, runs: dict | None = None) -> list[str]:
    """What sbatch was asked for, a line a job, without the command that the job runs; entries of the site file's parts."""
    content = yaml.safe_load((ROOT / "workflow/config/site.yaml").read_text())
    content["data"]["ave"] = str(world / "ave")
    content["slurm"].update(site or {})
    content["runs"] = runs
    (world / "site.yaml").write_text(yaml.safe_dump(content))
    env = {"PATH": f"{world / 'bin'}:/usr/bin:/bin", "NOTES": str(world / "notes")}
    said = snakemake(world, *SLURM, *arguments, "site=site.yaml", env=env)
    assert (world / "notes").exists(), said.text
    return [line.partition(" --wrap")[0] for line in (world / "notes").read_text().splitlines()]


def paper_run(world: Path, runs: dict | None = None, run: str = RUN, **site) -> str:
    target = f"results/{run.format(scale='paper')}/record.json"
    (line,) = submitted(world, target, "--config", "scale=paper", site=site, runs=runs)
    return line


def test_a_long_run_has_a_job_of_its_own(world):
    write_runtimes(world / "results", {RUN.format(scale="paper"): (6000.0, "history of 3 records")})
    line = paper_run(world)
    assert re.search(r" -t 130 --mem 48000 --requeue --cpus-per-task=8 --signal=TERM@120 .*--gpus=1", line)


def test_ten_short_runs_ask_for_what_one_asks_for_but_its_time(world):
    """Fifteen runs: ten and five in an unknown order, one after the other."""
    lines = submitted(world, "table1", "--config", "seeds=2", "tasks=ave")
    assert sorted(re.search(r" -t (\d+) ", line)[1] for line in lines) == ["150", "300"]
    for line in lines:
        assert " --mem 3000 --requeue --ntasks=1 --cpus-per-task=1 --signal=TERM@120 " in line
        assert "--gpus" not in line


def test_a_sites_keys_reach_its_cluster(world):
    site = {"partition": "cpu", "gpu_partition": "fast", "account": "lab", "qos": "long", "constraint": "a100"}
    line = paper_run(world, **site, gres="gpu:a100")
    for words in ("-A lab", "-p fast", "--qos=long", "-C a100", "--gres=gpu:a100:1"):
        assert f" {words}" in line
    assert "--gpus" not in line
    (world / "notes").unlink()
    (line,) = submitted(world, f"results/{RUN.format(scale='mini')}/record.json", "--config", "tasks=ave", site=site)
    assert " -p cpu " in line
    assert "gres" not in line


def test_a_site_says_what_some_runs_ask_for(world):
    runs = {"ave/*": {"mem_mb": 64000}, "*/dg-sct": {"gpus": 2}, "*/late-fusion": {"minutes": 120, "cpus": 4}}
    assert re.search(r" -t 720 --mem 64000 --requeue --cpus-per-task=8 .*--gpus=2", paper_run(world, runs))
    (world / "notes").unlink()
    late = paper_run(world, runs, RUN.replace("dg-sct", "late-fusion"))
    assert re.search(r" -t 120 --mem 64000 --requeue --cpus-per-task=4 .*--gpus=1", late)


def test_a_yardstick_at_full_size_asks_for_little_whatever_its_task_does(world):
    line = paper_run(world, {"ave/*": {"minutes": 2880, "mem_mb": 96000, "gpus": 4}}, RUN.replace("dg-sct", "majority-class"))
    assert re.search(r" -t 30 --mem 3000 --requeue .*--cpus-per-task=1 ", line)
    assert "--gpus" not in line


@pytest.mark.parametrize(
    ("site", "options"),
    [
        ({}, "--gpus 1"),
        ({"run": {"keep": "record", "compile": True}, "runs": {"*/dg-sct": {"gpus": 2}}}, "--compile --gpus 2 --keep record"),
    ],
)
def test_the_trainer_is_told_its_gpus_and_what_is_to_stay(world, site, options):
    (world / "site.yaml").write_text(yaml.safe_dump({"data": {"ave": str(world / "ave")}, **site}))
    call = [f"results/{RUN.format(scale='paper')}/record.json", "-n", "--printshellcmds"]
    said = snakemake(world, *call, "--config", "scale=paper", "site=site.yaml")
    assert f"}} {options} > " in said.text


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        ({"slurm": {"partitoin": "gpu"}}, "unknown key slurm.partitoin; known: partition, gpu_partition, account"),
        ({"slurm": {"account": 12}}, "slurm.account must be text or null"),
        ({"runs": {"*/dg-stc": {"gpus": 2}}}, "runs.*/dg-stc: no method is called 'dg-stc'; did you mean 'dg-sct'?"),
    ],
)
def test_a_wrong_site_file_ends_in_a_sentence(tmp_path, part, sentence):
    content = yaml.safe_load((ROOT / "workflow/config/site.yaml").read_text())
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(content | part))
    said = snakemake(tmp_path, "table1", "-n", "--config", "site=site.yaml")
    assert said.code == 1
    assert sentence in said.text
    assert "Traceback" not in said.text


def test_a_job_is_told_the_wildcards_of_every_run_as_they_are():
    runs = all_runs(load_experiments(EXPERIMENTS), make_settings({}))
    specs = [TargetSpec("train", {"setting": run.setting, "seed": str(run.seed)}) for run in runs]
    assert parse_target_jobs_cli_args(encode_target_jobs_cli_args(specs)) == specs
    assert any(len(run.overrides) > 1 for run in runs)

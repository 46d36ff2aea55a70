"""What `dgsct plan` notes is what a training asks for, seen in real calls of Snakemake; and it trains nothing again."""

import re

import pytest
import yaml
from workflow_rig import ROOT, blocked, snakemake, stub_world

from dgsct.campaign.runtimes import runtime_file, write_runtimes

ONE = ["--config", "seeds=1", "tasks=ave", "methods=dg-sct,lavish-star"]
SLURM = ["--profile", str(ROOT / "workflow/profiles/slurm"), "-n", "--printshellcmds"]
FULL = "runs/mini/release/ave/dg-sct/default/s0"


def asked(text: str) -> dict[str, int]:
    """Run folder -> `runtime` (minutes) in the shell commands of a dry run."""
    found = re.findall(r"worker train results/(\S+) \$\{SLURM_JOB_ID:\+--time-budget (\d+)\}", text)
    return {folder: int(minutes) for folder, minutes in found}


def test_a_slurm_job_asks_for_what_its_run_needs(tmp_path):
    """Ten minutes and a quarter, and five; what nobody knows asks as much as ever."""
    write_runtimes(tmp_path / "results", {FULL: (600.0, "history of 3 records")})
    said = snakemake(tmp_path, "table8", *SLURM, *ONE, env=blocked(tmp_path / "blocker"))
    assert said.code == 0, said.text
    minutes = asked(said.text)
    assert minutes.pop(FULL) == 18
    assert len(minutes) == 3
    assert set(minutes.values()) == {30}


@pytest.mark.parametrize("noted", ["", "{}", '{"schema": 1, "runs": {"' + FULL + '": {"seconds": null}}}'])
def test_a_damaged_note_asks_for_the_sites_time(tmp_path, noted):
    path = runtime_file(tmp_path / "results")
    path.parent.mkdir(parents=True)
    path.write_text(noted)
    said = snakemake(tmp_path, f"results/{FULL}/record.json", *SLURM, *ONE)
    assert asked(said.text) == {FULL: 30}


def test_never_more_than_the_limit(tmp_path):
    write_runtimes(tmp_path / "results", {FULL: (90_000.0, "history of 3 records")})
    said = snakemake(tmp_path, f"results/{FULL}/record.json", *SLURM, *ONE)
    assert asked(said.text) == {FULL: 30}


def test_another_attempt_asks_for_more_and_a_finished_run_is_not_trained_again(tmp_path):
    folder = stub_world(tmp_path)
    (folder / "dgsct/engine/worker.py").write_text(
        "from dgsct.stub import *\n"
        "said = Path(sys.argv[2]) / 'attempts.txt'\n"
        "write(said.with_name('seen')); open(said, 'a').write(sys.argv[4] + '\\n')\n"
        "if said.read_text().count('\\n') < 2: sys.exit(75)\n"
        "write(sys.argv[2] + '/record.json')\n"
    )
    run = "runs/mini/release/ave/majority-class/default/s0"
    write_runtimes(folder / "results", {run: (60.0, "history of 1 record")})
    call = [f"results/{run}/record.json", "--config", "seeds=1", "methods=majority-class"]
    said = snakemake(folder, *call, "--retries", "1", env={"SLURM_JOB_ID": "7"})
    assert said.code == 0, said.text
    # A minute and a quarter, rounded up, and five; twice that at the second attempt.
    assert (folder / "results" / run / "attempts.txt").read_text().split() == ["7", "14"]
    write_runtimes(folder / "results", {run: (600.0, "history of 2 records")})
    assert "Nothing to be done" in snakemake(folder, *call, "-n").text
    runtime_file(folder / "results").unlink()
    assert "Nothing to be done" in snakemake(folder, *call, "-n").text


def test_a_record_stays_in_place_while_its_run_is_started_again(tmp_path):
    """As for the second job of a run after a driver was killed: it finds what the first has written meanwhile."""
    folder = stub_world(tmp_path)
    (folder / "dgsct/engine/worker.py").write_text(
        "from dgsct.stub import *\n"
        "record = Path(sys.argv[2]) / 'record.json'\n"
        "said = Path('found'); said.write_text(said.read_text() + str(record.exists()) + ' ' if said.exists() else 'first ')\n"
        "if said.read_text().count('True') == 2: sys.exit(1)\n"
        "write(record)\n"
    )
    path = "results/runs/mini/release/ave/majority-class/default/s0/record.json"
    call = [path, "--config", "seeds=1", "methods=majority-class", "--forcerun", "train"]
    assert [snakemake(folder, *call).code for _ in range(3)] == [0, 0, 1]
    assert (folder / "found").read_text() == "first True True "
    assert (folder / path).exists()  # and where the job fails


def site(folder, **run):
    path = folder / "site.yaml"
    values = {"cpus": 1, "mem_mb": 1000, "minutes": 10, **run}
    path.write_text(yaml.safe_dump({"data": None, "run": values, "slurm": None}))
    return ["--config", f"site={path}", "seeds=1", "tasks=ave", "methods=dg-sct"]


def test_a_site_says_how_runs_are_carried_out(tmp_path):
    call = [f"results/{FULL}/record.json", "-n", "--printshellcmds"]
    chosen = site(tmp_path, checkpoint_stages=True, compile=True, scratch="${NODE_DISK}/x y")
    said = snakemake(tmp_path, *call, *chosen)
    assert "--checkpoint-stages --compile --scratch '${NODE_DISK}/x y' > " in said.text
    assert "--checkpoint-stages" not in snakemake(tmp_path, *call, *site(tmp_path)).text
    said = snakemake(tmp_path, *call, *site(tmp_path, compile="yes"))
    assert said.code
    assert "run.compile must be true or false" in said.text


def test_the_weights_that_a_figure_is_made_from_stay_whatever_the_site_says(tmp_path):
    call = ["all_tables", "-n", "--printshellcmds", *site(tmp_path, keep="record")[:2], "seeds=1", "tasks=ave,avs-s4"]
    commands = re.findall(r"worker train results/runs/mini/release/(\S+) (.*) > ", snakemake(tmp_path, *call).text)
    kept = {run for run, options in commands if "--keep record" not in options}
    # Masks of two, and the weights that a run on MS3 starts from, which this call does not ask for.
    assert kept == {f"avs-s4/{method}/default/s0" for method in ("dg-sct", "late-fusion", "avs-pvt")}
    assert len(commands) > 20


def test_what_is_to_stay_and_how_it_is_run_start_no_finished_run_again(tmp_path):
    folder = stub_world(tmp_path)
    run = "runs/mini/release/ave/majority-class/default/s0"
    call = [f"results/{run}/record.json", "--config", "seeds=1", "methods=majority-class"]
    assert snakemake(folder, *call).code == 0
    for changed in ({"keep": "record"}, {"compile": True}, {"cpus": 3}):
        path = site(folder, **changed)[1]
        assert "Nothing to be done" in snakemake(folder, *call, path, "-n").text

"""What a profile would submit, as Snakemake itself plans it: kinds of jobs, what each asks for, and why there is no answer."""

import json

import pytest
import yaml
from call_rig import call
from results_rig import place, times

from dgsct.campaign.runtimes import write_runtimes
from dgsct.runs.run import Run

FOLDER = "runs/paper/release/ave/{}/default/s0"


def plan(folder, *arguments):
    return call(folder, "plan", *arguments, "--no-probe")


@pytest.fixture
def world(tmp_path):
    """A folder with the raw AVE set and both encoders, in name only, and a site file for a cluster with A100s."""
    for name in ("ave/Annotations.txt", *(f"results/encoders/paper/{encoder}.safetensors" for encoder in ("swin", "htsat"))):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
        path.with_suffix(".json").write_text("{}")
    site = {
        "data": {"ave": str(tmp_path / "ave")},
        "runs": {"*/late-fusion": {"minutes": 120, "gpus": 2}},
        "slurm": {"partition": "cpu", "gpu_partition": "fast", "gres": "gpu:a100"},
    }
    (tmp_path / "my_site.yaml").write_text(yaml.safe_dump(site))
    return tmp_path


def test_the_jobs_of_a_table_at_full_size(world):
    write_runtimes(world / "results", {FOLDER.format("dg-sct"): (6000.0, "history of 3 records")})
    for method in ("dg-sct", "late-fusion"):  # their steps are measured, so nothing is counted
        place(world / "results", Run.make("ave", method, scale="paper", seed=1), **times(10, 2.0, 10.0, gpu="A100"))
    options = ["--scale", "paper", "--seeds", "1", "--methods", "dg-sct,late-fusion,majority-class", "--site", "my_site.yaml"]
    done = plan(world, "table1", *options, "--profile", "slurm", "--json", "--no-write")
    assert done.code == 0, done.err
    submission = json.loads(done.out)["submission"]
    kinds = {(kind["rule"], *kind["of"]): kind for kind in submission["kinds"]}
    assert kinds.keys() == {
        ("prepare", "ave"),
        ("train", "ave/dg-sct"),
        ("train", "ave/late-fusion"),
        ("train", "ave/majority-class"),
    }
    dg_sct = kinds["train", "ave/dg-sct"]
    # 6000 s with a quarter more are 125 minutes, and five.
    assert (dg_sct["minutes"], dg_sct["cpus"], dg_sct["mem_mb"], dg_sct["partition"]) == (130, 8, 48000, "fast")
    late = kinds["train", "ave/late-fusion"]
    assert (late["jobs"], late["minutes"], late["gpus"], late["gres"]) == (3, 120, 2, "gpu:a100:2")
    assert kinds["prepare", "ave"]["partition"] == kinds["train", "ave/majority-class"]["partition"] == "cpu"
    assert (submission["jobs"], submission["executor"], submission["at_a_time"]) == (6, "slurm", 100)
    assert submission["gpu_hours_asked"] == pytest.approx((130 + 3 * 2 * 120) / 60)


def test_short_runs_are_previewed_in_their_bundles(tmp_path):
    """As sbatch hears it (tests/workflow/test_submission.py): fifteen runs of 30 minutes in bundles of ten and five."""
    done = plan(tmp_path, "table1", "--tasks", "ave", "--seeds", "2", "--profile", "slurm", "--no-write")
    assert done.code == 0, done.err
    _, jobs = done.out.split("\n\n")
    heads, *rows, last = jobs.splitlines()
    assert heads.split() == ["jobs", "rule", "of", "runs/job", "CPUs", "memory", "time", "limit", "GPUs", "partition"]
    bundles = [row for row in rows if " train " in row]
    assert sorted(" 300 min " in row for row in bundles) == [False, True]
    assert sorted(" 150 min " in row for row in bundles) == [False, True]
    assert all(" 3000 MB " in row and row.endswith("the default") for row in bundles)
    assert {row.split()[1] for row in rows} == {"train", "prepare", "pretrain", "mini_world"}
    assert last == "6 jobs for slurm (profile slurm), at most 100 at a time"
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (["--profile", "default"], 2, "profile 'default' submits nothing: its executor is this machine"),
        (["--profile", "slrum"], 2, "no profile 'slrum': no config.yaml in slrum, "),
        (["--profile", "slurm", "--results", "elsewhere"], 2, "the DAG keeps its results in ./results, not in elsewhere; cd"),
        (
            ["--profile", "slurm"],
            1,
            "Snakemake cannot plan runs/paper/release/ave/majority-class/default/s0: scale paper needs",
        ),
    ],
)
def test_why_there_is_no_preview(tmp_path, options, code, sentence):
    done = plan(tmp_path, FOLDER.format("majority-class"), "--scale", "paper", *options)
    assert done.code == code
    assert done.err.splitlines()[-1].startswith(f"dgsct: {sentence}")
    assert "Traceback" not in done.err

"""What the doctor finds of Slurm, and of what jobs ask for, with commands that stand for Slurm's; a real one is asked in
tests/cluster."""

import sys
import time
from dataclasses import replace

import pytest
from doctor_rig import QUIET, campaign, levels, smi
from queue_rig import on_path, program

from dgsct.campaign.doctor import cluster, machine


@pytest.mark.parametrize(
    ("name", "script", "text"),
    [
        ("squeue", "sleep 60", "Slurm is not reachable: squeue did not answer in 0.5 s"),
        ("sinfo", "trap '' TERM; sleep 60 & wait", "Slurm is not reachable: sinfo did not answer in 0.5 s"),
        (
            "scontrol",
            "echo 'slurm_load_ctl_conf error' >&2; exit 1",
            "Slurm is not reachable: scontrol failed (slurm_load",
        ),
        ("squeue", "echo 'Welcome!'", "squeue answers in a form that is not known here"),
    ],
)
def test_a_controller_that_hangs_or_talks_nonsense_is_an_error_at_once(tmp_path, monkeypatch, name, script, text):
    for program_name, answer in (QUIET | {name: script}).items():
        program(tmp_path / "bin", program_name, answer)
    on_path(monkeypatch, tmp_path / "bin")
    monkeypatch.setattr(cluster, "SECONDS", 0.5)
    begin = time.monotonic()
    found = list(cluster.cluster(campaign(tmp_path, slurm=True)))
    assert time.monotonic() - begin < 10
    assert any(finding.level == "error" and finding.text.startswith(text) for finding in found)


@pytest.mark.parametrize(
    ("scripts", "text"),
    [
        (dict.fromkeys(QUIET, "sleep 60"), "Slurm is not reachable: sinfo, squeue, scontrol did not answer in 0.5 s"),
        (
            {"sinfo": "echo 'no controller' >&2; exit 1", "squeue": "sleep 60"},
            "Slurm is not reachable: sinfo failed (no controller); squeue did not answer in 0.5 s",
        ),
    ],
)
def test_one_unreachable_slurm_is_one_error(tmp_path, monkeypatch, scripts, text):
    for program_name, answer in (QUIET | scripts).items():
        program(tmp_path / "bin", program_name, answer)
    on_path(monkeypatch, tmp_path / "bin")
    monkeypatch.setattr(cluster, "SECONDS", 0.5)
    (finding,) = cluster.cluster(campaign(tmp_path, slurm=True))
    assert (finding.level, finding.text) == ("error", text)
    assert finding.remedy == "the controller must answer: scontrol ping, SLURM_CONF"


@pytest.mark.parametrize(
    ("changes", "level", "text"),
    [
        (
            {"before": "export HERE=1", "python": f"test $HERE = 1 && {sys.executable}"},
            "ok",
            "with slurm.before and slurm.python",
        ),
        ({"before": "true"}, "ok", "with slurm.before jobs import dgsct and torch"),
        ({"before": "no-such-module load cuda/99"}, "warning", "no-such-module: command not found"),
        ({"before": "echo $NO_SUCH_VARIABLE"}, "warning", "NO_SUCH_VARIABLE: unbound variable"),
        ({"python": "true"}, "warning", "they say nothing"),
        ({"python": "no-such-container exec dgsct.sif python"}, "warning", "no-such-container: command not found"),
        ({"python": f"{sys.executable} -S"}, "warning", "No module named"),
    ],
)
def test_what_the_site_file_puts_around_a_jobs_command_is_tried(tmp_path, changes, level, text):
    (finding,) = cluster.commands_of_jobs(campaign(tmp_path, slurm=True, cluster=changes))
    assert finding.level == level
    assert text in finding.text


def test_a_site_without_such_commands_has_nothing_to_try(tmp_path):
    assert not list(cluster.commands_of_jobs(campaign(tmp_path, slurm=True)))


def test_what_jobs_ask_for_is_read_in_snakemakes_units(tmp_path):
    one = campaign(tmp_path, slurm=True, cluster={"account": "lab", "gpu_partition": "a100", "partition": "cpu"})
    train = {"runtime": "4h", "mem_mb": "48GB", "gpu": 1, "slurm_extra": "--signal=TERM@120"}
    profile = {**one.profile, "default-resources": ["mem_mb=2GB", "runtime=90m"], "set-resources": {"train": train}}
    training, other = cluster.requests(replace(one, profile=profile))
    assert training.words == "a training (1 CPU, 48000 MB, 240 min, 1 GPU)"
    asked = " ".join(training.sbatch())
    assert asked == (
        "sbatch --test-only -p a100 -t 240 --mem 48000 --cpus-per-task 1 -n 1 --gpus=1 --account=lab --signal=TERM@120"
        " --wrap true"
    )
    assert other.words == "another job (1 CPU, 2000 MB, 90 min)"
    assert other.partition == "cpu"


def test_runs_that_ask_for_different_things_are_asked_about_each(tmp_path):
    runs = {"*/late-fusion": {"minutes": 120}, "*/dg-sct": {"gpus": 2}}
    one = campaign(tmp_path, "paper", slurm=True, cluster={"gpu_partition": "a100", "partition": "cpu"}, run={}, runs=runs)
    found = {request.words: request.partition for request in cluster.requests(one)}
    assert found == {
        "a training of dg-sct on ave (8 CPUs, 48000 MB, 720 min, 2 GPUs)": "a100",
        "a training of lavish-star on ave and 1 other (8 CPUs, 48000 MB, 720 min, 1 GPU)": "a100",
        "a training of late-fusion on ave (8 CPUs, 48000 MB, 120 min, 1 GPU)": "a100",
        "a yardstick (1 CPU, 3000 MB, 30 min)": "cpu",
        "another job (1 CPU, 4000 MB, 60 min)": "cpu",
    }
    (late,) = [request for request in cluster.requests(one) if "late-fusion" in request.what]
    assert late.keys["minutes"] == "runs.*/late-fusion.minutes"
    assert late.keys["cpus"] == "run.cpus"


@pytest.mark.parametrize(("gpus", "expected"), [(1, ["ok", "ok"]), (2, ["ok", "error", "ok"])])
def test_a_run_must_find_its_gpus_on_this_machine(tmp_path, monkeypatch, gpus, expected):
    program(tmp_path, "nvidia-smi", smi("NVIDIA H100, 81559 MiB, 580.1", "13.0"))
    on_path(monkeypatch, tmp_path)
    monkeypatch.setattr(machine, "cuda_build", lambda: "13.0")
    found = list(machine.gpu(campaign(tmp_path, "paper", runs={"ave/dg-sct": {"gpus": gpus}})))
    assert levels(found) == expected
    if gpus == 2:
        assert found[1].text == "a run asks for 2 GPUs, here are 1"


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("1-00:00:00", 1440), ("2-12:30", 3630), ("12:00:00", 720), ("30:00", 30), ("90", 90), ("UNLIMITED", None), ("3-0", 4320)],
)
def test_times_as_slurm_writes_them(text, minutes):
    assert cluster.minutes_of(text) == minutes


@pytest.mark.parametrize(
    ("gres", "wanted", "count"),
    [
        ("gpu:4", None, 4),
        ("gpu:a100:4(S:0-1)", None, 4),
        ("gpu:a100:4(S:0-1),gpu:v100:2(S:0)", None, 6),
        ("gpu:a100:4(S:0-1),gpu:v100:2", "gpu:v100", 2),
        ("lscratch:100,gpu:2", "gpu", 2),
        ("(null)", None, 0),
        ("mps:100", None, 0),
    ],
)
def test_gpus_of_a_node(gres, wanted, count):
    assert cluster.gpus_of(gres, wanted) == count

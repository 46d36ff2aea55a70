"""The doctor on a real Slurm: what it would take, and what it would refuse. `cluster` is an environment that reaches it."""

import os
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from doctor_rig import SITE, campaign, doctor

from dgsct.campaign.doctor import Finding
from dgsct.campaign.doctor.cluster import cluster as look

SMALL = {"cpus": 1, "mem_mb": 500, "minutes": 60}


def ask(cluster: dict[str, str], *command: str) -> str:
    return subprocess.run(command, env=cluster, capture_output=True, text=True, timeout=30, check=True).stdout.strip()


@pytest.fixture
def found(cluster, tmp_path, monkeypatch):
    """What the doctor says of Slurm at full size, with entries of the site file and without some of the profile."""
    for name, value in cluster.items():
        monkeypatch.setenv(name, value)

    def asked(run: dict[str, int] | None = None, without: tuple[str, ...] = (), **slurm) -> list[Finding]:
        one = campaign(tmp_path, "paper", slurm=True, run=run or SMALL, cluster={**SITE["slurm"], **slurm})
        return list(look(replace(one, profile={k: v for k, v in one.profile.items() if k not in without})))

    return asked


def trainings(findings: list[Finding], level: str) -> list[Finding]:
    return [finding for finding in findings if finding.level == level and finding.text.startswith("a training (")]


def test_a_mini_campaign_would_be_taken(cluster, tmp_path):
    told = doctor(tmp_path, "--profile", "slurm", env=cluster)
    assert told.code == 0
    said = told.of("slurm", "ok")
    assert said[0].startswith("cluster ")
    assert said[1] == "Snakemake asks squeue, which remembers jobs for 3600 s"
    assert said[2] == "srun finds the cluster without SLURM_CONF, as inside jobs"
    assert [line.split(" (")[0] for line in said[3:]] == ["a training", "another job"]
    assert [line.split(":")[0] for line in told.of("slurm", "warning")] == ["no accounting"]


def test_full_size_on_a_gpu_would_be_taken(found):
    (taken,) = trainings(found(), "ok")
    assert taken.text.startswith("a training (1 CPU, 500 MB, 60 min, 1 GPU): partition ")


def test_a_partition_that_does_not_exist_is_named_with_those_that_do(found, cluster):
    known = ", ".join(ask(cluster, "sinfo", "-h", "-o", "%R").splitlines())
    (error,) = trainings(found(partition="gpux"), "error")
    assert error.text.endswith(f"no partition 'gpux'; there are: {known}")
    assert error.remedy.startswith("slurm.partition in ")


def test_more_than_a_node_has_is_an_error_that_says_how_much_there_is(found, cluster):
    cpus, memory = ask(cluster, "sinfo", "-h", "-e", "-o", "%c %m").split()[:2]
    (error,) = trainings(found({"cpus": 1000, "mem_mb": 10**9, "minutes": 60}), "error")
    assert error.remedy.startswith(f"at most run.cpus: {cpus}, run.mem_mb: {memory} in ")


def test_longer_than_the_partition_allows_is_an_error_that_says_how_long_it_may_be(found):
    (error,) = trainings(found({**SMALL, "minutes": 2000}), "error")
    assert error.text.endswith("allows 1440 min")
    assert error.remedy.startswith("run.minutes: 1440 in ")


def test_gpus_of_another_name_are_an_error_that_names_those_there(found):
    (error,) = trainings(found(gres="gpu:a100"), "error")
    assert "no node of partition " in error.text
    assert error.remedy.startswith("its nodes have: gpu:")


def test_what_only_slurm_knows_is_asked_of_slurm(found):
    (error,) = trainings(found(constraint="a100"), "error")
    assert "Slurm would refuse it: " in error.text


def test_drained_nodes_are_a_warning(found, cluster):
    node = ask(cluster, "sinfo", "-h", "-N", "-o", "%N").split()[0]
    ask(cluster, "scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    try:
        findings = found()
    finally:
        ask(cluster, "scontrol", "update", f"nodename={node}", "state=resume")
        while ask(cluster, "sinfo", "-h", "-N", "-o", "%T").splitlines()[0].endswith("*"):
            time.sleep(0.1)  # until the node has answered
    assert trainings(findings, "error") == []
    assert trainings(findings, "warning")[0].text.endswith(" that suit are drained")


def test_sacct_as_status_command_without_accounting_is_an_error(found):
    findings = found(without=("slurm-status-command", "retries"))
    assert [f.remedy for f in findings if f.level == "error"] == ["set slurm-status-command: squeue in the profile"]
    assert any(f.level == "warning" and f.text.startswith("no retries") for f in findings)


def test_a_cluster_that_jobs_would_not_find_is_an_error(found, tmp_path, monkeypatch):
    """Without the script `srun` that the test cluster puts first on PATH."""
    plain = shutil.which("srun", path="/usr/bin:/usr/local/bin")
    if plain is None or Path(plain).read_bytes()[:4] != b"\x7fELF":
        pytest.skip("no plain srun here")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/srun").symlink_to(plain)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    (error,) = [finding for finding in found() if finding.level == "error"]
    assert "SLURM_CONF is set, and srun finds no cluster without it" in error.text

"""`dgsct doctor` as a user meets it, and campaigns for its checks by themselves."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml
from call_rig import call

from dgsct.campaign.doctor import Campaign, Finding
from dgsct.campaign.plan import choose_runs
from dgsct.campaign.profiles import find_profile
from dgsct.runs.experiments import load_experiments, make_settings
from dgsct.runs.site import Site

SITE = {
    "data": {"ave": None, "avs-s4": None, "avs-ms3": None},
    "weights": None,
    "run": {"cpus": 2, "mem_mb": 8000, "minutes": 720},
    "slurm": {"partition": None, "account": None},
}

# Slurm's commands with nothing to say, by name: shell scripts.
QUIET = {"sinfo": "echo 'gpu*'", "squeue": "true", "scontrol": "true", "sbatch": "true", "scancel": "true", "srun": "true"}


def smi(card: str, cuda: str) -> str:
    """A `nvidia-smi` that lists one card, and says without options which CUDA its driver serves."""
    return f"case $1 in --*) echo '{card}';; *) echo 'NVIDIA-SMI 550.1  Driver Version: 550.1  CUDA Version: {cuda}';; esac"


@dataclass(frozen=True)
class Told:
    """Exit code, both streams and the lines of one area."""

    code: int
    out: str
    err: str

    def of(self, area: str, level: str = "") -> list[str]:
        """What the lines of an area (of a level) say."""
        words = [line.split(maxsplit=2) for line in self.out.splitlines()]
        return [w[2] for w in words if len(w) == 3 and w[1] == area and level in ("", w[0])]


def doctor(folder: Path, *arguments: object, python: tuple[str, ...] = (), env: dict[str, str] | None = None) -> Told:
    """Ask the doctor in `folder` about Table 1 of AVE with one seed; with options for Python in a fresh process."""
    asked = ["doctor", "table1", "--tasks", "ave", "--seeds", "1", *map(str, arguments)]
    if python:
        command = [sys.executable, *python, "-m", "dgsct.cli", *asked]
        around = {**os.environ, **(env or {})}
        done = subprocess.run(command, cwd=folder, env=around, capture_output=True, text=True, timeout=120, check=False)
        told = Told(done.returncode, done.stdout, done.stderr)
    else:
        said = call(folder, *asked, **(env or {}))
        told = Told(said.code, said.out, said.err)
    assert "Traceback" not in told.out + told.err
    return told


def site_file(folder: Path, **changes) -> Path:
    """A site file with the entries of `SITE`, of which some are changed: `run={"cpus": 8}`."""
    content = {name: {**value, **changes.get(name, {})} if isinstance(value, dict) else value for name, value in SITE.items()}
    path = folder / "site.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def campaign(
    root: Path, scale: str = "mini", tasks: str = "ave", slurm: bool = False, cluster: dict | None = None, **site
) -> Campaign:
    """Table 1 with one seed, on this machine or on Slurm; `cluster` is the site file's entry `slurm`, `site` are others."""
    settings = make_settings({"scale": scale, "protocol": "release", "seeds": 1, "tasks": tasks, "methods": ""})
    runs = choose_runs(["table1"], load_experiments(), settings)
    file = find_profile("slurm") if slurm else None
    profile = yaml.safe_load(file.read_text(encoding="utf-8")) if file else {}
    said = Site.model_validate({**SITE, **site, **({"slurm": cluster} if cluster else {})})
    return Campaign(("table1",), settings, tuple(runs), root, root / "site.yaml", said, file, profile)


def levels(findings: list[Finding]) -> list[str]:
    """How bad each is."""
    return [finding.level for finding in findings]

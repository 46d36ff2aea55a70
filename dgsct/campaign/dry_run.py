"""Snakemake asked what it would do: a dry run of the real Snakefile, in a process of its own. Nothing is run."""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from dgsct.campaign.commands import Answer, ask
from dgsct.closure import ROOT
from dgsct.runs.experiments import Settings
from dgsct.runs.run import Run

BASE = ROOT.parent
SNAKEFILE = BASE / "Snakefile"
LOGGERS = BASE / "workflow" / "loggers"
PLAN_SECONDS = 120.0


def obstacle(root: Path) -> tuple[str, str] | None:
    """Why no DAG can be asked about the results folder `root`, and what to do about it; None where one can."""
    if not SNAKEFILE.is_file():
        return f"{SNAKEFILE} does not exist", "run dgsct from a checkout of the repository"
    if root.resolve() != Path("results").resolve():
        return f"the DAG keeps its results in ./results, not in {root}", "cd to the folder above it"
    return None


def dry_run(
    targets: Sequence[str],
    settings: Settings,
    site: Path,
    profile: Path | None = None,
    experiments: Path | None = None,
    jobs: Path | None = None,
) -> Answer:
    """What Snakemake says to these targets. Each job that it would start becomes a line of the new file `jobs`, in JSON."""
    values = {
        "scale": settings.scale,
        "protocol": settings.protocol,
        "seeds": settings.seeds,
        "tasks": ",".join(settings.tasks),
        "methods": ",".join(settings.methods),
        "site": site.resolve(),
        "experiments": experiments.resolve() if experiments else "",
    }
    files = [_record(target) if "/" in target else target for target in targets]
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "-n", "--nocolor"]
    command += ["--profile", str(profile.parent)] if profile else []
    command += ["--logger", "submission"] if jobs else []
    command += ["--config", *(f"{name}={value}" for name, value in values.items() if value), "--", *files]
    path = os.pathsep.join(filter(None, [str(LOGGERS), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, "PYTHONPATH": path, "DGSCT_JOBS": str(jobs)} if jobs else None
    return ask(*command, seconds=PLAN_SECONDS, env=env)


def _record(target: str) -> str:
    """The file that the DAG makes for a run's folder."""
    path = Path(target)
    run = Run.from_folder(path.parent if path.name == "record.json" else path)
    return str(Path("results") / run.folder / "record.json")


def refusal(answer: Answer) -> str:
    """Why Snakemake cannot plan, in its own sentence; empty where it can."""
    if not answer.problem:
        return ""
    reason = re.search(r"^(?:WorkflowError|\w+(?:Error|Exception))\b[^\n]*\n(.+)", answer.out + answer.err, re.M)
    return reason.group(1).strip() if reason else answer.problem.removeprefix(sys.executable).strip()

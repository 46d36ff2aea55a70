"""What a Snakemake profile would submit for a target, asked of Snakemake itself: each kind of job, and what it asks for."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dgsct.campaign.dry_run import dry_run, obstacle, refusal
from dgsct.campaign.profiles import find_profile, read_profile
from dgsct.errors import DgsctError, UsageError
from dgsct.runs.experiments import Settings

# What Snakemake makes itself, beside the names of the experiments (`localrules`).
DRIVER = frozenset({"all_tables", "all_figures", "report", "write_report", "table", "figure"})
HEADS = ("jobs", "rule", "of", "runs/job", "CPUs", "memory", "time limit", "GPUs", "partition")
NAMED = 3  # of the runs of a line


@dataclass(frozen=True)
class Asked:
    """What one job asks an executor for; `minutes` is its time limit at the first attempt."""

    cpus: int
    mem_mb: int
    minutes: int
    gpus: int
    gres: str
    partition: str


@dataclass(frozen=True)
class Kind:
    """Equal jobs: how many, their rule, what each asks for, how many runs each makes, and of what, such as `ave/dg-sct`."""

    count: int
    rule: str
    asked: Asked
    members: int
    what: tuple[str, ...]


@dataclass(frozen=True)
class Submission:
    """All jobs that a profile would submit, and how many of them at a time (None: no limit)."""

    profile: str
    executor: str
    at_a_time: int | None
    kinds: tuple[Kind, ...]

    @property
    def jobs(self) -> int:
        """How many jobs."""
        return sum(kind.count for kind in self.kinds)

    @property
    def gpu_hours(self) -> float:
        """GPU-hours if each job took all the time that it asks for."""
        return sum(kind.count * kind.asked.gpus * kind.asked.minutes for kind in self.kinds) / 60


def preview(
    targets: Sequence[str],
    settings: Settings,
    experiments: Mapping[str, Any],
    root: Path,
    site: Path,
    profile: str,
    experiments_folder: Path | None = None,
) -> Submission:
    """Ask Snakemake by a dry run, with the run times that `dgsct plan` has noted. DgsctError says why it cannot plan."""
    if problem := obstacle(root):
        raise UsageError("; ".join(problem))
    file = find_profile(profile)
    content = read_profile(file)
    executor = content.get("executor", "local")
    if executor == "local":
        raise UsageError(f"profile {profile!r} submits nothing: its executor is this machine")
    with tempfile.TemporaryDirectory() as folder:
        jobs = Path(folder, "jobs")
        jobs.touch()
        if reason := refusal(dry_run(targets, settings, site, file, experiments_folder, jobs)):
            raise DgsctError(f"Snakemake cannot plan {' '.join(targets)}: {reason}")
        lines = [json.loads(line) for line in jobs.read_text(encoding="utf-8").splitlines()]
    local = DRIVER | experiments.keys()
    kinds = _kinds([line for line in lines if line["members"][0][0] not in local])
    at_a_time = content.get("jobs")
    return Submission(profile, executor, at_a_time if isinstance(at_a_time, int) else None, kinds)


def _kinds(lines: list[dict[str, Any]]) -> tuple[Kind, ...]:
    alike: dict[tuple[str, Asked, int], list[dict[str, Any]]] = {}
    for line in lines:
        members = line["members"]
        alike.setdefault((members[0][0], _asked(line), len(members)), []).append(line)
    kinds = []
    for (rule, asked, members), jobs in alike.items():
        names = {_name(wildcards): None for job in jobs for _, wildcards in job["members"]}
        kinds.append(Kind(len(jobs), rule, asked, members, tuple(sorted(names))))
    return tuple(sorted(kinds, key=lambda kind: (kind.asked.gpus, kind.asked.minutes, kind.rule)))


def _asked(line: Mapping[str, Any]) -> Asked:
    resources = line["resources"]
    gres, gpus = resources.get("gres") or "", int(resources.get("gpu", 0))
    return Asked(
        int(resources.get("cpus_per_task", line["threads"])),
        int(resources["mem_mb"]),
        int(resources["runtime"]),
        int(gres.rpartition(":")[2]) if gres else gpus,
        gres,
        resources.get("slurm_partition") or "",
    )


def _name(wildcards: Mapping[str, str]) -> str:
    """`ave/dg-sct` of a run, as the site file names it; a data set, an encoder, a method of another job."""
    parts = ("task", "dataset", "method", "extractor", "encoder")
    return "/".join(wildcards[part] for part in parts if part in wildcards)


def submission_json(submission: Submission) -> dict[str, Any]:
    """The preview in plain JSON types."""
    return {
        "profile": submission.profile,
        "executor": submission.executor,
        "jobs": submission.jobs,
        "at_a_time": submission.at_a_time,
        "gpu_hours_asked": submission.gpu_hours,
        "kinds": [
            {
                "jobs": kind.count,
                "rule": kind.rule,
                "of": list(kind.what),
                "runs_per_job": kind.members,
                "cpus": kind.asked.cpus,
                "mem_mb": kind.asked.mem_mb,
                "minutes": kind.asked.minutes,
                "gpus": kind.asked.gpus,
                "gres": kind.asked.gres,
                "partition": kind.asked.partition,
            }
            for kind in submission.kinds
        ],
    }


def submission_rows(submission: Submission) -> list[list[str]]:
    """The cells of the table under `HEADS`."""
    return [_row(kind) for kind in submission.kinds]


def _row(kind: Kind) -> list[str]:
    asked, more = kind.asked, len(kind.what) - NAMED
    what = ", ".join(kind.what[:NAMED]) + (f" and {more} more" if more > 0 else "")
    return [
        str(kind.count),
        kind.rule,
        what,
        str(kind.members) if kind.rule == "train" else "-",
        str(asked.cpus),
        f"{asked.mem_mb} MB",
        f"{asked.minutes} min",
        asked.gres or (str(asked.gpus) if asked.gpus else "-"),
        asked.partition or "the default",
    ]


def submission_line(submission: Submission) -> str:
    """`14 jobs for slurm (profile slurm), at most 100 at a time; time limits of 96 GPU-hours together`."""
    text = f"{submission.jobs} job{'s' * (submission.jobs != 1)} for {submission.executor} (profile {submission.profile})"
    if not submission.jobs:
        return f"{text}: nothing is left to submit"
    if submission.at_a_time:
        text += f", at most {submission.at_a_time} at a time"
    return f"{text}; time limits of {submission.gpu_hours:,.0f} GPU-hours together" if submission.gpu_hours else text

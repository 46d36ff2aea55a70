"""Which runs wait or run in Slurm, by `squeue` alone: what Snakemake's Slurm plugin writes into each job tells its rule.

The plugin gives every job the comment `rule_NAME_wildcards_A_B_...`, and jobs that are a group only `rule_GROUP_NAMES`:
there the batch script names the runs, which is asked for once a job.
"""

import os
import re
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dgsct.campaign.commands import ask
from dgsct.runs.run import Run

FORMAT = "%i|%T|%k|%Z"
SQUEUE_SECONDS = 5.0
ASK_EVERY = 15.0  # seconds: many eyes on one controller are a burden
AFTER_FAILURE = 60.0
SCRIPTS_AT_ONCE = 20
STATE = re.compile(r"[A-Z_]+")
OVER = frozenset(
    {
        "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED",
        "TIMEOUT",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """A job of this user that is not over: its id, state (`PENDING`, `RUNNING`, ...), comment and working directory."""

    id: str
    state: str
    comment: str
    folder: str


def parse_squeue(text: str) -> list[Job] | None:
    """The jobs of `squeue -o FORMAT` that are not over; None if a line has another form."""
    jobs = []
    for line in text.splitlines():
        parts = line.split("|", 3)
        if len(parts) != 4 or not parts[0][:1].isdigit() or not STATE.fullmatch(parts[1]):
            return None
        if parts[1] not in OVER:
            jobs.append(Job(parts[0], parts[1], parts[2].strip(), parts[3].strip()))
    return jobs


def comment_of(run: Run) -> str:
    """The plugin's comment of the job that trains this run alone."""
    return "rule_train_wildcards_" + "_".join(_wildcards(run).values())


def target_of(run: Run) -> str:
    """How a batch script names this run."""
    return "train:" + ",".join(f"{name}={value}" for name, value in _wildcards(run).items())


def _wildcards(run: Run) -> dict[str, str]:
    """The wildcards of the rule `train`, in its order."""
    return {
        "scale": run.scale,
        "protocol": run.protocol,
        "task": run.task,
        "method": run.method,
        "setting": run.setting,
        "seed": str(run.seed),
    }


class Queue:
    """The user's jobs that belong to a results folder, asked for at most every `ASK_EVERY` seconds.

    `problem` says why nothing is known; it is empty where there is no Slurm at all.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))
        self.problem = ""
        self.jobs: list[Job] = []
        self._next = 0.0
        self._scripts: dict[str, str] = {}

    def runs(self, runs: Iterable[Run]) -> dict[Run, Job]:
        """Those of `runs` for which a job is there, with it."""
        self._ask()
        by_comment = {job.comment: job for job in self.jobs}
        jobs = {run: job for run in runs if (job := by_comment.get(comment_of(run)))}
        bundles = [(job, self._scripts[job.id]) for job in self.jobs if self._scripts.get(job.id)]
        for run in runs if bundles else ():
            target = re.compile(re.escape(target_of(run)) + r"(?![^\s'\"])")
            if job := next((job for job, script in bundles if target.search(script)), None):
                jobs[run] = job
        return jobs

    def _ask(self) -> None:
        if time.monotonic() < self._next or not shutil.which("squeue"):
            return
        answer = ask("squeue", "-h", "-u", str(os.getuid()), "-o", FORMAT, seconds=SQUEUE_SECONDS)
        jobs = None if answer.problem else parse_squeue(answer.out)
        self.problem = "" if jobs is not None else answer.problem or "squeue answers in a form that is not known here"
        self._next = time.monotonic() + (AFTER_FAILURE if jobs is None else ASK_EVERY)
        self.jobs = [job for job in jobs or [] if Path(os.path.realpath(Path(job.folder, self.root.name))) == self.root]
        self._scripts = {job.id: self._scripts[job.id] for job in self.jobs if job.id in self._scripts}
        unknown = [job for job in self.jobs if "_wildcards_" not in job.comment and job.id not in self._scripts]
        for job in unknown[:SCRIPTS_AT_ONCE]:
            self._scripts[job.id] = ask("scontrol", "write", "batch_script", job.id, "-", seconds=SQUEUE_SECONDS).out

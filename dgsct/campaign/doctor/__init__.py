"""`dgsct doctor`: what could stop a long campaign, looked for before it begins. Every check has a time limit. No torch,
except to fit a public weights file that has not been converted yet.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dgsct.closure import ROOT
from dgsct.errors import DgsctError
from dgsct.runs.experiments import Settings
from dgsct.runs.inputs import encoders_needed
from dgsct.runs.run import Run
from dgsct.runs.site import SITE, Site

LEVELS = ("ok", "warning", "error")


@dataclass(frozen=True)
class Finding:
    """One line of the answer: what was found, how bad it is (`LEVELS`), and what to do about it."""

    level: str
    text: str
    remedy: str = ""


@dataclass(frozen=True)
class Campaign:
    """What is to be run, where, and how: the runs of the targets, the results folder, the site file and profile as read.

    The best weights of the runs in `needed` stay whatever the site says.
    """

    targets: tuple[str, ...]
    settings: Settings
    runs: tuple[Run, ...]
    root: Path
    site_file: Path
    site: Site
    profile_file: Path | None
    profile: dict[str, Any]
    needed: frozenset[Run] = frozenset()

    @property
    def own_site(self) -> str:
        """The site file that remedies name: the given one; without one, a copy of the repository's that is to be given."""
        return (
            str(self.site_file) if self.site_file != SITE else f"a copy of {SITE.relative_to(ROOT.parent)}, given with --site"
        )

    @property
    def on_slurm(self) -> bool:
        """Whether the profile sends jobs to Slurm."""
        return self.profile.get("executor") == "slurm"

    @property
    def gpus(self) -> int:
        """How many GPUs a run asks for at most."""
        return max((self.site.resources(run).gpus for run in self.runs), default=0)

    @property
    def datasets(self) -> list[str]:
        """The data sets that the runs read."""
        return list(dict.fromkeys(run.dataset for run in self.runs))

    @property
    def encoders(self) -> list[str]:
        """The encoders that the runs need."""
        return list(dict.fromkeys(name for run in self.runs for name in encoders_needed(run)))


@dataclass(frozen=True)
class Check:
    """A group of findings under one name, and the seconds after which it is given up."""

    area: str
    find: Callable[[], Iterable[Finding]]
    seconds: float


def examine(checks: Sequence[Check]) -> Iterator[tuple[str, Finding]]:
    """The findings of all checks in their order, each with its area; a check that takes too long or breaks is an error.

    A check that hangs (a disk that does not answer) is left behind in a thread that keeps nobody from ending.
    """
    for check in checks:
        findings: list[Finding] = []
        thread = threading.Thread(target=_gather, args=(check, findings), daemon=True)
        thread.start()
        thread.join(check.seconds)
        late = thread.is_alive()
        for finding in list(findings):
            yield check.area, finding
        if late:
            remedy = "look at the disk or the program that it waits for, and start again"
            yield check.area, Finding("error", f"this check was given up after {check.seconds:g} s", remedy)


def _gather(check: Check, findings: list[Finding]) -> None:
    try:
        for finding in check.find():
            findings.append(finding)
    except DgsctError as error:
        findings.append(Finding("error", str(error)))
    except Exception as error:  # a check that breaks must not hide the others
        reason = " ".join(str(error).split())
        findings.append(Finding("error", f"this could not be checked ({type(error).__name__}: {reason})", "report it as a bug"))

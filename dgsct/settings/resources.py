"""What a run at full size asks a machine for: CPUs, memory, minutes, GPUs. No torch, and no name of a task or a method.

Five may speak, and the most particular word wins, key by key:

    the run's kind  <  its task  <  its method  <  the site's `run`  <  the site's `runs`

A task, and a site that names no method, speak of trainings: a yardstick takes seconds whatever the task is.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Resources:
    """CPUs, memory (MB), minutes after which a job must have ended, GPUs. None: left to who speaks less particularly."""

    cpus: int | None = None
    mem_mb: int | None = None
    minutes: int | None = None
    gpus: int | None = None

    def over(self, other: "Resources") -> "Resources":
        """These, with `other`'s where these say nothing."""
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Resources(*(theirs if ours is None else ours for ours, theirs in pairs))


# By the kind of a run. Minutes need not suffice for a training, which goes on in its next job; for the others they must.
BY_KIND: dict[str, Resources] = {
    "trained": Resources(cpus=8, mem_mb=48_000, minutes=720),  # through both encoders; GPUs: as many as the scale says
    "frozen": Resources(cpus=4, mem_mb=16_000, minutes=60, gpus=1),  # one pass over the test split
    "yardstick": Resources(cpus=1, mem_mb=3_000, minutes=30, gpus=0),  # labels and means, in numpy
}
# What a method may declare (`resources`) that is trained with less than the whole of both encoders.
ON_FEATURES = Resources(cpus=4, mem_mb=16_000, minutes=240, gpus=1)  # a small model on features that lie on the disk
PROMPT = Resources(cpus=4, mem_mb=16_000, minutes=60, gpus=1)  # a few vectors before a frozen CLIP, some shots a class
# A run of a scale with short runs, whatever a site says: ten of them share a job.
SHORT = Resources(cpus=1, mem_mb=3_000, minutes=30, gpus=0)
MOST_GPUS = {"frozen": 1, "yardstick": 0}  # only a training is shared between processes


def halves(pattern: str) -> tuple[str, str]:
    """The halves of `TASK/METHOD`; a pattern without its slash has no second one."""
    task, _, method = pattern.partition("/")
    return task, method


def _particular(part: str) -> int:
    """How much a half of a pattern says: nothing (`*`), something (`avs-*`), all."""
    return 0 if part == "*" else 1 if any(sign in part for sign in "*?[") else 2


def matching(patterns: Iterable[str], task: str, method: str) -> list[str]:
    """The patterns `TASK/METHOD` (as `fnmatch` reads them) that hold for a run, the most particular one last.

    A method's name says more than a task's. Of equals the one that is written later comes later.
    """
    fitting = [p for p in patterns if all(map(fnmatchcase, (task, method), halves(p)))]
    return sorted(fitting, key=lambda p: tuple(_particular(part) for part in reversed(halves(p))))


def layers(
    task: str,
    method: str,
    kind: str,
    of_task: Resources,
    of_method: Resources,
    run: Resources,
    runs: Mapping[str, Resources],
) -> Iterator[tuple[str, Resources]]:
    """What is said of one run, the most particular last, each with the part of the site file that says it (else empty).

    `of_task` and `of_method` are what these declare, `run` and `runs` what the site says of every run and of some.
    """
    yield "", BY_KIND[kind]
    if kind == "trained":
        yield "", of_task
    yield "", of_method
    if kind != "yardstick":
        yield "run", run
    for pattern in matching(runs, task, method):
        if kind != "yardstick" or halves(pattern)[1] != "*":
            yield f"runs.{pattern}", runs[pattern]


def resolve(kind: str, gpus: int, given: Iterable[tuple[str, Resources]]) -> Resources:
    """What a run of `kind` asks for by what `layers` gives (`given`); `gpus` is the scale's number, where nobody names one."""
    asked = Resources(gpus=gpus)
    for _, resources in given:
        asked = resources.over(asked)
    most = MOST_GPUS.get(kind, asked.gpus)
    return Resources(asked.cpus, asked.mem_mb, asked.minutes, min(asked.gpus, most))

"""The tasks by name. A task's module is imported only when it is used, so listing them needs no torch."""

from dataclasses import dataclass

from dgsct.errors import UsageError


@dataclass(frozen=True)
class TaskInfo:
    """What the harness must know of a task before it imports it."""

    name: str
    module: str
    summary: str
    metrics: dict[str, str]
    sizes: tuple[str, ...]  # fields of a `Scale` that decide its results

    def reported(self, accuracy: str) -> str:
        """Name of the metric that a table prints under a protocol's `accuracy` option (`batch8` or `exact`)."""
        return self.metrics[accuracy]


TASKS: dict[str, TaskInfo] = {
    t.name: t
    for t in (
        TaskInfo(
            "ave",
            "dgsct.tasks.ave",
            "audio-visual event localization: one of 28 event classes or background for each of 10 seconds (AVE)",
            {"batch8": "acc_batch8", "exact": "acc_exact"},
            ("swin", "htsat", "head", "num_tokens", "reduction", "groups"),
        ),
    )
}


def get_task(name: str) -> TaskInfo:
    """Task by name; UsageError that lists the known ones."""
    if name not in TASKS:
        raise UsageError(f"unknown task {name!r}; known tasks: {', '.join(TASKS)} (see `dgsct ls`)")
    return TASKS[name]

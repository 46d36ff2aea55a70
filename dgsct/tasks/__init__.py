"""The tasks by name. A task's module is imported only when it is used, so listing them needs no torch."""

from dataclasses import dataclass

from dgsct.errors import UsageError
from dgsct.settings.options import Options


@dataclass(frozen=True)
class TaskInfo:
    """What the harness must know of a task before it imports it."""

    name: str
    module: str
    summary: str
    measure: str  # the option that says how it is measured
    metrics: dict[str, dict[str, str]]  # what a table calls a metric -> value of that option -> its name in records
    sizes: tuple[str, ...]  # fields of a `Scale` that decide its results

    def metric(self, name: str, options: Options) -> str:
        """The record's name of the metric that tables call `name`, as a run with `options` measures it.

        `reported` is the one by which epochs are selected. Other names stand for themselves.
        """
        return self.metrics.get(name, {}).get(getattr(options, self.measure), name)


_SIZES = ("swin", "htsat", "head", "num_tokens", "reduction", "groups")
_IOU = {"batch4": "miou_batch4", "clip": "miou", "frame": "miou"}
_MASK_METRICS = {
    "reported": _IOU,
    "miou": _IOU,
    "fscore": {"batch4": "fscore_batch4", "clip": "fscore_clip", "frame": "fscore_frame"},
}

TASKS: dict[str, TaskInfo] = {
    t.name: t
    for t in (
        TaskInfo(
            "ave",
            "dgsct.tasks.ave.task",
            "audio-visual event localization: one of 28 event classes or background for each of 10 seconds (AVE)",
            "accuracy",
            {"reported": {"batch8": "acc_batch8", "exact": "acc_exact"}},
            _SIZES,
        ),
        TaskInfo(
            "avs-s4",
            "dgsct.tasks.avs.task",
            "segmentation of the one sounding object in 5 frames, trained on the first frame's masks (AVSBench S4)",
            "f_protocol",
            _MASK_METRICS,
            _SIZES,
        ),
        TaskInfo(
            "avs-ms3",
            "dgsct.tasks.avs.task",
            "segmentation of all sounding objects in 5 frames, trained on every frame's masks (AVSBench MS3)",
            "f_protocol",
            _MASK_METRICS,
            _SIZES,
        ),
    )
}


def get_task(name: str) -> TaskInfo:
    """Task by name; UsageError that lists the known ones."""
    if name not in TASKS:
        raise UsageError(f"unknown task {name!r}; known tasks: {', '.join(TASKS)} (see `dgsct ls`)")
    return TASKS[name]

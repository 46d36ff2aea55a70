"""The data sets by task. A new one is a subclass of `dgsct.data.base.DataSet` and a name here. No torch."""

from dgsct.data.base import DataSet
from dgsct.errors import UsageError
from dgsct.tasks.ave.files import AVE
from dgsct.tasks.avs.files import MS3, S4

SETS: dict[str, DataSet] = {one.task: one for one in (AVE, S4, MS3)}


def get_set(task: str) -> DataSet:
    """The data set of a task; UsageError that lists the known ones."""
    if task not in SETS:
        raise UsageError(f"unknown task {task!r}; known tasks: {', '.join(SETS)}")
    return SETS[task]

"""The tasks by name, and the data sets that they are views on. A task's modules are imported only when it is used.

A task is a folder here, whose `__init__` declares it (`TASKS`), and a name in `FOLDERS`. What else the folder holds is found
by convention: `files.SETS` (its data sets), `mini` (their generators), `task.open_task`, `details`, `yardsticks`, `ledger`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from dgsct.errors import UsageError
from dgsct.tasks.base import Task

if TYPE_CHECKING:
    from dgsct.data.base import DataSet

FOLDERS: tuple[str, ...] = ("ave", "avs")
TASKS: dict[str, Task] = {task.name: task for folder in FOLDERS for task in import_module(f"dgsct.tasks.{folder}").TASKS}
# Which folder a data set's files, decoder and generator lie in.
HOMES: dict[str, str] = {name: folder for folder in FOLDERS for name in import_module(f"dgsct.tasks.{folder}").DATASETS}


def get_task(name: str) -> Task:
    """Task by name; UsageError that lists the known ones."""
    if name not in TASKS:
        raise UsageError(f"unknown task {name!r}; known tasks: {', '.join(TASKS)} (see `dgsct ls`)")
    return TASKS[name]


def get_set(name: str) -> "DataSet":
    """Data set by name; UsageError that lists the known ones."""
    if name not in HOMES:
        raise UsageError(f"unknown data set {name!r}; known data sets: {', '.join(HOMES)}")
    return import_module(f"dgsct.tasks.{HOMES[name]}.files").SETS[name]

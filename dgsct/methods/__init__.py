"""The methods by name. A method's modules are imported only when it is built, so listing them needs no torch.

A family of methods is a folder here, whose `__init__` declares them (`METHODS`), and a name in `FAMILIES`. The tasks'
yardsticks are methods, too.
"""

from importlib import import_module

from dgsct.errors import UsageError
from dgsct.methods.base import Method, Part
from dgsct.tasks import TASKS

FAMILIES: tuple[str, ...] = ("dg_sct", "late_fusion", "linear_probe", "avsbench")


def _yardsticks() -> list[Method]:
    """Every task's yardsticks; one of the same name on several tasks is one method."""
    methods: dict[str, Method] = {}
    for task in TASKS.values():
        for one in task.yardsticks:
            part = Part(f"dgsct.tasks.{task.folder}.yardsticks", kind="yardstick")
            before = methods.get(one.name)
            parts = {**(before.parts if before else {}), task.name: part}
            methods[one.name] = Method(one.name, one.summary, parts, one.sees_test_labels)
    return list(methods.values())


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        *(method for family in FAMILIES for method in import_module(f"dgsct.methods.{family}").METHODS),
        *_yardsticks(),
    )
}


def get_method(name: str) -> Method:
    """Method by name; UsageError that lists the known ones."""
    if name not in METHODS:
        raise UsageError(f"unknown method {name!r}; known methods: {', '.join(METHODS)} (see `dgsct ls`)")
    return METHODS[name]

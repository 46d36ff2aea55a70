"""The options of one run, from its task, its method, its protocol and what was set."""

from collections.abc import Mapping
from dataclasses import make_dataclass
from functools import cache
from typing import Any

from dgsct.errors import UsageError
from dgsct.methods import get_method
from dgsct.runs.protocols import option_values
from dgsct.settings.options import Options
from dgsct.tasks import get_task


@cache
def options_class(task: str, method: str) -> type[Options]:
    """The options of a method on a task: the task's own, and those that the method brings."""
    own, base = get_method(method).on(task).own, get_task(task).options
    return base if own is None else make_dataclass(own.__name__, (), bases=(base, own), frozen=True)


@cache
def option_names(task: str, method: str) -> tuple[str, ...]:
    """The options that a method has on a task: those that it names, and how the task is measured."""
    named = {*get_method(method).on(task).options, *get_task(task).shared}
    known = options_class(task, method).names()
    if unknown := sorted(named - set(known)):
        raise ValueError(f"method {method!r} names the option {unknown[0]!r}, which task {task!r} and it do not have")
    return tuple(name for name in known if name in named)


def resolve_options(task: str, method: str, protocol: str, overrides: Mapping[str, Any], scale: str = "paper") -> Options:
    """The options of one run: the task's defaults, then the protocol's ledger values, what the task presets at the scale,
    the method's preset, the overrides.

    Options that the method does not have keep their defaults. UsageError if the task does not fit the method or an
    override is not one of its options.
    """
    part, options, known = get_method(method).on(task), options_class(task, method), option_names(task, method)
    for name, value in overrides.items():
        options.parse(name, value)
        if name not in known:
            raise UsageError(f"method {method!r} has no option {name!r}; its options: {', '.join(known)}")
    chosen = {n: v for n, v in option_values(protocol, task).items() if n in known}
    chosen |= {n: v for n, v in get_task(task).presets.get(scale, {}).items() if n in known}
    return options().replace(**chosen).replace(**part.preset).replace(**overrides)

"""The options of one run, from its task, its method, its protocol and what was set."""

from typing import Any

from dgsct.errors import UsageError
from dgsct.methods import get_method
from dgsct.runs.protocols import option_values
from dgsct.settings.options import Options, parse_option


def resolve_options(task: str, method: str, protocol: str, overrides: dict[str, Any]) -> Options:
    """The options of one run: release defaults, then the protocol's ledger values, the method's preset, the overrides.

    Options that the method does not have keep their defaults, so that a run's key does not depend on them.
    UsageError if the task does not fit the method or an override is not one of its options.
    """
    info = get_method(method)
    if task not in info.tasks:
        raise UsageError(f"method {method!r} does not run on task {task!r}; it runs on: {', '.join(info.tasks)}")
    known = info.options_for(task)
    for name, value in overrides.items():
        parse_option(name, value)
        if name not in known:
            raise UsageError(f"method {method!r} has no option {name!r}; its options: {', '.join(known)}")
    chosen = {n: v for n, v in option_values(protocol, task).items() if n in known}
    return Options.of(task).replace(**chosen).replace(**info.preset).replace(**overrides)


def sound_of(method: str, options: Options) -> str:
    """Which prepared sound a method reads: `vggish` examples, the `logmel` made at preparation, or the `wave` itself, where
    the spectrogram's own weights are trained."""
    return "wave" if options.audio_encoder == "trained" else get_method(method).audio

"""Errors that a user can cause: one sentence that names the thing and the remedy, and an exit code."""

import sys
from collections.abc import Callable


class DgsctError(Exception):
    """A failure a user can act on. The message is one sentence: what is wrong, where, what to do."""

    exit_code = 1


class UsageError(DgsctError):
    """Wrong use: an unknown name, a malformed file, a value outside its range."""

    exit_code = 2


class MachineError(DgsctError):
    """The machine or its disk is at fault, not the run: it may well succeed at the next start, or elsewhere."""


class GivenUp(DgsctError):
    """The run has failed twice in the same way, which its record says; it is not tried again before somebody clears it."""


class Stopped(DgsctError):
    """The run was asked to stop, has saved its state, and goes on when started again."""

    exit_code = 75


def exit_code(work: Callable[[], object]) -> int:
    """Do `work`; 0 (or the code that it returns), or that of a user's error, whose sentence goes to stderr.

    Every entry point ends here.
    """
    try:
        code = work()
    except DgsctError as error:
        print(f"dgsct: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    return code if isinstance(code, int) else 0

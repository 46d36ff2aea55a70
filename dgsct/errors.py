"""Errors that a user can cause: one sentence that names the thing and the remedy, and an exit code."""


class DgsctError(Exception):
    """A failure a user can act on. The message is one sentence: what is wrong, where, what to do."""

    exit_code = 1


class UsageError(DgsctError):
    """Wrong use: an unknown name, a malformed file, a value outside its range."""

    exit_code = 2


class Stopped(DgsctError):
    """The run was asked to stop, has saved its state, and goes on when started again."""

    exit_code = 75

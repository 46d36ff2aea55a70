"""Errors that a user can cause: one sentence that names the thing and the remedy, and an exit code.

Whoever reads or writes a file says himself what is wrong with it. What nobody has named (a name too long, a full disk, text in
another encoding) ends in a sentence here. A fault of the program keeps its traceback.
"""

import errno
import io
import os
import re
import select
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from traceback import walk_tb
from types import TracebackType

INTERRUPTED = 130  # as shells say it of Ctrl-C
CHECK = "check that place and run the same command again"
REMEDIES = {
    errno.ENOENT: "check the name",
    errno.EACCES: "check its permissions",
    errno.EPERM: "check its permissions",
    errno.EISDIR: "give a file, not a folder",
    errno.ENOTDIR: "a part of that path is a file, so give another",
    errno.ENAMETOOLONG: "give a shorter one",
    errno.ELOOP: "its links lead round in a circle, so mend them",
    errno.EEXIST: "remove what is there or give another name",
    errno.EROFS: "give a place that takes files",
    errno.ENOSPC: "free space on that disk and run the same command again",
    errno.EDQUOT: "free space on that disk and run the same command again",
    errno.EMFILE: "allow more open files (ulimit -n)",
}
# The system says these of files that are open already, whose name it does not repeat.
UNNAMED = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)


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

    Every entry point ends here. Names in any encoding can be printed. A reader that has gone away, as `| head` does, is told
    nothing.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with suppress(OSError, ValueError):
                stream.reconfigure(errors="backslashreplace")
    try:
        code = _flushed(work)
    except DgsctError as error:
        say(error)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except (OSError, UnicodeError, RecursionError) as error:
        if isinstance(error, RecursionError) and not _by_a_parser(error):
            raise
        if not _reader_gone():
            say(sentence(error))
        _drop_output()
        return DgsctError.exit_code
    return code if isinstance(code, int) else 0


def say(error: DgsctError | str) -> None:
    """Print a sentence to stderr as one line, whatever the names in it: no line break, no endless word."""
    words = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(error))
    words = re.sub(r"\S{1000,}", lambda word: f"{word[0][:200]}...{word[0][-100:]}", words)
    with suppress(OSError):
        print(f"dgsct: {words}", file=sys.stderr, flush=True)


def sentence(error: OSError | UnicodeError | RecursionError) -> str:
    """What is wrong, with which file, and what to do, of an error that nobody has named."""
    if isinstance(error, UnicodeEncodeError):
        word = f"{error.object[: error.start].split(' ')[-1]}{error.object[error.start :].split(' ')[0]}"
        remedy = "give it another name" if error.encoding == "utf-8" else "set LC_ALL=C.UTF-8"
        return f"{word!r} cannot be written as text in {error.encoding} ({error.reason}); {remedy}"
    place = _place(error)
    if isinstance(error, RecursionError):
        return f"{place}its values are nested too deep to be read; write or make it again"
    if isinstance(error, UnicodeError):
        return f"{place}this is no text in UTF-8 ({error}); write it in UTF-8 again"
    reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
    return f"{place}{reason}; {REMEDIES.get(error.errno or 0, CHECK)}"


def reason_of(error: OSError) -> str:
    """The system's reason and what to do, for a sentence that names the file itself."""
    return f"{error.strerror}; {REMEDIES.get(error.errno or 0, CHECK)}"


def _flushed(work: Callable[[], object]) -> object:
    """Do `work` and send off what it has printed: an output that takes nothing is an error here, not at the very end."""
    try:
        code = work()
    except SystemExit:  # as typer ends
        _flush()
        raise
    _flush()
    return code


def _flush() -> None:
    if sys.stdout is not None and not sys.stdout.closed:
        sys.stdout.flush()


def _reader_gone() -> bool:
    """Whether stdout is a pipe that nobody reads any more."""
    watch = select.poll()
    try:
        watch.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError, AttributeError):  # it is closed, or no file at all
        return False
    return any(events & select.POLLERR for _, events in watch.poll(0))


def _drop_output() -> None:
    """What is left for an output that takes nothing goes nowhere, so that the end of the process is quiet."""
    try:
        _flush()
    except OSError:
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)


def _by_a_parser(error: RecursionError) -> bool:
    """Whether it was a file's content that went too deep, and not this program."""
    *_, (last, _) = walk_tb(error.__traceback__)
    return last.f_globals.get("__name__", "").partition(".")[0] in ("json", "yaml")


def _place(error: OSError | UnicodeError | RecursionError) -> str:
    """The file that an error is about, as the beginning of a sentence; empty where that is not known."""
    name = getattr(error, "filename", None)
    if name is None and (not isinstance(error, OSError) or error.errno in UNNAMED):
        name = _file_in_hand(error.__traceback__) or "the output"
    return f"{os.fsdecode(name)}: " if isinstance(name, str | bytes | os.PathLike) else ""


def _file_in_hand(trace: TracebackType | None) -> str | Path | None:
    """The file that was being read or written, by the innermost function that holds one."""
    for frame, _ in reversed(list(walk_tb(trace))):
        values = frame.f_locals.values()
        names = (getattr(value, "name", None) for value in values if isinstance(value, io.IOBase))
        if name := next((name for name in names if isinstance(name, str)), None):
            return None if name.startswith("<") else name  # <stdout>
        if path := next((value for value in values if isinstance(value, Path)), None):
            return path
    return None

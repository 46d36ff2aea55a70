"""A command in a fork of this process: real in all but the imports, which a fresh interpreter would do for seconds."""

import ctypes
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from dgsct.engine.worker import FORWARDED, PR_SET_PDEATHSIG


class Forked:
    """`work()` in a fork; what it returns, or raises as SystemExit, is its exit code. Its output goes to the file `log`."""

    def __init__(self, work: Callable[[], object], log: Path, **environment: str) -> None:
        self.log, self.returncode = log, None
        self.pid = os.fork()
        if self.pid == 0:
            os._exit(_code_of(work, log, environment))

    def poll(self) -> int | None:
        """Its exit code, negative after a signal; None while it goes on."""
        if self.returncode is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if done else None
        return self.returncode

    def wait(self, seconds: float = 300) -> int:
        """Its exit code at its end. A fork that is not over by then is killed."""
        over = time.monotonic() + seconds
        while self.poll() is None and time.monotonic() < over:
            time.sleep(0.01)
        if self.returncode is None:
            self.send_signal(signal.SIGKILL)
            os.waitpid(self.pid, 0)
            raise TimeoutError(f"not over after {seconds:.0f} s:\n{self.said()}")
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to the fork, if it is still there."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def said(self) -> str:
        """Its output so far, of both streams."""
        return self.log.read_text() if self.log.exists() else ""


def command_line(*arguments: object) -> Callable[[], object]:
    """`dgsct ARGUMENTS`, for a fork."""

    def work() -> object:
        from dgsct.cli import main

        sys.argv = ["dgsct", *map(str, arguments)]
        return main()

    return work


def _code_of(work: Callable[[], object], log: Path, environment: dict[str, str]) -> int:
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        for number in (*FORWARDED, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        with open(log, "ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        sys.stdout, sys.stderr = (open(fd, "w", 1, closefd=False) for fd in (1, 2))  # noqa: SIM115 - they end with it
        os.environ.update(environment)
        code = work()
        return code if isinstance(code, int) else 0
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()

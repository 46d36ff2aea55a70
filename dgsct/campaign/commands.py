"""Programs of this machine, asked with a time limit: what they say, or in a few words why they say nothing."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """What a program said on both streams within its time (`seconds`); `problem` is empty if it ended with 0."""

    out: str
    err: str
    problem: str
    seconds: float


def ask(*command: str, seconds: float = 10.0, env: dict[str, str] | None = None) -> Answer:
    """Run a program for at most `seconds`, then end it with all that it started; never raises for what it does."""
    begin = time.monotonic()
    if shutil.which(command[0]) is None:
        return Answer("", "", f"{command[0]} is not installed", 0.0)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=env,
            start_new_session=True,
        )
    except OSError as error:
        return Answer("", "", f"{command[0]} cannot be started ({error.strerror})", time.monotonic() - begin)
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        _end(process)
        return Answer("", "", f"{command[0]} did not answer in {seconds:g} s", time.monotonic() - begin)
    except BaseException:
        _end(process)
        raise
    problem = ""
    if process.returncode:
        lines = (err.strip() or out.strip()).splitlines()
        problem = f"{command[0]} failed ({lines[-1].strip() if lines else f'exit code {process.returncode}'})"
    return Answer(out, err, problem, time.monotonic() - begin)


def _end(process: subprocess.Popen) -> None:
    """Kill the program's process group; one that even that does not end (a hung disk) is left behind."""
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    for stream in (process.stdout, process.stderr):
        with contextlib.suppress(OSError):
            stream.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=1.0)

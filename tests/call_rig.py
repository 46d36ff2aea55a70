"""A call of the command line in this process: everything but the start of an interpreter and its imports."""

import io
import sys
import traceback
from contextlib import chdir
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import typer

from dgsct.cli import main

command_of = cache(typer.main.get_command)  # built once for all calls, not anew for each


@dataclass(frozen=True)
class Said:
    """Exit code and both streams of one call; a fault of the program stands in `err` as a traceback."""

    code: int
    out: str
    err: str


def call(folder: Path, *arguments: object, **env: str) -> Said:
    """`dgsct ARGUMENTS` with `folder` as the working directory, and `env` beside this process's environment."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch, chdir(folder):
        patch.setattr(typer.main, "get_command", command_of)
        patch.setattr(sys, "argv", ["dgsct", *map(str, arguments)])
        for name, value in env.items():
            patch.setenv(name, value)
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:
            traceback.print_exc()
            code = 1
    return Said(code, *(stream.buffer.getvalue().decode() for stream in (out, err)))

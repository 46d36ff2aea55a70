"""A copy of the package that may be edited, asked in a process of its own: what an edit changes in keys."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

HEAD = """
import json, sys, dgsct
assert dgsct.__file__.startswith(sys.argv[1]), dgsct.__file__
"""


def copy_package(repository: Path, folder: Path) -> Path:
    """The package in `folder`."""
    return shutil.copytree(repository / "dgsct", folder / "dgsct", ignore=shutil.ignore_patterns("__pycache__"))


def ask(package: Path, question: str) -> Any:
    """What the statements `question`, whose last prints JSON, find in the package of this folder."""
    command = [sys.executable, "-c", HEAD + question, str(package)]
    env = {**os.environ, "PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=package.parent, env=env, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """Names of runs that have another hash."""
    return {name for name in before if before[name] != after[name]}


def edit(path: Path, old: str, new: str) -> None:
    """Replace the text `old`, which stands there once."""
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{path}: {text.count(old)} times {old!r}"
    path.write_text(text.replace(old, new), encoding="utf-8")

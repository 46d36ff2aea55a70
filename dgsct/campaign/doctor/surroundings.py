"""What a run finds around it: temporary files, a user and a home, a library that draws. Each is tried as a run tries it."""

import os
import pwd
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dgsct.campaign.commands import ask
from dgsct.campaign.disk import existing_folder
from dgsct.campaign.doctor import Finding
from dgsct.engine.rendezvous import REMEDY, meet
from dgsct.errors import MachineError

DRAW = """
import io
from dgsct.drawing import plain, plt
with plain():
    figure, axes = plt.subplots()
    axes.set_title("tried")
    for kind in ("png", "pdf"):
        figure.savefig(io.BytesIO(), format=kind)
"""
DRAW_SECONDS = 60.0  # the first time matplotlib makes a list of all fonts


def surroundings() -> Iterator[Finding]:
    """Everything that the environment decides."""
    yield from temporary_files()
    yield user()
    yield home()
    yield pictures()


def temporary_files() -> Iterator[Finding]:
    """Whether files and a socket can be made where short runs meet their server."""
    chosen = os.environ.get("TMPDIR")
    try:
        folder = meet()
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(1 << 16))
            file.flush()
    except (OSError, MachineError) as error:
        reason = str(error).removesuffix(f"; {REMEDY}")
        yield Finding("error", f"runs cannot meet their server: {reason}", REMEDY)
        return
    if chosen and os.path.realpath(chosen) != os.path.realpath(folder.parent):
        yield Finding("warning", f"TMPDIR ({chosen}) takes no files, so that {folder.parent} is used", REMEDY)
    yield Finding("ok", f"temporary files and sockets in {folder}")


def user() -> Finding:
    """Whether the system knows who this is; runs do without."""
    try:
        return Finding("ok", f"user {pwd.getpwuid(os.getuid()).pw_name}")
    except KeyError:
        return Finding("ok", f"user {os.environ.get('USER', os.getuid())}, whom this system does not know; runs do without")


def home() -> Finding:
    """Whether there is a home folder, and whether caches can be kept: without either Snakemake does not start; runs do."""
    folder = os.path.expanduser("~")
    if not os.path.isabs(folder):
        return Finding("error", "no home folder, without which Snakemake does not start", "export HOME=A_FOLDER_OF_YOURS")
    caches = Path(os.environ.get("XDG_CACHE_HOME") or f"{folder}/.cache")
    try:
        with tempfile.TemporaryFile(dir=existing_folder(caches)):
            return Finding("ok", f"home {folder}, caches in {caches}")
    except OSError as error:
        text = f"{caches} cannot be written ({error.strerror}), and without caches Snakemake does not start"
        return Finding("error", text, "export XDG_CACHE_HOME=A_FOLDER_OF_YOURS")


def pictures() -> Finding:
    """Whether a figure can be drawn."""
    answer = ask(sys.executable, "-c", DRAW, seconds=DRAW_SECONDS)
    if answer.problem:
        reason = answer.problem.removeprefix(sys.executable).strip()
        return Finding("error", f"no figure can be drawn: {reason}", "pip install -e '.[harness]'")
    return Finding("ok", "figures can be drawn")

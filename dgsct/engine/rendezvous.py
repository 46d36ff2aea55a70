"""Where a run and the server that carries it out meet: a folder of this user's own for temporary files, and a socket in it."""

import contextlib
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dgsct.errors import MachineError

LONGEST = 100  # bytes of a socket's name; the kernel takes 107
REMEDY = "set TMPDIR to a folder of a local disk that takes files"


@contextlib.contextmanager
def for_temporary_files() -> Iterator[None]:
    """MachineError in place of what the system says where temporary files, or sockets among them, cannot be made."""
    try:
        yield
    except OSError as error:
        where = os.environ.get("TMPDIR") or "the system's own folder"
        raise MachineError(f"no temporary files in {where} ({error.strerror or error}); {REMEDY}") from error


def own_folder() -> Path:
    """This user's folder among the temporary files; made where it is not there. MachineError if it is not safe or cannot be."""
    with for_temporary_files():
        folder = Path(tempfile.gettempdir(), f"dgsct-{os.getuid()}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        stat = folder.stat()
    if stat.st_uid != os.getuid() or stat.st_mode & 0o077:
        raise MachineError(f"{folder} belongs to somebody else or is open to others; remove it or set TMPDIR")
    return folder


@contextlib.contextmanager
def name_of(path: Path) -> Iterator[str]:
    """A name for the socket at `path` that the kernel takes however long the folder's is: by an open handle of the folder."""
    if len(os.fsencode(path)) <= LONGEST:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def meet() -> Path:
    """Make a socket in the own folder and connect to it, as a run does; returns the folder. MachineError if that fails."""
    folder = own_folder()
    path = folder / f"try-{os.getpid()}.sock"
    with for_temporary_files(), name_of(path) as name, socket.socket(socket.AF_UNIX) as listener:
        try:
            listener.bind(name)
            listener.listen(1)
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(name)
        finally:
            path.unlink(missing_ok=True)
    return folder

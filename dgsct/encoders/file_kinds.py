"""What a file is that ought to be a checkpoint, told by how it begins, whatever its ending says. No torch here."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

from dgsct.data.other_files import HEAD, other_file
from dgsct.errors import DgsctError

SAFETENSORS, TORCH, PACKED_TORCH, OLD_TORCH = "safetensors", "torch", "torch, compressed", "torch before 1.6"
OLD_MAGIC = bytes.fromhex("6cfc9c46f9206aa85019")  # the number with which torch began its files before 1.6
LONGEST_HEADER = 100_000_000  # bytes; safetensors reads no longer one
NAMED = 3

# Good files that hold no checkpoint, by how they begin.
NO_CHECKPOINTS = ((b"\x89HDF", "an HDF5 file"), (b"\x93NUMPY", "a NumPy array"), (b"GGUF", "a GGUF file"))


def format_of(path: Path) -> str:
    """In which of the four formats a checkpoint file is; DgsctError says what it is instead."""
    if (fault := strange(path)) is not None:
        raise DgsctError(f"{path} {fault[0]}; {fault[1]}")
    head = _head(path)
    if _safetensors(head):
        return SAFETENSORS
    if head[:1] == b"\x80":
        return OLD_TORCH
    return PACKED_TORCH if any(one.compress_type for one in _members(path)) else TORCH


def strange(path: Path) -> tuple[str, str] | None:
    """What a file is that is no checkpoint, and what to do about it; None for one that looks like a checkpoint."""
    if path.is_dir():
        if (path / "data.pkl").is_file() or any(path.glob("*/data.pkl")):
            return "is a torch file that was unpacked into a folder", "get it again, and don't unpack it"
        return "is a folder", "name the checkpoint file in it"
    try:
        head = _head(path)
    except OSError as error:
        return f"cannot be read: {error.strerror}", "give a checkpoint file"
    if not head:
        return "is empty", "get it again"
    if _safetensors(head):
        return None
    if head[:1] == b"\x80":
        return None if OLD_MAGIC in head[:64] else ("is a pickle that torch.save did not write", "give a checkpoint file")
    if head[:4] == b"PK\x03\x04":
        return _strange_zip(_members(path))
    for beginning, what in NO_CHECKPOINTS:
        if head.startswith(beginning):
            return f"is {what}", "give a torch or a safetensors file"
    return other_file(head) or ("is neither a torch nor a safetensors file", "get the public file again")


def _head(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(HEAD)


def _safetensors(head: bytes) -> bool:
    """Eight bytes of length, which may begin like anything, and then JSON."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= LONGEST_HEADER


def _members(path: Path) -> Sequence[zipfile.ZipInfo]:
    """What is in a zip archive; nothing if it is damaged, which torch has its own words for."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return ()


def _strange_zip(members: Sequence[zipfile.ZipInfo]) -> tuple[str, str] | None:
    names = [one.filename for one in members]
    leaves = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in leaves:
        saved = "torch.save(torch.jit.load(IN).state_dict(), OUT)"
        return "is a TorchScript archive, which holds a program", f"where you trust it, save its weights alone: {saved}"
    if not names or "data.pkl" in leaves:
        return None
    listed = ", ".join(repr(name) for name in names[:NAMED]) + (" and more" if len(names) > NAMED else "")
    return f"is a zip archive of {listed}", "unpack it, and give the checkpoint that is in it"

"""Files of clips, opened: what is missing, empty, cut off, no clip at all, or not given by the machine. Nothing is decoded."""

import errno
import os
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from functools import lru_cache
from pathlib import Path
from typing import Any

from dgsct.data.other_files import HEAD, other_file
from dgsct.errors import DgsctError, MachineError

MP4_FIRST_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"})
# What a clip may come in. Playlists (hls, concat, dash) are none of it: they name other files, which would be read instead.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "mpegts", "mpeg", "flv", "asf", "ogg", "wav", "w64", "aiff", "caf",
    "flac", "mp3", "aac", "nut", "mxf", "gxf", "dv", "rm", "ivf", "mpegvideo", "m4v", "h264", "hevc", "vc1", "yuv4mpegpipe",
)  # fmt: skip
PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"file ", b"<MPD", b"<smil", b"[playlist]", b"http://", b"https://", b"v=0")
XML_PLAYLISTS = (b"<MPD", b"<smil", b"<playlist")
# Faults that another moment or another machine would not have; a clip is not left out for them.
MACHINE = frozenset(
    getattr(errno, name) for name in ("EIO", "ESTALE", "EMFILE", "ENFILE", "ENOMEM", "ETIMEDOUT", "ENOTCONN", "EHOSTDOWN")
)


class MediaError(DgsctError):
    """A clip that cannot be used. `reason`: one of its data set's statuses other than ready."""

    def __init__(self, reason: str, message: str) -> None:
        """Both are arguments of the exception, so that it passes from one process to another."""
        super().__init__(reason, message)
        self.reason = reason

    def __str__(self) -> str:
        """The sentence alone."""
        return str(self.args[1])


def load_av() -> Any:
    """PyAV; DgsctError if it is not installed."""
    try:
        import av
    except ImportError as error:
        raise DgsctError("reading and writing video needs the package 'av'; install it with `pip install av`") from error
    return av


def absence(path: Path) -> str:
    """That a file is not there, and what lies in its place under another ending."""
    try:
        folder = path.parent.stat()
        others = _beginnings(path.parent, folder.st_mtime_ns).get(path.stem, ())
    except OSError:
        others = ()
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    beside = f" ({', '.join(others[:3])}{more} lies there, which is not read)" if others else ""
    return f"{path} does not exist{beside}"


@lru_cache(maxsize=4)
def _beginnings(folder: Path, _time: int) -> dict[str, tuple[str, ...]]:
    """The names in a folder by what stands before any of their dots: it is listed once, however many files are missing."""
    by_beginning: dict[str, tuple[str, ...]] = {}
    for name in sorted(entry.name for entry in os.scandir(folder)):
        for dot in (i for i, letter in enumerate(name) if letter == "."):
            by_beginning[name[:dot]] = (*by_beginning.get(name[:dot], ()), name)
    return by_beginning


def missing(path: Path, reason: str = "missing") -> MediaError:
    """The error of a file that is not there."""
    return MediaError(reason, f"{absence(path)}; put the file there")


def unreadable(path: Path, error: Any) -> DgsctError:
    """The error of a file that the system does not give: the clip's, unless the machine or its disk is at fault."""
    problem = f"{path} cannot be read ({error.strerror})"
    if error.errno in MACHINE:
        return MachineError(f"{problem}; look at that disk and at the limits of this machine, and start again to go on")
    return MediaError("unreadable", f"{problem}; check the file and its rights")


def broken(path: Path, problem: str) -> DgsctError:
    """The error of a file that a library breaks at, in the words `problem`; or of a disk that does not give it."""
    try:
        with open(path, "rb") as file:
            while file.read(1 << 20):
                pass
    except OSError as error:
        return unreadable(path, error)
    return MediaError("unreadable", problem)


def open_media(path: Path) -> Any:
    """The opened container; MediaError says why not: missing, empty, cut off, no video or sound file."""
    av = load_av()
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise MediaError("unreadable", f"{path} is no file; put the video there")
        problem = _cut_off(path, size) if size else None
    except FileNotFoundError:
        raise missing(path) from None
    except OSError as error:
        raise unreadable(path, error) from error
    if not size:
        raise MediaError("empty", f"{path} is empty; download it again")
    if problem:
        raise MediaError("truncated", f"{path} is cut off ({problem}); download it again")
    try:
        # Absolute: a relative name may begin like a protocol's.
        return av.open(str(path.absolute()), options={"format_whitelist": ",".join(FORMATS)})
    except (av.FFmpegError, ValueError) as error:
        if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):
            raise unreadable(path, error) from error
        if fault := _other(path):
            raise MediaError("unreadable", f"{path} {fault[0]}; {fault[1]}") from error
        raise broken(path, f"{path} cannot be opened as a video ({error}); download it again") from error


def _other(path: Path) -> tuple[str, str] | None:
    """What a file is that is no clip, and what to do; None where that is not known."""
    with open(path, "rb") as file:
        head = file.read(HEAD)
    wide = head.startswith((BOM_UTF16_LE, BOM_UTF16_BE))
    text = (head.decode("utf-16", "replace").encode() if wide else head.removeprefix(BOM_UTF8)).lstrip()
    if text.startswith(PLAYLISTS) or (text.startswith(b"<?xml") and any(tag in text for tag in XML_PLAYLISTS)):
        return "is a playlist, a text that names other files", "put the clip itself there"
    return other_file(head)


def _cut_off(path: Path, size: int) -> str | None:
    """What an mp4 or a wav file lacks, by its own lengths; None for a whole file and for any other format.

    A decoder conceals missing data, and would show an interrupted download as a shorter clip.
    """
    kinds: set[bytes] = set()
    position = 0
    with open(path, "rb") as file:
        while position < size:
            file.seek(position)
            header = file.read(16)
            kind = header[4:8]
            if not position and header[:4] == b"RIFF":
                declared = int.from_bytes(header[4:8], "little") + 8
                # Who writes to a pipe does not know the length and says the largest, or none.
                return f"it has {size} of {declared} bytes" if size < declared < 0xFFFFFF00 else None
            if not position and kind not in MP4_FIRST_BOXES:
                return None
            length = int.from_bytes(header[:4], "big")
            if length == 1:
                length = int.from_bytes(header[8:], "big")
            elif length == 0:
                length = size - position
            if length < 8 or position + length > size:
                if {b"moov", b"mdat"} <= kinds and kind not in (b"moof", b"mdat"):
                    return None  # junk behind a whole clip
                return f"it ends at byte {size}, within the part that starts at byte {position}"
            kinds.add(kind)
            position += length
    return None if b"moov" in kinds else "its index, the moov box, is missing"


def file_bytes(path: Path, absent: str) -> bytes:
    """The file's content; MediaError with the status `absent` if there is none, or if it is empty or unreadable."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise missing(path, absent) from None
    except OSError as error:
        raise unreadable(path, error) from error
    if not data:
        raise MediaError("empty", f"{path} is empty; extract the clip again")
    return data

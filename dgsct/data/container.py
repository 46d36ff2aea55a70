"""A video or sound file as a container: whether it is whole, which of its streams count, and when things happen in it.

Both streams share one timeline in seconds. It begins where the file does: with the picture or the sound, whichever comes
first; what lies before time 0 beside a picture that starts there is an encoder's run-in. Nothing is decoded here.
"""

import errno
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dgsct.errors import DgsctError, MachineError

MP4_FIRST_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"})
# What a clip may come in. Playlists (hls, concat, dash) are none of it: they name other files, which would be read instead.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "mpegts", "mpeg", "flv", "asf", "ogg", "wav", "w64", "aiff", "caf",
    "flac", "mp3", "aac", "nut", "mxf", "gxf", "dv", "rm", "ivf", "mpegvideo", "m4v", "h264", "hevc", "vc1", "yuv4mpegpipe",
)  # fmt: skip
PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"file ", b"<MPD", b"<?xml", b"[playlist]", b"v=0")
# Streams beside the main one: covers and thumbnails, comments, sound for who hears or sees badly.
BESIDE_PICTURE = ("attached_pic", "timed_thumbnails", "still_image")
BESIDE_SOUND = (
    "comment", "lyrics", "karaoke", "hearing_impaired", "visual_impaired", "clean_effects", "non_diegetic", "descriptions",
)  # fmt: skip
# Faults that another moment or another machine would not have; a clip is not left out for them.
MACHINE = frozenset(
    getattr(errno, name) for name in ("EIO", "ESTALE", "EMFILE", "ENFILE", "ENOMEM", "ETIMEDOUT", "ENOTCONN", "EHOSTDOWN")
)
TOLERANCE = 0.1  # seconds: a frame at 10 a second, or two blocks of an encoder
FINE = 240  # frames a second at which an uneven picture is looked at; a sixteenth of a second is a whole number of them
RESTART = 1.0  # seconds: a stream whose time runs back further begins anew, one that runs back less overlaps


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
        found = sorted(p.name for p in path.parent.iterdir() if p.name != path.name and p.stem == path.stem)
    except OSError:
        found = []
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    beside = f" ({', '.join(found[:3])}{more} lies there, which is not read)" if found else ""
    return f"{path} does not exist{beside}"


def missing(path: Path, reason: str = "missing") -> MediaError:
    """The error of a file that is not there."""
    return MediaError(reason, f"{absence(path)}; put the file there")


def unreadable(path: Path, error: Any) -> DgsctError:
    """The error of a file that the system does not give: the clip's, unless the machine or its disk is at fault."""
    told = f"{path} cannot be read ({error.strerror})"
    if error.errno in MACHINE:
        return MachineError(f"{told}; look at that disk and at the limits of this machine, and start again to go on")
    return MediaError("unreadable", f"{told}; check the file and its rights")


def broken(path: Path, told: str) -> DgsctError:
    """The error of a file that a library breaks at, in the words `told`; or of a disk that does not give it."""
    try:
        with open(path, "rb") as file:
            while file.read(1 << 20):
                pass
    except OSError as error:
        return unreadable(path, error)
    return MediaError("unreadable", told)


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
        if _is_playlist(path):
            told = f"{path} is a playlist, a text that names other files; put the clip itself there"
            raise MediaError("unreadable", told) from error
        raise broken(path, f"{path} cannot be opened as a video ({error}); download it again") from error


def _is_playlist(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(PLAYLISTS)


def _cut_off(path: Path, size: int) -> str | None:
    """What an mp4 or a wav file lacks, by its own lengths; None for a whole file and for any other format.

    A decoder conceals missing data, and would show an interrupted download as a shorter clip.
    """
    found: set[bytes] = set()
    position = 0
    with open(path, "rb") as file:
        while position < size:
            file.seek(position)
            header = file.read(16)
            kind = header[4:8]
            if not position and header[:4] == b"RIFF":
                said = int.from_bytes(header[4:8], "little") + 8
                # Who writes to a pipe does not know the length and says the largest, or none.
                return f"it has {size} of {said} bytes" if size < said < 0xFFFFFF00 else None
            if not position and kind not in MP4_FIRST_BOXES:
                return None
            length = int.from_bytes(header[:4], "big")
            if length == 1:
                length = int.from_bytes(header[8:], "big")
            elif length == 0:
                length = size - position
            if length < 8 or position + length > size:
                if {b"moov", b"mdat"} <= found and kind not in (b"moof", b"mdat"):
                    return None  # junk behind a whole clip
                return f"it ends at byte {size}, within the part that starts at byte {position}"
            found.add(kind)
            position += length
    return None if b"moov" in found else "its index, the moov box, is missing"


@dataclass(frozen=True)
class Timeline:
    """When things happen in a file, in seconds on its own timeline.

    `picture` and `sound` are the indices of the streams that count, None where there is none. `frames` [n] are the times
    at which frames appear, in their order on the screen, `end` is when the last one goes; `rate` is how many a second there
    are. `ends` is when the sound ends, `sampling` its rate in Hz. `origin` is the time within the file at
    which the timeline begins. `cover`: the only picture is a cover.
    """

    picture: int | None
    sound: int | None
    frames: np.ndarray
    end: float
    rate: float
    ends: float
    sampling: int
    origin: float
    cover: bool = False

    @property
    def late(self) -> float:
        """Seconds until the first frame."""
        return float(self.frames[0]) if len(self.frames) else 0.0

    @property
    def uneven(self) -> float:
        """How far a frame comes at most from where it would at a constant rate, in seconds."""
        count = len(self.frames)
        if count < 2:
            return 0.0
        points = np.append(self.frames, self.end)
        even = np.linspace(points[0], points[-1], count + 1)
        return float(np.abs(points - even).max())

    @property
    def constant(self) -> bool:
        """Whether frames follow each other at a constant rate from the beginning, so that their numbers tell their times."""
        return self.late <= TOLERANCE and self.uneven <= TOLERANCE

    def shown(self, place: int) -> int:
        """Which frame is on the screen at a place of the grid of `FINE` frames a second; the first one before it appears."""
        # Half a microsecond for times that are no binary fractions.
        return max(int(np.searchsorted(self.frames, place / FINE + 5e-7, side="right")) - 1, 0)


def read_timeline(path: Path) -> Timeline:
    """The timeline of a file by its packets' own times; MediaError as in `open_media`."""
    with open_media(path) as container:
        streams = [stream for stream in container.streams if stream.type in ("video", "audio") and stream.codec_context]
        packets = {stream.index: _Packets(float(stream.time_base)) for stream in streams}
        try:
            for packet in container.demux(streams) if streams else ():
                if packet.size and not packet.is_discard:
                    packets[packet.stream_index].add(packet)
        except (load_av().FFmpegError, ValueError, IndexError) as error:
            raise broken(path, f"{path} cannot be read to its end ({error}); download it again") from error
        count = {index: len(found.starts) for index, found in packets.items()}
        video, sound = main_picture(streams, count), main_sound(streams, count)
        rate = float(video.average_rate or video.guessed_rate or 0) if video else 0.0
        starts, ends = (np.zeros(0), np.zeros(0)) if video is None else packets[video.index].in_order(rate)
        heard, until = (np.zeros(0), np.zeros(0)) if sound is None else packets[sound.index].in_order(0.0)
        origin = _origin(starts[:1].tolist(), heard[:1].tolist())
        return Timeline(
            picture=None if video is None else video.index,
            sound=None if sound is None else sound.index,
            frames=starts - origin,
            end=float(ends.max(initial=origin)) - origin,
            rate=_pace(starts, ends, rate),
            ends=float(until.max(initial=origin)) - origin,
            sampling=0 if sound is None else sound.rate,
            origin=origin,
            cover=video is None and any(stream.type == "video" for stream in streams),
        )


def main_picture(streams: Iterable[Any], count: Mapping[int, int]) -> Any:
    """The video stream that counts: no cover, of more than one frame if there is such a one, the default, the first.

    `count` tells how many packets each stream has, by its index. None where there is none.
    """
    pictures = [s for s in streams if s.type == "video" and not _flags(s).intersection(BESIDE_PICTURE)]
    return min(pictures, key=lambda s: (count[s.index] < 2, "default" not in _flags(s), s.index), default=None)


def main_sound(streams: Iterable[Any], count: Mapping[int, int]) -> Any:
    """The audio stream that counts: one that holds something, no comment or the like, the default, the first."""
    sounds = [s for s in streams if s.type == "audio"]

    def rank(s: Any) -> tuple[Any, ...]:
        return not count[s.index], bool(_flags(s).intersection(BESIDE_SOUND)), "default" not in _flags(s), s.index

    return min(sounds, key=rank, default=None)


def _flags(stream: Any) -> set[str]:
    return {str(flag.name) for flag in stream.disposition}


class _Packets:
    """Times of one stream's packets, in seconds, made to run on where a stream begins anew."""

    def __init__(self, unit: float) -> None:
        self.unit = unit
        self.starts: list[float] = []
        self.lengths: list[float] = []
        self.known = True
        self.reach = -np.inf  # up to where packets were to be decoded
        self.shift = 0.0

    def add(self, packet: Any) -> None:
        """One packet that is shown or heard."""
        length = (packet.duration or 0) * self.unit
        decoded = (packet.dts if packet.dts is not None else packet.pts or 0) * self.unit
        if packet.pts is None:
            self.known = False
        if packet.dts is not None:
            if decoded + self.shift < self.reach - RESTART:
                self.shift = self.reach - decoded
            self.reach = max(self.reach, decoded + self.shift + length)
        self.starts.append((decoded if packet.pts is None else packet.pts * self.unit) + self.shift)
        self.lengths.append(length)

    def in_order(self, rate: float) -> tuple[np.ndarray, np.ndarray]:
        """Beginnings and ends in order of time; by `rate` where packets do not say when they are shown."""
        count = len(self.starts)
        if not self.known and rate:
            starts = np.arange(count) / rate
            return starts, starts + 1 / rate
        order = np.argsort(self.starts, kind="stable")
        starts, lengths = np.array(self.starts)[order], np.array(self.lengths)[order]
        if count and not lengths[-1]:
            lengths[-1] = np.median(np.diff(starts)) if count > 1 else 1 / rate if rate else 0.0
        return starts, starts + lengths


def _pace(starts: np.ndarray, ends: np.ndarray, said: float) -> float:
    """Frames a second: as the stream says, unless its frames take less or more time than that."""
    seconds = float(ends[-1] - starts[0]) if len(starts) else 0.0
    if seconds <= 0:
        return said
    found = len(starts) / seconds
    return said if abs(found - said) < 0.1 * found else found


def _origin(picture: list[float], sound: list[float]) -> float:
    """Where the timeline begins; each list holds the beginning of a stream, if there is one."""
    if not sound:
        return picture[0] if picture else 0.0
    heard = max(sound[0], min(picture[0], 0.0) if picture else 0.0)
    return min([*picture, heard])


def on_timeline(frames: Iterable[Any], origin: float) -> Iterator[tuple[Any, float | None]]:
    """Decoded audio frames, each with its time on the timeline, None where it does not say; a stream that begins anew runs
    on.
    """
    shift, reach = 0.0, -np.inf
    for frame in frames:
        time = None if frame.pts is None else float(frame.pts * frame.time_base) - origin + shift
        if time is not None:
            if time < reach - RESTART:
                shift, time = shift + reach - time, reach
            reach = time + frame.samples / frame.sample_rate
        yield frame, time

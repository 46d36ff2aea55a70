"""When things happen in a file, by its packets' own times, and which of its streams count.

Both streams share one timeline in seconds. It begins where the file does: with the picture or the sound, whichever comes
first; what lies before time 0 beside a picture that starts there is an encoder's run-in. Nothing is decoded here.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dgsct.data.container import broken, load_av, open_media

# Streams beside the main one: covers and thumbnails, comments, sound for who hears or sees badly.
BESIDE_PICTURE = ("attached_pic", "timed_thumbnails", "still_image")
BESIDE_SOUND = (
    "comment", "lyrics", "karaoke", "hearing_impaired", "visual_impaired", "clean_effects", "non_diegetic", "descriptions",
)  # fmt: skip
TOLERANCE = 0.1  # seconds: a frame at 10 a second, or two blocks of an encoder
FINE = 240  # frames a second at which an uneven picture is looked at; a sixteenth of a second is a whole number of them
RESTART = 1.0  # seconds: where time runs back further another recording begins, else what is there overlaps
# Formats in which recordings are put together as they are; there a jump forward of so many seconds is another one, too.
PUT_TOGETHER, JUMP = ("mpegts", "mpeg"), 10.0


@dataclass(frozen=True)
class Timeline:
    """When things happen in a file, in seconds on its own timeline.

    `picture` and `sound` are the indices of the streams that count, None where there is none. `frames` [n] are the times
    at which frames appear, in their order on the screen, `end` is when the last one goes; `rate` is how many a second there
    are. `ends` is when the sound ends, `sampling` its rate in Hz. `origin` is the time within the file at
    which the timeline begins. `cover`: the only picture is a cover. `shifts` and `jump` are what a `Clock` needs.
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
    shifts: tuple[float, ...] = (0.0,)
    jump: float = np.inf

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
        shifts, jump = [0.0], JUMP if container.format.name in PUT_TOGETHER else np.inf
        packets = {stream.index: _Packets(stream, Clock(shifts, jump)) for stream in streams}
        clocks = [each.clock for each in packets.values()]
        try:
            for packet in container.demux(streams) if streams else ():
                if packet.size and not packet.is_discard:
                    packets[packet.stream_index].add(packet, clocks)
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
            shifts=tuple(shifts),
            jump=jump,
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


class Clock:
    """Times of one stream, made to run on where the file goes over into another recording.

    `shifts[k]` seconds are added to the times of recording k, one list for all streams of a file: picture and sound stay
    together. A jump forward of `jump` seconds begins a recording, and so does time that runs back.
    """

    def __init__(self, shifts: list[float], jump: float) -> None:
        self.shifts, self.jump = shifts, jump
        self.recording = 0
        self.reach = -np.inf  # seconds up to which there is something

    def place(self, time: float, length: float, others: Iterable["Clock"] = ()) -> float:
        """The time of what lasts so long; with `others` (all clocks of the file) a shift that is not known yet is found."""
        away = time + self.shifts[self.recording] - self.reach
        if np.isfinite(away) and not -RESTART <= away <= self.jump:
            clocks = list(others)
            if self.recording + 1 == len(self.shifts) and clocks:
                self.shifts.append(max(clock.reach for clock in clocks) - time)
            self.recording = min(self.recording + 1, len(self.shifts) - 1)
        placed = time + self.shifts[self.recording]
        self.reach = max(self.reach, placed + length)
        return placed


class _Packets:
    """Times of one stream's packets, in seconds."""

    def __init__(self, stream: Any, clock: Clock) -> None:
        self.unit, self.clock = float(stream.time_base), clock
        self.starts: list[float] = []
        self.lengths: list[float] = []
        self.known = True

    def add(self, packet: Any, clocks: Iterable[Clock]) -> None:
        """One packet that is shown or heard."""
        length = (packet.duration or 0) * self.unit
        decoded = packet.dts if packet.dts is not None else packet.pts or 0
        placed = self.clock.place(decoded * self.unit, length, clocks)
        self.known = self.known and packet.pts is not None
        self.starts.append(placed + ((packet.pts if packet.pts is not None else decoded) - decoded) * self.unit)
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


def _pace(starts: np.ndarray, ends: np.ndarray, declared: float) -> float:
    """Frames a second: as the stream says, unless its frames take less or more time than that."""
    seconds = float(ends[-1] - starts[0]) if len(starts) else 0.0
    if seconds <= 0:
        return declared
    measured = len(starts) / seconds
    return declared if abs(measured - declared) < 0.1 * measured else measured


def _origin(picture: list[float], sound: list[float]) -> float:
    """Where the timeline begins; each list holds the beginning of a stream, if there is one."""
    if not sound:
        return picture[0] if picture else 0.0
    heard = max(sound[0], min(picture[0], 0.0) if picture else 0.0)
    return min([*picture, heard])


def on_timeline(frames: Iterable[Any], timeline: Timeline) -> Iterator[tuple[Any, float | None]]:
    """Decoded frames of a stream, each with its time on the timeline, None where it does not say."""
    clock = Clock(list(timeline.shifts), timeline.jump)
    for frame in frames:
        if frame.pts is None:
            yield frame, None
            continue
        lasts = getattr(frame, "samples", 0) / (getattr(frame, "sample_rate", 0) or 1)
        yield frame, clock.place(float(frame.pts * frame.time_base), lasts) - timeline.origin

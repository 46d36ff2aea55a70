"""Reading and writing of clips with PyAV: real H.264/AAC mp4 files, frames as uint8 RGB, sound as float32 mono.

`over_clips` does either for many clips at once, in a process pool.
"""

import io
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from dgsct.atomic import write_bytes_atomic
from dgsct.errors import DgsctError, UsageError
from dgsct.progress import counted

MP4_FIRST_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"})
AAC_BLOCK = 1024


class MediaError(DgsctError):
    """A clip that cannot be used. `reason`: one of its data set's statuses other than ready."""

    def __init__(self, reason: str, message: str) -> None:
        """Both are arguments of the exception, so that it passes from one process to another."""
        super().__init__(reason, message)
        self.reason = reason

    def __str__(self) -> str:
        """The sentence alone."""
        return str(self.args[1])


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise DgsctError("reading and writing video needs the package 'av'; install it with `pip install av`") from error
    return av


def write_mp4(path: Path, frames: np.ndarray, fps: int, wave: np.ndarray | None, sample_rate: int) -> None:
    """Encode `frames` [F, H, W, 3] uint8 (even H and W) at `fps` and mono `wave` [S] float32 in [-1, 1] to an mp4 file.

    One encoder thread, so that the same input gives the same bytes; the file appears whole or not at all. With `wave`
    None the file has no audio stream.
    """
    write_bytes_atomic(Path(path), _encode(frames, fps, wave, sample_rate))


def _encode(frames: np.ndarray, fps: int, wave: np.ndarray | None, sample_rate: int) -> bytes:
    av = _av()
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=fps, options={"preset": "superfast", "crf": "20", "threads": "1"})
        video.height, video.width, video.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        audio = None
        if wave is not None:
            audio = container.add_stream("aac", rate=sample_rate, layout="mono", bit_rate=96000)
        for image in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(video.encode(None))
        if audio is not None and wave is not None:
            for start in range(0, len(wave), AAC_BLOCK):
                samples = np.ascontiguousarray(wave[None, start : start + AAC_BLOCK], dtype=np.float32)
                block = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
                block.sample_rate, block.pts = sample_rate, start
                container.mux(audio.encode(block))
            container.mux(audio.encode(None))
    return buffer.getvalue()


def sampled_indices(total: int, count: int = 10) -> list[int]:
    """The release's rule: integer parts of `count` equidistant points from 1 to `total` frames, as 0-based indices."""
    return [int(x) - 1 for x in np.linspace(1, total, count)]


def read_frames(path: Path, count: int = 10) -> np.ndarray:
    """`count` equidistant frames, first and last included, as displayed: [count, H, W, 3] uint8 (AVE, section 2)."""
    return read_chosen_frames(path, lambda total, _: sampled_indices(total, count))


def read_chosen_frames(path: Path, choose: Callable[[int, float], Sequence[int]]) -> np.ndarray:
    """The frames whose 0-based indices `choose` gives for the number of frames and their rate: [n, H, W, 3] uint8.

    Packets are counted first, so that one pass of decoding keeps these images and no more.
    """
    path = Path(path)
    total, rate = _count_packets(path)
    kept, decoded = _keep_frames(path, choose(total, rate)) if total else ({}, 0)
    if decoded != total and decoded:
        # An edit list or a missing reference makes packets that never become frames: n is what can be decoded.
        total = decoded
        kept, decoded = _keep_frames(path, choose(total, rate))
    if not decoded:
        raise MediaError("unreadable", f"{path} has a video stream without a single frame; download it again")
    return np.stack([kept[i] for i in choose(total, rate)])


@dataclass(frozen=True)
class Facts:
    """What a file says of itself: seconds of video and of sound, and the sound's sampling rate (Hz)."""

    video_seconds: float
    sound_seconds: float
    rate: int


def read_facts(path: Path) -> Facts:
    """Lengths by the packets' own times, nothing decoded; MediaError as in `read_frames` and `read_audio`."""
    path = Path(path)
    with _open(path) as container:
        streams = [container.streams.video, container.streams.audio]
        for found, reason, what in zip(streams, ("no_video", "no_audio"), ("video", "audio"), strict=True):
            if not found:
                raise MediaError(reason, f"{path} has no {what} stream; download it again")
        video, sound = streams[0][0], streams[1][0]
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        for packet in container.demux(video, sound):
            start, stream = packet.pts, packet.stream_index
            if start is None or not packet.size or packet.is_discard:
                continue
            first[stream] = min(start, first.get(stream, start))
            last[stream] = max(start + (packet.duration or 0), last.get(stream, 0))
        # Samples before time 0 are the encoder's run-in, which no decoder gives out.
        ticks = {s: last.get(s.index, 0) - max(first.get(s.index, 0), 0) for s in (video, sound)}
        return Facts(float(ticks[video] * video.time_base), float(ticks[sound] * sound.time_base), sound.rate)


def read_audio(path: Path, rate: int = 32000, seconds: int = 10) -> np.ndarray:
    """Sound of a clip: [rate * seconds] float32 in [-1, 1], the mean of the channels, cut or zero-padded at the end."""
    wave = read_sound(path, rate, seconds)
    return np.pad(wave, (0, rate * seconds - len(wave)))


def read_sound(path: Path, rate: int, seconds: int) -> np.ndarray:
    """As `read_audio`, but only cut: shorter sound stays as short as it is."""
    av = _av()
    path, wanted = Path(path), rate * seconds
    chunks: list[np.ndarray] = []
    length = 0
    with _open(path) as container:
        if not container.streams.audio:
            raise MediaError("no_audio", f"{path} has no audio stream; replace it by a clip with sound")
        try:
            for block in _resampled(container.decode(audio=0), rate):
                # The mean, not swresample's mono mix: that one adds two float channels at -3 dB each and overshoots.
                chunks.append(block.to_ndarray().mean(axis=0))
                length += len(chunks[-1])
                if length >= wanted:
                    break
        except (av.FFmpegError, ValueError) as error:
            raise MediaError("unreadable", f"{path} has sound that cannot be decoded ({error}); download it again") from error
    if not chunks:
        raise MediaError("no_audio", f"{path} has an audio stream without a single sample; replace it by a clip with sound")
    return np.clip(np.concatenate(chunks)[:wanted], -1.0, 1.0).astype(np.float32)


def _resampled(frames: Iterable[Any], rate: int) -> Iterator[Any]:
    """Audio frames -> float planar frames at `rate`; a stream may change its format on the way."""
    av = _av()
    resampler, form = None, None
    for frame in frames:
        found = (frame.format.name, frame.layout.name, frame.sample_rate)
        if found != form:
            if resampler is not None:
                yield from resampler.resample(None)
            resampler, form = av.AudioResampler(format="fltp", rate=rate), found
        frame.pts = None
        yield from resampler.resample(frame)
    if resampler is not None:
        yield from resampler.resample(None)


def _count_packets(path: Path) -> tuple[int, float]:
    """How many frames the video stream says it has, and how many a second."""
    with _open(path) as container:
        if not container.streams.video:
            raise MediaError("no_video", f"{path} has no video stream; download it again")
        rate = float(container.streams.video[0].average_rate or container.streams.video[0].guessed_rate or 0)
        return sum(1 for packet in container.demux(video=0) if packet.size and not packet.is_discard), rate


def _keep_frames(path: Path, wanted: Sequence[int]) -> tuple[dict[int, np.ndarray], int]:
    """Frames at the 0-based indices `wanted`, [H, W, 3] uint8 each, and the number of frames that were decoded."""
    av = _av()
    kept: dict[int, np.ndarray] = {}
    places, decoded = set(wanted), 0
    with _open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        try:
            for i, frame in enumerate(container.decode(stream)):
                decoded = i + 1
                if i in places:
                    size = stream.codec_context
                    image = frame.to_ndarray(format="rgb24", width=size.width, height=size.height)
                    # The display matrix gives the turn in degrees, counter-clockwise, as np.rot90 counts.
                    kept[i] = np.rot90(image, round(frame.rotation / 90) % 4)
        except av.FFmpegError as error:
            where = f"breaks off after frame {decoded} ({error})"
            raise MediaError("unreadable", f"{path} {where}; download it again") from error
    return kept, decoded


def _open(path: Path) -> Any:
    av = _av()
    try:
        size = path.stat().st_size
        problem = _cut_off(path, size) if size else None
        if not path.is_file():
            raise MediaError("unreadable", f"{path} is no file; put the video there")
    except FileNotFoundError:
        raise MediaError("missing", f"{path} does not exist; put the file there") from None
    except OSError as error:
        raise MediaError("unreadable", f"{path} cannot be read ({error.strerror}); check the file and its rights") from error
    if not size:
        raise MediaError("empty", f"{path} is empty; download it again")
    if problem:
        raise MediaError("truncated", f"{path} is cut off ({problem}); download it again")
    try:
        return av.open(str(path))
    except av.FFmpegError as error:
        raise MediaError("unreadable", f"{path} cannot be opened as a video ({error}); download it again") from error


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


def processes(jobs: int | None) -> int:
    """How many processes `over_clips` uses: `jobs`, or one for each core that this process may use."""
    if jobs is not None and jobs < 1:
        raise UsageError(f"the number of processes is {jobs}; it must be at least 1")
    return jobs or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _start_worker(parent: int) -> None:
    """Signals as a worker wants them, and an end when the parent is gone: a killed one cannot say so itself."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent lets the clips in hand be finished

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def over_clips(work: Callable[[Any], Any], tasks: Sequence[Any], jobs: int | None, title: str, progress: bool) -> Iterator[Any]:
    """`work` of each task, in the tasks' order, by `jobs` processes (default: all cores this process may use)."""
    jobs = processes(jobs)
    with ProcessPoolExecutor(jobs, initializer=_start_worker, initargs=(os.getpid(),)) as pool:
        # Processes fork at the first submission, before a progress bar starts its thread.
        waiting = iter(tasks)
        window = deque(pool.submit(work, task) for task in islice(waiting, 2 * jobs))
        try:
            for _ in counted(len(tasks), title, "clips", progress):
                done = window.popleft().result()
                window.extend(pool.submit(work, task) for task in islice(waiting, 1))
                yield done
        except BrokenProcessPool as error:
            raise DgsctError(f"{title}: a process died, most likely for lack of memory; use fewer jobs") from error
        finally:
            pool.shutdown(cancel_futures=True)


def file_bytes(path: Path, absent: str) -> bytes:
    """The file's content; MediaError with the status `absent` if there is none, or if it is empty or unreadable."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise MediaError(absent, f"{path} does not exist; put the file there") from None
    except OSError as error:
        raise MediaError("unreadable", f"{path} cannot be read ({error.strerror}); check the file and its rights") from error
    if not data:
        raise MediaError("empty", f"{path} is empty; extract the clip again")
    return data

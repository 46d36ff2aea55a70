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
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from dgsct.atomic import write_bytes_atomic
from dgsct.data.container import MediaError, broken, load_av, open_media
from dgsct.data.timeline import FINE, TOLERANCE, Timeline, on_timeline, read_timeline
from dgsct.data.waves import strange_numbers
from dgsct.errors import DgsctError, UsageError
from dgsct.progress import counted

AAC_BLOCK = 1024
MOST_PROCESSES = 1000  # all of them are started at once


def write_mp4(path: Path, frames: np.ndarray, fps: int, wave: np.ndarray | None, sample_rate: int) -> None:
    """Encode `frames` [F, H, W, 3] uint8 (even H and W) at `fps` and mono `wave` [S] float32 in [-1, 1] to an mp4 file.

    One encoder thread, so that the same input gives the same bytes; the file appears whole or not at all. With `wave`
    None the file has no audio stream.
    """
    write_bytes_atomic(Path(path), _encode(frames, fps, wave, sample_rate))


def _encode(frames: np.ndarray, fps: int, wave: np.ndarray | None, sample_rate: int) -> bytes:
    av = load_av()
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
    return Media.open(path).frames(lambda total, _: sampled_indices(total, count))


def read_audio(path: Path, rate: int = 32000, seconds: int = 10) -> np.ndarray:
    """Sound of a clip: [rate * seconds] float32 in [-1, 1], the mean of the channels, cut or zero-padded at the end."""
    wave = read_sound(path, rate, seconds)
    return np.pad(wave, (0, rate * seconds - len(wave)))


def read_sound(path: Path, rate: int, seconds: int) -> np.ndarray:
    """As `read_audio`, but only cut: shorter sound stays as short as it is."""
    return Media.open(path).sound([rate], seconds)[0]


class Media:
    """A file with picture and sound on one timeline (`dgsct.data.timeline`); `notes` collects what is odd about its times.

    `late`: the seconds after which the picture (`video`) or the `sound` begins. `gap`: the seconds of silence within the
    sound. `uneven`: how many seconds a frame comes at most from where it would at a constant rate.
    """

    def __init__(self, path: Path, timeline: Timeline) -> None:
        self.path, self.timeline = path, timeline
        self.notes: dict[str, Any] = {}

    @classmethod
    def open(cls, path: Path) -> "Media":
        """Look at the file's times; nothing is decoded. MediaError says what is wrong with it."""
        path = Path(path)
        return cls(path, read_timeline(path))

    def frames(self, choose: Callable[[int, float], Sequence[int]]) -> np.ndarray:
        """The frames at the places that `choose` gives for a number of frames and their rate: [n, H, W, 3] uint8.

        Places are frame numbers from 0 of a picture of constant rate. One that is not, or that starts late, is taken as one of
        240 frames a second, in which every frame stays until the next and the first one is there from the beginning.
        """
        timeline = self.timeline
        if timeline.picture is None:
            what = "only a cover picture" if timeline.cover else "no video stream"
            raise MediaError("no_video", f"{self.path} has {what}; download it again")
        chosen = self._chosen(choose) if len(timeline.frames) else []
        kept, times = self._decode(chosen)
        if len(times) != len(timeline.frames) and times:
            # An edit list or a missing reference makes packets that never become frames: what can be decoded counts.
            self.timeline = timeline = _with_frames(timeline, times)
            chosen = self._chosen(choose)
            kept, times = self._decode(chosen)
        if not times:
            raise MediaError("unreadable", f"{self.path} has a video stream without a single frame; download it again")
        if timeline.late > TOLERANCE:
            self._late("video", timeline.late)
        if timeline.uneven > TOLERANCE:
            self.notes["uneven"] = round(timeline.uneven, 2)
        return np.stack([kept[i] for i in chosen])

    def _chosen(self, choose: Callable[[int, float], Sequence[int]]) -> list[int]:
        """The frames to be decoded, by their numbers in the file."""
        timeline = self.timeline
        if timeline.constant:
            return list(choose(len(timeline.frames), timeline.rate))
        return [timeline.shown(place) for place in choose(max(round(timeline.end * FINE), 1), FINE)]

    def _decode(self, wanted: Sequence[int]) -> tuple[dict[int, np.ndarray], list[float | None]]:
        """Frames by number, [H, W, 3] uint8 each and all of the first one's size, and the times of all that were decoded."""
        av = load_av()
        kept: dict[int, np.ndarray] = {}
        times: list[float | None] = []
        places = set(wanted)
        with open_media(self.path) as container:
            stream = container.streams[self.timeline.picture]
            stream.thread_type = "NONE"
            try:
                for i, (frame, time) in enumerate(on_timeline(container.decode(stream), self.timeline)):
                    if not times:
                        width, height = stream.codec_context.width, stream.codec_context.height
                    times.append(time)
                    if i in places:
                        image = frame.to_ndarray(format="rgb24", width=width, height=height)
                        # The display matrix gives the turn in degrees, counter-clockwise, as np.rot90 counts.
                        kept[i] = np.rot90(image, round(frame.rotation / 90) % 4)
            except (av.FFmpegError, ValueError, IndexError) as error:
                where = f"breaks off after frame {len(times)} ({error})"
                raise broken(self.path, f"{self.path} {where}; download it again") from error
        return kept, times

    def sound(self, rates: Sequence[int], seconds: int) -> list[np.ndarray]:
        """The first `seconds` of sound at each of `rates` (Hz), decoded once: float32 in [-1, 1], [rate * seconds] or shorter.

        The mean of the channels. Samples lie where the file says that they are heard: silence fills a late start and gaps.
        """
        av, timeline = load_av(), self.timeline
        if timeline.sound is None:
            raise MediaError("no_audio", f"{self.path} has no audio stream; replace it by a clip with sound")
        tracks = [Track(rate, seconds) for rate in rates]
        with open_media(self.path) as container:
            stream = container.streams[timeline.sound]
            # What lossy codecs give beyond full scale is cut; numbers are stored as they are in these only.
            stored = stream.codec_context.name.startswith("pcm_f")
            try:
                for frame, time in on_timeline(container.decode(stream), timeline):
                    for track in tracks:
                        track.add(frame, time)
                    if all(track.full for track in tracks):
                        break
            except (av.FFmpegError, ValueError, IndexError) as error:
                problem = f"{self.path} has sound that cannot be decoded ({error}); download it again"
                raise broken(self.path, problem) from error
        if not tracks[0].heard:
            problem = f"{self.path} has an audio stream without a single sample; replace it by a clip with sound"
            raise MediaError("no_audio", problem)
        waves = [track.wave() for track in tracks]
        if not all(np.isfinite(wave).all() for wave in waves):
            raise MediaError("unreadable", f"{self.path} has sound with numbers that are not finite; make it again")
        if stored and (strange := strange_numbers(waves[0])):
            raise MediaError("wrong_range", f"{self.path} {strange}; make it again")
        waves = [np.clip(wave, -1.0, 1.0) for wave in waves]
        if tracks[0].late:
            self._late("sound", tracks[0].late)
        if tracks[0].gap:
            self.notes["gap"] = round(tracks[0].gap, 2)
        return waves

    def _late(self, what: str, seconds: float) -> None:
        self.notes["late"] = {**self.notes.get("late", {}), what: round(seconds, 2)}

    def all_notes(self, seconds: int, rate: int) -> dict[str, Any]:
        """All notes of a clip that should be `seconds` long at a sampling rate: beside those on times `short`, `long` and
        `wrong_rate` (the report of docs/odd_files.md).
        """
        timeline = self.timeline
        lengths = {} if timeline.picture is None else {"video": round(timeline.end, 2)}
        lengths["sound"] = round(timeline.ends, 2)
        notes: dict[str, Any] = {}
        if min(lengths.values()) < seconds - TOLERANCE:
            notes["short"] = lengths
        if max(lengths.values()) > seconds + 1:
            notes["long"] = lengths
        if self.timeline.sampling != rate:
            notes["wrong_rate"] = self.timeline.sampling
        return {**notes, **self.notes}


def _with_frames(timeline: Timeline, times: Sequence[float | None]) -> Timeline:
    """The timeline with the times of the frames that could be decoded."""
    if None in times:
        frames = np.linspace(timeline.frames[0], timeline.end, len(times), endpoint=False)
    else:
        frames = np.maximum.accumulate(np.array(times, dtype=float))
    return replace(timeline, frames=frames)


class Track:
    """One sampling rate's sound, put together block by block where each belongs in time.

    `late` and `gap` are the seconds of silence before and within it.
    """

    def __init__(self, rate: int, seconds: int) -> None:
        self.rate, self.wanted = rate, rate * seconds
        self.chunks: list[np.ndarray] = []
        self.length = 0
        self.late = self.gap = 0.0
        self.heard = False
        self._time = 0.0  # when the next block is due
        self._cut = 0  # samples to be dropped, of a block that overlaps with what is there
        self._resampler: Any = None
        self._form: Any = None

    @property
    def full(self) -> bool:
        """Whether nothing more is needed."""
        return self.length >= self.wanted

    def add(self, frame: Any, time: float | None) -> None:
        """One decoded block, heard at `time` (seconds; None: right after the one before)."""
        if self.full:
            return
        if time is not None and abs(time - self._time) > TOLERANCE:
            self._flush()
            self._move(time)
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if form != self._form:  # a stream may change it on the way
            self._flush()
            self._resampler, self._form = load_av().AudioResampler(format="fltp", rate=self.rate), form
        frame.pts = None
        self._time += frame.samples / frame.sample_rate
        self.heard = self.heard or bool(frame.samples)
        self._keep(self._resampler.resample(frame))

    def _move(self, time: float) -> None:
        """Go to a time: forward over silence, or back, where what follows is dropped until it is new."""
        away = round(time * self.rate) - self.length
        if away > 0:
            if self.heard:
                self.gap += time - self._time
            else:
                self.late = time
            self._append(np.zeros(min(away, self.wanted - self.length), dtype=np.float32))
        self._cut = max(-away, 0)
        self._time = time

    def _flush(self) -> None:
        if self._resampler is not None:
            self._keep(self._resampler.resample(None))
        self._resampler = self._form = None

    def _keep(self, blocks: Iterable[Any]) -> None:
        for block in blocks:
            # The mean, not swresample's mono mix: that one adds two float channels at -3 dB each and overshoots.
            samples = block.to_ndarray().mean(axis=0)
            dropped = min(self._cut, len(samples))
            self._cut -= dropped
            self._append(samples[dropped:])

    def _append(self, samples: np.ndarray) -> None:
        self.chunks.append(samples)
        self.length += len(samples)

    def wave(self) -> np.ndarray:
        """All that was heard, at most what is wanted: [n] float32, as loud as it is."""
        if not self.full:
            self._flush()
        return np.concatenate(self.chunks)[: self.wanted].astype(np.float32)


def processes(jobs: int | None) -> int:
    """How many processes `over_clips` uses: `jobs`, or one for each core that this process may use."""
    if jobs is not None and not 1 <= jobs <= MOST_PROCESSES:
        raise UsageError(f"the number of processes is {jobs}; it must be at least 1 and at most {MOST_PROCESSES}")
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

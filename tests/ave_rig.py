"""An AVE-like set of a hundred real mp4 files of every kind and oddity, and the same clips in the release's layout."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from dgsct.data.media import read_audio
from dgsct.tasks.ave.annotations import AveIndex, Row, write_index

RATES = (12, 15, 24, 25, 12.5, 30, 15, 50, 12, 60)
SIZES = ((64, 48), (48, 64), (96, 54), (80, 80), (64, 36))
HERTZ = (32000, 16000, 22050, 44100, 48000)
CATEGORIES = ("Church bell", "Bark", "Race car, auto racing")
ODD = {
    "cut_off": "truncated",
    "mute": "no_audio",
    "sound_only": "no_video",
    "zero_bytes": "empty",
    "gone": "missing",
    "web_page": "unreadable",
}
ORDINARY = 88
NOTED = ("seven_sec", "silent", "upright", "glöckchen_字", "half_min", "video_short")


def write_clip(
    path: Path,
    fps: float = 12,
    size: tuple[int, int] = (64, 48),
    rate: int = 32000,
    channels: int = 1,
    seconds: float = 10.0,
    sound_seconds: float | None = None,
    loud: float = 0.4,
    tone: float = 440.0,
) -> None:
    """A clip whose brightness runs from dark to light and whose sound is a tone with noise; H.264 and AAC."""
    rng = np.random.default_rng(round(tone))
    width, height = size
    with av.open(str(path), "w", format="mp4") as container:
        options = {"preset": "ultrafast", "threads": "1"}
        video = container.add_stream("libx264", rate=Fraction(fps), options=options) if fps else None
        layout = "stereo" if channels == 2 else "mono"
        audio = container.add_stream("aac", rate=rate, layout=layout) if rate else None
        if video:
            video.width, video.height, video.pix_fmt = width, height, "yuv420p"
            total, texture = round(seconds * fps), rng.integers(0, 40, (height, width, 3), dtype=np.uint8)
            for i in range(total):
                image = texture + np.uint8(200 * i / total)
                container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(video.encode(None))
        if audio:
            time = np.arange(round((sound_seconds or seconds) * rate)) / rate
            wave = loud * np.sin(2 * np.pi * tone * time) + loud / 8 * rng.standard_normal(len(time))
            wave = np.stack([wave, 0.5 * wave][:channels]).astype(np.float32)
            for start in range(0, wave.shape[1], 1024):
                block = np.ascontiguousarray(wave[:, start : start + 1024])
                frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
                frame.sample_rate, frame.pts = rate, start
                container.mux(audio.encode(frame))
            container.mux(audio.encode(None))


def turn(path: Path) -> None:
    """Give the first track a display matrix of a quarter turn."""
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40
    data[place : place + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def write_ave_world(root: Path) -> AveIndex:
    """100 clips: 88 ordinary ones of many kinds, six that cannot be used, six that are odd and used."""
    media = root / "AVE"
    media.mkdir(parents=True)
    ordinary = [f"clip_{i:03}" for i in range(ORDINARY)]
    for i, name in enumerate(ordinary):
        write_clip(media / f"{name}.mp4", *kind(i), tone=200 + 13 * i)
    write_clip(media / "cut_off.mp4")
    data = (media / "cut_off.mp4").read_bytes()
    (media / "cut_off.mp4").write_bytes(data[: len(data) // 2])
    write_clip(media / "mute.mp4", rate=0)
    write_clip(media / "sound_only.mp4", fps=0)
    (media / "zero_bytes.mp4").touch()
    (media / "web_page.mp4").write_text("<html>video unavailable</html>")
    write_clip(media / "seven_sec.mp4", seconds=7)
    write_clip(media / "silent.mp4", loud=0)
    write_clip(media / "upright.mp4")
    turn(media / "upright.mp4")
    write_clip(media / "glöckchen_字.mp4")
    write_clip(media / "half_min.mp4", seconds=30)
    write_clip(media / "video_short.mp4", seconds=4, sound_seconds=10)
    names = mixed(ordinary)
    rows = tuple(Row(CATEGORIES[i % 3], name, "good", i % 4, 4 + i % 7) for i, name in enumerate(names))
    places = np.arange(len(names))
    index = AveIndex(rows, CATEGORIES, {"train": places[:62], "val": places[62:77], "test": places[77:]})
    write_index(root, index, header=True)
    return index


def kind(i: int) -> tuple[float, tuple[int, int], int, int]:
    """Frame rate, size, sampling rate and channels of ordinary clip `i`: all combinations come up in turn."""
    return RATES[i % len(RATES)], SIZES[i // 2 % len(SIZES)], HERTZ[i // 3 % len(HERTZ)], 1 + i % 2


def mixed(ordinary: list[str]) -> list[str]:
    """The odd clips spread among the others."""
    names = list(ordinary)
    for i, name in enumerate([*ODD, *NOTED]):
        names.insert(8 * i + 3, name)
    return names


def write_release_layout(index: AveIndex, media: Path, root: Path, digits: int = 8) -> None:
    """The clips that can be used as jpg frames (all of them) and wave files, with the annotations beside."""
    (root / "wave").mkdir(parents=True)
    for name in index.video_ids:
        if name in ODD:
            continue
        folder = root / "frames" / name
        folder.mkdir(parents=True)
        with av.open(str(media / f"{name}.mp4")) as container:
            for i, frame in enumerate(container.decode(video=0), 1):
                image = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90) % 4)
                Image.fromarray(image).save(folder / f"{i:0{digits}}.jpg", quality=95, subsampling=0)
        np.save(root / "wave" / f"{name}.npy", read_audio(media / f"{name}.mp4"))
    write_index(root, index)

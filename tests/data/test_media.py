"""Clips: what is written is read back; what is broken is recognised and named."""

import struct
from pathlib import Path

import av
import numpy as np
import pytest

from dgsct.data.media import MediaError, over_clips, read_audio, read_frames, sampled_indices, write_mp4
from dgsct.errors import DgsctError, UsageError

RATE = 32000


def counted_frames(count: int, height: int = 48, width: int = 64) -> np.ndarray:
    """Frames that carry their own number as brightness, left half dark."""
    frames = np.zeros((count, height, width, 3), dtype=np.uint8)
    frames[:, :, width // 2 :] = (20 + 2 * np.arange(count) % 220)[:, None, None, None]
    return frames


def tone(seconds: float, frequency: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


@pytest.fixture
def clip(tmp_path) -> Path:
    path = tmp_path / "clip.mp4"
    write_mp4(path, counted_frames(100), 10, tone(10), RATE)
    return path


@pytest.mark.parametrize(
    ("total", "expected"),
    [
        (10, range(1, 11)),
        (30, (1, 4, 7, 10, 13, 17, 20, 23, 26, 30)),
        (80, (1, 9, 18, 27, 36, 44, 53, 62, 71, 80)),
        (160, (1, 18, 36, 54, 71, 89, 107, 124, 142, 160)),
    ],
)
def test_sampling_rule_of_the_fact_sheet(total, expected):
    assert [i + 1 for i in sampled_indices(total)] == list(expected)


@pytest.mark.parametrize("count", [1, 4, 30, 100])
def test_the_sampled_frames_are_read(tmp_path, count):
    frames = counted_frames(count)
    write_mp4(tmp_path / "a.mp4", frames, 10, None, RATE)
    read = read_frames(tmp_path / "a.mp4")
    assert read.shape == (10, 48, 64, 3)
    assert read.dtype == np.uint8
    wanted = frames[sampled_indices(count)]
    assert np.abs(read.astype(int) - wanted)[:, :, 40:].max() <= 4


def test_written_twice_the_bytes_are_equal_and_nothing_else_is_left(tmp_path, clip):
    write_mp4(tmp_path / "again.mp4", counted_frames(100), 10, tone(10), RATE)
    assert (tmp_path / "again.mp4").read_bytes() == clip.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.mp4", "clip.mp4"]


def test_sound_keeps_time_and_height(clip):
    wave = read_audio(clip)
    assert wave.shape == (10 * RATE,)
    assert wave.dtype == np.float32
    assert np.abs(wave[RATE:-RATE] - tone(10)[RATE:-RATE]).max() < 0.02
    assert np.abs(wave).max() <= 1


def test_sound_is_resampled_cut_and_padded(tmp_path):
    wave = tone(3)[::2]
    write_mp4(tmp_path / "low.mp4", counted_frames(30), 10, wave, RATE // 2)
    read = read_audio(tmp_path / "low.mp4")
    assert np.abs(read[RATE : 2 * RATE] - tone(3)[RATE : 2 * RATE]).max() < 0.05
    assert not read[int(3.2 * RATE) :].any()
    assert len(read_audio(tmp_path / "low.mp4", RATE, 2)) == 2 * RATE


def test_stereo_becomes_the_mean_of_both_channels(tmp_path):
    with av.open(str(tmp_path / "stereo.mp4"), "w") as container:
        audio = container.add_stream("aac", rate=RATE, layout="stereo")
        for start in range(0, 2 * RATE, 1024):
            samples = np.stack([tone(2)[start : start + 1024] * 1.8, tone(2)[start : start + 1024] * 1.4])
            block = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout="stereo")
            block.sample_rate, block.pts = RATE, start
            container.mux(audio.encode(block))
        container.mux(audio.encode(None))
    settled = read_audio(tmp_path / "stereo.mp4")[RATE // 2 : 3 * RATE // 2]
    assert np.abs(settled).max() == pytest.approx(0.8, abs=0.03)
    with pytest.raises(MediaError, match="no video stream") as caught:
        read_frames(tmp_path / "stereo.mp4")
    assert caught.value.reason == "no_video"


def test_a_clip_filmed_upright_is_turned(clip):
    data = bytearray(clip.read_bytes())
    place = data.index(b"tkhd") + 4 + 40  # the display matrix of the first track, a quarter turn clockwise
    data[place : place + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    clip.write_bytes(data)
    frames = read_frames(clip)
    assert frames.shape == (10, 64, 48, 3)
    assert frames[5, :30].max() < 20 < frames[5, 34:].min()  # the dark left half is now above


@pytest.mark.parametrize("kept", [0.05, 0.5, 0.97, 0.9999])
def test_an_interrupted_download_is_truncated(clip, kept):
    data = clip.read_bytes()
    clip.write_bytes(data[: int(kept * len(data))])
    for read in (read_frames, read_audio):
        with pytest.raises(MediaError, match="cut off") as caught:
            read(clip)
        assert caught.value.reason == "truncated"
        assert str(clip) in str(caught.value)


def test_an_interrupted_download_with_the_index_first_is_truncated(tmp_path, clip):
    with av.open(str(clip)) as old, av.open(str(tmp_path / "fast.mp4"), "w", options={"movflags": "faststart"}) as new:
        streams = {s.index: new.add_stream_from_template(s) for s in old.streams}
        for packet in old.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                new.mux(packet)
    data = (tmp_path / "fast.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert read_frames(tmp_path / "fast.mp4").shape == (10, 48, 64, 3)
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    with pytest.raises(MediaError) as caught:
        read_frames(tmp_path / "cut.mp4")
    assert caught.value.reason == "truncated"


def test_other_broken_clips_have_a_reason_and_one_sentence(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "page.mp4").write_text("<html>video unavailable</html>")
    (tmp_path / "folder.mp4").mkdir()
    write_mp4(tmp_path / "silent.mp4", counted_frames(20), 10, None, RATE)
    reasons = {
        "absent": "missing",
        "empty": "empty",
        "page": "unreadable",
        "folder": "unreadable",
        "silent": "no_audio",
    }
    for name, reason in reasons.items():
        with pytest.raises(MediaError) as caught:
            read_audio(tmp_path / f"{name}.mp4")
        assert caught.value.reason == reason
        message = str(caught.value)
        assert f"{name}.mp4" in message
        assert ";" in message
        assert "\n" not in message


def test_damage_inside_never_ends_in_another_error(clip):
    data = np.frombuffer(clip.read_bytes(), np.uint8).copy()
    rng = np.random.default_rng(0)
    reasons = set()
    for _ in range(15):
        broken = data.copy()
        broken[rng.integers(0, len(data), 300)] = rng.integers(0, 256, 300)
        clip.write_bytes(broken.tobytes())
        for read in (read_frames, read_audio):
            try:
                read(clip)
            except MediaError as error:
                reasons.add(error.reason)
    assert reasons <= {"truncated", "unreadable", "no_video", "no_audio"}


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DgsctError, match=r"cannot write .*file/a\.mp4.*; "):
        write_mp4(tmp_path / "file" / "a.mp4", counted_frames(2), 10, None, RATE)


def test_many_clips_keep_their_order_and_errors_survive_the_process():
    assert list(over_clips(str, range(30), 2, "counting", False)) == [str(i) for i in range(30)]
    with pytest.raises(MediaError, match="does not exist") as caught:
        list(over_clips(read_audio, [Path("/nowhere.mp4")], 1, "reading", False))
    assert caught.value.reason == "missing"
    with pytest.raises(UsageError, match="at least 1"):
        list(over_clips(str, [1], 0, "counting", False))

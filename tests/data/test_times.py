"""Frames and sound belong to the moments that the file says, whatever its rate, its gaps, its streams."""

import io
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from time_rig import RATE, SIDE, seconds_heard, seconds_seen, steady, tones, write_clip

from dgsct.data.container import file_bytes
from dgsct.data.media import Media, MediaError, read_audio, read_frames, read_sound, sampled_indices
from dgsct.data.packed import Packed
from dgsct.data.prepare import prepare_set
from dgsct.data.timeline import read_timeline
from dgsct.errors import MachineError
from dgsct.settings.scales import MINI
from dgsct.tasks import get_set
from dgsct.tasks.ave.annotations import AveIndex, Row, write_index
from dgsct.tasks.ave.categories import GENERATED
from dgsct.tasks.ave.decode import decode_clip
from dgsct.tasks.ave.files import AveSource
from dgsct.tasks.avs.decode import frame_indices

ALL = list(range(10))
NONE = None

# Name, moments of the frames, stretches of sound, how it is written; what is seen, what is heard, the notes' names.
CASES = [
    ("steady.mp4", steady(25), [(0, 10)], {}, ALL, ALL, set()),
    ("first fast.mp4", steady(25, 0, 5) + steady(5, 5), [(0, 10)], {"last": 0.2}, ALL, ALL, {"uneven"}),
    ("first slow.mkv", steady(5, 0, 5) + steady(25, 5), [(0, 10)], {}, ALL, ALL, {"uneven"}),
    ("in another order.mp4", steady(25, 0, 4) + steady(2, 4), [(0, 10)], {"turned": True, "last": 0.5}, ALL, ALL, {"uneven"}),
    ("a hole.mp4", steady(25, 0, 3) + steady(25, 7), [(0, 10)], {}, [0, 1, 2, 2, 2, 2, 2, 7, 8, 9], ALL, {"uneven"}),
    ("a frame that stays.mp4", steady(25, 0, 5), [(0, 10)], {"last": 5}, [0, 1, 2, 3, 4, 4, 4, 4, 4, 4], ALL, {"uneven"}),
    ("one frame.mp4", [0], [(0, 10)], {"last": 10}, [0] * 10, ALL, set()),
    ("late picture.mp4", steady(25, 2), [(0, 10)], {}, [2, 2, 2, 3, 4, 5, 6, 7, 8, 9], ALL, {"late"}),
    ("late sound.mp4", steady(25), [(2, 10)], {}, ALL, [NONE, NONE, *range(2, 10)], {"late"}),
    ("late sound.mkv", steady(25), [(4, 10)], {}, ALL, [NONE] * 4 + [4, 5, 6, 7, 8, 9], {"late"}),
    ("sound too late.mkv", steady(25), [(11, 12)], {}, ALL, [NONE] * 10, {"late", "long"}),
    ("a gap.mp4", steady(25), [(0, 3), (6, 10)], {}, ALL, [0, 1, 2, NONE, NONE, NONE, 6, 7, 8, 9], {"gap"}),
    ("two gaps.mkv", steady(25), [(0, 3), (4, 6), (8, 10)], {}, ALL, [0, 1, 2, NONE, 4, 5, NONE, NONE, 8, 9], {"gap"}),
    # The file begins with the picture, at second 1 of the scene.
    ("all at once.mkv", steady(25, 1, 5) + steady(4, 5, 11), [(2, 4), (6, 10)], {"last": 0.25},
     list(range(1, 11)), [NONE, 2, 3, NONE, NONE, 6, 7, 8, 9, NONE], {"late", "gap", "uneven", "short"}),
    ("a clock of its own.ts", steady(25), [(0, 10)], {"shift": 1000}, ALL, ALL, set()),
    ("a clock of its own, late.mkv", steady(25), [(3, 10)], {"shift": 50}, ALL, [NONE] * 3 + list(range(3, 10)), {"late"}),
    ("without times.avi", steady(25), [(0, 10)], {"codec": "mpeg4", "sound_codec": "pcm_s16le"}, ALL, ALL, set()),
    ("short.mp4", steady(10, 0, 6), [(0, 6)], {"last": 0.1},
     [0, 0, 1, 1, 2, 3, 3, 4, 5, 5], [0, 1, 2, 3, 4, 5] + [NONE] * 4, {"short"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "moments", "heard", "how", "sees", "hears", "notes"), CASES, ids=[c[0] for c in CASES])
def test_what_is_seen_and_heard_belongs_to_the_same_moment(tmp_path, name, moments, heard, how, sees, hears, notes):
    path = write_clip(tmp_path / name, moments, heard, **how)
    clip = decode_clip(AveSource("a", path, [1]), MINI)
    assert clip.status == "ready", clip.problem
    shown = read_frames(path)
    assert seconds_seen(shown) == sees
    packed = 255 * clip.arrays["frames"].astype(float)
    assert np.abs(packed.mean(axis=(1, 2, 3)) - shown.mean(axis=(1, 2, 3))).max() < 1
    assert seconds_heard(clip.arrays["wave"].ravel()) == hears
    assert set(clip.notes) - {"silent"} == notes


def test_notes_say_by_how_much(tmp_path):
    def noted(name, *args, **how):
        media = Media.open(write_clip(tmp_path / name, *args, **how))
        media.frames(lambda total, _: sampled_indices(total))
        media.sound([RATE], 10)
        return media.all_notes(10, RATE)

    late = noted("late.mp4", steady(25, 2), [(0, 10)])
    assert late == {"late": {"video": 2.0}}
    both = noted("late.mkv", steady(25), [(2, 5), (6.5, 10)])
    assert both == {"late": {"sound": pytest.approx(2, abs=0.05)}, "gap": pytest.approx(1.5, abs=0.05)}
    assert noted("uneven.mp4", steady(25, 0, 5) + steady(5, 5), last=0.2) == {"uneven": pytest.approx(10 / 3, abs=0.01)}


def test_avsbench_sees_the_end_of_each_second_at_any_rate(tmp_path):
    def seen(name, moments, start=0, **how):
        media = Media.open(write_clip(tmp_path / name, moments, [(0, 5)], **how))
        return seconds_seen(media.frames(lambda total, rate: frame_indices(total, rate, start)))

    assert seen("steady.mp4", steady(25, 0, 5)) == [0, 1, 2, 3, 4]
    assert seen("uneven.mp4", steady(25, 0, 2) + steady(4, 2, 5), last=0.25) == [0, 1, 2, 3, 4]
    assert seen("late.mp4", steady(25, 1.5, 5)) == [1, 1, 2, 3, 4]
    assert seen("slow.mp4", steady(7.5, 0, 5), last=2 / 15) == [0, 1, 2, 3, 4]
    assert seen("slower.mp4", steady(2.5, 0, 5), last=0.4) == [0, 1, 2, 3, 4]
    assert seen("slowest.mp4", steady(0.5, 0, 4), last=2) == [0, 0, 2, 2, 2]
    assert seen("cut at second 7.mp4", steady(25, 0, 1) + steady(5, 1, 5), 7, last=0.2) == [0, 1, 2, 2, 2]


def test_a_constant_rate_is_read_by_frame_numbers_as_the_release_does(tmp_path):
    path = write_clip(tmp_path / "a.mkv", steady(30), turned=True)
    timeline = read_timeline(path)
    assert timeline.constant
    assert len(timeline.frames) == 300
    chosen = []
    Media.open(path).frames(lambda total, rate: chosen.append((total, round(rate))) or sampled_indices(total))
    assert chosen == [(300, 30)]


def test_sound_that_runs_back_overlaps_or_begins_anew(tmp_path):
    def heard(name, stretches):
        write_clip(tmp_path / name, steady(5), (), last=0.2)
        with av.open(str(tmp_path / name)) as old, av.open(str(tmp_path / f"with {name}"), "w") as new:
            video = new.add_stream_from_template(old.streams.video[0])
            sound = new.add_stream("pcm_s16le", rate=RATE, layout="mono")
            for packet in old.demux(video=0):
                if packet.size:
                    packet.stream = video
                    new.mux(packet)
            for start, wave in stretches:
                block = av.AudioFrame.from_ndarray((32767 * wave[None]).astype(np.int16), format="s16", layout="mono")
                block.sample_rate, block.pts = RATE, round(start * RATE)
                new.mux(sound.encode(block))
        return seconds_heard(read_audio(tmp_path / f"with {name}"))

    again = [(0, tones(0, 4)), (3.5, tones(3.5, 10))]
    assert heard("overlap.mkv", again) == ALL


def put_together(tmp_path, first, *others):
    """MPEG-TS recordings in one file, one after the other as they are; each (moments, sound, shift of its own clock)."""
    parts = [write_clip(tmp_path / f"{i}.ts", *part[:2], shift=part[2]) for i, part in enumerate((first, *others))]
    path = tmp_path / "all.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


@pytest.mark.parametrize("shift", [-5, 25, 995, 0.5], ids=["anew", "later", "much later", "a gap"])
def test_recordings_put_together_are_one_timeline(tmp_path, shift):
    second = (steady(25, 5), [(5, 10)], shift)
    path = put_together(tmp_path, (steady(25, 0, 5), [(0, 5)], 0), second)
    clip = decode_clip(AveSource("a", path, [1]), MINI)
    heard = seconds_heard(clip.arrays["wave"].ravel())
    if shift == 0.5:  # half a second without anything, which is as it is
        assert clip.notes.keys() == {"gap", "uneven"}
        return
    assert seconds_seen(read_frames(path)) == ALL
    assert heard == ALL
    assert clip.notes == {}


def test_picture_and_sound_go_over_into_a_recording_together(tmp_path):
    first, second = (steady(25, 0, 5), [(0, 3)], 0), (steady(25, 5), [(5, 10)], -5)
    path = put_together(tmp_path, first, second)
    assert seconds_heard(read_audio(path)) == [0, 1, 2, NONE, NONE, 5, 6, 7, 8, 9]
    assert seconds_seen(read_frames(path)) == ALL
    path = put_together(tmp_path, (steady(25, 0, 3), [(0, 5)], 0), second)
    assert seconds_heard(read_audio(path)) == ALL
    assert seconds_seen(read_frames(path)) == [0, 1, 2, 2, 2, 5, 6, 7, 8, 9]


def test_a_recording_that_begins_within_a_group_of_pictures(tmp_path):
    path = put_together(tmp_path, (steady(25, 0, 5), [(0, 5)], 0), (steady(25, 5), [(5, 10)], -5))
    whole = path.read_bytes()
    start = len((tmp_path / "0.ts").read_bytes())
    path.write_bytes(whole[:start] + whole[start + 188 * 8 :])  # without its first key frame
    seen = seconds_seen(read_frames(path))
    assert seen == sorted(seen)
    assert seen[:5] == [0, 1, 2, 3, 4]


def test_a_picture_that_changes_its_size_keeps_the_first_one(tmp_path):
    path = put_together(tmp_path, (steady(25, 0, 5), [(0, 5)], 0), (steady(25, 5), [(5, 10)], -5))
    import time_rig

    small = time_rig.SIDE
    try:
        time_rig.SIDE = 2 * small
        write_clip(tmp_path / "1.ts", steady(25, 5), [(5, 10)], shift=-5)
    finally:
        time_rig.SIDE = small
    path.write_bytes((tmp_path / "0.ts").read_bytes() + (tmp_path / "1.ts").read_bytes())
    frames = read_frames(path)
    assert frames.shape == (10, small, small, 3)
    assert seconds_seen(frames) == ALL


def test_both_rates_are_read_in_one_pass_and_as_each_alone(tmp_path):
    path = write_clip(tmp_path / "a.mkv", steady(10), [(1, 4), (5, 10)])
    both = Media.open(path).sound([RATE, 16000], 10)
    for wave, rate in zip(both, (RATE, 16000), strict=True):
        assert np.array_equal(wave, read_sound(path, rate, 10))
        assert len(wave) == pytest.approx(10 * rate, abs=0.05 * rate)


def with_more(path, first: bool, **streams):
    """A file beside `path` with further streams before or after its own: a cover, or sound of a constant pitch."""
    out = path.with_name(f"more {path.name}")
    with av.open(str(path)) as old, av.open(str(out), "w") as new:
        own = {}

        def take_own() -> None:
            own.update({s.index: new.add_stream_from_template(s) for s in old.streams})

        if not first:
            take_own()
        extra = []
        for kind, disposition in streams.items():
            if kind == "cover":
                one = new.add_stream("mjpeg", rate=1)
                one.width = one.height = SIDE
                one.pix_fmt = "yuvj420p"
            else:
                one = new.add_stream("aac", rate=RATE, layout="mono")
            one.disposition = disposition
            extra.append(one)
        if first:
            take_own()
        for one in own.values():
            one.disposition = Disposition.default
        packets = []
        for one in extra:
            if one.type == "video":
                image = av.VideoFrame.from_ndarray(np.full((SIDE, SIDE, 3), 250, np.uint8), format="rgb24")
                packets += [*one.encode(image), *one.encode(None)]
            else:
                wave = (0.5 * np.sin(2 * np.pi * 6000 * np.arange(10 * RATE) / RATE)).astype(np.float32)
                block = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
                block.sample_rate, block.pts = RATE, 0
                packets += [*one.encode(block), *one.encode(None)]
        for packet in old.demux():
            if packet.size:
                packet.stream = own[packet.stream_index]
                packets.append(packet)
        for packet in sorted(packets, key=lambda p: float((p.dts or 0) * p.time_base)):
            new.mux(packet)
    return out


@pytest.mark.parametrize(
    ("name", "streams"),
    [
        ("cover.mp4", {"cover": Disposition.attached_pic}),
        ("cover.mkv", {"cover": Disposition.attached_pic | Disposition.default}),
        ("thumbnail.mkv", {"cover": Disposition.still_image}),
        ("a cover without a mark.mp4", {"cover": Disposition(0)}),
        ("comment.mkv", {"sound": Disposition.comment}),
        ("for the blind.mkv", {"sound": Disposition.visual_impaired | Disposition.default}),
        ("another language.mkv", {"sound": Disposition(0)}),
    ],
)
@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
def test_the_main_streams_count_not_the_first_ones(tmp_path, name, streams, first):
    path = with_more(write_clip(tmp_path / name, steady(10), last=0.1), first, **streams)
    with av.open(str(path)) as container:
        assert len(container.streams) == 3
    assert seconds_seen(read_frames(path)) == ALL
    assert seconds_heard(read_audio(path)) == ALL


def test_a_cover_alone_is_no_video(tmp_path):
    sound = tmp_path / "song.mp4"
    with av.open(str(sound), "w") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.width = cover.height = SIDE
        cover.pix_fmt, cover.disposition = "yuvj420p", Disposition.attached_pic
        stream = container.add_stream("aac", rate=RATE, layout="mono")
        image = av.VideoFrame.from_ndarray(np.full((SIDE, SIDE, 3), 250, np.uint8), format="rgb24")
        container.mux([*cover.encode(image), *cover.encode(None)])
        block = av.AudioFrame.from_ndarray(tones(0, 10)[None], format="fltp", layout="mono")
        block.sample_rate, block.pts = RATE, 0
        container.mux([*stream.encode(block), *stream.encode(None)])
    with pytest.raises(MediaError, match="only a cover picture") as caught:
        read_frames(sound)
    assert caught.value.reason == "no_video"


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{other}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{other}'\n",
        "file '{other}'\n",
        '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><BaseURL>{other}</BaseURL></Period></MPD>',
        "[playlist]\nFile1={other}\n",
    ],
    ids=["hls", "concat", "list", "dash", "pls"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_playlist_is_never_read_as_another_clip(tmp_path, text, encoding):
    other = write_clip(tmp_path / "other.ts", steady(10))
    (tmp_path / "clip.mp4").write_text(text.format(other=other.name), encoding=encoding)
    for read in (read_frames, read_audio):
        with pytest.raises(
            MediaError, match="is a playlist, a text that names other files; put the clip itself there"
        ) as caught:
            read(tmp_path / "clip.mp4")
        assert caught.value.reason == "unreadable"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            b"<!DOCTYPE html>\n<title>Sign in</title>",
            "is a web page, as a server sends it in place of a file; get the file again",
        ),
        (b'<?xml version="1.0"?><Error>AccessDenied</Error>', "is a web page, as a server sends it"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 91509\n",
            "is a Git LFS pointer, not the file itself",
        ),
        (b"ERROR: Video unavailable", "is a text that begins 'ERROR: Video unavailable'; get the file again"),
        (b"\x1f\x8b\x08\0" + bytes(range(99)), "is packed by gzip; unpack it"),
        (bytes(99), "begins with zeros only, as a download that did not finish; get it again"),
        (bytes(range(256)), "cannot be opened as a video"),
    ],
    ids=["page", "error of a store", "pointer", "words", "gzip", "zeros", "bytes"],
)
def test_what_lies_in_the_place_of_a_clip_is_named(tmp_path, content, told):
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    for read in (read_frames, read_audio):
        with pytest.raises(MediaError) as caught:
            read(path)
        assert caught.value.reason == "unreadable"
        assert str(caught.value).startswith(f"{path} {told}")


@pytest.mark.parametrize("kind", ["picture", "text", "subtitles"])
def test_what_is_no_clip_is_unreadable_even_where_it_could_be_shown(tmp_path, kind):
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "png")
    content, told = {
        "picture": (buffer.getvalue(), "cannot be opened as a video"),
        "text": (b"a long text\n" * 200, "is a text that begins 'a long text"),
        "subtitles": (b"1\n00:00:00,000 --> 00:00:10,000\nhello\n", "is a text that begins '1 00:00:00,000"),
    }[kind]
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(MediaError, match=told):
        read_frames(path)


def test_a_name_like_a_protocol_is_a_name(tmp_path, monkeypatch):
    folder = tmp_path / "concat:x"
    folder.mkdir()
    write_clip(folder / "a.mp4", steady(10), last=0.1)
    monkeypatch.chdir(tmp_path)
    assert seconds_seen(read_frames("concat:x/a.mp4")) == ALL


def test_what_lies_there_under_another_ending_is_named(tmp_path):
    (tmp_path / "a.mkv").touch()
    with pytest.raises(MediaError, match=r"does not exist \(a.mkv lies there, which is not read\); put the file there"):
        read_frames(tmp_path / "a.mp4")
    for name in ("b.mp4.part", "b.f137.mp4", "bc.mp4"):
        (tmp_path / name).touch()
    with pytest.raises(MediaError, match=r"does not exist \(b.f137.mp4, b.mp4.part lies there, which is not read\)"):
        read_frames(tmp_path / "b.mp4")


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi", "a.flv"])
def test_a_damaged_file_is_read_or_ends_in_a_sentence(tmp_path, name):
    how = {"codec": "mpeg4", "sound_codec": "pcm_s16le"} if name == "a.avi" else {}
    data = write_clip(tmp_path / name, steady(10), last=0.1, **how).read_bytes()
    rng = np.random.default_rng(0)
    for k in range(12):
        broken = np.frombuffer(data[: rng.integers(len(data))] if k % 3 == 0 else data, dtype=np.uint8).copy()
        broken[rng.integers(len(broken), size=(1, 20, 300)[k % 3])] = rng.integers(256, size=(1, 20, 300)[k % 3])
        (tmp_path / name).write_bytes(broken.tobytes())
        try:
            media = Media.open(tmp_path / name)
            assert media.frames(lambda total, _: sampled_indices(total)).shape[0] == 10
            assert all(np.isfinite(wave).all() for wave in media.sound([RATE, 16000], 10))
        except MediaError as error:
            told = str(error)
        else:
            continue
        assert told.startswith(str(tmp_path / name))
        assert "\n" not in told


def test_a_disk_that_does_not_answer_leaves_no_clip_out():
    with pytest.raises(MachineError, match=r"cannot be read \(Input/output error\); look at that disk"):
        file_bytes(Path("/proc/self/mem"), "missing")


def test_a_report_counts_them_and_the_packed_arrays_show_the_right_seconds(tmp_path):
    (tmp_path / "raw/AVE").mkdir(parents=True)
    write_clip(tmp_path / "raw/AVE/uneven.mp4", steady(25, 0, 5) + steady(5, 5), last=0.2)
    write_clip(tmp_path / "raw/AVE/late.mp4", steady(25), [(2, 10)])
    write_clip(tmp_path / "raw/AVE/gap.mp4", steady(25, 2), [(0, 3), (6, 10)])
    names = ("uneven", "late", "gap")
    rows = tuple(Row("Disc, humming", name, "good", 0, 10) for name in names)
    write_index(tmp_path / "raw", AveIndex(rows, GENERATED, {s: [i] for i, s in enumerate(("train", "val", "test"))}))
    manifest = prepare_set(get_set("ave"), tmp_path / "raw", tmp_path / "out", MINI, jobs=1, progress=False)
    counted = {note: manifest["report"][note]["ids"] for note in ("late", "gap", "uneven", "short", "long")}
    assert counted == {"late": ["late", "gap"], "gap": ["gap"], "uneven": ["uneven"], "short": [], "long": []}
    data = Packed.open(tmp_path / "out")
    seen = [(255 * clip.astype(float).mean(axis=(1, 2, 3)) / 20).round().astype(int).tolist() for clip in data.arrays["frames"]]
    assert seen == [ALL, ALL, [2, 2, 2, 3, 4, 5, 6, 7, 8, 9]]
    heard = [seconds_heard(clip.ravel()) for clip in data.arrays["wave"]]
    assert heard == [ALL, [NONE, NONE, *range(2, 10)], [0, 1, 2, NONE, NONE, NONE, 6, 7, 8, 9]]

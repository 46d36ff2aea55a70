"""A preparation that is killed, stopped, or out of disk goes on when started again, and ends with the same bytes."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from fork_rig import Forked, command_line

from dgsct.data.packed import Packed
from dgsct.data.prepare import prepare_set
from dgsct.errors import DgsctError, UsageError
from dgsct.settings.scales import MINI
from dgsct.tasks import get_set
from dgsct.tasks.ave.annotations import read_index
from dgsct.tasks.generate import write_mini

CLIPS = 40


def start(raw: Path, out: Path, said: Path) -> Forked:
    """`dgsct prepare` in a process group of its own, by two processes of its own; what it says goes to the file `said`."""
    prepare = command_line("prepare", "ave", raw, out, "--scale", "mini", "--jobs", 2)
    return Forked(lambda: (os.setsid(), prepare()), said)


def journal(out: Path) -> list[str]:
    """Whole lines of the journal, without its head."""
    path = out.with_name(f".{out.name}.partial") / "journal.jsonl"
    return path.read_text().split("\n")[1:-1] if path.exists() else []


def wait_for(condition, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def finish(raw: Path, out: Path, undisturbed: Path, capsys) -> int:
    """Started once more it ends well, and nothing else is left; how many clips were taken up."""
    capsys.readouterr()
    prepare_set(get_set("ave"), raw, out, MINI, progress=False)
    assert content(out) == content(undisturbed)
    assert sorted(path.name for path in out.parent.iterdir()) == [out.name]
    return taken_up(capsys.readouterr().out)


def taken_up(said: str) -> int:
    found = re.search(rf"^(\d+) of {CLIPS} clips are taken up", said, re.M)
    return int(found[1]) if found else 0


def test_killed_at_random_moments(forty, forty_undisturbed, tmp_path, tmp_path_factory, capsys):
    out, moments, reached = tmp_path / "packed", random.Random(7), 0
    for goal in sorted(moments.sample(range(3, 30), 2)):
        work = start(forty, out, tmp_path_factory.mktemp("said") / "said")
        wait_for(lambda goal=goal: len(journal(out)) >= goal)
        time.sleep(moments.random() / 20)
        workers = children(work.pid)
        work.send_signal(signal.SIGKILL)
        assert work.wait() == -signal.SIGKILL
        assert len(workers) == 2
        assert not out.exists()
        assert taken_up(work.said()) == reached  # what was written before the last kill was not decoded again
        reached = len(journal(out))
        wait_for(lambda workers=workers: not any(Path(f"/proc/{w}/cmdline").exists() for w in workers), 10)
    assert finish(forty, out, forty_undisturbed, capsys) == reached


@pytest.mark.parametrize(
    ("number", "group"),
    [(signal.SIGTERM, False), (signal.SIGTERM, True), (signal.SIGINT, True)],
    ids=["SIGTERM", "SIGTERM to the group", "Ctrl-C"],
)
def test_a_signal_stops_it_in_a_sentence(forty, forty_undisturbed, tmp_path, tmp_path_factory, capsys, number, group):
    out = tmp_path / "packed"
    work = start(forty, out, tmp_path_factory.mktemp("said") / "said")
    wait_for(lambda: len(journal(out)) >= 8)
    (os.killpg if group else os.kill)(work.pid, number)
    code, said = work.wait(), work.said()
    reached = len(journal(out))
    assert code == 75
    assert said.splitlines()[-1] == f"dgsct: stopped after {reached} of {CLIPS} clips; start it again to go on"
    assert "Traceback" not in said
    assert finish(forty, out, forty_undisturbed, capsys) == reached


def test_a_disk_that_fills_up_on_the_way(forty, forty_undisturbed, small_disk, tmp_path_factory, capsys):
    subprocess.run(["mount", "-o", "remount,size=160m", small_disk], check=True)
    out, filler = small_disk / "packed", small_disk / "filler"
    work = start(forty, out, tmp_path_factory.mktemp("said") / "said")
    wait_for(lambda: len(journal(out)) >= 8)
    os.kill(work.pid, signal.SIGSTOP)
    subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=1M"], capture_output=True, check=False)
    assert shutil.disk_usage(small_disk).free == 0
    os.kill(work.pid, signal.SIGCONT)
    assert work.wait() == 1
    told = f"dgsct: cannot write {out} (No space left on device); free space and start again to go on"
    assert work.said().splitlines()[-1] == told
    assert not out.exists()
    reached = len(journal(out))
    filler.unlink()
    assert finish(forty, out, forty_undisturbed, capsys) == reached >= 8


def test_a_second_one_at_the_same_time_is_refused(forty, forty_undisturbed, tmp_path):
    out = tmp_path / "packed"
    work = start(forty, out, tmp_path / "first")
    wait_for(lambda: len(journal(out)) >= 5)
    os.kill(work.pid, signal.SIGSTOP)
    second = start(forty, out, tmp_path / "second")
    assert second.wait() == 1
    told = f"dgsct: {out} is being written by another process; wait for its end, or stop it, and start again\n"
    assert second.said() == told
    os.kill(work.pid, signal.SIGCONT)
    assert work.wait() == 0
    assert content(out) == content(forty_undisturbed)


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("ave") / "raw"
    write_mini("ave", root, splits={"train": 7, "val": 1, "test": 2}, progress=False)
    return root


@pytest.fixture(scope="module")
def whole(raw) -> Path:
    prepare_set(get_set("ave"), raw, raw.parent / "packed", MINI, progress=False)
    return raw.parent / "packed"


@pytest.fixture
def stopped(raw, tmp_path) -> Path:
    """A preparation that ended without a usable clip of one split (the eighth clip, now mended): nine others are there."""
    shutil.copytree(raw, tmp_path / "raw")
    clip = tmp_path / "raw/AVE" / f"{read_index(raw).rows[7].video_id}.mp4"
    clip.write_bytes(clip.read_bytes()[:3000])
    with pytest.raises(DgsctError, match=r"no clip of split 'val' is usable \(1 truncated\)"):
        prepare_set(get_set("ave"), tmp_path / "raw", tmp_path / "packed", MINI, jobs=1, progress=False)
    shutil.copy2(raw / "AVE" / clip.name, clip)
    return tmp_path


def corrupt(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def edit(path: Path, line: int, text: str) -> None:
    lines = path.read_text().split("\n")
    lines[line] = text
    path.write_text("\n".join(lines))


WAVE = 128 + 1_280_000 * 4 + 1000  # within the fifth clip


@pytest.mark.parametrize(
    ("harm", "kept"),
    [
        (lambda raw, p: None, 7),
        (lambda raw, p: os.utime(sorted((raw / "AVE").iterdir())[0]), None),
        (lambda raw, p: corrupt(p / "wave.npy", WAVE), 4),
        (lambda raw, p: os.truncate(p / "wave.npy", WAVE), 4),
        (lambda raw, p: (p / "logmel.npy").unlink(), 0),
        (lambda raw, p: (p / "journal.jsonl").unlink(), 0),
        (lambda raw, p: edit(p / "journal.jsonl", 0, '{"key": "of other settings"}'), 0),
        (lambda raw, p: edit(p / "journal.jsonl", 3, "\0\0\0"), 2),
        (lambda raw, p: edit(p / "journal.jsonl", 3, "[]"), 2),
        (lambda raw, p: edit(p / "journal.jsonl", 3, '{"id": 1}'), 2),
        (lambda raw, p: os.truncate(p / "journal.jsonl", len("\n".join((p / "journal.jsonl").read_text().split("\n")[:3]))), 1),
    ],
    ids=["nothing", "source", "array", "short array", "no array", "no journal", "settings", "zeros", "list", "fields", "cut"],
)
def test_only_what_still_holds_is_taken_up(raw, whole, stopped, capsys, harm, kept):
    harm(stopped / "raw", stopped / ".packed.partial")
    if kept is None:
        touched = sorted((stopped / "raw/AVE").iterdir())[0].stem
        kept = min(7, [row.video_id for row in read_index(raw).rows].index(touched))
    capsys.readouterr()
    prepare_set(get_set("ave"), stopped / "raw", stopped / "packed", MINI, jobs=1, progress=False)
    said = capsys.readouterr().out
    assert (f"{kept} of 10 clips are taken up from an earlier call" in said) == bool(kept)
    assert ("taken up" in said) == bool(kept)
    got, wanted = content(stopped / "packed"), content(whole)
    if json.loads(got["source.json"])["source"] == json.loads(wanted["source.json"])["source"]:
        assert got == wanted
    else:  # the time of a source is part of what was made from it, and of nothing else
        assert {**got, "source.json": b""} == {**wanted, "source.json": b""}
    assert sorted(path.name for path in stopped.iterdir()) == ["packed", "raw"]


def test_other_sizes_begin_anew_and_the_old_folder_stays_until_the_end(raw, whole, stopped, tmp_path):
    out = tmp_path / "packed"
    shutil.copytree(whole, out)
    index = read_index(raw)
    clip = stopped / "raw/AVE" / f"{index.rows[7].video_id}.mp4"
    clip.write_bytes(b"")
    with pytest.raises(DgsctError, match="1 empty"):
        prepare_set(get_set("ave"), stopped / "raw", out, MINI, jobs=1, progress=False)
    assert Packed.open(out).manifest["coverage"]["val"] == {"present": 1, "total": 1}


def test_killed_between_the_two_renames(raw, whole, tmp_path, capsys):
    """The old folder is set aside and the new one, complete, has not taken its place yet."""
    shutil.copytree(whole, tmp_path / ".packed.old")
    shutil.copytree(raw, tmp_path / "raw")
    clip = tmp_path / "raw/AVE" / f"{read_index(raw).rows[7].video_id}.mp4"
    clip.write_bytes(b"0")
    with pytest.raises(DgsctError, match="no clip of split 'val' is usable"):
        prepare_set(get_set("ave"), tmp_path / "raw", tmp_path / "packed", MINI, jobs=1, progress=False)
    shutil.copy2(raw / "AVE" / clip.name, clip)
    prepare_set(get_set("ave"), tmp_path / "raw", tmp_path / "packed", MINI, jobs=1, progress=False)
    assert content(tmp_path / "packed") == content(whole)
    assert not (tmp_path / ".packed.old").exists()


def test_a_place_that_cannot_be_written_is_one_sentence(raw, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DgsctError, match=r"cannot write .*file/packed \(.*\); check the folder and its rights") as caught:
        prepare_set(get_set("ave"), raw, tmp_path / "file/packed", MINI)
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match=r"file holds something else"):
        prepare_set(get_set("ave"), raw, tmp_path / "file", MINI)

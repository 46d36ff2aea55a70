"""Folders behind links: what is written grows where a link leads to, and the link stays."""

import contextlib
import os
from pathlib import Path

import pytest

from dgsct.atomic import make_folder, write_text_atomic
from dgsct.data import folders
from dgsct.data.folders import growing_folder, new_folder, one_writer, partial_folder
from dgsct.errors import DgsctError, UsageError

MARK = "mark.json"


def chain(tmp_path: Path) -> Path:
    (tmp_path / "first").symlink_to("second")
    (tmp_path / "second").symlink_to(tmp_path / "big/ave")
    return tmp_path / "first"


def in_a_parent(tmp_path: Path) -> Path:
    (tmp_path / "big").mkdir()
    (tmp_path / "data").symlink_to("big")
    return tmp_path / "data/ave"


def relative(tmp_path: Path) -> Path:
    (tmp_path / "here").mkdir()
    (tmp_path / "here/packed").symlink_to("../big/ave")
    return tmp_path / "here/packed"


def absolute(tmp_path: Path) -> Path:
    (tmp_path / "big/ave").mkdir(parents=True)
    (tmp_path / "packed").symlink_to(tmp_path / "big/ave")
    return tmp_path / "packed"


def links(folder: Path) -> dict[Path, str]:
    return {path: os.readlink(path) for path in folder.rglob("*") if path.is_symlink()}


@pytest.mark.parametrize("way", [absolute, relative, chain, in_a_parent])
@pytest.mark.parametrize("kind", [new_folder, growing_folder])
def test_what_is_written_for_a_link_lies_where_it_leads_to(tmp_path, way, kind):
    """The target is there already, or not yet; a second time it is replaced."""
    out = way(tmp_path)
    before, target = links(tmp_path), tmp_path / "big/ave"
    for content in ("first", "second"):
        with one_writer(out), kind(out, MARK) as folder:
            assert folder.parent == target.parent == partial_folder(out).parent
            (folder / MARK).write_text(content)
        assert (target / MARK).read_text() == (out / MARK).read_text() == content
        assert links(tmp_path) == before
        assert [path.name for path in target.parent.iterdir()] == ["ave"]


def test_the_lock_of_a_link_is_that_of_its_target(tmp_path, monkeypatch):
    """Two names of one folder are not written at once."""
    out, asked = absolute(tmp_path), []
    monkeypatch.setattr(folders.fcntl, "lockf", lambda handle, _: asked.append(os.readlink(f"/proc/self/fd/{handle}")))
    for name in (out, tmp_path / "big/ave"):
        with one_writer(name):
            pass
    assert asked == [str(tmp_path / "big/.ave.lock")] * 2


def test_what_is_behind_a_link_is_not_lost(tmp_path):
    out = absolute(tmp_path)
    (tmp_path / "big/ave/notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"packed \(a link to .*big/ave\) holds something else"), new_folder(out, MARK):
        pass
    (tmp_path / "big/ave/notes.txt").rename(tmp_path / "notes.txt")
    (tmp_path / "big/ave/notes").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="holds something else"), new_folder(out, MARK):
        pass


def test_a_link_to_itself_and_the_root_of_a_disk_end_in_a_sentence(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match="loop is a link that leads back to itself"), new_folder(tmp_path / "loop", MARK):
        pass
    (tmp_path / "disk").symlink_to("/proc")
    with pytest.raises(UsageError, match=r"\(a link to /proc\) is the root of a disk.*folder inside"):
        growing_folder(tmp_path / "disk", MARK).__enter__()


@pytest.mark.parametrize(
    ("number", "remedy"), [(16, "may be the root of a disk"), (13, "write into .*big too"), (28, "free space")]
)
def test_a_target_that_cannot_be_replaced_ends_in_a_sentence(tmp_path, monkeypatch, number, remedy):
    """As a mount point on the same disk, or a folder of which only the inside may be written."""
    out = absolute(tmp_path)

    def rename(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with contextlib.ExitStack() as stack:
        (stack.enter_context(growing_folder(out, MARK)) / MARK).touch()
        monkeypatch.setattr(Path, "rename", rename)
        with pytest.raises(DgsctError, match=remedy):
            stack.close()


def test_a_file_behind_a_link_is_written_and_the_link_stays(tmp_path):
    (tmp_path / "record.json").symlink_to("there/real.json")
    for text in ("one", "two"):
        write_text_atomic(tmp_path / "record.json", text)
        assert (tmp_path / "there/real.json").read_text() == text
    assert os.readlink(tmp_path / "record.json") == "there/real.json"
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["real.json"]


def test_a_folder_behind_a_link_is_made(tmp_path):
    (tmp_path / "checkpoints").symlink_to("big/checkpoints")
    for _ in range(2):
        make_folder(tmp_path / "checkpoints")
    assert (tmp_path / "big/checkpoints").is_dir()
    (tmp_path / "file").touch()
    with contextlib.suppress(FileExistsError):
        make_folder(tmp_path / "file")
    assert (tmp_path / "file").is_file()

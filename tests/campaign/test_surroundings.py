"""What the doctor finds around a run: each check is tried with what breaks it."""

import os
import tempfile

import pytest
from doctor_rig import levels

from dgsct.campaign.doctor import surroundings


@pytest.fixture
def tmpdir_is(monkeypatch):
    """Another TMPDIR, as a new process would take it."""

    def change(value: object) -> None:
        monkeypatch.setenv("TMPDIR", str(value))
        monkeypatch.setattr(tempfile, "tempdir", None)

    return change


def test_temporary_files_of_any_length_are_fine(tmp_path, tmpdir_is):
    for length in (10, 157, 240):
        folder = tmp_path / ("n" * length)
        folder.mkdir()
        tmpdir_is(folder)
        (found,) = surroundings.temporary_files()
        assert (found.level, found.text) == ("ok", f"temporary files and sockets in {folder}/dgsct-{os.getuid()}")
        assert not list((folder / f"dgsct-{os.getuid()}").iterdir())


def test_a_folder_that_is_not_there_is_a_warning(tmp_path, tmpdir_is):
    tmpdir_is(tmp_path / "gone")
    found = list(surroundings.temporary_files())
    assert levels(found) == ["warning", "ok"]
    assert str(tmp_path / "gone") in found[0].text


def test_where_no_socket_can_be_made_is_an_error(tmp_path, tmpdir_is, monkeypatch):
    """Open to others; a disk without sockets; no folder at all."""
    tmpdir_is(tmp_path)
    folder = tmp_path / f"dgsct-{os.getuid()}"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    (open_to_all,) = surroundings.temporary_files()
    folder.rmdir()

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr("socket.socket.bind", refuse, raising=False)
        (no_sockets,) = surroundings.temporary_files()
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "gone")])
        tmpdir_is(tmp_path / "gone")
        (nowhere,) = surroundings.temporary_files()
    assert levels([open_to_all, no_sockets, nowhere]) == ["error"] * 3
    assert "open to others" in open_to_all.text
    assert "Operation not permitted" in no_sockets.text
    assert "No usable temporary directory" in nowhere.text
    assert all(found.remedy for found in (open_to_all, no_sockets, nowhere))


def test_a_user_that_nobody_knows_is_fine(monkeypatch):
    def unknown(number: int) -> None:
        raise KeyError("getpwuid(): uid not found")

    assert surroundings.user().level == "ok"
    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert surroundings.user().text.endswith("whom this system does not know; runs do without")


def test_a_home_that_keeps_nothing_is_an_error_as_snakemake_needs_one(monkeypatch, tmp_path):
    """One that takes files; two that do not, of which one has its caches elsewhere; none."""

    def unknown(number: int) -> None:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    found = []
    for home in (tmp_path, "/proc/self/gone", "/dev/null"):
        monkeypatch.setenv("HOME", str(home))
        found.append(surroundings.home())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    found.append(surroundings.home())
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", unknown)
    found.append(surroundings.home())
    assert levels(found) == ["ok", "error", "error", "ok", "error"]
    assert found[1].remedy == "export XDG_CACHE_HOME=A_FOLDER_OF_YOURS"


def test_a_library_that_cannot_draw_is_an_error(monkeypatch, tmp_path):
    (tmp_path / "seaborn.py").write_text("raise ValueError('another numpy')")
    assert surroundings.pictures().level == "ok"
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = surroundings.pictures()
    assert found.level == "error"
    assert "ValueError: another numpy" in found.text

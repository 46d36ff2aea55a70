"""Files that are no checkpoints: a sentence says what each is, whatever its name; and what lies beside the right name."""

import gzip
import io
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from public_rig import TINY, encoder_entries, same

from dgsct.encoders.sources import VARIABLE, WEIGHTS, remedy
from dgsct.encoders.states import state_of
from dgsct.encoders.tensor_files import read_tensors
from dgsct.errors import DgsctError

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 915090196\n"


def checkpoint() -> bytes:
    content = io.BytesIO()
    torch.save({"a": torch.arange(1000.0)}, content)
    return content.getvalue()


def tar(path: Path) -> None:
    (path.parent / "inner.pth").write_bytes(checkpoint())
    with tarfile.open(path, "w") as archive:
        archive.add(path.parent / "inner.pth", "inner.pth")


def zipped(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, checkpoint())


def unpacked(path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(checkpoint())) as archive:
        archive.extractall(path)


KINDS = {
    "empty": (lambda p: p.touch(), "is empty; get it again"),
    "folder": (lambda p: p.mkdir(), "is a folder; name the checkpoint file in it"),
    "unpacked": (unpacked, "is a torch file that was unpacked into a folder; get it again, and don't unpack it"),
    "pointer": (
        lambda p: p.write_text(POINTER),
        "is a Git LFS pointer, not the file itself; run `git lfs pull` in its repository",
    ),
    "web page": (lambda p: p.write_text("<!DOCTYPE html>\n<title>Virus scan</title>"), "is a web page, as a server sends it"),
    "upper case": (
        lambda p: p.write_text("\n\n<HTML lang='de'>"),
        "is a web page, as a server sends it in place of a file; get",
    ),
    "error of a store": (lambda p: p.write_text('<?xml version="1.0"?><Error>AccessDenied</Error>'), "is a web page, as"),
    "error of an API": (lambda p: p.write_text('{"error":{"code":404}}'), 'is a text that begins \'{"error":{"code":404}}\''),
    "words": (lambda p: p.write_text("Entry not found"), "is a text that begins 'Entry not found'; get the file again"),
    "with a mark": (lambda p: p.write_text("Zugriff für Gäste?", encoding="utf-8-sig"), "is a text that begins 'Zugriff für G"),
    "gzip": (lambda p: p.write_bytes(gzip.compress(checkpoint())), "is packed by gzip; unpack it"),
    "tar": (tar, "is a tar archive; unpack it"),
    "zip": (
        lambda p: zipped(p, "swin/x.pth", "swin/readme"),
        "is a zip archive of 'swin/x.pth', 'swin/readme'; unpack it",
    ),
    "many": (lambda p: zipped(p, *"abcde"), "is a zip archive of 'a', 'b', 'c' and more; unpack it"),
    "arrays": (lambda p: np.savez(p.open("wb"), a=np.ones(3)), "is a zip archive of 'a.npy'; unpack it"),
    "array": (lambda p: np.save(p.open("wb"), np.ones(3)), "is a NumPy array; give a torch or a safetensors file"),
    "HDF5": (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), "is an HDF5 file; give a torch or a safetensors file"),
    "holes": (
        lambda p: p.write_bytes(bytes(10_000)),
        "begins with zeros only, as a download that did not finish; get it again",
    ),
    "program": (lambda p: torch.jit.script(torch.nn.Linear(1, 1)).save(p), "is a TorchScript archive, which holds a program"),
    "bytes": (
        lambda p: p.write_bytes(bytes(range(256))),
        "is neither a torch nor a safetensors file; get the public file",
    ),
    "link": (lambda p: p.symlink_to("nowhere"), "cannot be read: No such file or directory; give a checkpoint file"),
}


@pytest.mark.parametrize("case", KINDS)
def test_what_is_no_checkpoint_is_named(tmp_path, case):
    make, sentence = KINDS[case]
    path = tmp_path / "swinv2_large_window12_192_22k.pth"
    make(path)
    with pytest.raises(DgsctError) as error:
        read_tensors(path)
    assert str(error.value).startswith(f"{path} {sentence}")
    assert "\n" not in str(error.value)


def test_a_torch_file_that_was_packed_again_is_read(tmp_path):
    """With compression it cannot be mapped: bytes in the file are not its numbers."""
    entries = encoder_entries("swin", TINY)
    torch.save(entries, tmp_path / "x.pth")
    with zipfile.ZipFile(tmp_path / "x.pth") as given, zipfile.ZipFile(tmp_path / "y.pth", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in given.namelist():
            packed.writestr(name, given.read(name))
    assert (tmp_path / "y.pth").stat().st_size < (tmp_path / "x.pth").stat().st_size
    assert same(read_tensors(tmp_path / "y.pth").tensors, entries)


NEAR = {
    "unfinished": ("htsat", "HTSAT_AudioSet_Saved_1.ckpt.part", "is a download that did not finish"),
    "of a browser": ("swin", "Unconfirmed swinv2_large_window12_192_22k.pth.crdownload", "is a download that did not finish"),
    "twice": ("swin", "swinv2_large_window12_192_22k (1).pth", "has another name (rename it if it is this file)"),
    "another ending": ("htsat", "HTSAT_AudioSet_Saved_1.bin", "has another name (rename it if it is this file)"),
    "ending hidden": ("pvt", "pvt_v2_b5.pth.txt", "has another name (rename it if it is this file)"),
    "upper case": ("vggish", "VGGish-10086976.PTH", "has another name (rename it if it is this file)"),
    "dashes": ("swin", "swinv2-large-window12-192-22k.pth", "has another name (rename it if it is this file)"),
    "another of the six": ("htsat", "HTSAT_AudioSet_Saved_2.ckpt", "has another name (rename it if it is this file)"),
    "another size": ("swin", "swinv2_base_window12_192_22k.pth", "has another name (rename it if it is this file)"),
    "a hub's name": ("swin", "model.safetensors", "has another name (rename it if it is this file)"),
}


@pytest.mark.parametrize("case", NEAR)
def test_what_lies_there_under_another_name_is_said(tmp_path, monkeypatch, case):
    encoder, name, what = NEAR[case]
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    (tmp_path / name).write_bytes(checkpoint())
    (tmp_path / "notes.txt").write_text("nothing")
    text = remedy(encoder)
    usual = WEIGHTS[encoder].usual
    assert text.startswith(
        f"no {usual} (or another name that `dgsct weights` lists) in the folder {tmp_path} ({VARIABLE}), but "
    )
    assert f", but {name!r} there {what}; get it from https://" in text
    assert "notes" not in text
    assert state_of(encoder).text == text


def test_other_things_under_the_right_name(tmp_path):
    def told(site: object = str(tmp_path)) -> str:
        return remedy("htsat", site)

    name = "HTSAT_AudioSet_Saved_1.ckpt"
    (tmp_path / name).mkdir()
    assert f"but {name!r} there is a folder (name the checkpoint file in it); get it from" in told()
    (tmp_path / name).rmdir()
    (tmp_path / name).symlink_to("elsewhere")
    assert f"but {name!r} there is a link to what does not exist" in told()
    (tmp_path / name).unlink()
    (tmp_path / "HTS-AT").mkdir()
    (tmp_path / "HTS-AT" / name).write_bytes(checkpoint())
    assert f"but 'HTS-AT/{name}' there is one folder deeper (move it up); get" in told()
    zipped(tmp_path / f"{name}.zip", name)
    assert f"but '{name}.zip' there is a zip archive of '{name}' (unpack it, and give the checkpoint" in told()
    (tmp_path / "htsat_audioset_saved_1.pth.tar").write_text(POINTER)
    assert told().count(" there ") == 3
    assert "there is a Git LFS pointer, not the file itself (run `git lfs pull`" in told()
    for other in ("PVT", "resnet50"):
        assert " but " not in remedy(other.lower(), str(tmp_path))


def test_folders_that_are_none(tmp_path):
    (tmp_path / "file").touch()
    os.mkdir(tmp_path / "folder")
    assert "in the folder nowhere (the site file), which does not exist; get it from" in remedy("swin", "nowhere")
    assert f"{tmp_path}/file (the site file), which is a file; get it from" in remedy("swin", str(tmp_path / "file"))
    said = remedy("swin", {"swin": str(tmp_path / "folder")})
    assert said.startswith(f"{tmp_path}/folder is a folder; correct weights.swin in the site file")
    assert remedy("swin", {"swin": "gone.pth"}).startswith("gone.pth does not exist; correct weights.swin")

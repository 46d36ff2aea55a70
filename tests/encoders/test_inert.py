"""`dgsct convert tensors`: the tensors of a file with Python objects, bit for bit; no code of it runs, nothing is imported."""

import argparse
import os
import subprocess
import sys
import types
import zipfile
from collections import OrderedDict, defaultdict
from pathlib import Path

import pytest
import torch
from public_rig import TINY, encoder_entries, same, write
from torch import nn

from dgsct.checkpoints.convert import tensors_alone
from dgsct.encoders.public import fit_encoder
from dgsct.encoders.tensor_files import read_tensors
from dgsct.errors import DgsctError

ZIP = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])


def absent_class(name: str, *bases: type) -> type:
    """A class of a module that is there while a file is written, and not while it is read."""
    module = sys.modules.setdefault("absent_lightning", types.ModuleType("absent_lightning"))
    made = type(name, bases or (object,), {"__module__": "absent_lightning", "__qualname__": name})
    setattr(module, name, made)
    return made


@pytest.fixture
def lightning():
    """What Lightning and its users leave in a checkpoint beside the weights."""
    attributes, early, config = (
        absent_class(name, *bases)
        for name, bases in (("AttributeDict", (dict,)), ("EarlyStopping", ()), ("Config", (argparse.Namespace,)))
    )
    choice, listed = absent_class("Choice", frozenset), absent_class("Listed", list)
    layer = nn.Linear(2, 2)
    steps = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    steps.step()
    return {
        "epoch": 3,
        "callbacks": {early: {"best": torch.tensor(0.5), "path": Path("x.ckpt")}},
        "hyper_parameters": attributes(config=config(a=1, b=[early()]), kept={choice("ab"): listed([1, early])}),
        "optimizer_states": [steps.state_dict()],
        "lr_schedulers": [defaultdict(early, a=1)],
        "loops": torch.float16,
        "scale": torch.Size([1, 2]),
        "a set": {1, 2},
        "bytes": b"abc",
        "call": os.path.join,
    }


@pytest.fixture(autouse=True)
def _no_traces():
    yield
    sys.modules.pop("absent_lightning", None)


def save(path: Path, content: object, zipped: bool) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    sys.modules.pop("absent_lightning", None)
    return path


@ZIP
def test_a_lightning_file_gives_its_tensors_to_the_bit(tmp_path, lightning, zipped):
    entries = encoder_entries("htsat", TINY)
    named = {f"sed_model.{key}": tensor for key, tensor in entries.items()}
    path = save(tmp_path / "in.ckpt", lightning | {"state_dict": OrderedDict(named)}, zipped)
    with pytest.raises(DgsctError, match=r"holds the Python object .*; save its tensors alone: `dgsct convert tensors in.ckpt"):
        read_tensors(path)
    assert tensors_alone(path, tmp_path / "out.ckpt") == (len(named), sorted(lightning))
    assert same(read_tensors(tmp_path / "out.ckpt").tensors, named)
    assert "absent_lightning" not in sys.modules
    assert same(
        fit_encoder(path, "htsat", TINY, read_tensors(tmp_path / "out.ckpt").tensors).state,
        fit_encoder(path, "htsat", TINY, entries).state,
    )


@ZIP
@pytest.mark.parametrize("wrapped", ["model", "alone", "parallel"])
def test_a_whole_module_gives_its_state_dict(tmp_path, zipped, wrapped):
    kind = absent_class("Net", nn.Sequential)
    net = kind(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Sequential(nn.Linear(4, 4, bias=False)))
    net.register_buffer("lost", torch.ones(2), persistent=False)
    net.register_buffer("kept", torch.ones(3))
    given = nn.DataParallel(net) if wrapped == "parallel" else net
    path = save(tmp_path / "in.pth", {"epoch": 1, "model": given} if wrapped == "model" else given, zipped)
    expected = net.state_dict()
    assert tensors_alone(path, tmp_path / "out.pth") == (len(expected), ["epoch"] if wrapped == "model" else [])
    assert same(read_tensors(tmp_path / "out.pth").tensors, expected)


def dtypes() -> dict[str, torch.Tensor]:
    return {
        "half": torch.arange(6).half().view(2, 3).t(),
        "brain": torch.ones(2, dtype=torch.bfloat16),
        "counter": torch.tensor(7),
        "mask": torch.tensor([True, False]),
        "parameter": nn.Parameter(torch.randn(3)),
        "part": torch.arange(1000.0)[10:13],
        "empty": torch.ones(0, 4),
    }


@ZIP
def test_every_kind_of_tensor_is_kept(tmp_path, zipped):
    entries = dtypes()
    marked = torch.ones(3)
    marked.note = "an attribute, which has another way into a pickle"
    path = save(tmp_path / "in.pth", {"state_dict": entries | {"marked": marked, "extra": argparse.Namespace()}}, zipped)
    count, left_out = tensors_alone(path, tmp_path / "out.pth")
    assert (count, left_out) == (len(entries) + 1, ["extra"])
    assert same(read_tensors(tmp_path / "out.pth").tensors, entries | {"marked": torch.ones(3)})
    assert (tmp_path / "out.pth").stat().st_size < 6000  # the part alone, without the 1000 numbers that it was cut from


class Calls:
    """What a pickle can do to who loads it."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        function, *arguments = self.call
        return function, tuple(arguments)


class Sets:
    """A pickle that gives a state to what it names: functions have attributes, too."""

    def __reduce__(self):
        return Calls, (), {"call": ()}


@ZIP
def test_no_code_runs(tmp_path, monkeypatch, zipped):
    trace = tmp_path / "trace"
    (tmp_path / "evil_module.py").write_text(f"open({str(trace)!r}, 'w')\nclass Thing: pass\n")
    module = sys.modules["evil_module"] = types.ModuleType("evil_module")
    module.Thing = type("Thing", (), {"__module__": "evil_module"})
    touch = f"open({str(trace)!r}, 'w')"
    content = {
        "state_dict": {"a": torch.ones(2)},
        "system": Calls(os.system, f"touch {trace}"),
        "mkdir": Calls(os.mkdir, str(trace)),
        "eval": Calls(eval, touch),
        "exec": Calls(exec, touch),
        "a chain": Calls(getattr, Calls(__import__, "os"), "system"),
        "called": Calls(map, eval, (touch,)),
        "in a list": [{Calls(subprocess.check_call, ("touch", str(trace))): 1}],
        "torch's own": Calls(torch.hub.load, "x", "y"),
        "a file inside": Calls(torch.storage._load_from_bytes, b"\x80\x02cos\nsystem\n."),
        "imported": module.Thing(),
        "a class": module.Thing,
        "a state": Sets(),
    }
    path = save(tmp_path / "in.ckpt", content, zipped)
    del sys.modules["evil_module"]
    monkeypatch.syspath_prepend(str(tmp_path))
    assert tensors_alone(path, tmp_path / "out.ckpt")[0] == 1
    assert not trace.exists()
    assert "evil_module" not in sys.modules
    assert read_tensors(tmp_path / "out.ckpt").tensors["a"].tolist() == [1, 1]


def test_what_builds_tensors_cannot_be_changed(tmp_path):
    """A pickle may set attributes of what it names: here of the function that makes a tensor."""
    pickled = b"\x80\x02}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n}X\x04\x00\x00\x00noteK\x01sbs."
    with zipfile.ZipFile(tmp_path / "in.pth", "w") as archive:
        for name, content in (("data.pkl", pickled), ("byteorder", b"little"), ("version", b"3\n")):
            archive.writestr(f"archive/{name}", content)
    with pytest.raises(DgsctError, match=r"holds no named tensors \(it has 'a'\)"):
        tensors_alone(tmp_path / "in.pth", tmp_path / "out.pth")
    assert not hasattr(torch._utils._rebuild_tensor_v2, "note")


def test_a_call_in_place_of_weights_is_no_tensor(tmp_path):
    trace = tmp_path / "trace"
    path = save(tmp_path / "in.pth", {"state_dict": {"a": torch.ones(1), "b": Calls(os.mkdir, str(trace))}}, True)
    assert tensors_alone(path, tmp_path / "out.pth") == (1, ["b"])
    save(path, Calls(os.mkdir, str(trace)), True)
    with pytest.raises(DgsctError, match="holds no state dict"):
        tensors_alone(path, tmp_path / "other.pth")
    assert not trace.exists()
    assert not (tmp_path / "other.pth").exists()


def cut(path: Path, share: float) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


STRANGE = {
    "a program": (lambda p: torch.jit.script(nn.Linear(2, 2)).save(p), "is a TorchScript archive, which holds a program"),
    "safetensors": (
        lambda p: write(p.with_suffix(".safetensors"), {"a": torch.ones(1)}).rename(p),
        "is a safetensors file, which holds tensors alone; use it as it is",
    ),
    "a text": (lambda p: p.write_text("epoch,loss\n1,2\n"), "is a text that begins 'epoch,loss 1,2'; get the file again"),
    "cut": (lambda p: (torch.save({"a": torch.ones(999)}, p), cut(p, 0.7)), "is truncated or damaged ("),
    "old and cut": (
        lambda p: (torch.save({"a": torch.ones(999)}, p, _use_new_zipfile_serialization=False), cut(p, 0.7)),
        "is truncated or damaged (",
    ),
    "a list": (lambda p: torch.save([torch.ones(1)], p), "holds no state dict (names and tensors)"),
    "no tensors": (lambda p: torch.save({"a": 1, "b": "c"}, p), "holds no named tensors (it has 'a', 'b')"),
    "gone": (lambda p: None, "cannot be read: No such file or directory"),
}


@pytest.mark.parametrize("case", STRANGE)
def test_what_has_no_tensors_to_save_is_one_sentence(tmp_path, case):
    make, sentence = STRANGE[case]
    path = tmp_path / "in.ckpt"
    make(path)
    with pytest.raises(DgsctError) as error:
        tensors_alone(path, tmp_path / "out.ckpt")
    assert str(error.value).startswith(f"{path} {sentence}")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out.ckpt").exists()


def test_the_command_line(tmp_path, lightning):
    save(tmp_path / "in.ckpt", {key: lightning[key] for key in ("epoch", "callbacks")} | {"state_dict": dtypes()}, True)

    def convert(*names):
        command = [sys.executable, "-m", "dgsct.cli", "convert", "tensors", *names]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    done = convert("in.ckpt", "out.ckpt")
    assert (done.returncode, done.stdout) == (0, "out.ckpt: 7 tensors written; left out: 'callbacks', 'epoch'\n"), done.stderr
    assert same(read_tensors(tmp_path / "out.ckpt").tensors, dtypes() | read_tensors(tmp_path / "out.ckpt").tensors)
    refused = convert("in.ckpt", "in.ckpt")
    assert (refused.returncode, refused.stderr) == (
        2, "dgsct: in.ckpt is the file to read, too; name another one to write\n",
    )  # fmt: skip


def test_a_tensor_whose_signs_are_to_be_turned_is_not_written_with_wrong_ones(tmp_path):
    turned = torch.tensor([1 + 2j]).conj().imag
    assert turned.is_neg()
    torch.save({"a": turned, "b": object}, tmp_path / "in.pth")
    with pytest.raises(DgsctError, match=r"a tensor that is to be read in a way of its own"):
        tensors_alone(tmp_path / "in.pth", tmp_path / "out.pth")
    assert not (tmp_path / "out.pth").exists()

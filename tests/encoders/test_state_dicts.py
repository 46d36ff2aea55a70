"""Wrappers of a state dict and prefixes of its keys: what is told apart, what is refused, and what stays as it is."""

from collections import OrderedDict

import pytest
import torch
from public_rig import TINY, encoder_entries, same, write
from safetensors.torch import save_file
from torch import nn
from torch.nn.parallel import DataParallel

from dgsct.encoders.public import fit_encoder
from dgsct.encoders.state_dicts import plain_names
from dgsct.encoders.tensor_files import read_tensors
from dgsct.errors import DgsctError

PREFIXES = {
    "module.a.w": "a.w",
    "module.module.a.w": "a.w",
    "_orig_mod.a.w": "a.w",
    "module._orig_mod.a.w": "a.w",
    "_orig_mod.module.a.w": "a.w",
    "module._orig_mod.module._orig_mod.a.w": "a.w",
    "a._orig_mod.w": "a.w",
    "a.b._orig_mod.c._orig_mod.w": "a.b.c.w",
    "_fsdp_wrapped_module.a._checkpoint_wrapped_module.w": "a.w",
}


@pytest.mark.parametrize("name", PREFIXES)
def test_what_wraps_a_model_is_no_part_of_its_names(name):
    """Beside a second key of the same kind."""
    assert plain_names([name, f"{name}2"]) == {name: PREFIXES[name], f"{name}2": f"{PREFIXES[name]}2"}


KEPT = {
    "a module of that name": ["module.w", "head.w"],
    "one deeper": ["net.module.w", "net.module.b"],
    "another word": ["modules.w", "modules.b"],
    "a parameter of that name": ["a._orig_mod", "b._orig_mod"],
    "two would be one": ["a._orig_mod.w", "a.w"],
    "part of a word": ["my_orig_mod.w", "x_orig_mod.w"],
    "nothing": [],
}


@pytest.mark.parametrize("case", KEPT)
def test_names_that_only_look_like_it_stay(case):
    assert plain_names(KEPT[case]) == {name: name for name in KEPT[case]}


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module."])
@pytest.mark.parametrize("encoder", ["swin", "htsat", "resnet50"])
def test_wrapped_encoders_are_read_as_bare_ones(tmp_path, encoder, prefix, ending):
    entries = encoder_entries(encoder, TINY)
    path = write(tmp_path / f"x{ending}", entries, prefix=prefix + ("sed_model." if encoder == "htsat" else ""))
    fitted = fit_encoder(path, encoder, TINY, read_tensors(path).tensors)
    assert same(fitted.state, fit_encoder(path, encoder, TINY, entries).state)


def test_the_wrappers_themselves(tmp_path):
    net = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 1)))
    expected = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    net[1] = torch.compile(net[1])
    for model in (
        net,
        torch.compile(net),
        DataParallel(net),
        DataParallel(torch.compile(net)),
        torch.compile(DataParallel(net)),
    ):
        torch.save(model.state_dict(), tmp_path / "x.pth")
        assert same(read_tensors(tmp_path / "x.pth").tensors, expected)


def test_keys_in_a_file_of_ours_are_as_they_are(tmp_path):
    """A guest's model may be one module of that name; the header says that a file is ours."""
    entries = {"module.a": torch.ones(1), "module.b._orig_mod.c": torch.ones(1)}
    for header in ({"run": "{}"}, {"key": "k", "epoch": "3", "tensors_sha256": "0"}):
        save_file(entries, tmp_path / "x.safetensors", header)
        assert read_tensors(tmp_path / "x.safetensors").tensors.keys() == entries.keys()
    save_file(entries, tmp_path / "x.safetensors", {"format": "pt"})
    assert read_tensors(tmp_path / "x.safetensors").tensors.keys() == {"a", "b.c"}


STATE, OTHER = OrderedDict(a=torch.ones(2)), {"a": torch.zeros(2)}
WRAPPED = {
    "bare": STATE,
    "state_dict": {"state_dict": STATE, "epoch": 1},
    "model": {"model": STATE, "optimizer": {"state": {0: OTHER}, "param_groups": [{"lr": 1.0}]}},
    "model_state_dict": {"model_state_dict": STATE, "optimizer_state_dict": {"state": {}, "param_groups": []}, "loss": 0.1},
    "net": {"net": STATE, "acc": 93.1, "epoch": 200},
    "module": {"module": STATE, "global_steps": 5},
    "two deep": {"model": {"state_dict": STATE, "cfg": {"a": 1}}},
    "with an average": {"model": STATE, "model_ema": OTHER},
    "an average of Lightning's kind": {"state_dict": STATE, "state_dict_ema": OTHER},
    "an average alone": {"ema": STATE, "step": 3},
    "with a critic": {"net": STATE, "criterion": OTHER},
    "another name": {"visual_backbone": STATE, "epoch": 1},
    "a counter beside": {"model": STATE, "epoch": torch.tensor(3)},
    "the name of a network": {"model": "swin", "state_dict": STATE},
}


@pytest.mark.parametrize("case", WRAPPED)
def test_where_a_state_dict_lies(tmp_path, case):
    torch.save(WRAPPED[case], tmp_path / "x.pth")
    assert same(read_tensors(tmp_path / "x.pth").tensors, STATE)


AMBIGUOUS = {
    "two names": ({"model": STATE, "state_dict": OTHER}, "holds several state dicts, 'model', 'state_dict'; save the one"),
    "two networks": ({"generator": STATE, "discriminator": OTHER}, "holds several state dicts, 'discriminator', 'generator'"),
    "teacher": ({"student": STATE, "teacher": OTHER, "epoch": 1}, "holds several state dicts, 'student', 'teacher'"),
    "nothing": ({"model": {}, "epoch": 1}, "holds something else than named tensors, 'epoch', 'model'"),
    "tensors beside": ({"a": torch.ones(1), "rest": STATE}, "holds something else than named tensors, 'rest'"),
    "numbers as names": ({0: torch.ones(1)}, "holds something else than named tensors, '0'"),
    "empty": ({}, "holds no state dict"),
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_what_nobody_can_tell_is_one_sentence(tmp_path, case):
    content, sentence = AMBIGUOUS[case]
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(DgsctError) as error:
        read_tensors(tmp_path / "x.pth")
    assert f"x.pth {sentence}" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("beside", [{"epoch": 1}, {"a": torch.ones(1)}])
def test_a_file_that_holds_itself_is_one_sentence(tmp_path, beside):
    content = dict(beside)
    content["model"] = content
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(DgsctError, match=r"x.pth holds something else than named tensors, .*'model'; give a checkpoint file"):
        read_tensors(tmp_path / "x.pth")

"""Public encoder files: every layout is read, every entry is accounted for, everything else is one sentence."""

import os
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from public_rig import TINY, encoder_entries, same, write

from dgsct.encoders.frontend import LogMel
from dgsct.encoders.htsat import HTSAT
from dgsct.encoders.layouts.htsat import front_end_deviation
from dgsct.encoders.public import (
    expected_keys,
    file_of,
    fit_encoder,
    module_of,
    public_key,
    recomputable,
    stored_buffers,
)
from dgsct.encoders.sources import WEIGHTS
from dgsct.encoders.swin import SwinV2
from dgsct.encoders.tensor_files import read_tensors
from dgsct.errors import DgsctError
from dgsct.settings.scales import PAPER, Scale


def load_file(module: torch.nn.Module, path: Path, encoder: str, scale: Scale) -> None:
    """A public file in our module, strictly."""
    module.load_state_dict(fit_encoder(path, encoder, scale, read_tensors(path).tensors).state)


@pytest.mark.parametrize("encoder", WEIGHTS)
def test_entries_and_parameters_are_the_public_ones(encoder):
    module = module_of(encoder, PAPER)
    buffers = stored_buffers(encoder, getattr(PAPER, encoder))
    parameters = {public_key(encoder, name): p.numel() for name, p in module.named_parameters()}
    assert sum(parameters.values()) == WEIGHTS[encoder].parameters
    assert len({public_key(encoder, key) for key in module.state_dict()} | buffers.keys()) == WEIGHTS[encoder].entries


@pytest.mark.parametrize(
    ("encoder", "line"),
    [
        ("swin", "layers.0.blocks.1.attn_mask float32 [16, 144, 144]"),
        ("swin", "layers.0.downsample.reduction.weight float32 [384, 768]"),
        ("swin", "head.weight float32 [21841, 1536]"),
        ("htsat", "sed_model.spectrogram_extractor.stft.conv_real.weight float32 [513, 1, 1024]"),
        ("htsat", "sed_model.layers.2.blocks.5.attn.relative_position_index int64 [64, 64]"),
        ("htsat", "sed_model.bn0.num_batches_tracked int64 []"),
        ("pvt", "block3.39.mlp.dwconv.dwconv.weight float32 [1280, 1, 3, 3]"),
        ("pvt", "patch_embed2.proj.weight float32 [128, 64, 3, 3]"),
        ("resnet50", "layer4.2.conv3.weight float32 [2048, 512, 1, 1]"),
        ("vggish", "embeddings.0.weight float32 [4096, 12288]"),
        ("vggish", "features.13.weight float32 [512, 512, 3, 3]"),
    ],
)
def test_expected_keys_can_be_listed(encoder, line):
    lines = expected_keys(encoder)
    assert line in lines
    assert len(lines) == len(set(lines)) == WEIGHTS[encoder].entries


def test_the_masks_of_the_paper_have_the_published_shapes():
    assert {k: tuple(t.shape) for k, t in stored_buffers("swin", PAPER.swin).items()} == {
        "layers.0.blocks.1.attn_mask": (16, 144, 144),
        "layers.1.blocks.1.attn_mask": (4, 144, 144),
    }
    stored = stored_buffers("htsat", PAPER.htsat)
    masks = {k: tuple(t.shape) for k, t in stored.items() if k.endswith("attn_mask")}
    assert masks == {
        "layers.0.blocks.1.attn_mask": (64, 64, 64),
        "layers.1.blocks.1.attn_mask": (16, 64, 64),
        **{f"layers.2.blocks.{i}.attn_mask": (4, 64, 64) for i in (1, 3, 5)},
    }
    indices = [t for k, t in stored.items() if k.endswith("relative_position_index")]
    assert len(indices) == 12
    assert all(t.shape == (64, 64) and t.dtype == torch.int64 for t in indices)


def test_an_image_encoder_of_the_papers_depths_in_both_namings(tmp_path):
    """timm 0.6 naming in a .pth below `model`, timm 1.0 naming in a .safetensors; equal weights. Where a stage is one window
    there is no mask; Swin-V2-L's 427 entries have two (test_full_size_image_encoder_in_shapes).
    """
    old, masks = encoder_entries("swin", TINY, "0.6"), len(stored_buffers("swin", TINY.swin))
    path = write(tmp_path / "old.pth", old, "model")
    fitted = fit_encoder(path, "swin", TINY, read_tensors(path).tensors)
    assert (fitted.naming, fitted.entries, len(fitted.state)) == ("timm 0.6", 425 + masks, 425)
    assert masks > 0
    assert torch.equal(fitted.state["swin.layers.1.downsample.reduction.weight"], old["layers.0.downsample.reduction.weight"])
    assert torch.equal(fitted.state["swin.head.fc.weight"], old["head.weight"])
    new = {key.removeprefix("swin."): tensor for key, tensor in fitted.state.items()}
    other = write(tmp_path / "new.safetensors", new)
    again = fit_encoder(other, "swin", TINY, read_tensors(other).tensors)
    assert (again.naming, again.entries) == ("timm 1.0", 425)
    assert same(again.state, fitted.state)


def test_full_size_image_encoder_in_shapes():
    """Swin-V2-L's entries: 427 in timm 0.6, of which two are masks that the windows give."""
    state = module_of("swin", PAPER).state_dict()
    assert len({public_key("swin", key) for key in state}) == len(state) == 425
    assert len(stored_buffers("swin", PAPER.swin)) == 2
    assert sum(tensor.numel() for tensor in state.values()) == 228_772_549


def test_full_size_sound_encoder_loads_into_the_module(tmp_path):
    entries = encoder_entries("htsat", PAPER)
    assert len(entries) == 200
    module = HTSAT(PAPER.htsat)
    load_file(module, write(tmp_path / "x.ckpt", entries, "state_dict", "sed_model."), "htsat", PAPER)
    state = module.state_dict()
    assert torch.equal(state["bn0.running_var"], entries["bn0.running_var"])
    assert torch.equal(state["frontend.mel"], entries["logmel_extractor.melW"])
    assert torch.equal(state["swin.layers.3.downsample.norm.bias"], entries["layers.2.downsample.norm.bias"])
    assert front_end_deviation(state, PAPER.htsat) == 0


FORMS = {
    "a.safetensors": (None, ""),
    "bare.pth": (None, ""),
    "model.pt": ("model", ""),
    "state.ckpt": ("state_dict", ""),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("encoder", WEIGHTS)
def test_every_wrapping_gives_the_same_weights(tmp_path, encoder, name):
    entries = encoder_entries(encoder, TINY)
    wrapper, prefix = FORMS[name]
    path = write(tmp_path / name, entries, wrapper, "sed_model." if encoder == "htsat" else prefix)
    module = file_of(encoder).encoder(getattr(TINY, encoder)).eval()
    load_file(module, path, encoder, TINY)
    assert same(module.state_dict(), fit_encoder(path, encoder, TINY, entries).state)


@pytest.mark.parametrize("prefix", ["model.", "backbone.body.", "module.net."])
@pytest.mark.parametrize("encoder", WEIGHTS)
def test_an_attribute_of_somebody_s_module_before_all_keys(tmp_path, encoder, prefix):
    entries = encoder_entries(encoder, TINY)
    path = write(tmp_path / "x.ckpt", entries, "state_dict", prefix)
    assert same(
        fit_encoder(path, encoder, TINY, read_tensors(path).tensors).state, fit_encoder(path, encoder, TINY, entries).state
    )
    some_more = {f"{prefix}{key}": tensor for key, tensor in entries.items()} | {"loss.weight": torch.ones(3)}
    with pytest.raises(DgsctError, match=r"has entries without the prefix '[a-z.]*': 'loss.weight'"):
        fit_encoder(path, encoder, TINY, some_more)


def test_torch_files_of_the_old_kind_are_read(tmp_path):
    entries = encoder_entries("swin", TINY)
    torch.save({"model": entries}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert same(read_tensors(tmp_path / "old.pth").tensors, entries)


def test_a_safetensors_header_of_any_length_is_told_from_a_pickle(tmp_path):
    for length in range(60, 60 + 260, 8):  # among them one whose first byte is that of a pickle
        path = write(tmp_path / "x.safetensors", {"k" * length: torch.ones(1)})
        assert list(read_tensors(path).tensors) == ["k" * length]


def test_indices_and_tables_of_the_authors_file_are_verified_too(tmp_path):
    entries = encoder_entries("swin", TINY) | recomputable("swin", TINY.swin)
    fitted = fit_encoder(tmp_path / "x.pth", "swin", TINY, entries)
    assert len(fitted.state) < fitted.entries - 2 * 24
    entries["layers.2.blocks.3.attn.relative_coords_table"] += 0.1
    with pytest.raises(DgsctError, match=r"'layers.2.blocks.3.attn.relative_coords_table' .* is not what the windows give"):
        fit_encoder(tmp_path / "x.pth", "swin", TINY, entries)


def rename(entries, old, new):
    return {new if key == old else key: tensor for key, tensor in entries.items()}


def without(entries, part):
    return {key: tensor for key, tensor in entries.items() if part not in key}


def edited(tensor, place, value):
    tensor = tensor.clone()
    tensor[place] = value
    return tensor


INDEX, MASK = "layers.1.blocks.0.attn.relative_position_index", "layers.0.blocks.1.attn_mask"
REFUSALS = {
    "missing": (
        "swin",
        lambda e: without(e, "norm.bias"),
        "lacks 'layers.0.downsample.norm.bias', 'layers.1.downsample.norm.bias', 'layers.2.downsample.norm.bias' and 2 more",
    ),
    "renamed": (
        "swin",
        lambda e: rename(e, "layers.1.blocks.0.attn.q_bias", "layers.1.blocks.0.attn.qbias"),
        "lacks 'layers.1.blocks.0.attn.q_bias'; it has the unknown 'layers.1.blocks.0.attn.qbias'",
    ),
    "renamed mask": (
        "swin",
        lambda e: rename(e, "layers.1.blocks.1.attn_mask", "layers.1.blocks.0.attn_mask"),
        "has the unknown 'layers.1.blocks.0.attn_mask'",
    ),
    "another mask": (
        "htsat",
        lambda e: {k: t + 1 if k.endswith("layers.0.blocks.1.attn_mask") else t for k, t in e.items()},
        "'layers.0.blocks.1.attn_mask' (float32 [16, 16, 16]) is not what the windows give",
    ),
    "another index": (
        "htsat",
        lambda e: {k: t.flip(0) if k.endswith("layers.1.blocks.0.attn.relative_position_index") else t for k, t in e.items()},
        "'layers.1.blocks.0.attn.relative_position_index' (int64 [16, 16]) is not what the windows give (int64 [16, 16]): "
        "256 of its 256 numbers differ, the first at [0, 0]: 48 instead of 24; give an unedited public file",
    ),
    "one number of an index": (
        "htsat",
        lambda e: e | {INDEX: edited(e[INDEX], (3, 5), 7)},
        "is not what the windows give (int64 [16, 16]): 1 of its 256 numbers differ, the first at [3, 5]: 7 instead of 19; ",
    ),
    "not a number in a mask": (
        "swin",
        lambda e: e | {MASK: edited(e[MASK], (2, 0, 1), float("nan"))},
        "1 of its 4096 numbers differ, the first at [2, 0, 1]: nan instead of ",
    ),
    "a table in other units": (
        "swin",
        lambda e: e | {k: t * 2 for k, t in recomputable("swin", TINY.swin).items() if k.endswith("table")},
        "'layers.0.blocks.0.attn.relative_coords_table' (float32 [1, 7, 7, 2]) is not what the windows give "
        "(float32 [1, 7, 7, 2]), like 23 more: 84 of its 98 numbers differ, the first at [0, 0, 0, 0]: -",
    ),
    "an index of short numbers": (
        "htsat",
        lambda e: e | {INDEX: e[INDEX].int()},
        "(int32 [16, 16]) is not what the windows give (int64 [16, 16]): its numbers are of another kind; give the file",
    ),
    "index of another window": (
        "htsat",
        lambda e: e | {INDEX: torch.zeros(64, 64, dtype=torch.int64)},
        "(int64 [64, 64]) is not what the windows give (int64 [16, 16]): its windows are 8 wide instead of 4; give a file of",
    ),
    "table of another window": (
        "swin",
        lambda e: e | {"layers.0.blocks.0.attn.relative_coords_table": torch.zeros(1, 15, 15, 2)},
        "its windows are 8 wide instead of 4; give a file of this size",
    ),
    "wider": (
        "swin",
        lambda e: encoder_entries("swin", replace(TINY, swin=replace(TINY.swin, embed_dim=16))),
        "; so it is Swin-V2 of another size, or with other classes; give the file that belongs to it",
    ),
    "mask of another window": (
        "swin",
        lambda e: {k: t[:2] if k == "layers.0.blocks.1.attn_mask" else t for k, t in e.items()},
        "'layers.0.blocks.1.attn_mask' (float32 [2, 16, 16]) is not what the windows give (float32 [16, 16, 16]): "
        "its pictures are cut into other windows, so they have another size; give a file of this size",
    ),
    "wrong shape": (
        "swin",
        lambda e: {**e, "patch_embed.proj.weight": torch.zeros(8, 3, 4, 5)},
        "'patch_embed.proj.weight' is float32 [8, 3, 4, 5] instead of float32 [8, 3, 4, 4]",
    ),
    "half precision": (
        "htsat",
        lambda e: {key: t.half() if t.is_floating_point() and "mask" not in key else t for key, t in e.items()},
        " is float16 [",
    ),
    "0.6 with the head of 1.0": (
        "swin",
        lambda e: {key.replace("head.", "head.fc."): tensor for key, tensor in e.items()},
        "mixes two namings: 'layers.0.downsample.",
    ),
    "other encoder": ("swin", lambda e: encoder_entries("htsat", TINY), "is HTS-AT, not Swin-V2; give the file of Swin-V2"),
    "other encoder too": ("htsat", lambda e: encoder_entries("swin", TINY, "1.0"), "is Swin-V2, not HTS-AT; give the file of"),
    "prefix lost on one": (
        "htsat",
        lambda e: {k if k == "bn0.bias" else f"sed_model.{k}": t for k, t in e.items()},
        "has entries without the prefix 'sed_model.': 'bn0.bias'",
    ),
    "other classes": (
        "htsat",
        lambda e: {**e, "head.weight": torch.zeros(50, 50), "head.bias": torch.zeros(50)},
        "'head.bias' is float32 [50] instead of float32 [7] (and 1 more)",
    ),
    "model of another size": (
        "swin",
        lambda e: encoder_entries("swin", PAPER_NARROW),
        "(float32 [16, 144, 144]) is not what the windows give (float32 [16, 16, 16]), like 1 more: its windows are 12 wide",
    ),
    "whole release": ("swin", lambda e: {f"swin.{k}": t for k, t in e.items()}, "is a whole model's checkpoint (use"),
}
PAPER_NARROW = replace(TINY, swin=replace(PAPER.swin, embed_dim=8, num_heads=(1, 1, 2, 2), num_classes=5))


@pytest.mark.parametrize("case", REFUSALS)
def test_what_does_not_fit_is_one_sentence(tmp_path, case):
    encoder, change, sentence = REFUSALS[case]
    path = write(tmp_path / "file.pth", change(encoder_entries(encoder, TINY)))
    module = SwinV2(TINY.swin) if encoder == "swin" else HTSAT(TINY.htsat)
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    with pytest.raises(DgsctError) as error:
        load_file(module, path, encoder, TINY)
    assert sentence in str(error.value)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)
    assert same(module.state_dict(), before)


class Code:
    """What an attacker puts into a checkpoint."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def cut(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


DAMAGES = {
    "truncated zip": ("x.pth", lambda p: cut(p, 0.6), "is truncated or damaged"),
    "truncated safetensors": ("x.safetensors", lambda p: cut(p, 0.6), "is truncated or damaged"),
    "truncated header": ("x.safetensors", lambda p: cut(p, 0.0005), "is truncated or damaged"),
    "one byte short": ("x.safetensors", lambda p: p.write_bytes(p.read_bytes()[:-1]), "is truncated or damaged"),
    "empty": ("x.pth", lambda p: p.write_bytes(b""), "is empty; get it again"),
    "a web page": ("x.pth", lambda p: p.write_text("<!DOCTYPE html>not found"), "is a web page, as a server sends"),
    "gone": ("x.pth", lambda p: p.unlink(), "cannot be read: No such file or directory"),
    "folder": ("x.pth", lambda p: (p.unlink(), p.mkdir()), "is a folder; name the checkpoint file in it"),
    "a list": ("x.pth", lambda p: torch.save([torch.ones(1)], p), "holds no state dict"),
    "no tensors": ("x.pth", lambda p: torch.save({"a": 1, "b": "c"}, p), "holds something else than named tensors, 'a', 'b'"),
    "a module": ("x.pth", lambda p: torch.save(torch.nn.Linear(1, 1), p), "holds the Python object torch.nn.modules.linear"),
    "a pickle": ("x.pth", lambda p: p.write_bytes(pickle.dumps({"a": 1})), "is a pickle that torch.save did not write"),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_damaged_files_are_one_sentence(tmp_path, case):
    name, damage, sentence = DAMAGES[case]
    path = write(tmp_path / name, encoder_entries("swin", TINY))
    damage(path)
    with pytest.raises(DgsctError) as error:
        read_tensors(path)
    assert f"{path} {sentence}" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["zip", "old torch", "pickle 2", "pickle 5"])
def test_code_in_a_pickle_is_refused_and_does_not_run(tmp_path, kind):
    trace, path = tmp_path / "it ran", tmp_path / "x.ckpt"
    content = {"state_dict": encoder_entries("swin", TINY), "hyper_parameters": Code(trace)}
    if kind.startswith("pickle"):
        path.write_bytes(pickle.dumps(Code(trace), protocol=int(kind[-1])))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    refused = "could run code, and is refused; save its tensors alone: `dgsct convert tensors x.ckpt OUT.ckpt`"
    with pytest.raises(DgsctError) as error:
        read_tensors(path)
    assert ("is a pickle that torch.save did not write" if kind.startswith("pickle") else refused) in str(error.value)
    assert "\n" not in str(error.value)
    assert not trace.exists()


def test_another_front_end_is_measured():
    state = {f"frontend.{key}": t.detach().clone() for key, t in LogMel(TINY.htsat).named_parameters()}
    state["frontend.mel"] *= 1.01
    assert front_end_deviation(state, TINY.htsat) == pytest.approx(0.01, rel=1e-3)

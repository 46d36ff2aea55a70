"""Checkpoints of the AVS release and of AVSBench: entries at full size, both ways to the bit, what is refused."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from avs_golden import TINY
from public_rig import baseline_entries, drawn, encoder_entries, same, segmentation_entries, write

from dgsct.checkpoints.convert import (
    checkpoint_state,
    load_checkpoint,
    ours_to_release,
    recognise,
    release_to_ours,
    run_of,
    start_of,
)
from dgsct.encoders.public import module_of, stored_buffers
from dgsct.encoders.tensor_files import read_tensors
from dgsct.encoders.weights import encoder_file, load_encoders, publish
from dgsct.errors import DgsctError
from dgsct.methods.avsbench import model as avsbench
from dgsct.methods.dg_sct.avs import build
from dgsct.models.keys import to_public
from dgsct.models.keys_avs import baseline_rules, segmentation_rules
from dgsct.ops.shapes import shapes_only
from dgsct.runs.inputs import encoders_needed
from dgsct.runs.resolve import resolve_options
from dgsct.runs.run import Run
from dgsct.settings.scales import PAPER, SCALES
from dgsct.tasks import get_task

SETTINGS = ("avs-s4", "avs-ms3")
BASELINES = ("avs-pvt", "avs-r50")


@pytest.fixture
def tiny(monkeypatch) -> None:
    """Runs of scale mini with the paper's depths, so that windows are shifted and masks stored."""
    monkeypatch.setitem(SCALES, "mini", TINY)


def mini(task: str, method: str = "dg-sct") -> Run:
    return Run.make(task, method, scale="mini")


@pytest.mark.parametrize("task", SETTINGS)
def test_entries_of_the_release_at_full_size(task):
    with shapes_only():
        state = build(task, get_task(task).at(PAPER), resolve_options(task, "dg-sct", "release", {})).state_dict()
    public = to_public(state, 2, segmentation_rules)
    buffers = sum(len(stored_buffers(encoder, getattr(PAPER, encoder))) for encoder in ("swin", "htsat"))
    assert len(public) + buffers == 3867
    assert recognise(public) == {"task": task, "method": "dg-sct"}
    groups = Counter(key.split(".")[0] for key in public)
    assert [groups[f"{kind}_adapter_blocks_{place}"] for kind in ("vis", "audio") for place in ("p1", "p2")] == [
        348,
        348,
        336,
        336,
    ]
    assert (groups["temporal_attn"], groups["encoder_backbone"], groups["output_conv"]) == (664, 1052, 6)
    assert {groups[f"{name}{i}"] for name in ("path", "conv") for i in range(1, 5)} == {8}
    assert {groups[f"tpavi_b{i}"] for i in range(1, 5)} == {17}
    reduction = {"avs-s4": 8, "avs-ms3": 2}[task]
    shapes = {
        "vis_adapter_blocks_p1.0.conv_adapter.weight": (2304, 4096, 1, 1),
        "audio_adapter_blocks_p2.11.conv_adapter.weight": (64, 36, 1, 1),
        "vis_adapter_blocks_p1.0.down_sampler.weight": (192 // reduction, 96, 1, 1),
        "vis_adapter_blocks_p1.0.up_sampler.weight": (192, 96 // reduction, 1, 1),
        "vis_adapter_blocks_p1.0.temporal_gated.0.weight": (1, 192),
        "x4_linear_.weight": (256, 1536),
        "x4_linear.weight": (512, 1536),
        "audio_linear.weight": (128, 768),
        "tpavi_b1.theta.weight": (128, 256, 1, 1, 1),
        "tpavi_b4.W_z.0.weight": (256, 128, 1, 1, 1),
        "tpavi_b1.align_channel.weight": (256, 128),
        "path4.resConfUnit1.conv1.weight": (256, 256, 3, 3),
        "output_conv.2.weight": (32, 128, 3, 3),
        "conv4.conv2d_list.3.weight": (256, 512, 3, 3),
        "temporal_attn.audio_visual_rnn_layer.3.visual_rnn.weight_hh_l0": (1024, 256),
        "temporal_attn.video_gated.2.0.weight": (1, 256),
        "encoder_backbone.block3.39.mlp.dwconv.dwconv.weight": (1280, 1, 3, 3),
        "htsat.logmel_extractor.melW": (513, 64),
    }
    assert {key: tuple(public[key].shape) for key in shapes} == shapes


@pytest.mark.parametrize(("method", "entries", "parameters"), [("avs-pvt", 1190, 101_320_577), ("avs-r50", 630, 91_400_961)])
def test_entries_of_avsbench_at_full_size(method, entries, parameters):
    with shapes_only():
        model = avsbench.build("avs-ms3", PAPER, resolve_options("avs-ms3", method, "release", {}))
    public = to_public(model.state_dict(), 1, baseline_rules)
    assert len(public) == entries
    assert recognise(public) == {"task": "avs-s4", "method": method}  # both settings are one network
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    assert sum(t.numel() for key, t in public.items() if not key.endswith(buffers)) == parameters
    assert all(p.requires_grad for p in model.parameters())  # VGGish, which is not, is no part of it


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("task", SETTINGS)
def test_the_release_there_and_back_to_the_bit(tmp_path, task):
    entries = segmentation_entries(task, TINY)
    torch.save(entries, tmp_path / "S4_best.pth")
    run, _ = run_of(tmp_path / "S4_best.pth", scale="mini")
    assert run == mini(task)  # the keys and shapes tell
    release_to_ours(tmp_path / "S4_best.pth", tmp_path / "ours.safetensors", run)
    assert run_of(tmp_path / "ours.safetensors")[0] == run
    ours_to_release(tmp_path / "ours.safetensors", tmp_path / "again.pth", run, tmp_path)
    assert same(read_tensors(tmp_path / "again.pth").tensors, entries)
    model = start_of(run)
    load_checkpoint(model, tmp_path / "S4_best.pth")
    assert torch.equal(model.backbone.encoders.htsat.frontend.mel, entries["htsat.logmel_extractor.melW"])
    assert torch.equal(model.head.segmenter.tpavi[2].query.weight, entries["tpavi_b3.theta.weight"].flatten(1))


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("method", BASELINES)
def test_avsbench_there_and_back_to_the_bit(tmp_path, method):
    """No file of an encoder is needed: VGGish is a feature, and the image encoder is trained whole."""
    entries = baseline_entries(method, TINY)
    torch.save(entries, tmp_path / "S4_best.pth")
    run, _ = run_of(tmp_path / "S4_best.pth", scale="mini")
    assert run == mini("avs-s4", method)
    release_to_ours(tmp_path / "S4_best.pth", tmp_path / "ours.safetensors", run)
    ours_to_release(tmp_path / "ours.safetensors", tmp_path / "again.pth", run, tmp_path)
    assert same(read_tensors(tmp_path / "again.pth").tensors, entries)
    for name in ("S4_best.pth", "ours.safetensors"):
        state = checkpoint_state(start_of(run), tmp_path / name, "mini", tmp_path)
        assert torch.equal(state["segmenter.decoder.score.weight"], entries["output_conv.4.weight"])
    if method == "avs-r50":
        assert torch.equal(state["encoders.resnet50.unused.layer3.0.conv1.weight"], entries["resnet.layer3_2.0.conv1.weight"])


REFUSALS = {
    "of the other setting": (
        lambda e: segmentation_entries("avs-ms3", TINY),
        "'audio_adapter_blocks_p1.0.down_sampler.weight' is float32",
    ),
    "missing": (lambda e: {k: t for k, t in e.items() if k != "x2_linear_.bias"}, "it lacks 'x2_linear_.bias'"),
    "unknown": (lambda e: e | {"x5_linear_.bias": torch.ones(1)}, "it has the unknown 'x5_linear_.bias'"),
    "other windows": (
        lambda e: e | {"swin.layers.0.blocks.1.attn_mask": e["swin.layers.0.blocks.1.attn_mask"] + 1},
        "'layers.0.blocks.1.attn_mask' (float32 [",
    ),
}


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("case", REFUSALS)
def test_what_does_not_fit_is_one_sentence(tmp_path, case):
    change, sentence = REFUSALS[case]
    torch.save(change(segmentation_entries("avs-s4", TINY)), tmp_path / "public.pth")
    with pytest.raises(DgsctError) as error:
        release_to_ours(tmp_path / "public.pth", tmp_path / "out.safetensors", mini("avs-s4"))
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.usefixtures("tiny")
def test_encoders_of_the_baseline_start_from_public_files(tmp_path):
    """PVT-v2 in both namings, ResNet-50 without counters of batches; classifiers are left out, both branches are filled."""
    from dgsct.encoders.public import fit_encoder

    pvt = encoder_entries("pvt", TINY) | {"head.weight": torch.ones(10, 16), "head.bias": torch.ones(10)}
    path = write(tmp_path / "pvt_v2_b5.pth", pvt)
    authors = fit_encoder(path, "pvt", TINY, read_tensors(path).tensors)
    assert torch.equal(authors.state["pvt.stages.1.downsample.proj.weight"], pvt["patch_embed2.proj.weight"])
    timm = {key.removeprefix("pvt."): tensor for key, tensor in authors.state.items()}
    assert same(fit_encoder(path, "pvt", TINY, timm).state, authors.state)
    resnet = {k: t for k, t in encoder_entries("resnet50", TINY).items() if not k.endswith("num_batches_tracked")}
    state = fit_encoder(path, "resnet50", TINY, resnet | {"fc.bias": torch.ones(3)}).state
    assert torch.equal(state["unused.layer4.0.conv2.weight"], state["resnet.layer4.0.conv2.weight"])
    assert state["resnet.bn1.num_batches_tracked"] == 0
    with pytest.raises(DgsctError, match=r"is ResNet-50, not PVT-v2"):
        fit_encoder(path, "pvt", TINY, resnet)
    with pytest.raises(DgsctError, match=r"it lacks 'layer1.0.bn1.bias'"):
        fit_encoder(path, "resnet50", TINY, {k: t for k, t in resnet.items() if k != "layer1.0.bn1.bias"})


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("method", BASELINES)
def test_a_run_loads_the_encoders_that_its_method_names(tmp_path, method):
    run = mini("avs-ms3", method)
    model, names = start_of(run), run.part.encoders
    assert names == ("pvt" if method == "avs-pvt" else "resnet50",)
    assert encoders_needed(run) == (*names, "vggish")  # with which its features are extracted
    for name in names:
        module = module_of(name, TINY).to_empty(device="cpu")
        module.load_state_dict(drawn(module.state_dict(), 5))
        publish(encoder_file(tmp_path, "mini", name), module, {"encoder": name})
    load_encoders(model, "mini", Path(tmp_path))
    expected = read_tensors(encoder_file(tmp_path, "mini", names[0])).tensors
    assert same(getattr(model.encoders, names[0]).state_dict(), expected)

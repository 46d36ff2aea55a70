"""Families of checkpoints: each is declared beside its model, found there, and told from every other by its entries."""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pkgutil import walk_packages
from typing import NamedTuple

import pytest
import torch
from avs_golden import TINY as TINY_AVS
from public_rig import TINY, baseline_entries, encoder_entries, release_entries, segmentation_entries, write
from safetensors.torch import save_file
from torch import Tensor

import dgsct.methods
from dgsct.checkpoints.convert import BEST, OURS, RELEASE, form_of, public_layouts, recognise, run_of
from dgsct.data.units import Units
from dgsct.encoders.tensor_files import read_tensors
from dgsct.engine.checkpoint import save_best
from dgsct.models.keys import PublicLayout
from dgsct.runs.run import Run
from dgsct.settings.scales import MINI, Scale


class Family(NamedTuple):
    """Public checkpoints of one run: their entries at a scale, a scale with few channels, their layout, what they tell."""

    entries: Callable[[Scale], dict[str, Tensor]]
    tiny: Scale
    title: str
    said: dict[str, str]


def on(task: str, method: str) -> dict[str, str]:
    return {"task": task, "method": method}


FAMILIES = {
    "AVE": Family(release_entries, TINY, "the AVE release", on("ave", "dg-sct")),
    "S4": Family(partial(segmentation_entries, "avs-s4"), TINY_AVS, "the AVS release", on("avs-s4", "dg-sct")),
    "MS3": Family(partial(segmentation_entries, "avs-ms3"), TINY_AVS, "the AVS release", on("avs-ms3", "dg-sct")),
    "PVT": Family(partial(baseline_entries, "avs-pvt"), TINY_AVS, "AVSBench", on("avs-s4", "avs-pvt")),
    "ResNet": Family(partial(baseline_entries, "avs-r50"), TINY_AVS, "AVSBench", on("avs-s4", "avs-r50")),
}


def test_every_layout_beside_a_model_is_found():
    """And none beside a module that no method names."""
    modules = [import_module(found.name) for found in walk_packages(dgsct.methods.__path__, "dgsct.methods.")]
    declared = {
        module.__name__: module.PUBLIC for module in modules if isinstance(getattr(module, "PUBLIC", None), PublicLayout)
    }
    assert public_layouts() == declared
    titles = [layout.title for layout in declared.values()]
    assert len(set(titles)) == len(titles) == 3


def test_every_layout_has_a_family_here():
    assert {family.title for family in FAMILIES.values()} == {layout.title for layout in public_layouts().values()}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("at_mini_scale", [False, True])
def test_a_file_is_of_its_family_and_of_no_other(tmp_path, family, at_mini_scale):
    entries, tiny, title, said = FAMILIES[family]
    path = write(tmp_path / "public.pth", entries(MINI if at_mini_scale else tiny))
    tensors = read_tensors(path).tensors
    found = {layout.title: layout.recognise(tensors) for layout in public_layouts().values()}
    assert found == {**dict.fromkeys(found), title: said}
    assert recognise(tensors) == said
    assert form_of(read_tensors(path)) == RELEASE
    assert run_of(path, scale="mini")[0] == Run.make(**said)


MODELS = [("ave", "dg-sct"), ("ave", "late-fusion"), ("avs-s4", "dg-sct"), ("avs-ms3", "avs-pvt"), ("avs-s4", "avs-r50")]


@pytest.mark.parametrize(("task", "method"), MODELS)
def test_a_run_s_best_weights_are_of_no_public_family(tmp_path, task, method):
    run = Run.make(task, method)
    model = run.build()
    learned = {name for name, p in model.named_parameters() if p.requires_grad}
    weights = {name: tensor for name, tensor in model.state_dict().items() if name in learned}
    folder = tmp_path / run.folder / "checkpoints"
    save_best(folder, weights, "key", 1, Units({}, ()))
    file = read_tensors(folder / "best.safetensors")
    assert (recognise(file.tensors), form_of(file)) == (None, BEST)
    assert run_of(folder / "best.safetensors") == (run, tmp_path)
    save_file(model.state_dict(), tmp_path / "ours.safetensors")
    assert form_of(read_tensors(tmp_path / "ours.safetensors")) == OURS


@pytest.mark.parametrize("encoder", ["swin", "htsat", "pvt", "resnet50", "vggish"])
def test_an_encoder_alone_is_of_no_family(encoder):
    assert recognise(encoder_entries(encoder, TINY)) is None
    assert recognise({"module.weight": torch.ones(1)}) is None

"""The segmentation model gives the release's numbers: loss, gradients and statistics of one step, in both settings."""

import pytest
import torch
from avs_golden import SIDE, TINY
from release_model import tiled, with_open_gates
from release_segmentation import release_names, segmentation_twin
from torch import nn

from dgsct.methods.dg_sct.avs import build
from dgsct.ops import recompute as lean
from dgsct.runs.resolve import resolve_options
from dgsct.tasks import get_task

TILE = 5


def step(model: nn.Module, targets: dict[str, torch.Tensor], *inputs: torch.Tensor) -> torch.Tensor:
    """The loss of one backward pass with the batch's statistics in TPAVI; nothing random."""
    for name, module in model.named_modules():
        module.training = "norm" in type(module).__name__.lower() and "bn0" not in name
    loss = sum(model.losses(model(*inputs), targets).values())
    loss.backward()
    return loss.detach()


@pytest.mark.parametrize("task", ["avs-s4", "avs-ms3"])
def test_loss_gradients_and_statistics_are_the_releases(task, monkeypatch):
    """As at full size: what is worth it is done again in the backward pass, masks frame by frame."""
    monkeypatch.setattr(lean, "LARGE", 0)
    monkeypatch.setattr(lean, "AT_ONCE", 1)
    scale = get_task(task).at(TINY)
    torch.manual_seed(0)
    model = with_open_gates(build(task, scale, resolve_options(task, "dg-sct", "release", {})))
    for tpavi in model.head.segmenter.tpavi:
        nn.init.uniform_(tpavi.batch_norm.weight, 0.5, 1.0)
    for pair in (*model.backbone.p1, *model.backbone.p2):
        for adapter in (pair.a2v, pair.v2a):
            nn.init.uniform_(adapter.latent.tokens)
    twin = segmentation_twin(task, model, scale).double()
    model = model.double()
    frames, wave = torch.rand(2, 5, 3, SIDE, SIDE).double(), 0.1 * torch.randn(2, 5, 32000).double()
    annotated = torch.zeros(2, 5, dtype=torch.bool)
    annotated[:, : 1 if task == "avs-s4" else 5] = True
    targets = {"masks": (torch.rand(2, 5, SIDE, SIDE) > 0.7).float(), "annotated": annotated}
    torch.testing.assert_close(
        step(model, targets, frames, wave), step(twin, targets, frames, tiled(wave, TILE)), rtol=1e-9, atol=0
    )
    parameters = dict(model.named_parameters())
    gradients = {k: parameters[k].grad if k in parameters else None for k in model.state_dict()}
    nothing = {k: torch.zeros_like(v) for k, v in model.state_dict().items()}
    ours = release_names({k: nothing[k] if g is None else g for k, g in gradients.items()}, scale)
    compared = 0
    for name, p in twin.named_parameters():
        if p.grad is not None:
            # The release's Fourier kernels are rounded to float32; where they are not trained, the package has an FFT.
            assert (ours[name] - p.grad).abs().max() <= 1e-5 * p.grad.abs().max() + 1e-12, name
            compared += p.numel()
    assert compared == sum(g.numel() for g in gradients.values() if g is not None)
    statistics = release_names(model.state_dict(), scale)
    for name, buffer in twin.named_buffers():
        if "running" in name or "tracked" in name:
            torch.testing.assert_close(statistics[name], buffer)

"""Batch normalisation in two processes: what one process computes from the whole batch."""

import copy
import os

import pytest
import torch
from torch import nn
from torch.distributed import barrier, init_process_group
from torch.multiprocessing import start_processes

from dgsct.ops import recompute as lean
from dgsct.ops.batch_norm import BatchNorm, SharedBatchNorm, share_batch_norms
from dgsct.runs.run import Run

SHARES = (slice(0, None, 2), slice(1, None, 2))  # three samples and two


def net(flat: bool) -> nn.Module:
    torch.manual_seed(0)
    if flat:
        return nn.Sequential(nn.Linear(3, 4), BatchNorm(4), nn.ReLU(), nn.Linear(4, 2)).double()
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1)).double()


def step(model: nn.Module, x: torch.Tensor, again: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Output, and the gradient at x, of a loss whose gradient differs from sample to sample."""
    x = x.clone().requires_grad_()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lean, "LARGE", 0)
        out = lean.recompute(model, x) if again else model(x)
    out.square().sum().backward()
    return out.detach(), x.grad


def share(rank: int, rendezvous: str, flat: bool, again: bool, x: torch.Tensor, out: str) -> None:
    init_process_group("gloo", f"file://{rendezvous}", rank=rank, world_size=2)
    model = net(flat)
    share_batch_norms(model)
    moved = step(model, x[SHARES[rank]], again)
    grads = {name: p.grad for name, p in model.named_parameters()}
    torch.save((moved, grads, dict(model.named_buffers())), f"{out}{rank}")
    barrier()
    os._exit(0)  # now and then the ending of gloo's threads aborts a process whose work is done


@pytest.mark.parametrize(("flat", "again"), [(True, False), (True, True), (False, False)])
def test_two_processes_normalise_as_one(tmp_path, flat, again):
    x = torch.randn((5, 3) if flat else (5, 3, 6, 6), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    alone = net(flat)
    output, at_x = step(alone, x, again)
    words = (str(tmp_path / "meet"), flat, again, x, str(tmp_path / "out"))
    start_processes(share, words, nprocs=2, start_method="fork")
    said = [torch.load(tmp_path / f"out{rank}") for rank in (0, 1)]
    for rank, ((moved, moved_at_x), _, buffers) in enumerate(said):
        torch.testing.assert_close(moved, output[SHARES[rank]])
        torch.testing.assert_close(moved_at_x, at_x[SHARES[rank]])
        torch.testing.assert_close(buffers, dict(alone.named_buffers()))
    for name, parameter in alone.named_parameters():
        torch.testing.assert_close(said[0][1][name] + said[1][1][name], parameter.grad)


@pytest.mark.parametrize(("task", "method"), [("ave", "dg-sct"), ("avs-s4", "dg-sct"), ("avs-s4", "avs-r50")])
def test_every_batch_norm_of_a_model_is_shared_under_its_name(task, method):
    model = Run.make(task, method).build()
    before = copy.deepcopy(model.state_dict())
    count = sum(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())
    evaluated = model.eval()
    share_batch_norms(evaluated)
    assert count == sum(isinstance(m, SharedBatchNorm) for m in model.modules()) > 0
    assert not any(m.training for m in model.modules())
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)

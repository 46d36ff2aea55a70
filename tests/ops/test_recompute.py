"""What the backward pass computes again: rows that a loss has looked at, and nothing that is small."""

import pytest
import torch
from torch import Tensor, nn

from dgsct.models.heads.masks import Decoder
from dgsct.ops import recompute as lean

NEEDED = [0, 3]  # of five rows


class Counting(nn.Module):
    """A decoder that writes down how many rows it was given."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.decoder = Decoder(3, 16).double()
        self.rows: list[int] = []

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        self.rows.append(len(maps[0]))
        return self.decoder(maps)


def learned(monkeypatch, large: int, at_once: int) -> tuple[list[int], list[Tensor | None]]:
    """Rows of every call, and result and gradients of a loss that looks at two rows."""
    monkeypatch.setattr(lean, "LARGE", large)
    monkeypatch.setattr(lean, "AT_ONCE", at_once)
    module, draw = Counting(), torch.Generator().manual_seed(1)
    maps = tuple(torch.rand(5, 16, k, k, generator=draw).double().requires_grad_() for k in (8, 4, 2))
    out = lean.recompute_needed_rows(module, maps)
    out[NEEDED].square().sum().backward()
    return module.rows, [out.detach(), *(t.grad for t in (*maps, *module.parameters()))]


@pytest.mark.parametrize(("rows_at_once", "calls"), [(1, [1] * 5 + [1, 1]), (2, [2, 2, 1, 2])])
def test_only_rows_with_a_gradient_are_computed_again(monkeypatch, rows_at_once, calls):
    row = 16 * (64 + 16 + 4) * 8  # bytes of one row of all maps
    plain, expected = learned(monkeypatch, 1 << 30, 1)
    assert plain == [5]
    rows, values = learned(monkeypatch, 0, rows_at_once * row)
    assert rows == calls
    torch.testing.assert_close(values, expected)


def test_a_loss_that_sees_no_row_gives_no_gradient(monkeypatch):
    monkeypatch.setattr(lean, "LARGE", 0)
    x = torch.rand(2, 3, requires_grad=True)
    layer = nn.Linear(3, 1)
    lean.recompute_needed_rows(Taking(layer), (x,)).mul(0).sum().backward()
    assert x.grad.eq(0).all()
    assert layer.weight.grad is None


class Taking(nn.Module):
    """A layer that takes a tuple."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        return self.layer(inputs[0])


@pytest.mark.parametrize(("large", "calls"), [(1 << 20, 1), (1, 2)])
def test_what_is_small_is_kept(monkeypatch, large, calls):
    monkeypatch.setattr(lean, "LARGE", large)
    seen = []

    def exponential(x: Tensor) -> Tensor:
        seen.append(1)
        return x.exp().exp()

    x = torch.rand(4, requires_grad=True)
    lean.recompute(exponential, x).sum().backward()
    assert len(seen) == calls

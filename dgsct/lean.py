"""Operations that keep less for the backward pass than autograd would, and give the same numbers.

Elementwise work is cheap beside the matrix products around it, so it is done again in the backward pass rather than
remembered. `recompute` does that for a whole function; the others are single operations with a gradient of their own.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

_again = False


@contextmanager
def _second_time() -> Iterator[None]:
    global _again
    before, _again = _again, True
    try:
        yield
    finally:
        _again = before


def recompute(function: Callable[..., Any], *inputs: Any, random: bool = False) -> Any:
    """`function(*inputs)`, of which the backward pass remembers the inputs only and computes the rest once more.

    `random` says that it draws random numbers, which are then drawn alike. Statistics move once (`BatchNorm`). A compiler
    decides by itself what to remember.
    """
    if not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return function(*inputs)
    contexts = {"context_fn": lambda: (nullcontext(), _second_time())}
    return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=random, **contexts)


def full_precision(x: Tensor) -> AbstractContextManager[Any]:
    """A region in which autocast does not lower the precision of what is computed on the device of `x`."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


def at_least_float32(x: Tensor) -> Tensor:
    """`x`, from half precision brought to float32; float32 and float64 as they are."""
    return x.float() if x.dtype.itemsize < 4 else x


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation of [M, C] whose running statistics move in the forward pass only, however often it is done."""

    def forward(self, x: Tensor) -> Tensor:
        """`x` [M, C] -> normalised, same shape."""
        if self.training and _again:
            spare = (self.running_mean.clone(), self.running_var.clone())
            return F.batch_norm(x, *spare, self.weight, self.bias, True, self.momentum, self.eps)
        return super().forward(x)


class _Unit(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor | None) -> Tensor:
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
        factor = norm.clamp_min_(1e-12).reciprocal_()
        unit = x * (factor if scale is None else factor * scale).to(x.dtype)
        ctx.save_for_backward(unit, factor, scale)
        return unit

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        unit, factor, scale = ctx.saved_tensors
        along = (grad * unit).sum(dim=-1, keepdim=True)
        if scale is None:
            return torch.addcmul(grad, unit, along, value=-1).mul_(factor.to(grad.dtype)), None
        # With u = s n: dx = (s g - u (u . g) / s) / |x|
        inner = torch.addcmul(grad * scale.to(grad.dtype), unit, along / scale.to(grad.dtype), value=-1)
        return inner.mul_(factor.to(grad.dtype)), None


def unit(x: Tensor, scale: Tensor | None = None) -> Tensor:
    """Rows of `x` [..., d] at length one (times `scale`, broadcast, without gradient): x / max(|x|, 1e-12)."""
    return _Unit.apply(x, scale)


class _ReluMean(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        positive = x.relu()
        ctx.save_for_backward(positive > 0)
        ctx.count = x.shape[1]
        return positive.mean(dim=1, keepdim=True)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (positive,) = ctx.saved_tensors
        return positive * (grad / ctx.count)


def relu_mean(x: Tensor) -> Tensor:
    """Mean of relu(x) over the tokens, [B, N, C] -> [B, 1, C]; one byte an element is kept."""
    return _ReluMean.apply(x)


class _ScaledLinearRelu(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        flat = torch.addmm(bias, (x * factor).flatten(0, 1), weight.t()).relu_()
        out = flat.view(*x.shape[:2], -1)
        ctx.save_for_backward(x, factor, weight, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x, factor, weight, out = ctx.saved_tensors
        flat = torch.ops.aten.threshold_backward(grad, out, 0).flatten(0, 1)
        inner = (flat @ weight).view_as(x)
        outer = flat.t() @ (x * factor).flatten(0, 1)
        return inner * factor, (inner * x).sum(dim=1, keepdim=True), outer, flat.sum(dim=0)


def scaled_linear_relu(x: Tensor, factor: Tensor, layer: nn.Linear) -> Tensor:
    """relu(layer(x * factor)) for tokens `x` [B, N, C] and a factor a channel [B, 1, C]; the product is not kept."""
    weight, bias = layer.weight, layer.bias
    if not x.is_meta and torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, factor, weight, bias = (t.to(dtype) for t in (x, factor, weight, bias))
    return _ScaledLinearRelu.apply(x, factor, weight, bias)

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


def lowered(x: Tensor) -> Tensor:
    """`x` in the precision in which autocast multiplies matrices, and without autocast as it is.

    What several products read is lowered once, and their gradients are summed before they come back.
    """
    kind = x.device.type
    return x if x.is_meta or not torch.is_autocast_enabled(kind) else x.to(torch.get_autocast_dtype(kind))


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
    return _ScaledLinearRelu.apply(*(lowered(t) for t in (x, factor, layer.weight, layer.bias)))


class _Mlp(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
        hidden = torch.addmm(b1, x, w1.t())
        ctx.trained = any(ctx.needs_input_grad[1:])
        ctx.save_for_backward(hidden, w1, w2, x if ctx.trained else None)
        return torch.addmm(b2, F.gelu(hidden), w2.t())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden, w1, w2, x = ctx.saved_tensors
        inner = grad @ w2
        # In place: the widest tensor of the block is touched once less.
        torch.ops.aten.gelu_backward.grad_input(inner, hidden, grad_input=inner)
        outer = inner @ w1
        if not ctx.trained:
            return outer, None, None, None, None
        return outer, inner.t() @ x, inner.sum(dim=0), grad.t() @ F.gelu(hidden), grad.sum(dim=0)


def mlp(x: Tensor, first: nn.Linear, second: nn.Linear) -> Tensor:
    """second(gelu(first(x))) for tokens `x` [B, N, C]; the hidden activations are not kept."""
    flat = x.flatten(0, -2)
    out = _Mlp.apply(*(lowered(t) for t in (flat, first.weight, first.bias, second.weight, second.bias)))
    return out.view(*x.shape[:-1], -1)


class _ReadThrough(Function):
    @staticmethod
    def forward(ctx: Any, keys: Tensor, offset: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
        scores = torch.matmul(keys, token.t()) + offset
        even = scores.new_full((len(keys), 1, len(token)), 1 / len(token))
        weights = torch.cat((at_least_float32(scores).softmax(dim=-1).to(token.dtype), even), dim=1)
        ctx.save_for_backward(keys, weights, token)
        return torch.matmul(weights, token), weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, grad_weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        keys, weights, token = ctx.saved_tensors
        readers = keys.shape[1]
        inner = (torch.matmul(grad, token.t()) + grad_weights)[:, :readers]
        inner = torch._softmax_backward_data(inner, weights[:, :readers], -1, inner.dtype)
        # Both uses of the map in one product: its gradient is larger than all that it is made from.
        left, right = torch.cat((inner, weights), dim=1), torch.cat((keys, grad), dim=1)
        return torch.matmul(inner, token), inner.sum(dim=0), left.flatten(0, 1).t() @ right.flatten(0, 1)


def read_through(keys: Tensor, offset: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
    """What readers see through a map over tokens, and one more reader that weighs all alike.

    `keys` [B, K, N_y], `offset` [K, N_x], `token` [N_x, N_y]: weights w = softmax(keys token^T + offset) and an even row
    -> w token [B, K + 1, N_y] and w [B, K + 1, N_x].
    """
    return _ReadThrough.apply(*(lowered(t) for t in (keys, offset, token)))

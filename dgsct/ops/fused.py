"""Single operations that keep less for the backward pass than autograd would, and give the same numbers."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from dgsct.ops.precision import at_least_float32, lowered
from dgsct.ops.recompute import worth_again

# A weight below this changes no sum of float32 numbers, yet its products are subnormal: a hundred times as slow on CPUs.
DUST = 1e-20


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


class _Softmax(Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor) -> Tensor:
        weights = _softmax(scores)
        ctx.save_for_backward(weights)
        return weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (weights,) = ctx.saved_tensors
        return torch._softmax_backward_data(grad, weights, -1, weights.dtype)


def _softmax(scores: Tensor) -> Tensor:
    weights = scores.softmax(dim=-1)
    return F.threshold_(weights, DUST, 0.0)


def softmax(scores: Tensor) -> Tensor:
    """softmax(scores) over the last dimension for scores that are far apart: weights below 1e-20 are exactly zero."""
    return _Softmax.apply(scores)


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
    def forward(ctx: Any, again: bool, x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
        hidden = torch.addmm(b1, x, w1.t())
        ctx.trained = any(ctx.needs_input_grad[2:])
        ctx.save_for_backward(None if again else hidden, x if again or ctx.trained else None, w1, b1, w2)
        return torch.addmm(b2, F.gelu(hidden), w2.t())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden, x, w1, b1, w2 = ctx.saved_tensors
        if hidden is None:
            hidden = torch.addmm(b1, x, w1.t())
        inner = grad @ w2
        # In place: the widest tensor of the block is touched once less.
        torch.ops.aten.gelu_backward.grad_input(inner, hidden, grad_input=inner)
        outer = inner @ w1
        if not ctx.trained:
            return None, outer, None, None, None, None
        return None, outer, inner.t() @ x, inner.sum(dim=0), grad.t() @ F.gelu(hidden), grad.sum(dim=0)


def mlp(x: Tensor, first: nn.Linear, second: nn.Linear, wide: bool = False) -> Tensor:
    """second(gelu(first(x))) for tokens `x` [B, N, C]; gelu's result is not kept, nor its input where `worth_again` says so."""
    flat = x.flatten(0, -2)
    layers = (first.weight, first.bias, second.weight, second.bias)
    out = _Mlp.apply(worth_again(x, wide), *(lowered(t) for t in (flat, *layers)))
    return out.view(*x.shape[:-1], -1)


class _ReadThrough(Function):
    @staticmethod
    def forward(ctx: Any, keys: Tensor, offset: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
        scores = torch.matmul(keys, token.t()) + offset
        even = scores.new_full((len(keys), 1, len(token)), 1 / len(token))
        weights = torch.cat((_softmax(at_least_float32(scores)).to(token.dtype), even), dim=1)
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

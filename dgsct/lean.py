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
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

# What has fewer elements (1 MiB in float32) is kept: doing it again costs calls, not arithmetic.
LARGE = 1 << 18
# A weight below this changes no sum of float32 numbers, yet its products are subnormal: a hundred times as slow on CPUs.
DUST = 1e-20
_passes: list[int] = []  # of the regions around this moment: 1 in the forward pass, 2 when done again


@contextmanager
def _numbered(number: int) -> Iterator[None]:
    _passes.append(number)
    try:
        yield
    finally:
        _passes.pop()


def _remembers() -> bool:
    """Whether autograd remembers what is computed now. A compiler decides by itself what to remember."""
    return torch.is_grad_enabled() and not torch.compiler.is_compiling()


def recompute(function: Callable[..., Any], *inputs: Any, random: bool = False) -> Any:
    """`function(*inputs)`, of which the backward pass remembers the inputs only and computes the rest once more.

    `random` says that it draws random numbers, which are then drawn alike. Statistics move once (`BatchNorm`). An input
    may be `Unkept`; the function is given its values.
    """

    def of_values(*inputs: Any) -> Any:
        return function(*(x.values() if isinstance(x, Unkept) else x for x in inputs))

    if not _remembers():
        return of_values(*inputs)
    contexts = {"context_fn": lambda: (_numbered(1), _numbered(2))}
    return checkpoint(of_values, *inputs, use_reentrant=False, preserve_rng_state=random, **contexts)


def recompute_narrow(function: Callable[..., Any], x: Tensor, *inputs: Any) -> Any:
    """`function(x, *inputs)`, done again in the backward pass where `x` [B, N, C] is large and narrow."""
    return recompute(function, x, *inputs) if _large_and_narrow(x) else function(x, *inputs)


def _large_and_narrow(x: Tensor) -> bool:
    """Whether products over the channels of `x` [B, N, C] cost less than the room that their results take meanwhile."""
    return x.shape[-1] <= x.shape[-2] and x.numel() >= LARGE


class Unkept:
    """A result that the backward pass makes again, once for all its uses, from inputs that are kept anyway.

    Inside `with` the result is there, and `saved_by` is around the operations that would keep it. It stays an ordinary
    tensor where nothing is remembered, where it is small, and inside `recompute`, which makes everything again.
    """

    def __init__(self, function: Callable[..., Tensor], *inputs: Tensor) -> None:
        self._function, self._inputs = function, inputs
        self._now: Tensor | None = function(*inputs)
        self._kind, self._learns = self._now.dtype, self._now.requires_grad
        self._place = self._now.untyped_storage().data_ptr()
        self._active = _remembers() and not _passes and self._now.numel() >= LARGE
        self._uses = self._left = 0

    def __enter__(self) -> "Unkept":
        return self

    def __exit__(self, *_: object) -> None:
        if self._active:
            self._now = None
            self._left = self._uses

    def values(self) -> Tensor:
        """The result; in the backward pass without its history, which the forward pass has recorded."""
        if self._now is not None and (not self._active or not done_again()):
            if self._active and _passes:
                self._uses += 1
            return self._now
        return self._made_again().requires_grad_(self._learns)

    def saved_by(self) -> AbstractContextManager[Any]:
        """A region whose operations keep a note of the result instead of the result."""
        return saved_tensors_hooks(self._note, self._read) if self._active else nullcontext()

    def _note(self, saved: Tensor) -> Any:
        if saved.untyped_storage().data_ptr() != self._place:
            return saved
        self._uses += 1
        return saved.shape, saved.stride(), saved.storage_offset()

    def _read(self, noted: Any) -> Tensor:
        return noted if isinstance(noted, Tensor) else self._made_again().as_strided(*noted)

    def _made_again(self) -> Tensor:
        if self._now is None:
            with torch.no_grad():
                self._now = self._function(*self._inputs).to(self._kind)
        made = self._now.detach()
        self._left -= 1
        if self._left == 0:
            self._now, self._left = None, self._uses
        return made


def done_again() -> bool:
    """Whether a region is being computed for the second time, in the backward pass."""
    return 2 in _passes


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
    def forward(ctx: Any, narrow: bool, x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
        hidden = torch.addmm(b1, x, w1.t())
        ctx.trained = any(ctx.needs_input_grad[2:])
        ctx.save_for_backward(None if narrow else hidden, x if narrow or ctx.trained else None, w1, b1, w2)
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


def mlp(x: Tensor, first: nn.Linear, second: nn.Linear) -> Tensor:
    """second(gelu(first(x))) for tokens `x` [B, N, C]; gelu's result is not kept, nor its input where x is large and narrow."""
    flat = x.flatten(0, -2)
    out = _Mlp.apply(_large_and_narrow(x), *(lowered(t) for t in (flat, first.weight, first.bias, second.weight, second.bias)))
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

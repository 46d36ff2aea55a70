"""What the backward pass computes once more instead of remembering it.

Elementwise work is cheap beside the matrix products around it, so it is done again in the backward pass. `recompute` does
that for a whole function, `Unkept` for one result that several operations read. What is small is kept: doing it again costs
calls, not arithmetic.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

LARGE = 1 << 20  # bytes; what is smaller is kept
AT_ONCE = 1 << 22  # bytes of the rows that are computed together
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

    Where no input is large, all is remembered. `random` says that it draws random numbers, which are then drawn alike.
    Statistics move once (`BatchNorm`). An input may be `Unkept`; the function is given its values.
    """

    def of_values(*inputs: Any) -> Any:
        return function(*(x.values() if isinstance(x, Unkept) else x for x in inputs))

    if not _remembers() or not any(map(_large, inputs)):
        return of_values(*inputs)
    contexts = {"context_fn": lambda: (_numbered(1), _numbered(2))}
    return checkpoint(of_values, *inputs, use_reentrant=False, preserve_rng_state=random, **contexts)


def recompute_narrow(function: Callable[..., Any], x: Tensor, *inputs: Any, wide: bool = False) -> Any:
    """`function(x, *inputs)`, done again in the backward pass where `x` [B, N, C] is narrow; with `wide`, wherever it is
    large."""
    return recompute(function, x, *inputs) if worth_again(x, wide) else function(x, *inputs)


def worth_again(x: Tensor, wide: bool = False) -> bool:
    """Whether `x` [B, N, C] is large, and narrow: then products over its channels cost less than the room that their results
    take meanwhile. With `wide` it need not be narrow."""
    return (wide or x.shape[-1] <= x.shape[-2]) and _large(x)


def recompute_needed_rows(module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    """`module(inputs)` for large inputs whose rows (first dimension) it treats one by one.

    Rows are computed a few at a time. The backward pass computes again, and goes through, only those whose result has a
    gradient: of an S4 clip, for example, the loss sees one mask in five.
    """
    if not _remembers() or not any(map(_large, inputs)):
        return module(inputs)
    return _NeededRows.apply(module, len(inputs), *inputs, *(p for p in module.parameters() if p.requires_grad))


class _NeededRows(Function):
    @staticmethod
    def forward(ctx: Any, module: nn.Module, count: int, *tensors: Tensor) -> Tensor:
        inputs, kind = tensors[:count], tensors[0].device.type
        ctx.module, ctx.count = module, count
        ctx.precision = {"dtype": torch.get_autocast_dtype(kind), "enabled": torch.is_autocast_enabled(kind)}
        ctx.at_once = max(1, AT_ONCE * len(inputs[0]) // sum(x.nbytes for x in inputs))
        ctx.save_for_backward(*tensors)
        return torch.cat([module(part) for part in zip(*(x.split(ctx.at_once) for x in inputs), strict=True)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        inputs, parameters = ctx.saved_tensors[: ctx.count], ctx.saved_tensors[ctx.count :]
        at_inputs = [torch.zeros_like(x) for x in inputs]
        totals: list[Tensor | None] = [None] * len(parameters)
        needed = (grad != 0).flatten(1).any(dim=1).nonzero().squeeze(1)
        for rows in needed.split(ctx.at_once) if len(needed) else ():
            some = tuple(x[rows].requires_grad_() for x in inputs)
            with torch.enable_grad(), torch.autocast(grad.device.type, **ctx.precision):
                out = ctx.module(some)
            grads = torch.autograd.grad(out, (*some, *parameters), grad[rows], allow_unused=True)
            for total, x in zip(at_inputs, grads, strict=False):
                total.index_copy_(0, rows, x)
            totals = [x if total is None else total.add_(x) for total, x in zip(totals, grads[ctx.count :], strict=True)]
        return None, None, *at_inputs, *totals


def _large(x: Any) -> bool:
    return x.large if isinstance(x, Unkept) else isinstance(x, Tensor) and x.numel() * x.element_size() >= LARGE


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
        self.large = _large(self._now)
        self._active = _remembers() and not _passes and self.large
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

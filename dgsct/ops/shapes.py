"""Models without numbers: keys, shapes and dtypes, for counting and for fitting files to them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

# What fills a tensor in place as a module is built, by torch.nn.init or by hand.
FILLS = frozenset(
    f"{name}_"
    for name in (
        "uniform", "normal", "trunc_normal", "xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal",
        "constant", "ones", "zeros", "fill", "zero", "copy", "mul", "add", "clamp", "erfinv",
    )
)  # fmt: skip


class _Unfilled(TorchFunctionMode):
    """Leaves out what would fill a tensor without numbers: torch works out the shape of each such step in Python, which takes
    most of the time of building.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        if getattr(func, "__name__", "") in FILLS:
            filled = args[0] if args else named.get("tensor")
            if isinstance(filled, torch.Tensor) and filled.is_meta:
                return filled
        return func(*args, **named)


@contextmanager
def shapes_only() -> Iterator[None]:
    """A region in which tensors are made on the meta device and modules are not initialised. Only for building."""
    with torch.device("meta"), _Unfilled():
        yield

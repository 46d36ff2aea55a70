"""In which precision autocast computes, and where it must not lower it."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


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

"""What passes between a task and a model: named inputs and named targets, and predictions by name."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from torch import Tensor

# What a model predicts of a batch, by name; the task declares the names.
Predictions = Mapping[str, Tensor]
# The same on the host, and what is kept of it.
Arrays = dict[str, np.ndarray]


class Batch(NamedTuple):
    """Some rows of a split.

    `inputs` are what the method has named, by the name of the argument of its `forward` (a pre-extracted feature
    `features/vggish` is `vggish`); `targets` are what its losses read. Every tensor's first axis is the row.
    """

    inputs: dict[str, Tensor]
    targets: dict[str, Tensor]


def argument(name: str) -> str:
    """The argument of `forward` that an input is given to."""
    return name.rpartition("/")[2]

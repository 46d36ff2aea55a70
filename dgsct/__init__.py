"""Reproducibility benchmark harness for DG-SCT (Cross-modal Prompts, NeurIPS 2023).

`dgsct.build("ave", "dg-sct", scale="paper")` returns the model; the command line is `dgsct --help`.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from torch import nn


def build(task: str, method: str, scale: str = "paper", protocol: str = "release", **overrides: Any) -> "nn.Module":
    """The model of `method` for `task`, with random weights.

    Its `forward(frames [B, T, 3, H, W], wave [B, T, N])` takes frames in [0, 1] and one-second waves at 32 kHz and
    returns a small typed output. `overrides` are options such as S=False or alpha=0.2 (`dgsct.settings.options.Options`).
    Raises UsageError for unknown names or values, and for yardsticks, which have no model.
    """
    from importlib import import_module

    from dgsct.errors import UsageError
    from dgsct.methods import get_method
    from dgsct.runs.resolve import resolve_options
    from dgsct.settings.scales import get_scale

    info = get_method(method)
    options = resolve_options(task, method, protocol, overrides)
    if not info.trains:
        raise UsageError(f"method {method!r} is a yardstick without a model; choose one that trains")
    return import_module(info.module_for(task)).build(task, get_scale(scale), options)

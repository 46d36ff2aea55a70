"""Reproducibility benchmark harness for DG-SCT (Cross-modal Prompts, NeurIPS 2023).

`dgsct.build("ave", "dg-sct", scale="paper")` returns the model; the command line is `dgsct --help`. docs/architecture.md has
the rooms and their order; each room's docstring lists its modules. Small files beside the rooms: `errors` (one sentence and an
exit code), `atomic` (files that appear whole), `progress`, `checksum`, `closure` (the code that a result depends on),
`surroundings` and `drawing` (what the environment may not change).
"""

from typing import TYPE_CHECKING, Any

from dgsct.surroundings import settle

__version__ = "0.1.0"
settle()

if TYPE_CHECKING:
    from torch import nn


def build(task: str, method: str, scale: str = "paper", protocol: str = "release", **overrides: Any) -> "nn.Module":
    """The model of `method` for `task`, with random weights.

    On AVE `forward(frames [B, T, 3, H, W], wave [B, T, N])` takes frames in [0, 1] and one-second waves at 32 kHz and
    returns a small typed output; what a method reads on another task its `Part` names (`dgsct.methods.base`). `overrides` are
    options such as S=False or alpha=0.2. Raises UsageError for unknown names or values, and for yardsticks, which have no
    model.
    """
    from dgsct.runs.run import Run

    return Run.make(task, method, overrides, protocol, scale).build()

"""How a run is carried out on this machine: nothing of it changes a result beyond rounding, so nothing is in its key."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

KEEP = ("weights", "record")  # what stays of a finished run: its best weights, or none


@dataclass(frozen=True)
class Execution:
    """`checkpoint_stages` walks stages twice for less memory, `compile` lets torch.compile fuse them (docs/performance.md).

    `scratch` is a folder of this machine's own disk for a copy of the packed data; `deadline` (Unix time) is when the run
    must be over; with `waits` it waits for another copy of itself, which is refused otherwise. `gpus` is the number of
    processes, one for each GPU, that a long run is started in (None: what its scale says); `keep` (one of `KEEP`) is what
    stays of it behind its record.
    """

    checkpoint_stages: bool = False
    compile: bool = False
    scratch: str | None = None
    deadline: float | None = None
    waits: bool = False
    gpus: int | None = None
    keep: str = "weights"

    def arguments(self) -> list[str]:
        """As options of the command line, which `execution_of` reads."""
        words = [f"--{name}" for name in ("checkpoint-stages", "compile", "waits") if getattr(self, name.replace("-", "_"))]
        words += ["--scratch", self.scratch] if self.scratch else []
        words += ["--gpus", str(self.gpus)] if self.gpus else []
        words += ["--keep", self.keep] if self.keep != HERE.keep else []
        return words + ([] if self.deadline is None else ["--deadline", repr(self.deadline)])


HERE = Execution()


def execution_parser() -> argparse.ArgumentParser:
    """The options that make an Execution, as a parent of other parsers."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--checkpoint-stages", action="store_true", help="less memory for more time")
    parser.add_argument("--compile", action="store_true", help="let torch.compile fuse the stages")
    parser.add_argument("--scratch", help="folder on this machine's own disk for a copy of the packed data")
    parser.add_argument("--time-budget", type=float, help="minutes until the run must have saved and stopped")
    parser.add_argument("--deadline", type=float, help="the same as Unix time")
    parser.add_argument("--gpus", type=int, help="processes of a long run, one for each GPU (default: its scale's)")
    parser.add_argument("--keep", choices=KEEP, default=HERE.keep, help="what stays of the finished run (docs/runs.md)")
    parser.add_argument("--waits", action="store_true", help="wait for another copy of this run instead of refusing")
    return parser


def execution_of(arguments: argparse.Namespace | Sequence[str]) -> Execution:
    """The Execution of parsed options, or of words that `Execution.arguments` made; a time budget starts now."""
    from dgsct.engine.stopping import deadline

    a = arguments if isinstance(arguments, argparse.Namespace) else execution_parser().parse_args(list(arguments))
    ends = a.deadline if a.deadline is not None else deadline(a.time_budget)
    return Execution(a.checkpoint_stages, a.compile, a.scratch or None, ends, a.waits, a.gpus, a.keep)

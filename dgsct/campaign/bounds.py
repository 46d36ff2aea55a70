"""How long a run takes at least where nobody has measured it: counted multiply-accumulates over the peak rate of a GPU.

    seconds = 2 * MACs / rate

No kernel reaches the peak, and all that is no matrix product or convolution is left out, so a real step takes longer. Counts
(`dgsct.campaign.macs`) are kept in `results/plan/macs-{scale}.json`. No torch.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dgsct.atomic import write_json_atomic
from dgsct.campaign.step_times import cost_options
from dgsct.checksum import sha256_json
from dgsct.closure import code_hash
from dgsct.errors import UsageError
from dgsct.runs.run import Run


@dataclass(frozen=True)
class Gpu:
    """The dense peak rates of a GPU in TFLOP/s (two operations a MAC).

    `float32` is that of the CUDA cores: TF32 is off in every run (`dgsct.ops.numerics`).
    """

    name: str
    float32: float
    bf16: float


# From NVIDIA's data sheets of the A100, H100 and H200 Tensor Core GPU: the rows FP32 and BFLOAT16 Tensor Core of the SXM form.
# Those of H100 and H200 state bf16 with sparsity (1,979): dense is half of it.
GPUS = {
    "A100": Gpu("NVIDIA A100 SXM", 19.5, 312.0),
    "H100": Gpu("NVIDIA H100 SXM", 67.0, 989.5),
    "H200": Gpu("NVIDIA H200 SXM", 67.0, 989.5),
}
DEFAULT = "H100"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Rates:
    """The rates that bounds are reckoned with: TFLOP/s by precision, and whose they are."""

    float32: float
    bf16: float
    whose: str

    def of(self, precision: str) -> float:
        """Operations a second in `fp32` or `bf16`."""
        return 1e12 * {"fp32": self.float32, "bf16": self.bf16}[precision]

    def words(self, precision: str) -> str:
        """Such as `67 TFLOP/s, the peak in float32 without TF32 (NVIDIA H100 SXM, by its data sheet)`."""
        spelt = {"fp32": "float32 without TF32", "bf16": "bf16"}[precision]
        return f"{self.of(precision) / 1e12:g} TFLOP/s, the peak in {spelt} ({self.whose})"


def rates(gpu: str | None, tflops: float | None, device: str) -> Rates:
    """The rates of `gpu` (a name of `GPUS`), or the given TFLOP/s for every precision.

    Without either: the GPU of the table whose name is in `device`, else `DEFAULT`. UsageError names a wrong one.
    """
    if tflops is not None:
        if gpu is not None:
            raise UsageError("--gpu and --gpu-tflops both say how fast the GPU is; give one of them")
        if not 0 < tflops < float("inf"):
            raise UsageError(f"--gpu-tflops {tflops:g} must be a number above 0: the GPU's peak in TFLOP/s, for example 19.5")
        return Rates(tflops, tflops, "--gpu-tflops")
    if gpu is not None and gpu not in GPUS:
        raise UsageError(f"unknown GPU {gpu!r}; known: {', '.join(GPUS)}, or give its peak with --gpu-tflops")
    chosen = GPUS[gpu or next((name for name in GPUS if name in device), DEFAULT)]
    return Rates(chosen.float32, chosen.bf16, f"{chosen.name}, by its data sheet")


@dataclass(frozen=True)
class StepMacs:
    """MACs of a training step with gradients (`learn`) and without (`still`), of an evaluation batch; trainable parameters."""

    learn: int
    still: int
    evaluation: int
    trainable: int

    def training(self, accumulation: str) -> float:
        """MACs of a mean training step; under `release` every second step computes no gradients."""
        return (self.learn + self.still) / 2 if accumulation == "release" else self.learn


@dataclass(frozen=True)
class Bound:
    """A run's step and evaluation batch take at least so many seconds; MACs, trainable parameters and source as counted."""

    training: float
    evaluation: float
    macs: StepMacs
    source: str

    @property
    def trainable(self) -> int:
        """The run's trainable parameters."""
        return self.macs.trainable


def kind_of_step(run: Run) -> str:
    """What tells steps of different counts apart, in words."""
    cost = ", ".join(f"{name}={value}" for name, value in cost_options(run).items())
    return f"{run.task} {run.method} with batches of {run.recipe.batch_size} and {cost or 'no options'}"


def counts_file(root: Path, scale: str) -> Path:
    """Where the counts of a scale lie below the results folder."""
    return Path(root) / "plan" / f"macs-{scale}.json"


def read_counts(root: Path, scale: str) -> dict[str, dict[str, Any]]:
    """The kept counts by kind of step, as they stand in the file; empty where nothing usable is there."""
    try:
        kept = json.loads(counts_file(root, scale).read_text(encoding="utf-8"))
        return dict(kept["counts"]) if kept["schema"] == SCHEMA_VERSION else {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def kept_count(kept: Mapping[str, dict[str, Any]], run: Run, checkpoint_stages: bool) -> StepMacs | None:
    """The count of the run's kind of step, if today's code made it, and with the same stages checkpointed."""
    try:
        entry = kept[kind_of_step(run)]
        return StepMacs(**entry["macs"]) if entry["key"] == _key(run, checkpoint_stages) else None
    except (KeyError, TypeError):
        return None


def write_counts(root: Path, scale: str, counted: Mapping[Run, StepMacs], checkpoint_stages: bool) -> None:
    """Add counts to the file of a scale; each takes the place of an older one of its kind. DgsctError if the disk is full."""
    new = {kind_of_step(run): {"key": _key(run, checkpoint_stages), "macs": asdict(macs)} for run, macs in counted.items()}
    entries = {**read_counts(root, scale), **new}
    write_json_atomic(counts_file(root, scale), {"schema": SCHEMA_VERSION, "counts": entries})


def _key(run: Run, checkpoint_stages: bool) -> str:
    return sha256_json([run.code(), code_hash("dgsct.campaign.macs"), checkpoint_stages])


@dataclass(frozen=True)
class Counts:
    """The counts of kinds of steps (`kind_of_step`), or why there is none, and the rates that they are divided by."""

    rates: Rates
    by_kind: Mapping[str, StepMacs | str]

    def bound(self, run: Run) -> Bound | None:
        """The least times of a run; None where its steps are not counted."""
        macs = self.by_kind.get(kind_of_step(run))
        if not isinstance(macs, StepMacs):
            return None
        options = run.options
        seconds = 2 / self.rates.of(options.precision)
        source = f"LOWER BOUND, not measured: counted multiply-accumulates at {self.rates.words(options.precision)}"
        return Bound(seconds * macs.training(options.accumulation), seconds * macs.evaluation, macs, source)

    def why_not(self, run: Run) -> str | None:
        """Why its steps could not be counted; None where they were, or need not be."""
        macs = self.by_kind.get(kind_of_step(run))
        return macs if isinstance(macs, str) else None

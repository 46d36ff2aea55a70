"""How long a step takes: from the records of earlier runs, else from a probe; every answer says where it comes from.

No torch: records and `results/plan/{scale}.json`, which `dgsct.campaign.probe` fills, are read as they are.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any

from dgsct.atomic import write_json_atomic
from dgsct.errors import DgsctError
from dgsct.records.provenance import processor
from dgsct.records.results import read_record
from dgsct.runs.resolve import option_names
from dgsct.runs.run import Run
from dgsct.settings.scales import get_scale

SCHEMA_VERSION = 1
# Options that leave the work of a step as it is; `accumulation` decides how many steps compute gradients.
SAME_COST = frozenset({"alpha", "beta", "gamma", "gate_loss", "selection", "accuracy", "accumulation"})


@dataclass(frozen=True)
class Device:
    """What a run is computed on: the name of the GPU, or of the processor."""

    name: str
    gpu: bool


@dataclass(frozen=True)
class Measured:
    """What a record or a probe tells of a run's cost.

    `training`: mean seconds of a training step under each `accumulation` known. `evaluation`: seconds of an evaluation
    batch; of a record with start, checkpoints and selection spread over those batches.
    """

    run: Run
    cost: Mapping[str, Any]  # its options but for `SAME_COST`
    device: Device
    training: Mapping[str, float]
    evaluation: float
    trainable: int
    current: bool  # measured with today's code
    made: str
    epochs: int | None = None  # that a run took; None: a probe

    @property
    def probe(self) -> bool:
        """Whether this is no whole run."""
        return self.epochs is None


@dataclass(frozen=True)
class StepTime:
    """The answer for one run: seconds of a training step and of an evaluation batch, epochs that such runs took, source."""

    training: float
    evaluation: float
    epochs: int | None
    trainable: int
    source: str


def cost_options(run: Run) -> dict[str, Any]:
    """The options that decide what a step of `run` costs."""
    return _cost(run, asdict(run.options))


def _cost(run: Run, options: Mapping[str, Any]) -> dict[str, Any]:
    """The run's options of today's names; one that a record does not know has the value that the run has today."""
    plain = {name: getattr(run.options, name) for name in option_names(run.task, run.method)}
    return {name: options.get(name, value) for name, value in plain.items() if name not in SAME_COST}


def device_here() -> Device:
    """The first GPU of this machine, else its processor; told without torch."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") not in ("", "-1"):
        for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
            for line in path.read_text().splitlines():
                if line.startswith("Model:"):
                    return Device(line.partition(":")[2].strip(), True)
    return Device(processor(), False)


def batches(clips: int, batch_size: int) -> int:
    """Batches of a split; the last one may be smaller."""
    return ceil(clips / batch_size)


def history(root: Path, scale: str) -> list[Measured]:
    """What the readable records of a scale tell, valid or stale, of any protocol; those in several processes are left out."""
    paths = sorted((Path(root) / "runs" / scale).glob("*/*/*/*/s*/record.json"))
    return [measured for path in paths if (measured := _of_record(path)) is not None]


def _of_record(path: Path) -> Measured | None:
    """None for a yardstick, and for a record that does not tell its times."""
    try:
        record = read_record(path)
        run, provenance, curve = Run.from_dict(record["run"]), record["provenance"], record["curve"]
        hardware, recipe = provenance["hardware"], record["resolved"]["recipe"]
        if not curve or hardware["processes"] != 1 or recipe["batch_size"] != run.recipe.batch_size:
            return None
        count = {split: batches(c["present"], recipe["batch_size"]) for split, c in record["coverage"].items()}
        seconds = sum(entry["seconds"] for entry in curve)
        beside = max(provenance["wall_seconds"] - seconds, 0.0)
        options = record["resolved"]["options"]
        return Measured(
            run=run,
            cost=_cost(run, options),
            device=Device(hardware["gpu"] or hardware["cpu"], hardware["gpu"] is not None),
            training={options["accumulation"]: seconds / (len(curve) * count["train"])},
            evaluation=beside / sum(count[split] for entry in curve for split in entry["metrics"]),
            trainable=record["efficiency"]["trainable"],
            current=record["key_parts"]["plan"] == run.plan_key(),
            made=provenance["finished"],
            epochs=len(curve),
        )
    except (DgsctError, KeyError, TypeError, AttributeError, ZeroDivisionError):
        return None


def probe_file(root: Path, scale: str) -> Path:
    """Where the probes of a scale lie below the results folder."""
    return Path(root) / "plan" / f"{scale}.json"


def _probe_entries(root: Path, scale: str) -> list[dict[str, Any]]:
    try:
        noted = json.loads(probe_file(root, scale).read_text(encoding="utf-8"))
        return list(noted["probes"]) if noted["schema"] == SCHEMA_VERSION else []
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []


def _identity(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    return entry["run"]["task"], entry["run"]["method"], entry["cost"], entry["device"], entry["code"]


def write_probe(root: Path, run: Run, device: Device, figures: Mapping[str, Any]) -> Path:
    """Add a probe (`dgsct.campaign.probe.probe`) of `run` to the file of its scale; it takes the place of one of the same step.

    Task, method, the options that change the cost, device and code tell steps apart. DgsctError if the disk is full.
    """
    new = {"run": run.to_dict(), "cost": cost_options(run), "device": asdict(device), "code": run.code(), **figures}
    kept = [entry for entry in _probe_entries(root, run.scale) if _readable(entry) and _identity(entry) != _identity(new)]
    path = probe_file(root, run.scale)
    write_json_atomic(path, {"schema": SCHEMA_VERSION, "probes": [*kept, new]})
    return path


def _readable(entry: Any) -> bool:
    return _of_probe(entry) is not None


def _of_probe(entry: Any) -> Measured | None:
    try:
        run, learn, still = Run.from_dict(entry["run"]), entry["learn"], entry["still"]
        return Measured(
            run=run,
            cost=_cost(run, entry["cost"]),
            device=Device(**entry["device"]),
            training={"release": (learn + still) / 2, "off": learn},
            evaluation=entry["evaluation"],
            trainable=entry["trainable"],
            current=entry["code"] == run.code(),
            made=entry["made"],
        )
    except (DgsctError, KeyError, TypeError):
        return None


def probes(root: Path, scale: str) -> list[Measured]:
    """The probes of a scale that can be read."""
    return [measured for entry in _probe_entries(root, scale) if (measured := _of_probe(entry)) is not None]


def device_of_plan(scale: str, known: Iterable[Measured]) -> Device:
    """What a plan is made for: this machine's GPU; at full size else the GPU of the newest measurement; this processor."""
    here = device_here()
    if here.gpu or get_scale(scale).short_runs:
        return here
    elsewhere = [m for m in known if m.device.gpu]
    return max(elsewhere, key=lambda m: m.made).device if elsewhere else here


def closest(run: Run, known: Iterable[Measured], device: Device) -> list[Measured]:
    """The measurements nearest to `run`, all equally near.

    They must agree in task, method, precision and device. Nearest first: the options that change a step's cost; today's
    code; a record before a probe.
    """
    accumulation, cost = _accumulation(run), cost_options(run)
    near: dict[tuple[bool, bool, bool], list[Measured]] = {}
    for m in known:
        same = (m.run.task, m.run.method, m.device, m.cost["precision"]) == (run.task, run.method, device, cost["precision"])
        if same and accumulation in m.training:
            near.setdefault((m.cost != cost, not m.current, m.probe), []).append(m)
    return near[min(near)] if near else []


def _accumulation(run: Run) -> str:
    return run.options.accumulation


def step_time(run: Run, known: Iterable[Measured], device: Device) -> StepTime | None:
    """Medians over the measurements nearest to `run`; None where there is none."""
    chosen = closest(run, known, device)
    if not chosen:
        return None
    taken = [m.epochs for m in chosen if m.epochs is not None]
    epochs = ceil(median(taken)) if taken else None
    return StepTime(
        training=median(m.training[_accumulation(run)] for m in chosen),
        evaluation=median(m.evaluation for m in chosen),
        epochs=epochs,
        trainable=max(m.trainable for m in chosen),
        source=_source(run, chosen, epochs),
    )


def _source(run: Run, chosen: list[Measured], epochs: int | None) -> str:
    """Such as `history of 3 records of dg-sct on GPU A (27 epochs in the median), of older code`."""
    first = chosen[0]
    what = "probe" if epochs is None else f"history of {len(chosen)} record{'s' * (len(chosen) > 1)}"
    text = f"{what} of {run.method} on {first.device.name}"
    if epochs is not None:
        text += f" ({epochs} epochs in the median)"
    if first.cost != cost_options(run):
        text += f", of other settings ({'; '.join(sorted({m.run.setting for m in chosen}))})"
    return text if first.current else f"{text}, of older code"

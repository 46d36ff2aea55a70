"""A run repeated beside its record, and both compared to the bit.

    RESULTS/again/SCALE/PROTOCOL/TASK/METHOD/SETTING/sSEED/record.json, units.npz   what is kept of a repeat: the latest
    RESULTS/again/SCALE/PROTOCOL/TASK/METHOD/SETTING/sSEED/world/                   a results folder while it is trained

The world holds links to data, encoders, features and parent runs, so that the repeat starts from the same files. Nothing in
the folder of the first run is written. A stopped repeat leaves its world and goes on there.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dgsct.data.units import NAME as UNITS
from dgsct.engine.execute import execute
from dgsct.engine.execution import HERE, Execution
from dgsct.errors import DgsctError
from dgsct.records.provenance import commit_words, hardware_words
from dgsct.records.results import read_record, validity
from dgsct.runs.inputs import checksums
from dgsct.runs.run import Run

DIFFERS = 3  # exit code of `dgsct run --again`
SHARED = ("data", "encoders", "features")


@dataclass(frozen=True)
class Repeat:
    """A run's record, that of its repeat, and where they lie; `stale` says what has changed since the first, if anything."""

    run: Run
    record: dict[str, Any]
    repeat: dict[str, Any]
    paths: tuple[Path, Path]
    stale: str = ""

    @property
    def metrics(self) -> dict[str, tuple[float | None, float | None]]:
        """Every metric of the record and of its repeat; None where one of them has not measured it."""
        first, second = self.record["metrics"], self.repeat["metrics"]
        return {name: (first.get(name), second.get(name)) for name in {**first, **second}}

    @property
    def differences(self) -> list[str]:
        """What differs in at least one bit: metrics by name, the chosen epoch, the curve, the numbers of the test clips."""
        parts: dict[str, Callable[[dict[str, Any]], Any]] = {
            "best epoch": lambda record: record["best_epoch"],
            "curve": lambda record: [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in record["curve"]],
            UNITS: lambda record: record["units"],
        }
        names = [name for name, (first, second) in self.metrics.items() if not same_bits(first, second)]
        return names + [name for name, part in parts.items() if not same_bits(part(self.record), part(self.repeat))]

    @property
    def equal(self) -> bool:
        """Whether record and repeat are equal to the bit, but for times and places."""
        return not self.differences


def same_bits(first: Any, second: Any) -> bool:
    """Whether two values of records are equal to the bit; numbers that are none are equal to each other."""
    one, other = (json.dumps(value, sort_keys=True) for value in (first, second))
    return one == other


def kept_folder(run: Run, root: Path) -> Path:
    """Where the latest repeat of a run is kept."""
    return Path(root) / "again" / Path(*run.folder.parts[1:])


def repeat(run: Run, root: Path, execution: Execution = HERE) -> Repeat:
    """Carry out `run` once more beside its record below the results folder `root`, and compare.

    A record of other code or data is compared all the same, which a line on stderr says. DgsctError if there is no record to
    compare with, or if something that the run starts from is missing. Stopped as `execute`, and resumable.
    """
    state, path = validity(run, root), Path(root) / run.folder / "record.json"
    if state.record is None:
        remedy = "run it without --again first" if state.name == "missing" else "mend that first"
        raise DgsctError(f"there is no record to compare with in {path.parent} ({state.reason}); {remedy}")
    checksums(run, root)  # what is missing is named by its own place
    stale = state.reason if state.name == "stale" else ""
    if stale:
        print(f"the record is stale ({stale}): a difference may come from that", file=sys.stderr, flush=True)
    kept = kept_folder(run, root)
    world = shared_world(run, Path(root), kept / "world")
    made = execute(run, world, execution)
    for name in (made.name, UNITS):  # a repeat that is killed in between makes its record again, from what its world holds
        os.replace(made.with_name(name), kept / name)
    shutil.rmtree(world)
    return Repeat(run, state.record, read_record(kept / made.name), (path, kept / made.name), stale)


def shared_world(run: Run, root: Path, world: Path) -> Path:
    """A results folder that shares with `root` what the run starts from."""
    parents = (parent.folder for parent in run.parents.values())
    for place in (*map(Path, SHARED), *parents):
        link, target = world / place, (root / place).absolute()
        if link.is_symlink() and link.readlink() == target:  # of a repeat that was stopped, or is under way
            continue
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    return world


def print_repeat(done: Repeat) -> None:
    """Both records side by side, and the verdict."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    run = done.run
    console.print(f"{run.task} {run.method} {run.setting}, seed {run.seed} ({run.scale}, {run.protocol})", markup=False)
    table = Table("", "record", "repeat", "", box=None)
    for name, pair in done.metrics.items():
        table.add_row(name, *_numbers(*pair), "equal" if same_bits(*pair) else "[red]differs[/]")
    table.add_row()
    for name, value in _PLACE.items():
        table.add_row(name, *(escape(value(record["provenance"])) for record in (done.record, done.repeat)))
    console.print(table)
    for word, path in zip(("record", "repeat"), done.paths, strict=True):
        console.print(f"{word}: {path}", soft_wrap=True, markup=False)
    if done.stale:
        console.print(f"The record is stale: {done.stale}.", markup=False)
    if done.equal:
        epochs = f"curve of {len(done.record['curve'])} epochs, " if done.record["curve"] else ""
        console.print(f"[green]Equal to the bit[/]: metrics, {epochs}numbers of every test clip.")
    else:
        console.print(f"[red]They differ[/] in {escape(', '.join(done.differences))}.")


def _numbers(first: float | None, second: float | None) -> list[str]:
    """Two metrics, with all digits where they differ."""
    form = "{:.6f}" if same_bits(first, second) else "{!r}"
    return ["-" if value is None else form.format(value) for value in (first, second)]


# What two records may differ in without a fault: lines of the report from a record's `provenance`.
_PLACE: dict[str, Callable[[dict[str, Any]], str]] = {
    "commit": commit_words,
    "made": lambda of: f"{of['finished'][:16].replace('T', ' ')} UTC" if "finished" in of else "-",
    "hardware": hardware_words,
    "torch": lambda of: str(of.get("libraries", {}).get("torch", "-")),
    "seconds": lambda of: str(of.get("wall_seconds", "-")),
}

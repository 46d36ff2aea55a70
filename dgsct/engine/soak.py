"""Chaos on purpose: mini runs whose processes are killed and whose checkpoints are damaged must end with the same records.

A world of its own in a temporary folder, a reference that nobody disturbs, then rounds: the same runs, as a bundle or by the
run server, while signals hit processes by chance (trainers, server, bundle, whoever waits) and files of checkpoints lose
bits or ends. What dies is started again, as Snakemake or Slurm would. Only processes that carry the soak's token are hit.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dgsct.errors import DgsctError
from dgsct.runs.run import Run

TOKEN = "DGSCT_SOAK"
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1)
TIMES = ("seconds", "seconds_per_update", "provenance", "peak_memory_bytes")
RUNS = (
    *(Run.make("ave", "late-fusion", seed=seed) for seed in (0, 1)),
    *(Run.make("ave", "dg-sct", seed=seed) for seed in (0, 1)),
    Run.make("ave", "majority-class"),
)
SPLITS = {"train": 24, "val": 8, "test": 12}
START_LIMIT = 600.0


def make_world(root: Path) -> Path:
    """A results folder with a small prepared AVE set and untrained encoders; returns it."""
    import torch

    from dgsct.data.prepare import prepare_set
    from dgsct.encoders.htsat import HTSAT
    from dgsct.encoders.swin import SwinV2
    from dgsct.encoders.weights import encoder_file, publish
    from dgsct.settings.scales import MINI
    from dgsct.tasks import get_set
    from dgsct.tasks.generate import write_mini

    write_mini("ave", root / "data/mini/ave/raw", splits=SPLITS, progress=False)
    prepare_set(get_set("ave"), root / "data/mini/ave/raw", root / "data/mini/ave/packed", MINI, progress=False)
    torch.manual_seed(0)
    for name, model in (("swin", SwinV2(MINI.swin)), ("htsat", HTSAT(MINI.htsat))):
        publish(encoder_file(root, "mini", name), model, {"encoder": name})
    return root


@dataclass
class Counts:
    """What happened: rounds that ended, starts of processes, signals by name, damaged checkpoints."""

    rounds: int = 0
    starts: int = 0
    signals: Counter[str] = field(default_factory=Counter)
    damaged: int = 0

    def __str__(self) -> str:
        hits = ", ".join(f"{n} {name}" for name, n in sorted(self.signals.items())) or "none"
        return (
            f"rounds: {self.rounds}; starts: {self.starts}; signals: {hits}; damaged checkpoints: {self.damaged}; "
            "all records equal the undisturbed ones"
        )


class Soak:
    """One soak below `folder`; `luck` decides all that is left to chance."""

    def __init__(self, folder: Path, runs: Sequence[Run], luck: random.Random, say: Callable[[str], object]) -> None:
        self.folder, self.runs, self.luck, self.say = folder, runs, luck, say
        self.counts = Counts()
        self.token = uuid.uuid4().hex
        (folder / "tmp").mkdir()
        path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        self.env = {**os.environ, TOKEN: self.token, "TMPDIR": str(folder / "tmp"), "PYTHONPATH": path}
        self.world = make_world(folder / "world")

    def clone(self, name: str) -> Path:
        """A results folder that shares the world's data and encoders."""
        root = self.folder / name
        root.mkdir()
        for part in ("data", "encoders"):
            (root / part).symlink_to(self.world / part)
        return root

    def start(self, root: Path, bundled: bool) -> list[subprocess.Popen[bytes]]:
        """Start what has no record yet: one bundle, or a client of the run server for each run."""
        folders = [str(root / run.folder) for run in self.runs if not (root / run.folder / "record.json").exists()]
        python = [sys.executable, "-m"]
        one = [[*python, "dgsct.cli", "bundle", *folders, "--jobs", "2"]]
        each = [[*python, "dgsct.engine.worker", "train", folder] for folder in folders]
        self.counts.starts += 1
        with open(root / "soak.log", "ab") as log:
            kept = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, "env": self.env}
            return [subprocess.Popen(command, **kept) for command in (one if bundled else each)]

    def victims(self) -> list[int]:
        """Numbers of the living processes that this soak has started, directly or not."""
        mark, numbers = f"{TOKEN}={self.token}".encode(), []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if mark in path.read_bytes().split(b"\0"):
                    numbers.append(int(path.parent.name))
        return sorted(numbers)

    def hit(self) -> None:
        """A signal for one of them."""
        victims = self.victims()
        if victims:
            number = self.luck.choice(SIGNALS)
            with suppress(ProcessLookupError):
                os.kill(self.luck.choice(victims), number)
                self.counts.signals[number.name] += 1

    def damage(self, root: Path) -> None:
        """Take an end or a bit from a file of a newest checkpoint that has one before it; nobody trains meanwhile."""
        for run in self.runs:
            steps = sorted((root / run.folder / "checkpoints").glob("step-*"))
            if len(steps) < 2 or self.luck.random() < 0.5:
                continue
            path = self.luck.choice(sorted(steps[-1].iterdir()))
            content = bytearray(path.read_bytes())
            if self.luck.random() < 0.5:
                del content[self.luck.randrange(len(content)) :]
            else:
                content[self.luck.randrange(len(content))] ^= 1 << self.luck.randrange(8)
            path.write_bytes(bytes(content))
            self.counts.damaged += 1

    def round(self, root: Path, hits: int) -> None:
        """The runs from nothing to their records, with so many hits on the way."""
        while not self.done(root):
            processes = self.start(root, bundled=self.luck.random() < 0.5)
            limit = time.monotonic() + START_LIMIT
            while any(process.poll() is None for process in processes):
                if hits > 0:
                    time.sleep(self.luck.uniform(0.2, 4.0))
                    self.hit()
                    hits -= 1
                if time.monotonic() > limit:
                    raise DgsctError(f"{root}: nothing ended in {START_LIMIT:.0f} s; see soak.log there")
                time.sleep(0.05)
            if hits > 0 and self.luck.random() < 0.5:
                self.end()  # as when a machine is lost
                self.damage(root)
            failed = [run.folder for run in self.runs if (root / run.folder / "failed.json").exists()]
            if failed:
                raise DgsctError(f"{root / failed[0]}: a killed run was noted as failed; see failed.json there")

    def done(self, root: Path) -> bool:
        """Whether every record is there."""
        return all((root / run.folder / "record.json").exists() for run in self.runs)

    def end(self) -> None:
        """Kill all that is left, and wait until it is gone."""
        while victims := self.victims():
            for pid in victims:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    def compare(self, root: Path, reference: Path) -> None:
        """DgsctError unless records and best weights are the reference's, and nothing else is left."""
        from dgsct.engine.checkpoint import check_best

        for run in self.runs:
            folders = [place / run.folder for place in (root, reference)]
            one, other = (outcome(folder / "record.json") for folder in folders)
            best = [folder / "checkpoints/best.safetensors" for folder in folders]
            if best[1].exists() and check_best(best[0]) != check_best(best[1]):
                raise DgsctError(f"{best[0]} holds other weights than {best[1]}")
            if one != other:
                raise DgsctError(f"{folders[0]}/record.json differs from the undisturbed {folders[1]}/record.json")
            left = [p.name for p in folders[0].rglob("*") if p.name.startswith((".", "step-")) or p.name == "lock.json"]
            if left:
                raise DgsctError(f"{folders[0]}: {left[0]} was left behind")


def outcome(path: Path) -> Any:
    """A record without what the clock decides."""

    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: timeless(item) for name, item in value.items() if name not in TIMES}
        return [timeless(item) for item in value] if isinstance(value, list) else value

    return timeless(json.loads(path.read_text()))


def soak(
    minutes: float, seed: int = 0, runs: Sequence[Run] = RUNS, hits: int = 12, say: Callable[[str], object] = print
) -> Counts:
    """Rounds of `runs` with about `hits` signals each until `minutes` are over, at least one; all must end as undisturbed.

    DgsctError names what differs, and the folder with all of it is kept.
    """
    folder = Path(tempfile.mkdtemp(prefix="dgsct-soak-"))
    over = time.monotonic() + 60 * minutes
    this = Soak(folder, runs, random.Random(seed), say)
    good = False
    try:
        reference = this.clone("reference")
        this.round(reference, hits=0)
        while not this.counts.rounds or time.monotonic() < over:
            root = this.clone(f"round-{this.counts.rounds + 1}")
            this.round(root, hits)
            this.end()  # an idle server; trainers are done
            this.compare(root, reference)
            this.counts.rounds += 1
            say(str(this.counts))
            shutil.rmtree(root)
        good = True
    finally:
        this.end()
        if good:
            shutil.rmtree(folder)
        else:
            say(f"kept for a look: {folder}")
    return this.counts

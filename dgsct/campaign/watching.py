"""Where runs stand at this moment: judged records, live locks, checkpoints and the queue. No torch, no GPU.

Looking again is cheap: a run is judged anew only if a file that its judgement rests on has another time or size.
"""

import json
import os
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from dgsct.campaign.queued import Queue
from dgsct.campaign.runtimes import read_runtimes
from dgsct.closure import ROOT
from dgsct.engine.run_lock import STALE_AFTER
from dgsct.errors import DgsctError
from dgsct.records.results import STATES, validity
from dgsct.runs.inputs import checksums, input_paths
from dgsct.runs.run import Run

SHOWN = (STATES[0], "running", "queued", *STATES[1:])
WINDOW = 3600.0
SHORTEST_WINDOW = 60.0
WATCHED = ("record.json", "failed.json", "lock.json")

Stamp = tuple[int, int] | None


@dataclass(frozen=True)
class Standing:
    """One run now: a state of `SHOWN`; when a training was begun and finished (seconds since the epoch); of a running one
    the share that is behind it, in words too, and where it runs.
    """

    state: str
    started: float | None = None
    finished: float | None = None
    share: float = 0.0
    words: str = ""
    place: str = ""


@dataclass(frozen=True)
class Pace:
    """Trainings finished an hour since `since` (at most an hour back), and what `dgsct plan` noted of the others."""

    now: float
    since: float | None
    runtimes: Mapping[str, float]

    def rate(self, standings: Iterable[Standing]) -> float | None:
        """Trainings an hour; None where none has finished lately."""
        if self.since is None:
            return None
        count = sum(s.finished is not None and s.finished >= self.since for s in standings)
        return count * 3600 / max(self.now - self.since, SHORTEST_WINDOW)

    def left(self, standings: Mapping[Run, Standing]) -> float | None:
        """Seconds until the last of these runs is done at this rate; else what `dgsct plan` noted, shared by the running ones.

        0 if nothing is left to train, None where neither tells.
        """
        open_ = {run: s for run, s in standings.items() if s.state != "ok" and run.kind == "trained"}
        if not open_:
            return 0.0
        busy = [s.share for s in open_.values() if s.state == "running"]
        if rate := self.rate(standings.values()):
            return max(len(open_) - sum(busy), 0.0) * 3600 / rate
        noted = [self.runtimes.get(run.folder.as_posix()) for run in open_]
        if not busy or None in noted:
            return None
        rest = [seconds * (1 - s.share) for seconds, s in zip(noted, open_.values(), strict=True)]
        return max(max(rest), sum(rest) / len(busy))


class Watch:
    """Looks at runs below `root` again and again; `queue` tells what waits in Slurm, if it is asked."""

    def __init__(self, root: Path, queue: Queue | None = None) -> None:
        self.root, self.queue = Path(root), queue
        self._inputs: dict[Run, tuple[Path, ...]] = {}
        self._judged: dict[Run, tuple[Any, Standing]] = {}
        self._progress: dict[Run, tuple[str, float, str]] = {}

    def look(self, runs: Iterable[Run]) -> dict[Run, Standing]:
        """Every run's standing now; DgsctError if the results cannot be read."""
        runs = list(runs)
        code, shared, now = _code_stamp(), dict[Path, Stamp](), time.time()
        standings: dict[Run, Standing] = {}
        for run in runs:
            files = _stamps(self.root / run.folder)
            stamp = (code, self._stamps(run, shared), files["record.json"], files["failed.json"])
            known = self._judged.get(run)
            if known is None or known[0] != stamp:
                known = self._judged[run] = (stamp, self._judge(run))
            standings[run] = known[1]
            if known[1].state != "ok" and files["lock.json"] and now - files["lock.json"][0] / 1e9 <= STALE_AFTER:
                standings[run] = self._running(run, known[1])
        waiting = [run for run, standing in standings.items() if standing.state not in ("ok", "running")]
        if self.queue is not None and waiting:
            for run in self.queue.runs(waiting):
                standings[run] = replace(standings[run], state="queued")
        return standings

    def pace(self, standings: Mapping[Run, Standing]) -> Pace:
        """The pace of the campaign that these runs are."""
        now = time.time()
        lately = [s for s in standings.values() if s.finished is not None and now - WINDOW <= s.finished]
        begun = min((s.started if s.started is not None else s.finished for s in lately), default=None)
        return Pace(now, None if begun is None else max(begun, now - WINDOW), read_runtimes(self.root))

    def _judge(self, run: Run) -> Standing:
        state = validity(run, self.root)
        if state.name != "ok" or not state.record or run.kind != "trained":
            return Standing(state.name)  # a yardstick takes seconds, and tells nothing of how long trainings take
        provenance = state.record["provenance"]
        finished = _moment(provenance.get("finished"))
        return Standing("ok", _moment(provenance.get("started")), finished)

    def _stamps(self, run: Run, shared: dict[Path, Stamp]) -> tuple[Stamp, ...]:
        """Stamps of what a run starts from; `shared` holds those of this look, as most runs start from the same."""
        if run not in self._inputs:
            self._inputs[run] = input_paths(run)
        for path in self._inputs[run]:
            if path not in shared:
                shared[path] = _stamp(self.root / path)
        return tuple(shared[path] for path in self._inputs[run])

    def _running(self, run: Run, judged: Standing) -> Standing:
        """The standing of a run whose lock is fresh: where its owner is of this machine, it must be there, too."""
        owner = _json(self.root / run.folder / "lock.json")
        if owner.get("host") == socket.gethostname() and not Path(f"/proc/{owner.get('pid')}").exists():
            return judged
        job = f", job {owner['job']}" if owner.get("job") else ""
        share, words = self._far(run)
        return replace(judged, state="running", share=share, words=words, place=f"{owner.get('host', '?')}{job}")

    def _far(self, run: Run) -> tuple[float, str]:
        """How far the newest checkpoint is: share of all epochs, and in words. Nothing is read twice."""
        folder = self.root / run.folder / "checkpoints"
        newest = max((name for name in _names(folder) if name.startswith("step-")), default="")
        if self._progress.get(run, ("",))[0] != newest:
            self._progress[run] = (newest, *self._read(run, folder / newest))
        return self._progress[run][1:] if newest else (0.0, "")

    def _read(self, run: Run, checkpoint: Path) -> tuple[float, str]:
        try:
            key = run.key(checksums(run, self.root))
        except DgsctError:
            return 0.0, ""
        content = _json(checkpoint / "state.json")
        state = content.get("state", content)  # beside checksums, or by itself
        if state.get("key") != key:  # what lies there belongs to other code or data: this run has begun anew
            return 0.0, ""
        epochs = run.recipe.epochs
        done = min(state.get("epoch", 0), epochs)
        return done / epochs, f"epoch {min(done + 1, epochs)}/{epochs}, step {state.get('step', '?')}"


def _code_stamp() -> tuple[int, int]:
    """Newest change and number of the package's files: what keys rest on besides the results."""
    times = [path.stat().st_mtime_ns for path in ROOT.rglob("*.py")]
    return max(times), len(times)


def _stamps(folder: Path) -> dict[str, Stamp]:
    """Times and sizes of a run's files, by one look into its folder."""
    stamps: dict[str, Stamp] = dict.fromkeys(WATCHED)
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name in stamps:
                    stamps[entry.name] = _stamp(Path(entry.path))
    except OSError:  # `validity` says what is wrong with a folder that is there
        return stamps
    return stamps


def _stamp(path: Path) -> Stamp:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _moment(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError):
        return None

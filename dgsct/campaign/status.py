"""What is done and what is not, per table: runs by state, pace and what is left; coloured in a terminal, plain elsewhere.

`Board` is looked at once (`dgsct status`) or again and again (`dgsct status --watch`).
"""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dgsct.campaign.plan_report import span
from dgsct.campaign.queued import Queue
from dgsct.campaign.watching import SHOWN, Pace, Standing, Watch
from dgsct.methods import METHODS
from dgsct.publish.cells import fill_command
from dgsct.records.results import efficiency_state
from dgsct.runs.experiments import Experiment, Settings, all_runs, expand
from dgsct.runs.run import Run

COLORS = {
    "ok": "green", "running": "cyan", "queued": "blue", "stale": "yellow", "failed": "red", "corrupt": "red", "missing": "dim",
}  # fmt: skip
ALL = "all"
RUNNING_SHOWN = 8


@dataclass(frozen=True)
class StatusRow:
    """One experiment: its runs by state, its cells that nothing in the harness can fill, and what fills the rest.

    `rate`: runs finished an hour; `left`: seconds until the last one is expected. None where nothing tells.
    """

    name: str
    title: str
    counts: dict[str, int]
    planned: int
    command: str
    rate: float | None = None
    left: float | None = None

    @property
    def total(self) -> int:
        """Number of runs (of efficiency files in Table 6)."""
        return sum(self.counts.values())

    @property
    def complete(self) -> bool:
        """Whether every run is there and holds."""
        return self.counts["ok"] == self.total


@dataclass(frozen=True)
class Status:
    """One look: a row for each experiment, one for all runs together, the runs that are being trained, and notes."""

    rows: list[StatusRow]
    all: StatusRow
    running: dict[Run, Standing]
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether there is nothing left to do."""
        return all(row.complete for row in self.rows)


class Board:
    """The experiments and their runs, looked at as often as wanted; a run that several share is judged once."""

    def __init__(
        self, experiments: Mapping[str, Experiment], settings: Settings, root: Path, queue: Queue | None = None
    ) -> None:
        self.root, self.queue = Path(root), queue
        self.watch = Watch(self.root, queue)
        self.experiments = list(experiments.values())
        self.commands = {e.name: fill_command(e, settings) for e in self.experiments}
        self.runs: dict[str, list[Run]] = {}
        self.planned: dict[str, int] = {}
        for one in self.experiments:
            if one.kind == "efficiency":
                self.planned[one.name] = len({r.method for r in one.rows if r.method not in METHODS}) * len(one.columns)
            else:
                self.runs[one.name] = list(all_runs([one], settings))
                self.planned[one.name] = sum(not cell.runs for cell in expand(one, settings))
        self.distinct = list(dict.fromkeys(run for runs in self.runs.values() for run in runs))

    def look(self) -> Status:
        """Where everything stands now; DgsctError if the results cannot be read."""
        standings = self.watch.look(self.distinct)
        pace = self.watch.pace(standings)
        rows = [self._row(one, standings, pace) for one in self.experiments]
        together = _counted([s.state for s in standings.values()])
        sums = StatusRow(ALL, "different runs", together, 0, "", pace.rate(standings.values()), pace.left(standings))
        running = {run: standing for run, standing in standings.items() if standing.state == "running"}
        problem = self.queue.problem if self.queue else ""
        notes = (f"what is queued is not known: {problem}",) if problem else ()
        return Status(rows, sums, running, notes)

    def _row(self, one: Experiment, every: Mapping[Run, Standing], pace: Pace) -> StatusRow:
        name, title, planned, command = one.name, one.title, self.planned[one.name], self.commands[one.name]
        if one.kind == "efficiency":
            return StatusRow(name, title, _counted(_efficiency_states(one, self.root)), planned, command)
        standings = {run: every[run] for run in self.runs[name]}
        counts = _counted([s.state for s in standings.values()])
        return StatusRow(name, title, counts, planned, command, pace.rate(standings.values()), pace.left(standings))


def _counted(states: Iterable[str]) -> dict[str, int]:
    counts = Counter(states)
    return {name: counts[name] for name in SHOWN}


def _efficiency_states(experiment: Experiment, root: Path) -> Iterable[str]:
    methods = dict.fromkeys(row.method for row in experiment.rows if row.method in METHODS and METHODS[row.method].counted)
    return (efficiency_state(method, root).name for method in methods)


def _heads() -> list[str]:
    return ["table", "done", *SHOWN[1:], "not in harness", "per hour", "left", "title"]


def _pace(row: StatusRow) -> tuple[str, str]:
    """Runs an hour and the time left, in words; `-` where nothing tells."""
    rate = "-" if row.complete or row.rate is None else f"{row.rate:.1f}" if row.rate < 9.95 else f"{row.rate:.0f}"
    return rate, "-" if row.complete or row.left is None else span(row.left)


def plain_status(status: Status) -> str:
    """The status as lines of plain text, columns aligned by spaces."""
    table = [
        [r.name, f"{r.counts['ok']}/{r.total}", *(str(r.counts[s]) for s in SHOWN[1:]), str(r.planned), *_pace(r), r.title]
        for r in [*status.rows, status.all]
    ]
    lines = [_heads(), *table]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = ["  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([*text, *_running_lines(status), *status.notes, *_hints(status.rows)])


def _running_lines(status: Status) -> list[str]:
    """A line for each run that is being trained, as far as there is room."""
    shown = list(status.running.items())[:RUNNING_SHOWN]
    lines = [
        f"running: {run.task} {run.method} {run.setting} seed {run.seed} on {at.place}{f': {at.words}' if at.words else ''}"
        for run, at in shown
    ]
    more = len(status.running) - len(shown)
    return [*lines, f"running: {more} more"] if more else lines


def _hints(rows: list[StatusRow]) -> list[str]:
    """What to type for the tables that are not complete."""
    hints = [f"{row.name}: {row.command}" for row in rows if not row.complete]
    if any(row.counts["failed"] or row.counts["corrupt"] for row in rows):
        hints.append("why a run failed, and which corrupt file to delete, stands in the footnotes of `dgsct tables`")
    return hints or ["everything is done"]


def rich_status(status: Status, heading: str = "") -> Any:
    """The status as a coloured table for a terminal."""
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    table = Table(*_heads(), box=None, header_style="bold", title=heading or None, title_justify="left")
    for row in [*status.rows, status.all]:
        done = f"[{'green' if row.complete else 'bold'}]{row.counts['ok']}/{row.total}[/]"
        others = [f"[{COLORS[s]}]{row.counts[s]}[/]" if row.counts[s] else "[dim]·[/]" for s in SHOWN[1:]]
        words = [word.replace("-", "·") for word in _pace(row)]
        last = row.name == ALL
        table.add_row(row.name, done, *others, str(row.planned), *words, escape(row.title), style="bold" if last else None)
    running = [Text(line, style=COLORS["running"]) for line in _running_lines(status)]
    notes = [Text(note, style="yellow") for note in status.notes]
    return Group(table, *running, *notes)


def print_status(status: Status) -> None:
    """Print the status: a coloured table in a terminal, plain lines in a pipe or a log."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        print(plain_status(status))
        return
    console.print(rich_status(status))
    for hint in _hints(status.rows):
        console.print(hint, style="dim", highlight=False, markup=False, soft_wrap=True)


def watch_status(board: Board, interval: float) -> None:
    """Show the status every `interval` seconds until everything is done: in place on a terminal, else whenever it changes."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        _watch_plainly(board, interval)
        return
    from rich.live import Live

    with Live(console=console, auto_refresh=False) as live:
        while True:
            status = board.look()
            live.update(rich_status(status, f"{time.strftime('%H:%M:%S')}, every {interval:g} s; Ctrl-C ends"), refresh=True)
            if status.complete:
                break
            time.sleep(interval)
    console.print("everything is done")


def _watch_plainly(board: Board, interval: float) -> None:
    shown = None
    while True:
        status = board.look()
        if (state := [row.counts for row in status.rows]) != shown:
            print(f"{time.strftime('%Y-%m-%d %H:%M:%S')}\n{plain_status(status)}", flush=True)
            shown = state
        if status.complete:
            return
        time.sleep(interval)

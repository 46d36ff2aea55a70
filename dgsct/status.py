"""What is done and what is not, per table: counts of runs by state, coloured in a terminal and plain elsewhere."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dgsct.experiments import Experiment, Settings, all_runs, expand
from dgsct.methods import METHODS
from dgsct.results import STATES, State, efficiency_state, validity
from dgsct.runs import Run
from dgsct.tables import fill_command

COLORS = {"ok": "green", "stale": "yellow", "failed": "red", "corrupt": "red", "missing": "dim"}


@dataclass(frozen=True)
class StatusRow:
    """One experiment: its runs by state, its cells that nothing in the harness can fill, and what fills the rest."""

    name: str
    title: str
    counts: dict[str, int]
    planned: int
    command: str

    @property
    def total(self) -> int:
        """Number of runs (of efficiency files in Table 6)."""
        return sum(self.counts.values())

    @property
    def complete(self) -> bool:
        """Whether every run is there and holds."""
        return self.counts["ok"] == self.total


def status_rows(experiments: Mapping[str, Experiment], settings: Settings, results_root: Path) -> list[StatusRow]:
    """One row for each experiment; a run that several share is judged once and counted in each."""
    root, known = Path(results_root), dict[Run, State]()
    rows = []
    for experiment in experiments.values():
        if experiment.kind == "efficiency":
            states = list(_efficiency_states(experiment, root))
            planned = len({row.method for row in experiment.rows if row.method not in METHODS}) * len(experiment.columns)
        else:
            runs = all_runs([experiment], settings)
            known.update({run: validity(run, root) for run in runs if run not in known})
            states = [known[run].name for run in runs]
            planned = sum(not cell.runs for cell in expand(experiment, settings))
        counts = Counter(states)
        rows.append(
            StatusRow(
                experiment.name,
                experiment.title,
                {name: counts[name] for name in STATES},
                planned,
                fill_command(experiment, settings),
            )
        )
    return rows


def _efficiency_states(experiment: Experiment, root: Path) -> Iterable[str]:
    methods = dict.fromkeys(row.method for row in experiment.rows if row.method in METHODS and METHODS[row.method].counted)
    return (efficiency_state(method, root).name for method in methods)


def plain_status(rows: list[StatusRow]) -> str:
    """The status as lines of plain text, columns aligned by spaces."""
    heads = ["table", "done", *STATES[1:], "not in harness", "title"]
    table = [
        [r.name, f"{r.counts['ok']}/{r.total}", *(str(r.counts[s]) for s in STATES[1:]), str(r.planned), r.title] for r in rows
    ]
    widths = [max(len(line[i]) for line in [heads, *table]) for i in range(len(heads))]
    lines = [
        "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip() for line in [heads, *table]
    ]
    return "\n".join([*lines, *_hints(rows)])


def _hints(rows: list[StatusRow]) -> list[str]:
    """What to type for the tables that are not complete."""
    hints = [f"{row.name}: {row.command}" for row in rows if not row.complete]
    if any(row.counts["failed"] or row.counts["corrupt"] for row in rows):
        hints.append("why a run failed, and which corrupt file to delete, stands in the footnotes of `dgsct tables`")
    return hints or ["everything is done"]


def print_status(rows: list[StatusRow]) -> None:
    """Print the status: a coloured table in a terminal, plain lines in a pipe or a log."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        print(plain_status(rows))
        return
    table = Table("table", "done", *STATES[1:], "not in harness", "title", box=None, header_style="bold")
    for row in rows:
        done = f"[{'green' if row.complete else 'bold'}]{row.counts['ok']}/{row.total}[/]"
        others = [f"[{COLORS[s]}]{row.counts[s]}[/]" if row.counts[s] else "[dim]·[/]" for s in STATES[1:]]
        table.add_row(row.name, done, *others, str(row.planned), escape(row.title))
    console.print(table)
    for hint in _hints(rows):
        console.print(hint, style="dim", highlight=False, markup=False, soft_wrap=True)

"""What an entry of the deviation ledger is, and the protocols that it picks for (`dgsct.runs.protocols` holds the entries)."""

from dataclasses import dataclass, field, replace
from typing import Any

SUMMARIES: dict[str, str] = {
    "release": "as the public code does it, quirks included",
    "paper": "as the paper's text says, except where its own parameter counts or its authors contradict it; "
    "where it is silent, the choice that a careful reader would make",
    "clean": "the release's model without the known bugs of its training, encoders in eval mode, selected on the validation "
    "split and measured exactly",
}
PROTOCOLS: tuple[str, ...] = tuple(SUMMARIES)


@dataclass(frozen=True)
class Entry:
    """One deviation: what the paper says, what the release does, what it changes, what each protocol picks.

    It holds for all tasks, or for those that `tasks` names. `where` is the place in the paper and in the public code, `size`
    by how much it moves a number, where that is known or much is expected.
    """

    id: str
    where: str
    topic: str
    paper: str
    release: str
    effect: str
    option: str | None = None
    values: dict[str, Any] = field(default_factory=lambda: dict.fromkeys(PROTOCOLS))
    tasks: tuple[str, ...] | None = None
    note: str = ""
    size: str = ""

    def holds(self, task: str) -> bool:
        """Whether it says something of `task`."""
        return self.tasks is None or task in self.tasks


def pick(release: Any, paper: Any, clean: Any) -> dict[str, Any]:
    """The values of an entry's option under the three protocols."""
    return {"release": release, "paper": paper, "clean": clean}


def entries_of(tasks: tuple[str, ...], *entries: Entry) -> tuple[Entry, ...]:
    """Entries that hold for these tasks only, where they name none themselves."""
    return tuple(replace(entry, tasks=tasks) if entry.tasks is None else entry for entry in entries)

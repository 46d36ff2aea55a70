"""How long work shows where it stands: a bar on a terminal, plain lines in a log or where rich is not installed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def _rich() -> Any:
    """The module `rich.progress` if a bar can be shown, else None."""
    if not sys.stdout.isatty():
        return None
    try:
        import rich.progress
    except ImportError:
        return None
    return rich.progress


def counted(total: int, title: str, unit: str, show: bool = True) -> Iterator[int]:
    """0 to `total` - 1, with a bar on a terminal or a line every tenth in a log."""
    rich = _rich() if show else None
    if rich:
        yield from rich.track(range(total), title)
        return
    for i in range(total):
        yield i
        if show and (i + 1 == total or (i + 1) % max(total // 10, 1) == 0):
            print(f"{title}: {i + 1} of {total} {unit}", flush=True)


class Display:
    """Progress of one training: `say` prints a line, `at` moves the bar."""

    def __init__(self, bar: Any = None, task: Any = None) -> None:
        self._bar, self._task = bar, task

    def say(self, text: str) -> None:
        """Print a line (above the bar, where there is one)."""
        if self._bar:
            self._bar.console.print(text, highlight=False)
        else:
            print(text, flush=True)

    def at(self, step: int) -> None:
        """Show that `step` steps are done."""
        if self._bar:
            self._bar.update(self._task, completed=step)


@contextmanager
def display(title: str, total: int, done: int = 0, show: bool = True) -> Iterator[Display]:
    """A `Display` for `total` steps, of which `done` are behind us; with `show` False it says nothing."""
    if not show:
        yield _Silent()
        return
    rich = _rich()
    if not rich:
        yield Display()
        return
    columns = (*rich.Progress.get_default_columns(), rich.MofNCompleteColumn())
    with rich.Progress(*columns, transient=True) as bar:
        yield Display(bar, bar.add_task(title, total=total, completed=done))


class _Silent(Display):
    def say(self, text: str) -> None:
        pass

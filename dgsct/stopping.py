"""When a run is asked to stop: by a signal, or by its own clock."""

import signal
import time

DEADLINE_MARGIN = 120.0


class StopRequest:
    """Set by SIGTERM, SIGUSR1, a first Ctrl-C, or when the time budget (minutes, less a margin) is nearly spent."""

    def __init__(self, budget_minutes: float | None = None) -> None:
        self.asked = False
        self.deadline = None if budget_minutes is None else time.monotonic() + budget_minutes * 60 - DEADLINE_MARGIN
        for name in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
            signal.signal(name, self._ask)

    def _ask(self, number: int, _frame: object) -> None:
        self.asked = True
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def __bool__(self) -> bool:
        return self.asked or (self.deadline is not None and time.monotonic() > self.deadline)

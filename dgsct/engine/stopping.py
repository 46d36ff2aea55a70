"""When a run is asked to stop: by a signal, by its own clock, or because another copy has taken its place."""

import os
import signal
import time

from dgsct.engine.run_lock import RunLock

DEADLINE_MARGIN = 120.0


def deadline(budget_minutes: float | None) -> float | None:
    """When (Unix time) work that starts now must be over: at the end of its budget, or of its Slurm allocation if sooner.

    Slurm says the latter from version 23.02 on (SLURM_JOB_END_TIME); before that the budget must be that of the allocation.
    """
    ends = [] if budget_minutes is None else [time.time() + 60 * budget_minutes]
    end = os.environ.get("SLURM_JOB_END_TIME", "")
    return min([*ends, *([float(end)] if end.isdigit() else [])], default=None)


class StopRequest:
    """Set by SIGTERM, SIGUSR1, a first Ctrl-C, or when the `deadline` (Unix time, less a margin) is near."""

    def __init__(self, deadline: float | None = None) -> None:
        self.asked = False
        self.lock: RunLock | None = None
        left = None if deadline is None else deadline - time.time() - DEADLINE_MARGIN
        self.deadline = None if left is None else time.monotonic() + left
        for name in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
            signal.signal(name, self._ask)

    def _ask(self, number: int, _frame: object) -> None:
        self.asked = True
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def __bool__(self) -> bool:
        lost = self.lock is not None and self.lock.lost
        return self.asked or lost or (self.deadline is not None and time.monotonic() > self.deadline)

    def may_write(self) -> None:
        """Stopped if another copy of the run has taken over meanwhile; what it has written must stay."""
        if self.lock is not None:
            self.lock.check()

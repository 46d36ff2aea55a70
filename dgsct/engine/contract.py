"""What a method and a task agree on by name. A name that one of them lacks ends in one sentence instead of a traceback."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from dgsct.errors import DgsctError
from dgsct.runs.run import Run
from dgsct.tasks import get_task


class Targets(dict[str, Tensor]):
    """A batch's targets by name, as the losses of a run's method read them; DgsctError names one that the task lacks."""

    def __init__(self, targets: Mapping[str, Tensor], run: Run) -> None:
        super().__init__(targets)
        self._run = run

    def __missing__(self, name: str) -> Tensor:
        given = ", ".join(self)
        raise DgsctError(
            f"method {self._run.method} reads target {name!r}, which task {self._run.task} does not give; it gives: {given}"
        )


def check_predictions(predicted: Any, run: Run) -> dict[str, Tensor]:
    """What a method's `predict` returned, if it is what the run's task measures; DgsctError names what is missing."""
    wanted = get_task(run.task).predictions
    if not isinstance(predicted, Mapping):
        raise DgsctError(
            f"method {run.method} predicts a {type(predicted).__name__}, and task {run.task} measures tensors by name; "
            f"return a dictionary with: {', '.join(wanted)}"
        )
    missing = [name for name in wanted if name not in predicted]
    if missing:
        given = ", ".join(map(str, predicted)) or "nothing"
        raise DgsctError(
            f"method {run.method} does not predict {missing[0]!r}, which task {run.task} measures; it predicts: {given}"
        )
    return dict(predicted)

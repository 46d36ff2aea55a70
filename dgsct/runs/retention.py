"""What stays of a finished run: its best weights, or its record alone.

Nobody loses weights that something else is made from: those of such runs stay whatever a site says.
"""

from collections.abc import Collection, Iterable

from dgsct.runs.experiments import Experiment, Settings, all_runs
from dgsct.runs.run import Run


def runs_with_needed_weights(experiments: Iterable[Experiment], settings: Settings) -> frozenset[Run]:
    """Runs from whose best weights something of the matrix is made: the masks that a figure shows, and other runs."""
    experiments = list(experiments)
    needed = set(all_runs([one for one in experiments if one.kind == "masks"], settings))
    children = all_runs(experiments, settings)
    while children:
        parents = set(children.pop().parents.values())
        children += parents - needed
        needed |= parents
    return frozenset(needed)


def keep_of(run: Run, said: str, needed: Collection[Run]) -> str:
    """What stays of `run` where a site says `said` (`weights` or `record`)."""
    return "weights" if run in needed else said

"""What stays of a finished run: its best weights, or its record alone.

Nobody loses weights that something else is made from: those of such runs stay whatever a site says.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace

from dgsct.runs.experiments import Experiment, Settings, all_runs
from dgsct.runs.inputs import with_parents
from dgsct.runs.run import Run


def runs_with_needed_weights(experiments: Iterable[Experiment], settings: Settings) -> frozenset[Run]:
    """Runs from whose best weights something of the matrix is made: the masks that a figure shows, and other runs.

    Of the whole matrix: a call for some tasks or methods takes nothing from the next one.
    """
    experiments, settings = list(experiments), replace(settings, tasks=(), methods=())
    masks = all_runs([one for one in experiments if one.kind == "masks"], settings)
    parents = (parent for run in with_parents(all_runs(experiments, settings)) for parent in run.parents.values())
    return frozenset((*masks, *parents))


def keep_of(run: Run, keep: str, needed: Collection[Run]) -> str:
    """What stays of `run` where a site says `keep` (`weights` or `record`)."""
    return "weights" if run in needed else keep

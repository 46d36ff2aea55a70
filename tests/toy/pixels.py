"""A toy method of every kind of task: what a test proves of the engine, the DAG or a cluster, it proves with this one.

A run of it takes a second, as it learns a few numbers by steps of a millisecond. It has all that a training must keep over a
stop: a weight that learns, and on AVE statistics of its batches, chance (dropout) and a weight that is frozen. On MS3 it may
start from its own best weights on S4. `PIXELS_PACE` in the environment makes every training step last so many seconds, in
which nobody computes; no number depends on it.
"""

from dataclasses import dataclass, replace
from typing import Literal

from dgsct.methods.base import Method, Parent, Part
from dgsct.settings.options import RECIPE
from dgsct.settings.recipe import Recipe

PACE = "PIXELS_PACE"


@dataclass(frozen=True)
class StartOptions:
    """What a run on MS3 starts from: nothing, or the best weights on S4."""

    start: Literal["nothing", "s4"] = "nothing"


def _parents(options) -> tuple[Parent, ...]:
    return (Parent("s4", "avs-s4", "pixels", RECIPE),) if options.start == "s4" else ()


# Its own, so that a task's recipe may change without it: every epoch is evaluated, and a checkpoint made within one.
_OF_MASKS = {"mini": Recipe(6, 6, batch_size=4, lr=1e-3, lr_step=4, lr_gamma=0.3, threads=1, checkpoint_every=40)}
_OF_SECONDS = {"mini": Recipe(10, 10, batch_size=8, lr=2e-3, lr_step=3, lr_gamma=0.5, threads=1, checkpoint_every=10)}
_MASKS = Part("pixels_avs", options=RECIPE, inputs=("frames", "features/vggish"), recipes=_OF_MASKS)
_MASKS_OF_MANY = replace(_MASKS, options=(*RECIPE, "start"), own=StartOptions, parents=_parents)
_SECONDS = Part("pixels_ave", options=RECIPE, inputs=("frames", "logmel"), sizes=("htsat",), recipes=_OF_SECONDS)
PIXELS = Method("pixels", "a linear layer a pixel, or a second", {"ave": _SECONDS, "avs-s4": _MASKS, "avs-ms3": _MASKS_OF_MANY})

"""A toy method of every kind of task: what a test proves of the engine, the DAG or a cluster, it proves with this one.

A run of it takes a second, as it learns a few numbers by steps of a millisecond. It has all that a training must keep over a
stop: a weight that learns, statistics of its batches, chance (dropout), and on AVE weights that are frozen. `PIXELS_PACE` in
the environment makes every training step last so many seconds, in which nobody computes; no number depends on it.
"""

from dgsct.methods.base import Method, Part
from dgsct.settings.options import RECIPE

PACE = "PIXELS_PACE"
_MASKS = Part("pixels_avs", options=RECIPE, inputs=("frames", "features/vggish"))
_SECONDS = Part("pixels_ave", options=RECIPE, inputs=("frames", "logmel"), sizes=("htsat",))
PIXELS = Method("pixels", "a linear layer a pixel, or a second", {"ave": _SECONDS, "avs-s4": _MASKS, "avs-ms3": _MASKS})

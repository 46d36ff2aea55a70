"""Read by every Python that has this folder on PYTHONPATH when it starts: such a process knows the toy method."""

from pixels import PIXELS

from dgsct.methods import METHODS

METHODS[PIXELS.name] = PIXELS

"""How long a training step of the toy lasts."""

import os
import time

from pixels import PACE


def pause(training: bool) -> None:
    """Sleep as long as the environment says, in a training step."""
    if training and PACE in os.environ:
        time.sleep(float(os.environ[PACE]))

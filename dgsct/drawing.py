"""matplotlib and seaborn as all pictures here are drawn: into files, whatever screen, notebook or taste the environment names.

Whoever draws imports both from here. The same numbers give the same bytes, whatever MPLBACKEND and a matplotlibrc say.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dgsct.errors import MachineError

BACKEND = "MPLBACKEND"  # a notebook sets it for all that it starts; a name unknown here breaks the import itself


@contextmanager
def _without_backend() -> Iterator[None]:
    backend = os.environ.pop(BACKEND, None)
    try:
        yield
    finally:
        if backend is not None:
            os.environ[BACKEND] = backend


try:
    with _without_backend():
        import matplotlib
        import matplotlib.pyplot as plt
        import seaborn as sns
except Exception as _error:  # a library that is broken in whatever way
    raise MachineError(
        f"nothing can be drawn here, as matplotlib and seaborn cannot be imported ({type(_error).__name__}: {_error}); mend"
        " them (`pip install -e '.[harness]'`), or the matplotlibrc that they read"
    ) from _error

__all__ = ["FONT", "plain", "plt", "sns"]
# It comes with matplotlib; seaborn's styles name others first, which a machine may have: `sns.axes_style("white", FONT)`.
FONT = {"font.family": ["DejaVu Sans"]}


@contextmanager
def plain(settings: dict[str, Any] | None = None) -> Iterator[None]:
    """matplotlib's own settings but for the font and `settings`, and no screen."""
    matplotlib.use("Agg")
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**FONT, **(settings or {})})
        yield

"""The command line `dgsct`. Thin: every command imports what it needs when it runs, so that --help answers at once.

One module for each group of commands; importing it registers them. Exit codes: 0 good, 1 failed, 2 wrong use, 3 a
repeat that differs from its record (`run --again`), 75 stopped and resumable.
"""

import sys

from dgsct.cli import campaign, data, runs, tables, trace
from dgsct.cli.common import app
from dgsct.errors import exit_code

__all__ = ["app", "campaign", "data", "main", "runs", "tables", "trace"]


def main() -> None:
    """Entry point: user errors become one sentence and an exit code."""
    sys.exit(exit_code(app))

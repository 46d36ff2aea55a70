"""`python -m dgsct.cli`: the same as `dgsct`."""

from dgsct.cli import main

main()

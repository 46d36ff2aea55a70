"""Mini data sets: generated clips written in the real sets' own formats. `python -m dgsct.tasks.generate ave OUT`."""

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from dgsct.data.base import Index
from dgsct.errors import exit_code

# Imported by name, so that an edit of one generator makes no other set anew.
GENERATORS = {"ave": "dgsct.tasks.ave.mini", "avs-s4": "dgsct.tasks.avs.mini", "avs-ms3": "dgsct.tasks.avs.mini"}


def generator_module(name: str) -> str:
    """The module that generates the set `name`."""
    return GENERATORS[name]


def mini_splits(task: str) -> dict[str, int]:
    """Clips of train, val and test in the mini set of `task`."""
    module = import_module(GENERATORS[task])
    return dict(module.SPLITS if task == "ave" else module.SIZES[task])


def write_mini(task: str, root: Path, **options: Any) -> Index:
    """Write the mini set of `task` to `root`; options as of `write_mini_ave`."""
    module = import_module(GENERATORS[task])
    return module.write_mini_ave(root, **options) if task == "ave" else module.write_mini_avs(task, root, **options)


def main(argv: list[str] | None = None) -> int:
    """Command line: which set, where to."""
    parser = argparse.ArgumentParser(prog="python -m dgsct.tasks.generate", description="Write a generated data set.")
    parser.add_argument("task", choices=tuple(GENERATORS), help="whose format")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, help="processes (default: all cores)")
    args = parser.parse_args(argv)
    return exit_code(lambda: write_mini(args.task, args.out, seed=args.seed, jobs=args.jobs))


if __name__ == "__main__":
    sys.exit(main())

"""Mini data sets: generated clips in the real sets' own formats. `python -m dgsct.tasks.generate ave OUT`.

The generator of a set is the module `mini` in the folder of its task. It has `SIZES`, the clips of each split by set, and
`write(name, root, seed=0, splits=None, jobs=None, progress=True)`, which returns the index of what it wrote.
"""

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from dgsct.data.index import Index
from dgsct.errors import exit_code
from dgsct.tasks import HOMES


class Generator(Protocol):
    """What a task's module `mini` has."""

    SIZES: dict[str, dict[str, int]]

    def write(
        self,
        name: str,
        root: Path,
        seed: int = 0,
        splits: dict[str, int] | None = None,
        jobs: int | None = None,
        progress: bool = True,
    ) -> Index:
        """Write the set `name` to `root`, which appears at the end; `splits` takes the place of `SIZES[name]`.

        Deterministic in `seed`, whatever `jobs` (processes, default: all cores). UsageError for a seed or sizes that it
        cannot have, and if `root` holds something else.
        """


def generator_module(name: str) -> str:
    """The module that generates the set `name`."""
    return f"dgsct.tasks.{HOMES[name]}.mini"


def _generator(name: str) -> Generator:
    # Imported by name, so that an edit of one generator makes no other set anew.
    return cast(Generator, import_module(generator_module(name)))


def mini_splits(name: str) -> dict[str, int]:
    """Clips of train, val and test in the mini set `name`."""
    return dict(_generator(name).SIZES[name])


def write_mini(name: str, root: Path, **options: Any) -> Index:
    """Write the mini set `name` to `root`; see `Generator.write`."""
    return _generator(name).write(name, root, **options)


def main(argv: list[str] | None = None) -> int:
    """Command line: which set, where to."""
    parser = argparse.ArgumentParser(prog="python -m dgsct.tasks.generate", description="Write a generated data set.")
    parser.add_argument("name", choices=tuple(HOMES), help="which set")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, help="processes (default: all cores)")
    args = parser.parse_args(argv)
    return exit_code(lambda: write_mini(args.name, args.out, seed=args.seed, jobs=args.jobs))


if __name__ == "__main__":
    sys.exit(main())

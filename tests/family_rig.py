"""A parent and a child: the toy method on MS3, started from its own best weights on S4, in a small world of both sets."""

import shutil
from pathlib import Path

from avs_rig import write_world

from dgsct.runs.run import Run
from dgsct.tasks import get_set

PARENT = Run("avs-s4", "pixels")
CHILD = Run("avs-ms3", "pixels", (("start", "s4"),))
SHARED = ("data", "encoders", "features")


def make_family(root: Path) -> Path:
    """A results folder with both sets prepared and features of their clips. What those are made from is there in name only,
    and older, so that Snakemake does not make it.
    """
    (root / "encoders/mini").mkdir(parents=True)
    for name in ("vggish.safetensors", "vggish.json"):
        (root / "encoders/mini" / name).touch()
    for dataset in ("avs-s4", "avs-ms3"):
        index = get_set(dataset).index_file(root / f"data/mini/{dataset}/raw")
        index.parent.mkdir(parents=True)
        index.touch()
        write_world(root, dataset)
    return root


def share(world: Path, root: Path) -> Path:
    """A results folder `root` with what `world` has, and no runs."""
    root.mkdir(parents=True, exist_ok=True)
    for name in SHARED:
        (root / name).symlink_to(world / name)
    return root


def copy_runs(trained: Path, root: Path) -> Path:
    """A results folder of its own with the runs of another."""
    shutil.copytree(trained / "runs", root / "runs")
    return share(trained, root)

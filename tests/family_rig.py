"""A parent and a child: AVSBench's baseline on MS3, started from its own best weights on S4, in a small world of both sets."""

import shutil
from pathlib import Path

import torch

from dgsct.data.prepare import prepare_set
from dgsct.encoders.extract import extract
from dgsct.encoders.pvt import Pvt
from dgsct.encoders.vggish import Vggish
from dgsct.encoders.weights import encoder_file, publish
from dgsct.runs.run import Run
from dgsct.settings.scales import MINI
from dgsct.tasks import get_set
from dgsct.tasks.avs.mini import write

SPLITS = {"train": 8, "val": 4, "test": 4}
PARENT, CHILD = Run.make("avs-s4", "avs-pvt"), Run.make("avs-ms3", "avs-pvt", {"start": "s4"})
SHARED = ("data", "encoders", "features")


def make_family(root: Path) -> Path:
    """A results folder with both sets, untrained encoders and real features; files are older than what is made from them."""
    torch.manual_seed(0)
    for encoder, model in (("pvt", Pvt(MINI.pvt)), ("vggish", Vggish(MINI.vggish))):
        publish(encoder_file(root, "mini", encoder), model, {"encoder": encoder})
    for name in ("avs-s4", "avs-ms3"):
        folder = root / "data/mini" / name
        write(name, folder / "raw", splits=SPLITS, jobs=1, progress=False)
        prepare_set(get_set(name), folder / "raw", folder / "packed", MINI, jobs=1, progress=False)
        extract(get_set(name), "vggish", MINI, root)
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

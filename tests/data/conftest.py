"""The set of a hundred clips and a part of it, made once, and prepared once without any disturbance."""

from pathlib import Path

import numpy as np
import pytest
from ave_rig import write_ave_world

from dgsct.data.prepare import prepare_set
from dgsct.settings.scales import MINI
from dgsct.tasks import get_set
from dgsct.tasks.ave.annotations import AveIndex, read_index, write_index

FORTY = 40


@pytest.fixture(scope="session")
def ave_world(once) -> Path:
    return once("hundred", lambda folder: write_ave_world(folder / "raw")) / "raw"


@pytest.fixture(scope="session")
def ave_undisturbed(once, ave_world) -> Path:
    def make(folder: Path) -> None:
        prepare_set(get_set("ave"), ave_world, folder / "packed", MINI, progress=False)

    return once("hundred_prepared", make) / "packed"


@pytest.fixture(scope="session")
def forty(once, ave_world) -> Path:
    """The first forty of them, for what is prepared over and over."""

    def make(folder: Path) -> None:
        index, places = read_index(ave_world), np.arange(FORTY)
        splits = {"train": places[:25], "val": places[25:31], "test": places[31:]}
        (folder / "raw").mkdir()
        (folder / "raw/AVE").symlink_to(ave_world / "AVE")
        write_index(folder / "raw", AveIndex(index.rows[:FORTY], index.categories, splits), header=True)

    return once("forty", make) / "raw"


@pytest.fixture(scope="session")
def forty_undisturbed(once, forty) -> Path:
    def make(folder: Path) -> None:
        prepare_set(get_set("ave"), forty, folder / "packed", MINI, progress=False)

    return once("forty_prepared", make) / "packed"

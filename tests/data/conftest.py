"""The set of a hundred clips, made once, and prepared once without any disturbance."""

from pathlib import Path

import pytest
from ave_rig import write_ave_world

from dgsct.data.prepare import prepare_set
from dgsct.settings.scales import MINI
from dgsct.tasks import get_set


@pytest.fixture(scope="session")
def ave_world(once) -> Path:
    return once("hundred", lambda folder: write_ave_world(folder / "raw")) / "raw"


@pytest.fixture(scope="session")
def ave_undisturbed(once, ave_world) -> Path:
    def make(folder: Path) -> None:
        prepare_set(get_set("ave"), ave_world, folder / "packed", MINI, progress=False)

    return once("hundred_prepared", make) / "packed"

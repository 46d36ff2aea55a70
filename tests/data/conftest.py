"""The set of a hundred clips, made once, and prepared once without any disturbance."""

from pathlib import Path

import pytest
from ave_rig import write_ave_world

from dgsct.data.prepare import prepare_set
from dgsct.settings.scales import MINI
from dgsct.tasks import get_set


@pytest.fixture(scope="session")
def ave_world(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("hundred") / "raw"
    write_ave_world(root)
    return root


@pytest.fixture(scope="session")
def ave_undisturbed(ave_world) -> Path:
    out = ave_world.parent / "packed"
    prepare_set(get_set("ave"), ave_world, out, MINI, progress=False)
    return out

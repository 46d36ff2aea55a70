"""A small world in which every command can be called with something bad."""

import pytest
from bad_input_rig import World, make_sets

from dgsct.campaign import doctor
from dgsct.errors import DgsctError

# What doctor looks at here: none of these starts a program.
CHECKS = ("settings", "data", "weights", "disk")


@pytest.fixture(scope="session")
def sets(once):
    return once("sets", make_sets)


@pytest.fixture
def world(tmp_path, sets, monkeypatch):
    """A world, where no real work begins: whoever comes so far has not looked at the input."""

    def forbidden(*_args, **_kwargs):
        raise DgsctError("real work has begun")

    for place in ("dgsct.engine.soak.soak", "dgsct.campaign.probe.probe", "dgsct.engine.worker.fork_run"):
        monkeypatch.setattr(place, forbidden)
    monkeypatch.setattr("dgsct.engine.worker.preload", lambda: None)
    monkeypatch.setattr(doctor, "examine", lambda checks, all_=doctor.examine: all_([c for c in checks if c.area in CHECKS]))
    return World(tmp_path, sets)

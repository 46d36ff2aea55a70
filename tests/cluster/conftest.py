"""A real Slurm for the tests that only ask it."""

from collections.abc import Iterator

import pytest
from slurm_rig import Cluster, missing


@pytest.fixture(scope="session")
def cluster() -> Iterator[dict[str, str]]:
    """An environment that reaches a Slurm of the tests' own."""
    if missing():
        pytest.skip(missing())
    with Cluster() as slurm:
        yield slurm.env

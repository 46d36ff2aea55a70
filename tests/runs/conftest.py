"""The experiment files of the paper, read once for each file of tests."""

from collections.abc import Mapping

import pytest

from dgsct.runs.experiments import load_experiments
from dgsct.runs.schema import Experiment


@pytest.fixture(scope="module")
def experiments() -> Mapping[str, Experiment]:
    return load_experiments()

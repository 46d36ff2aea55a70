"""The model at full size, on a CPU: memory, and the scores of the release's."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def report(repository):
    command = [sys.executable, str(Path(__file__).with_name("full_size.py"))]
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def test_one_clip_passes_within_8_gib(report):
    assert report["parameters"] == 461_282_531
    assert report["peak_mib"] < 8 << 10


def test_it_differs_from_the_release_s_by_rounding_only(report):
    """Other paths: models/test_paths.py, at the paper's depths with few channels; in bf16: ops/test_fused.py."""
    assert report["deviation"] < 1e-4

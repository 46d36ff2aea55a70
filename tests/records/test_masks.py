"""Masks of a run: whose record they belong to decides whether they hold, not their age."""

import numpy as np
import pytest
from results_rig import place, place_stale

from dgsct.records.masks import PredictedMasks, masks_path, masks_state, write_masks
from dgsct.records.results import judged, read_record
from dgsct.runs.run import Run

RUN = Run("avs-s4", "late-fusion")


@pytest.fixture
def root(tmp_path):
    """Masks of a record that holds."""
    predict(tmp_path, read_record(place(tmp_path, RUN))["key"])
    return tmp_path


def predict(root, key: str) -> None:
    nothing = np.zeros(0)
    write_masks(root, RUN, PredictedMasks(key, (), nothing, nothing, np.zeros((0, 1, 1, 8), bool)))


def verdict(root) -> tuple[str, bool | None]:
    state = masks_state(RUN, root)
    return state.name, judged(root / masks_path(RUN), state)


def test_masks_hold_with_their_record(root):
    assert verdict(root) == ("ok", True)
    predict(root, "0" * 64)
    assert verdict(root) == ("stale", False)


def test_masks_go_with_their_record(root):
    path = place_stale(root, RUN)
    predict(root, "0" * 64)  # its own
    assert verdict(root) == ("stale", False)
    path.unlink()
    assert verdict(root) == ("stale", False)


def test_of_masks_that_cannot_be_read_ages_decide(root):
    (root / masks_path(RUN)).write_text("{}")
    assert verdict(root) == ("corrupt", None)
    (root / masks_path(RUN)).unlink()
    assert verdict(root) == ("missing", None)

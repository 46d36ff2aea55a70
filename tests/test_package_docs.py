"""A room's docstring lists its modules: none that is gone."""

import ast
import re

import pytest
from documented_rig import ROOT

ROOMS = (
    ".", "ops", "settings", "data", "encoders", "models", "models/heads", "runs", "records", "engine", "publish", "checkpoints",
    "campaign",
)  # fmt: skip


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_s_docstring_names_modules_that_are_there(room):
    folder = ROOT / "dgsct" / room
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    named = set(re.findall(r"`([a-z_]+)`", text))
    assert named
    assert named <= {path.stem for path in folder.iterdir()}

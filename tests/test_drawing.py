"""Pictures do not depend on what the environment says of screens and tastes: drawn in new processes, byte for byte."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dgsct.publish.figures import write_figure
from dgsct.runs.experiments import Settings, load_experiments

DRAW = """
import sys
from pathlib import Path
import numpy as np
from dgsct.publish.figures import write_figure
from dgsct.runs.experiments import Settings, load_experiments
from dgsct.tasks.ave.details import ClassResult, Details, confusion_picture
names = [ClassResult(name, 4, 3, 4) for name in ("bark", "background")]
metrics = {"acc_exact": 75.0, "acc_batch8": 75.0}
Path("confusion.png").write_bytes(confusion_picture(Details(tuple(names), np.array([[3, 1], [1, 3]])), "x.pt", metrics))
write_figure(load_experiments()["fig8"], Settings(), Path("results"), Path("."))
"""
TASTE = """backend: TkAgg
font.family: serif
figure.facecolor: black
savefig.bbox: tight
lines.linewidth: 9
axes.prop_cycle: cycler('color', ['r'])
"""


def drawn(folder: Path, **env: str) -> tuple[subprocess.Popen, Path]:
    folder.mkdir(exist_ok=True)
    bare = {name: value for name, value in os.environ.items() if not name.startswith("MPL")}
    return subprocess.Popen([sys.executable, "-c", DRAW], cwd=folder, env=bare | env, stderr=subprocess.PIPE, text=True), folder


def test_the_same_numbers_give_the_same_bytes_whatever_the_environment_says(tmp_path):
    """A notebook's backend, a name that is none, a screen that is not there, and a user's own settings."""
    for name in ("here", "config"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "matplotlibrc").write_text(TASTE)
    calls = [
        drawn(tmp_path / "plain"),
        drawn(tmp_path / "there", MPLBACKEND="module://no_such_notebook", MPLCONFIGDIR=str(tmp_path / "config")),
        drawn(tmp_path / "here", MPLBACKEND="no such thing", DISPLAY=":99"),
    ]
    found = []
    for process, folder in calls:
        _, told = process.communicate(timeout=300)
        assert process.returncode == 0, told
        pictures = ("confusion.png", "fig8.png", "fig8.pdf", "fig8.json")
        # The side-car names the records by whole paths where they lie outside the repository.
        contents = ((folder / name).read_bytes().replace(str(folder).encode(), b"") for name in pictures)
        found.append([hashlib.sha256(content).hexdigest() for content in contents])
    assert found == [found[0]] * 3


def test_a_library_that_is_broken_ends_in_a_sentence(tmp_path):
    (tmp_path / "seaborn.py").write_text("raise AttributeError('numpy has no float')")
    code = (
        "from dgsct.errors import exit_code\nimport sys\ndef work():\n import dgsct.publish.figures\nsys.exit(exit_code(work))"
    )
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "dgsct: nothing can be drawn here, as matplotlib and seaborn cannot be imported (AttributeError"
    )
    assert done.stderr.count("\n") == 1


def test_a_figure_that_fails_leaves_its_numbers(tmp_path, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise ValueError("no font")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
    with pytest.raises(Exception, match=r"fig8 was not drawn \(ValueError: no font\); its numbers are in .*fig8.json"):
        write_figure(load_experiments()["fig8"], Settings(), tmp_path / "results", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["fig8.json"]

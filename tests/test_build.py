"""`dgsct.build` and its models where nothing of the harness is installed."""

import json
import os
import subprocess
import sys

import pytest
import torch

import dgsct
from dgsct.errors import UsageError

# In such a process these packages look as if they were not installed.
HIDE = """
import importlib.machinery
HIDDEN = {"snakemake", "pydantic", "typer", "rich", "pandas", "av", "yaml", "seaborn", "matplotlib"}
found = importlib.machinery.PathFinder.find_spec
def find_spec(cls, name, path=None, target=None):
    return None if name.split(".")[0] in HIDDEN else found(name, path, target)
importlib.machinery.PathFinder.find_spec = classmethod(find_spec)
"""
USE = """
import importlib.util, json, sys, torch, dgsct
assert not any(importlib.util.find_spec(name) for name in sys.modules["sitecustomize"].HIDDEN)
torch.manual_seed(0)
said = {}
for method in ("dg-sct", "lavish-star", "late-fusion"):
    model = dgsct.build("ave", method, scale="mini").eval()
    with torch.no_grad():
        output = model(torch.rand(2, 10, 3, 32, 32), torch.rand(2, 10, 32000) - 0.5)
    said[method] = {
        "shapes": {name: list(value.shape) for name, value in output._asdict().items()},
        "finite": all(bool(value.isfinite().all()) for value in output),
        "predicted": {name: list(value.shape) for name, value in model.predict(output).items()},
        "differ": not torch.equal(output.relevance[0], output.relevance[1]),
    }
print(json.dumps(said))
"""


def count(method: str, **overrides) -> int:
    return sum(p.numel() for p in dgsct.build("ave", method, scale="mini", **overrides).parameters())


def test_every_model_runs_without_the_harness(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(HIDE, encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", USE], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert list(said) == ["dg-sct", "lavish-star", "late-fusion"]
    for output in said.values():
        assert output["shapes"] == {"relevance": [2, 10], "events": [2, 6], "av": [2, 6], "gate": [2, 10]}
        assert output["predicted"] == {"segments": [2, 10]}
        assert output["finite"]
        assert output["differ"]


def test_overrides_change_the_parameters():
    star = count("lavish-star")
    assert count("dg-sct") > star
    assert count("dg-sct", S=False, C=False) == star
    assert count("dg-sct", S="off", C="off") == star
    assert count("dg-sct", alpha=0.2) == count("dg-sct")


def test_the_default_is_the_papers_size():
    with torch.device("meta"):
        model = dgsct.build("ave", "dg-sct")
    assert sum(p.numel() for p in model.parameters()) == 461_282_531
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 201_160_647


@pytest.mark.parametrize(
    ("task", "method", "options", "said"),
    [
        ("ave", "dg-sct", {"bogus": 1}, "unknown option 'bogus'; known options: S, C, T"),
        ("ave", "dg-sct", {"S": "maybe"}, "option S='maybe' must be on or off"),
        ("ave", "dg-sct", {"modality": "audio"}, "method 'dg-sct' has no option 'modality'"),
        ("ave", "dg-stc", {}, "unknown method 'dg-stc'; known methods: dg-sct"),
        ("ave", "avs-pvt", {}, "method 'avs-pvt' does not run on task 'ave'; it runs on: avs-s4, avs-ms3"),
        ("aveq", "dg-sct", {}, "unknown task 'aveq'; known tasks: ave"),
        ("ave", "dg-sct", {"scale": "huge"}, "unknown scale 'huge'; choose one of: paper, mini"),
        ("ave", "dg-sct", {"protocol": "strict"}, "unknown protocol 'strict'; choose one of"),
        ("ave", "majority-class", {}, "method 'majority-class' is a yardstick without a model; choose one that trains"),
    ],
)
def test_wrong_use_says_what_is_known(task, method, options, said):
    with pytest.raises(UsageError) as error:
        dgsct.build(task, method, **{"scale": "mini", **options})
    assert said in str(error.value)
    assert "\n" not in str(error.value)

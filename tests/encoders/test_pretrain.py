"""Pre-training of mini encoders: their examples, and what makes their weights, and those of converted files, anew."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dgsct.encoders import pretrain, public
from dgsct.encoders.examples import normalised, seconds, stills
from dgsct.encoders.mini import htsat, pvt, resnet50
from dgsct.encoders.sources import WEIGHTS
from dgsct.settings.scales import MINI

RATE = 32000
LOOKS, SOUNDS = pvt.LOOKS, htsat.SOUNDS


def test_examples():
    images, looks = stills(LOOKS, 200, 7, 32)
    waves, sounds = seconds(SOUNDS, 100, 7, RATE)
    assert (images.shape, images.dtype, looks.dtype) == ((200, 32, 32, 3), np.uint8, np.float32)
    assert (waves.shape, waves.dtype, sounds.dtype) == ((100, RATE), np.float32, np.float32)
    assert looks.shape == (200, len(LOOKS))
    assert sounds.shape == (100, len(SOUNDS))
    for labels, most in ((looks, 3), (sounds, 2)):
        assert set(labels.sum(axis=1)) == set(range(most + 1))
        assert 0.1 < labels.mean(axis=0).min() <= labels.mean(axis=0).max() < 0.5
    assert waves[sounds.sum(axis=1) == 0].std() < 0.03 < waves[sounds.sum(axis=1) > 0].std(axis=1).min()
    assert np.array_equal(stills(LOOKS, 20, 7, 32)[0], images[:20])
    assert not np.array_equal(stills(LOOKS, 20, 8, 32)[0], images[:20])


def test_normalised_images_have_imagenets_statistics():
    grey = np.full((2, 4, 6, 3), (124, 116, 104), dtype=np.uint8)  # ImageNet's mean, in whole steps
    assert normalised(grey).shape == (2, 3, 4, 6)
    assert normalised(grey).abs().max() < 0.01


def test_every_public_encoder_has_a_mini_one():
    assert set(pretrain.names()) == set(public.names()) == set(WEIGHTS)
    assert pvt.SIDE == resnet50.SIDE == MINI.frame_size  # trained at the size at which they run


def test_one_place_is_enough_to_name_a_thing():
    """A mean over sixteen places would leave a sixteenth of what one of them shows."""
    model = pretrain.Classifier(lambda encoder, x: encoder(x), nn.Identity(), 1, 1)
    with torch.no_grad():
        model.classify.weight.fill_(1.0)
        model.classify.bias.zero_()
    nothing, one = torch.full((2, 16, 1), -8.0)
    one[3] = 8.0
    absent, present = model(torch.stack((nothing, one))).flatten().tolist()
    assert absent < -7
    assert present == pytest.approx(8.0, abs=1e-3)


def test_a_mini_encoder_learns_and_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pretrain, "EXAMPLES", 460)
    monkeypatch.setattr(pretrain, "HELD_OUT", 100)
    assert pretrain.main(["resnet50", str(tmp_path / "resnet50.safetensors")]) == 0
    facts = json.loads((tmp_path / "resnet50.json").read_text(encoding="utf-8"))
    assert (facts["encoder"], facts["scale"], facts["examples"]) == ("resnet50", "mini", 460)
    assert facts["held_out_map"] > 0.35  # chance is a quarter
    assert "resnet50 epoch 3/3" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        pretrain.main(["resnet51", str(tmp_path / "x.safetensors")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["resnet50.json", "resnet50.safetensors"]


ASK = """
import json, sys, dgsct
sys.modules["torch"] = None
from dgsct.encoders.keys import converted_key, encoder_key
assert dgsct.__file__.startswith(sys.argv[1]), dgsct.__file__
print(json.dumps({name: [encoder_key(name), converted_key(name)] for name in sys.argv[2:]}))
"""


@pytest.fixture
def package(tmp_path, repository) -> Path:
    return shutil.copytree(repository / "dgsct", tmp_path / "dgsct", ignore=shutil.ignore_patterns("__pycache__"))


def keys(package: Path) -> dict[tuple[str, str], str]:
    """(encoder, mini or converted) -> key, as the package in this folder reckons it, without torch."""
    command = [sys.executable, "-c", ASK, str(package), *WEIGHTS]
    env = {**os.environ, "PYTHONPATH": str(package.parent)}
    done = subprocess.run(command, cwd=package.parent, env=env, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    return {(name, kind): key for name, pair in found.items() for kind, key in zip(("mini", "converted"), pair, strict=True)}


def both(*names: str) -> set[tuple[str, str]]:
    return {(name, kind) for name in names for kind in ("mini", "converted")}


@pytest.mark.parametrize(
    ("edited", "made_again"),
    [
        *((f"encoders/{'resnet' if name == 'resnet50' else name}.py", both(name)) for name in WEIGHTS),
        *((f"encoders/mini/{name}.py", {(name, "mini")}) for name in WEIGHTS),
        *((f"encoders/layouts/{name}.py", {(name, "converted")}) for name in WEIGHTS),
        ("encoders/windows.py", both("swin", "htsat")),
        ("encoders/pretrain.py", {(name, "mini") for name in WEIGHTS}),
        ("encoders/public.py", {(name, "converted") for name in WEIGHTS}),
        ("encoders/sources.py", set()),
        ("settings/scales.py", set()),
    ],
)
def test_an_edit_makes_again_what_depends_on_it(package, edited, made_again):
    before = keys(package)
    path = package / edited
    path.write_text(path.read_text(encoding="utf-8") + "\n\n_edited = 1\n", encoding="utf-8")
    after = keys(package)
    assert {which for which in before if before[which] != after[which]} == made_again


def test_an_encoder_that_is_added_makes_no_other_again(package):
    before = keys(package)
    (package / "encoders/clip.py").write_text("class Clip: ...\n", encoding="utf-8")
    for room in ("mini", "layouts"):
        text = (package / f"encoders/{room}/vggish.py").read_text(encoding="utf-8")
        (package / f"encoders/{room}/clip.py").write_text(text.replace("Vggish", "Clip"), encoding="utf-8")
    scales = package / "settings/scales.py"
    text = scales.read_text(encoding="utf-8")
    scales.write_text(
        text.replace("    vggish: VggishSizes =", "    clip: int = 1\n    vggish: VggishSizes ="), encoding="utf-8"
    )
    assert keys(package) == before


def test_other_sizes_make_that_encoder_again(package):
    before = keys(package)
    scales = package / "settings/scales.py"
    text = scales.read_text(encoding="utf-8")
    assert "vggish=VggishSizes((4, 8, 16, 32), 64)" in text
    scales.write_text(text.replace("vggish=VggishSizes((4, 8, 16, 32), 64)", "vggish=VggishSizes((4, 8, 16, 32), 60)"))
    after = keys(package)
    assert {which for which in before if before[which] != after[which]} == {("vggish", "mini")}

"""Bytes of generated data hang on nothing that is added: golden checksums, and an edited copy of the package."""

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import scenes_rig

from dgsct.data.kinds import Look, Sound, tone
from dgsct.data.streams import FOUNDING, entropy, generator
from dgsct.encoders.mini import htsat, swin
from dgsct.tasks.ave import mini as ave
from dgsct.tasks.avs import mini as avs

# Of the code as it was when the reference results were made.
GOLDEN = json.loads((Path(__file__).parents[1] / "scenes_golden.json").read_text(encoding="utf-8"))

STAR = Look("star", lambda x, y: np.abs(x) + np.abs(y) < 0.9, hue=0.72)
ORGAN = Sound("organ", partial(tone, hertz=330, harmonics=4, peak=1.4))


def test_every_generated_byte_is_what_it_was():
    assert scenes_rig.everything() == GOLDEN


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        (lambda patch: patch.setitem(avs.THINGS, "avs-s4", (*avs.THINGS["avs-s4"], (STAR, ORGAN))), "avs-s4"),
        (lambda patch: patch.setitem(avs.THINGS, "avs-ms3", (*avs.THINGS["avs-ms3"], (STAR, ORGAN))), "avs-ms3"),
        (lambda patch: patch.setattr(ave, "LOOKS", (*ave.LOOKS, STAR)), "ave"),
        (lambda patch: patch.setattr(ave, "SOUNDS", (*ave.SOUNDS, ORGAN)), "ave"),
        (lambda patch: patch.setattr(ave, "SECONDS", 12), "ave"),
        (lambda patch: patch.setattr(ave, "FPS", 4), "ave"),
        (lambda patch: patch.setattr(swin, "LOOKS", (*swin.LOOKS, STAR)), "swin"),
        (lambda patch: patch.setattr(htsat, "SOUNDS", (*htsat.SOUNDS, ORGAN)), "htsat"),
    ],
)
def test_what_one_declares_changes_no_other(monkeypatch, change, changed):
    monkeypatch.setattr(scenes_rig, "SEEDS", (0,))
    monkeypatch.setattr(scenes_rig, "CLIPS", (3,))
    change(monkeypatch)
    now = scenes_rig.everything()
    assert {name for name, sums in now.items() if not sums.items() <= GOLDEN[name].items()} == {changed}


KINDS = """


def star(x, y):
    return np.abs(x) + np.abs(y) < 0.9


STAR = Look("star", star, hue=0.72)
ORGAN = Sound("organ", partial(tone, hertz=330, harmonics=4, peak=1.4))
"""
ENCODER = """
from dgsct.data.kinds import DISC, STAR
from dgsct.encoders.examples import stills
import torch
LOOKS = (STAR, DISC)

def examples(count, seed):
    images, seen = stills(LOOKS, count, seed, 32)
    return torch.from_numpy(images).permute(0, 3, 1, 2).float(), torch.from_numpy(seen)
"""
# A minute of two frames a second, as a set of musicians may have.
SET = """
from dgsct.data.kinds import HUM, ORGAN, STAR
from dgsct.data.generate import video_ids
from dgsct.data.scenes import Scene, random_source, render_frames, render_masks, render_wave
from dgsct.data.streams import generator

def clip_scene(name, seed, clip):
    rng = generator(f"{name}/clip", seed, clip)
    one = random_source(rng, STAR, ORGAN, ((0.0, 60.0),), ((10.0, 30.0),))
    other = random_source(rng, None, HUM, (), ((40.0, 55.0),))
    return Scene((one, other), int(rng.integers(2**31)), 60)

scene = clip_scene("probe", 0, 0)
assert render_frames(scene, 32, 32, 2).shape == (120, 32, 32, 3)
assert render_masks(scene, 32, 32, 2)[0].any(axis=(1, 2)).nonzero()[0].tolist() == list(range(20, 60))
assert abs(render_wave(scene, 8000)[80000:240000]).mean() > 0.03
assert len(set(video_ids("probe", 40, 0))) == 40
"""


def test_kinds_a_set_and_an_encoder_that_are_added_change_nothing(tmp_path, repository):
    package = shutil.copytree(repository / "dgsct", tmp_path / "dgsct", ignore=shutil.ignore_patterns("__pycache__"))
    with (package / "data/kinds.py").open("a", encoding="utf-8") as file:
        file.write(KINDS)
    (package / "encoders/mini/clip.py").write_text(ENCODER, encoding="utf-8")
    (package / "tasks/probe").mkdir()
    (package / "tasks/probe/__init__.py").touch()
    (package / "tasks/probe/mini.py").write_text(SET, encoding="utf-8")

    def ask(*command: str) -> str:
        env = {**os.environ, "PYTHONPATH": str(tmp_path)}
        return subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
        ).stdout

    ask("-c", "import dgsct.tasks.probe.mini")
    found = json.loads(ask(str(repository / "tests/scenes_rig.py")))
    assert found.keys() - GOLDEN.keys() == {"clip"}  # it was the copy that answered
    assert {name: found[name] for name in GOLDEN} == GOLDEN


def test_streams_of_all_names_are_apart():
    later = [f"{task}/{what}" for task in ("avvp", "avqa", "vggsound") for what in ("clip", "ids", "questions")]
    places = [(0,), (0, 0), (0, 1), (1, 0), (1,)]  # a seed, or a seed and a clip
    drawn = [generator(name, *place).integers(2**63) for name in later for place in places]
    assert len(set(drawn)) == len(drawn)
    older = [generator(name, seed, clip).integers(2**63) for name in FOUNDING for seed in range(8) for clip in range(8)]
    assert not set(drawn) & set(older)
    # A later stream has a number that no founding one can have, whatever the seed and the place.
    assert max(entropy(name, 0)[1] for name in FOUNDING) < 2**127 <= min(entropy(name, 0)[1] for name in later)

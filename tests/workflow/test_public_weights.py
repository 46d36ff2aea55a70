"""The DAG at paper scale: public files are converted once, and what is missing is said before anything is planned."""

import json
import os

import pytest
from public_rig import encoder_entries, write
from workflow_rig import blocked, snakemake

from dgsct.checksum import sha256_file
from dgsct.encoders.sources import VARIABLE, WEIGHTS
from dgsct.settings.scales import PAPER

SITE = "data: {ave: raw}\nrun: {cpus: 1, mem_mb: 1000, minutes: 10}\nslurm: {partition: null, account: null}\n"
CONFIG = ("--config", "scale=paper", "site=site.yaml", "seeds=1", "methods=late-fusion")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A site with data, without weights."""
    monkeypatch.delenv(VARIABLE, raising=False)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/Annotations.txt").touch()
    (tmp_path / "site.yaml").write_text(SITE)
    return tmp_path


def named(folder):
    folder.mkdir()
    for weights in WEIGHTS.values():
        (folder / weights.usual).touch()


def test_the_sound_encoder_is_converted_for_real_and_once(folder):
    (folder / "weights").mkdir()
    (folder / "weights" / WEIGHTS["swin"].usual).touch()
    public = write(folder / "weights/HTSAT_AudioSet_Saved_1.ckpt", encoder_entries("htsat", PAPER), "state_dict", "sed_model.")
    target = "results/encoders/paper/htsat.safetensors"
    said = snakemake(folder, target, *CONFIG)
    assert said.code == 0, said.text
    facts = json.loads((folder / target).with_suffix(".json").read_text())
    assert facts["sha256"] == sha256_file(folder / target)
    assert facts["source_sha256"] == sha256_file(public)
    assert (facts["source"], facts["entries"]) == (public.name, 200)
    assert "Nothing to be done" in snakemake(folder, target, *CONFIG).text
    assert snakemake(folder, "table1", "-n", *CONFIG).jobs["convert"] == 1  # swin's alone
    public.unlink()
    assert snakemake(folder, "table1", "-n", *CONFIG).jobs["convert"] == 1  # the converted file is enough


@pytest.mark.parametrize("place", ["weights", "variable", "site folder", "site files"])
def test_every_place_of_weights_is_planned_without_torch(folder, place):
    env = blocked(folder / "blocker")
    named(folder / ("weights" if place == "weights" else "elsewhere"))
    if place == "variable":
        env[VARIABLE] = "elsewhere"
    elif place == "site folder":
        (folder / "site.yaml").write_text(SITE + "weights: elsewhere\n")
    elif place == "site files":
        files = {name: f"elsewhere/{weights.usual}" for name, weights in WEIGHTS.items()}
        (folder / "site.yaml").write_text(SITE + f"weights: {json.dumps(files)}\n")
    said = snakemake(folder, "table1", "-n", *CONFIG, env=env)
    assert said.code == 0, said.text
    assert said.jobs == {"convert": 2, "prepare": 1, "train": 3, "table": 1, "table1": 1}


def test_converted_files_from_elsewhere_are_taken_as_they_are(folder):
    (folder / "results/encoders/paper").mkdir(parents=True)
    for name in WEIGHTS:
        (folder / f"results/encoders/paper/{name}.safetensors").touch()
    said = snakemake(folder, "table1", "-n", *CONFIG)
    assert said.code == 0, said.text
    assert said.jobs == {"prepare": 1, "train": 3, "table": 1, "table1": 1}


def test_missing_weights_are_said_in_a_sentence(folder):
    said = snakemake(folder, "table1", "-n", *CONFIG)
    assert said.code == 1
    assert "Traceback" not in said.text
    assert (
        "scale paper needs results/encoders/paper/swin.safetensors or the public file that it is made from: no "
        "swinv2_large_window12_192.ms_in22k.safetensors (or another name that `dgsct weights` lists) in the folder weights"
    ) in said.text
    (folder / "site.yaml").write_text(SITE + "weights: {swin: nowhere.pth}\n")
    assert (
        "nowhere.pth does not exist; correct weights.swin in the site file" in snakemake(folder, "table1", "-n", *CONFIG).text
    )
    (folder / "site.yaml").write_text(SITE + "weights: {swim: nowhere.pth}\n")
    assert "weights must be a folder, or a file for each of swin, htsat" in snakemake(folder, "table1", "-n", *CONFIG).text


def test_yardsticks_and_counts_need_no_weights(folder):
    yardsticks = ("--config", "scale=paper", "site=site.yaml", "methods=all-background,majority-class")
    assert snakemake(folder, "table1", "-n", *yardsticks).jobs == {"prepare": 1, "train": 2, "table": 1, "table1": 1}
    os.remove(folder / "site.yaml")
    assert snakemake(folder, "table6", "-n", "--config", "scale=paper").jobs == {"efficiency": 2, "table": 1, "table6": 1}
    assert snakemake(folder, "table6", "table1", "-n", "--config", "scale=paper").code == 1

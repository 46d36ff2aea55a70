"""The table of public weights, where a site keeps them, and the strictness of what training loads."""

import json
import os
import subprocess
import sys

import pytest
import torch
from call_rig import call
from public_rig import encoder_entries, write

from dgsct.encoders.sources import ENDINGS, VARIABLE, WEIGHTS, fetch, place_of
from dgsct.encoders.states import state_of
from dgsct.encoders.weights import encoder_file, load_encoders, publish
from dgsct.errors import DgsctError, UsageError
from dgsct.models.interaction import FrozenEncoders
from dgsct.settings.scales import MINI, PAPER
from dgsct.tasks.ave.options import AveOptions as Options
from dgsct.tasks.avs.options import S4Options


class Holder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.encoders = FrozenEncoders(MINI, Options())


@pytest.fixture
def root(tmp_path):
    """A results folder with published encoders."""
    torch.manual_seed(1)
    for name in ("swin", "htsat"):
        publish(encoder_file(tmp_path, "mini", name), getattr(Holder().encoders, name), {"encoder": name})
    return tmp_path


def test_what_was_published_is_loaded(root):
    model = Holder()
    load_encoders(model, "mini", root)
    again = encoder_file(root, "mini", "copy")
    publish(again, model.encoders.swin, {"encoder": "swin"})
    assert again.read_bytes() == encoder_file(root, "mini", "swin").read_bytes()


def kept_mapped(root) -> set[str]:
    """Which encoders' files this process has mapped."""
    with open("/proc/self/maps") as maps:
        return {
            encoder
            for line in maps
            for encoder in ("swin", "htsat")
            if line.strip().endswith(f"{root}/encoders/mini/{encoder}.safetensors")
        }


@pytest.mark.parametrize(("options", "mapped", "expected"), [
    ({}, True, {"swin", "htsat"}), ({"audio_encoder": "trained"}, True, {"swin"}), ({}, False, set()),
])  # fmt: skip
def test_a_frozen_encoder_is_the_files_own_pages(root, options, mapped, expected):
    model = torch.nn.Module()
    model.encoders = FrozenEncoders(MINI, S4Options(**options) if options else Options())
    load_encoders(model, "mini", root, mapped)
    assert kept_mapped(root) == expected


def test_what_is_written_to_a_mapped_encoder_stays_in_its_process(root):
    before, model = encoder_file(root, "mini", "htsat").read_bytes(), Holder()
    load_encoders(model, "mini", root)
    model.train()
    model.encoders.htsat(torch.randn(4, 32000) * 0.1, 10)  # moves the statistics of bn0
    with torch.no_grad():
        model.encoders.htsat.bn0.weight += 1
    assert encoder_file(root, "mini", "htsat").read_bytes() == before
    other = Holder()
    load_encoders(other, "mini", root)
    assert not torch.equal(other.encoders.htsat.bn0.running_mean, model.encoders.htsat.bn0.running_mean)
    assert torch.equal(other.encoders.htsat.bn0.weight + 1, model.encoders.htsat.bn0.weight)


def broken(root, state) -> None:
    """Other tensors in an encoder's file, with a JSON that belongs to them."""
    path = encoder_file(root, "mini", "swin")

    class Other(torch.nn.Module):
        def state_dict(self):
            return state(Holder().encoders.swin.state_dict())

    publish(path, Other(), {})


CASES = {
    "no file": (lambda r: encoder_file(r, "mini", "swin").unlink(), "swin.safetensors are missing; run `snakemake "),
    "no JSON": (lambda r: encoder_file(r, "mini", "swin").with_suffix(".json").unlink(), "swin.json are missing; run "),
    "JSON without checksum": (
        lambda r: encoder_file(r, "mini", "swin").with_suffix(".json").write_text("{}"),
        "cannot be read",
    ),
    "changed": (
        lambda r: encoder_file(r, "mini", "swin").write_bytes(encoder_file(r, "mini", "htsat").read_bytes()),
        "are not those that swin.json describes; make both again",
    ),
    "renamed": (
        lambda r: broken(r, lambda s: {k.replace("patch_embed", "patches"): t for k, t in s.items()}),
        "do not fit at key 'swin.patch_embed.",
    ),
    "shape": (lambda r: broken(r, lambda s: s | {"swin.norm.bias": torch.ones(1)}), "do not fit at key 'swin.norm.bias'"),
    "dtype": (
        lambda r: broken(r, lambda s: s | {"swin.norm.bias": s["swin.norm.bias"].half()}),
        "do not fit at key 'swin.norm.bias'; delete the file and make it again",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_training_must_not_load_is_one_sentence(root, case):
    damage, sentence = CASES[case]
    damage(root)
    with pytest.raises(DgsctError) as error:
        load_encoders(Holder(), "mini", root)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_the_first_place_that_is_named_counts(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    assert str(place_of("swin").path) == "weights"
    assert str(place_of("swin", "site").path) == "site"
    assert str(place_of("swin", {"swin": "a/b.pth", "htsat": None}).path) == "a/b.pth"
    assert str(place_of("htsat", {"swin": "a/b.pth", "htsat": None}).path) == "weights"
    monkeypatch.setenv(VARIABLE, "variable")
    assert str(place_of("swin", "site").path) == "variable"
    assert str(place_of("swin", {"swin": "a/b.pth"}).path) == "variable"


@pytest.mark.parametrize("encoder", WEIGHTS)
def test_every_public_name_with_every_ending_is_found(tmp_path, monkeypatch, encoder):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert place_of(encoder).find(WEIGHTS[encoder]) is None
    for stem in WEIGHTS[encoder].stems:
        for ending in ENDINGS:
            path = tmp_path / f"{stem}{ending}"
            path.touch()
            assert place_of(encoder).find(WEIGHTS[encoder]) == path
            path.unlink()


def test_states_of_a_public_file(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    site = str(tmp_path)
    missing = state_of("htsat", site)
    assert missing.name == "missing"
    assert (
        f"no HTSAT_AudioSet_Saved_1.ckpt (or another name that `dgsct weights` lists) in the folder {tmp_path}" in missing.text
    )
    path = tmp_path / "HTSAT_AudioSet_Saved_1.ckpt"
    entries = encoder_entries("htsat", PAPER)
    write(path, entries, "state_dict", "sed_model.")
    found = state_of("htsat", site)
    assert (found.name, found.path, found.text) == ("found", path, "HTS-AT layout, 200 entries, fits")
    assert "all numbers finite, sha256 " in state_of("htsat", site, whole=True).text
    entries["layers.1.blocks.0.norm1.weight"][3] = float("nan")
    path.unlink()
    write(path, entries, "state_dict", "sed_model.")
    assert state_of("htsat", site).name == "found"  # the cheap look reads no numbers
    wrong = state_of("htsat", site, whole=True)
    assert (wrong.name, wrong.path) == ("wrong", path)
    assert "not finite in 'sed_model.layers.1.blocks.0.norm1.weight'" in wrong.text


def test_the_list_needs_no_torch_and_says_everything(tmp_path):
    command = [sys.executable, "-X", "importtime", "-m", "dgsct.cli", "weights"]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, VARIABLE: "nowhere"}, capture_output=True, text=True)
    assert done.returncode == 0
    assert not any(line.rsplit("|", 1)[-1].strip() in ("torch", "timm") for line in done.stderr.splitlines())
    for weights in WEIGHTS.values():
        for word in (
            weights.name,
            weights.page,
            weights.used_by,
            f"{weights.entries} entries, {weights.parameters:,} parameters",
        ):
            assert word in done.stdout
    assert done.stdout.count("missing: no ") == len(WEIGHTS)
    assert "in the folder nowhere (DGSCT_WEIGHTS)" in done.stdout


def test_a_wrong_file_fails_the_list(tmp_path):
    (tmp_path / "weights").mkdir()
    torch.save({"a": torch.ones(1)}, tmp_path / "weights/swinv2_large_window12_192_22k.pth")
    done = call(tmp_path, "weights", **{VARIABLE: ""})
    assert (done.code, done.err) == (1, "")
    assert "state: wrong: weights/swinv2_large_window12_192_22k.pth is no file of Swin-V2 (timm 1.0): it lacks " in done.out
    assert "it has the unknown 'a'" in done.out


def test_fetching_without_a_network_or_a_source_is_one_sentence(tmp_path):
    command = [sys.executable, "-m", "dgsct.cli", "weights", "--fetch", "swin"]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", VARIABLE: "there"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("dgsct: cannot fetch swinv2_large_window12_192_22k (")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(
        DgsctError, match=r"HTSAT_AudioSet_Saved_1 has no automatic source; get HTSAT_AudioSet_Saved_1.ckpt by hand"
    ):
        fetch("htsat", str(tmp_path))
    with pytest.raises(UsageError, match="unknown encoder 'clip'; choose one of: swin, htsat"):
        fetch("clip")


def test_the_published_facts_say_which_file_they_describe(root):
    facts = json.loads(encoder_file(root, "mini", "htsat").with_suffix(".json").read_text())
    assert facts["encoder"] == "htsat"
    assert len(facts["sha256"]) == 64

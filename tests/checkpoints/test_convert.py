"""Whole checkpoints: the authors' layout and ours, both ways and to the bit, and models that start from either."""

import json
from pathlib import Path

import pytest
import torch
from call_rig import Said, call
from golden_rig import TINY, assert_golden, fill_public, tone_and_noise, wave_sin
from public_rig import TINY as SHIFTED
from public_rig import encoder_entries, release_entries, same, write

import dgsct
from dgsct.checkpoints.convert import (
    checkpoint_state,
    convert_encoder,
    load_checkpoint,
    ours_to_release,
    release_to_ours,
    run_of,
    start_of,
)
from dgsct.checkpoints.evaluation import evaluate
from dgsct.data.units import Units
from dgsct.encoders.imagenet import IMAGENET_MEAN, IMAGENET_STD
from dgsct.encoders.public import fit_encoder, stored_buffers
from dgsct.encoders.sources import WEIGHTS
from dgsct.encoders.tensor_files import read_tensors
from dgsct.encoders.weights import encoder_file, encoder_state, load_encoders
from dgsct.engine.checkpoint import save_best
from dgsct.errors import DgsctError, UsageError
from dgsct.methods.dg_sct.ave import DGSCT
from dgsct.models.keys import from_public, to_public
from dgsct.runs.inputs import inputs_of
from dgsct.runs.run import Run
from dgsct.settings.scales import MINI, PAPER, SCALES
from dgsct.tasks.ave.options import AveOptions as Options

ENCODERS = ("swin", "htsat")
MINI_RUN = Run.make("ave", "dg-sct", scale="mini")


@pytest.fixture
def trained(trained) -> Path:
    """The best weights of a real run."""
    return trained / MINI_RUN.folder / "checkpoints/best.safetensors"


def test_full_size_there_and_back_in_shapes():
    """All 2,646 entries of best_82.18.pt's layout, on the meta device; 19 of them are buffers that the windows give."""
    run = Run.make("ave", "dg-sct", scale="paper")
    state = run.build(meta=True).state_dict()
    public = to_public(state)
    buffers = {encoder: stored_buffers(encoder, getattr(PAPER, encoder)) for encoder in ENCODERS}
    assert sum(map(len, buffers.values())) == 19
    assert len(public) == len(state) == 2646 - 19
    again = from_public(public, list(state), run.sizes.groups)
    assert {key: (t.dtype, t.shape) for key, t in again.items()} == {key: (t.dtype, t.shape) for key, t in state.items()}


def test_the_papers_depths_there_and_back_to_the_bit(tmp_path, monkeypatch):
    """The same entries with few channels, in a file: to ours, and back; dtypes and shapes included. Where a stage is one
    window no mask is stored, so that they are some fewer.
    """
    monkeypatch.setitem(SCALES, "paper", SHIFTED)
    run, entries = Run.make("ave", "dg-sct", scale="paper"), release_entries(SHIFTED)
    torch.save(entries, tmp_path / "best_82.18.pt")
    assert release_to_ours(tmp_path / "best_82.18.pt", tmp_path / "ours.safetensors", run) == 2646 - 19
    ours = read_tensors(tmp_path / "ours.safetensors")
    assert json.loads(ours.metadata["run"])["scale"] == "paper"
    assert ours.metadata["groups"] == "2"
    assert ours.metadata["origin"] == "best_82.18.pt"
    drifted = read_tensors(tmp_path / "best_82.18.pt").tensors["htsat.bn0.running_var"]
    assert torch.equal(ours.tensors["backbone.encoders.htsat.bn0.running_var"], drifted)
    written = ours_to_release(tmp_path / "ours.safetensors", tmp_path / "again.pt", *run_of(tmp_path / "ours.safetensors"))
    assert written == len(entries) > 2646 - 19
    again, first = (read_tensors(tmp_path / name).tensors for name in ("again.pt", "best_82.18.pt"))
    assert same(again, first)


@pytest.mark.parametrize("method", ["dg-sct", "lavish-star"])
def test_ours_there_and_back_to_the_bit(tmp_path, method):
    run = Run.make("ave", method, scale="mini")
    state = {key: tensor + 1 for key, tensor in start_of(run).state_dict().items()}
    ours = write(tmp_path / "ours.safetensors", state)
    ours_to_release(ours, tmp_path / "public.pt", run, tmp_path)
    release_to_ours(tmp_path / "public.pt", tmp_path / "again.safetensors", run)
    assert same(read_tensors(tmp_path / "again.safetensors").tensors, state)


def test_masks_are_written_as_the_release_has_them(tmp_path, monkeypatch):
    """At a scale with shifted windows: masks and indices appear below their encoder, and are verified when read."""
    monkeypatch.setitem(SCALES, "mini", SHIFTED)
    state = start_of(MINI_RUN).state_dict()
    ours = write(tmp_path / "ours.safetensors", state)
    ours_to_release(ours, tmp_path / "public.pt", MINI_RUN, tmp_path)
    public = read_tensors(tmp_path / "public.pt").tensors
    assert public.keys() == release_entries(SHIFTED).keys()
    for encoder in ENCODERS:
        for key, buffer in stored_buffers(encoder, getattr(SHIFTED, encoder)).items():
            assert torch.equal(public[f"{encoder}.{key}"], buffer)
    public["swin.layers.0.blocks.1.attn_mask"][0, 0, 0] = 1
    torch.save(public, tmp_path / "edited.pt")
    with pytest.raises(DgsctError, match=r"'layers.0.blocks.1.attn_mask' .* is not what the windows give"):
        release_to_ours(tmp_path / "edited.pt", tmp_path / "out.safetensors", MINI_RUN)
    assert not (tmp_path / "out.safetensors").exists()


def test_the_tiny_backbone_gives_its_golden_values_through_the_files(tmp_path):
    """core.md 11.5: filled by full public keys, saved as the release saves, loaded through the strict path."""
    filled = fill_public(
        to_public(DGSCT(TINY, Options(tile=1)).state_dict()),
        0.1,
        ("htsat.spectrogram_extractor.", "htsat.logmel_extractor."),
    )
    filled["htsat.bn0.running_mean"] = torch.full((16,), -20.0)
    filled["htsat.bn0.running_var"] = torch.full((16,), 100.0)
    filled = {key: t.float() if t.is_floating_point() else t for key, t in filled.items()}
    for encoder in ENCODERS:
        filled |= {f"{encoder}.{key}": buffer for key, buffer in stored_buffers(encoder, getattr(TINY, encoder)).items()}
    torch.save(filled, tmp_path / "tiny.pt")
    model = DGSCT(TINY, Options(tile=1)).eval()
    load_checkpoint(model, tmp_path / "tiny.pt")
    wave = torch.stack([tone_and_noise()[1].roll(37 * k) for k in range(10)])[None]
    mean, std = (torch.tensor(v, dtype=torch.float64).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    frames = wave_sin((1, 10, 3, 64, 64), 1.0, 0.0137, 0.2) * std + mean
    with torch.no_grad():
        visual, audio = model.backbone(frames.float(), wave.float())
    golden = "0.103941 -1.626912 -0.660469 -1.142366 0.164004 0.421910 0.688719 0.701653"
    assert_golden(visual, -0.036532, 0.953927, golden, (1, 10, 128), atol=1.2e-5)
    golden = "0.580389 -4.060518 -0.734235 -3.857591 -3.688136 -1.884178 -3.188023 3.206379"
    assert_golden(audio, 0.137060, 5.881786, golden, (1, 10, 64), atol=1.2e-5)


def test_best_weights_are_completed_by_the_encoders_and_by_the_runs_own_start(trained):
    run, results = run_of(trained)
    assert (run, results) == (MINI_RUN, trained.parents[8])
    model = start_of(run)
    start = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    load_checkpoint(model, trained, "mini", results)
    state, best = model.state_dict(), read_tensors(trained).tensors
    assert all(torch.equal(state[key], tensor) for key, tensor in best.items())
    drifted = "backbone.encoders.htsat.bn0.running_mean"
    fresh = start_of(run)
    load_encoders(fresh, "mini", results)
    assert not torch.equal(state[drifted], fresh.state_dict()[drifted])
    assert torch.equal(
        state["backbone.encoders.swin.swin.norm.weight"], fresh.state_dict()["backbone.encoders.swin.swin.norm.weight"]
    )
    assert torch.equal(state["unused_downsampler.0.weight"], start["unused_downsampler.0.weight"])


def test_best_weights_go_to_the_release_and_come_back(trained, tmp_path):
    ours_to_release(trained, tmp_path / "public.pt", *run_of(trained))
    release_to_ours(tmp_path / "public.pt", tmp_path / "ours.safetensors", MINI_RUN)
    whole = checkpoint_state(start_of(MINI_RUN), trained, "mini", trained.parents[8])
    assert same(read_tensors(tmp_path / "ours.safetensors").tensors, whole)


def test_a_model_of_build_starts_from_a_file(tmp_path):
    entries = release_entries(MINI, seed=3)
    torch.save(entries, tmp_path / "public.pt")
    model = dgsct.build("ave", "dg-sct", scale="mini")
    load_checkpoint(model, str(tmp_path / "public.pt"))
    assert torch.equal(model.head.event.weight, entries["CMBS.localize_module.event_classifier.weight"])
    assert torch.equal(model.backbone.p1[1].a2v.latent.tokens, entries["vis_adapter_blocks_p1.1.my_tokens"])


def less(entries, *keys):
    return {key: tensor for key, tensor in entries.items() if key not in keys}


REFUSALS = {
    "missing": (lambda e: less(e, "CMBS.audio_cas.bias"), "it lacks 'CMBS.audio_cas.bias'; give the file"),
    "renamed": (
        lambda e: less(e, "CMBS.audio_cas.bias") | {"CMBS.audio_bias": e["CMBS.audio_cas.bias"]},
        "it lacks 'CMBS.audio_cas.bias'; it has the unknown 'CMBS.audio_bias'",
    ),
    "many unknown": (
        lambda e: e | {f"module.{i}": torch.ones(1) for i in range(9)},
        "it has the unknown 'module.0', 'module.1', 'module.2' and 6 more",
    ),
    "shape": (
        lambda e: e | {"temporal_attn.v_fc.bias": torch.ones(3)},
        "'temporal_attn.v_fc.bias' is float32 [3] instead of float32 [64]",
    ),
    "dtype": (
        lambda e: {
            key: t.half() if t.is_floating_point() and "htsat" not in key and "attn_mask" not in key else t
            for key, t in e.items()
        },
        " is float16 ",
    ),
    "timm 1.0 inside": (
        lambda e: {key.replace("swin.head.", "swin.head.fc."): tensor for key, tensor in e.items()},
        "it has the unknown 'swin.head.fc.bias', 'swin.head.fc.weight'",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_release_that_does_not_fit_is_one_sentence(tmp_path, case):
    change, sentence = REFUSALS[case]
    torch.save(change(release_entries(MINI)), tmp_path / "public.pt")
    with pytest.raises(DgsctError) as error:
        release_to_ours(tmp_path / "public.pt", tmp_path / "out.safetensors", MINI_RUN)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == [tmp_path / "public.pt"]


def test_wrong_directions_and_methods_are_said(tmp_path):
    torch.save(release_entries(MINI), tmp_path / "public.pt")
    ours = write(tmp_path / "ours.safetensors", start_of(MINI_RUN).state_dict())
    out, fusion = tmp_path / "out", Run.make("ave", "late-fusion", scale="mini")
    with pytest.raises(DgsctError, match="is already in the release's layout"):
        ours_to_release(tmp_path / "public.pt", out, MINI_RUN, tmp_path)
    with pytest.raises(DgsctError, match=r"is in no release's layout \(the AVE release, the AVS release, AVSBench\)"):
        release_to_ours(ours, out, MINI_RUN)
    with pytest.raises(UsageError, match="'late-fusion' has no place in a release's layout"):
        ours_to_release(ours, out, fusion, tmp_path)
    with pytest.raises(UsageError, match="is in a release's layout, which this method has none of; choose the method"):
        load_checkpoint(start_of(fusion), tmp_path / "public.pt")
    with pytest.raises(DgsctError, match="is no file of this model"):
        load_checkpoint(start_of(fusion), ours)
    assert not out.exists()


def test_best_weights_without_their_encoders_say_where_they_were_looked_for(trained, tmp_path):
    with pytest.raises(DgsctError, match=r"encoder weights .*encoders/mini/swin.safetensors are missing"):
        checkpoint_state(start_of(MINI_RUN), trained, "mini", tmp_path)


def test_a_converted_encoder_is_what_training_loads(tmp_path):
    for encoder in ENCODERS:
        public = write(tmp_path / f"{encoder}.pth", encoder_entries(encoder, MINI), "model")
        facts = convert_encoder(encoder, public, encoder_file(tmp_path, "mini", encoder), "mini")
        written = json.loads(encoder_file(tmp_path, "mini", encoder).with_suffix(".json").read_text())
        assert {**facts, "sha256": written["sha256"]} == written
        assert facts["source"] == public.name
        assert facts["entries"] == len(encoder_entries(encoder, MINI))
    checksums = {one.name: one.checksum for one in inputs_of(MINI_RUN, tmp_path)}
    assert checksums["encoders/htsat"] == written["sha256"] != checksums["encoders/swin"]
    model = dgsct.build("ave", "late-fusion", scale="mini")
    load_encoders(model, "mini", tmp_path)
    assert torch.equal(model.encoders.swin.swin.head.fc.bias, encoder_entries("swin", MINI)["head.bias"])


@pytest.mark.parametrize("encoder", WEIGHTS)
def test_every_encoder_is_converted(tmp_path, encoder):
    """Also where two branches start from the same numbers, which share their memory when they are read."""
    public = write(tmp_path / "public.pth", encoder_entries(encoder, MINI))
    convert_encoder(encoder, public, encoder_file(tmp_path, "mini", encoder), "mini")
    expected = fit_encoder(public, encoder, MINI, encoder_entries(encoder, MINI)).state
    assert same(encoder_state(tmp_path, "mini", encoder, expected), expected)


def test_the_command_line_converts_and_refuses(trained, tmp_path):
    def command(*arguments: object) -> Said:
        done = call(tmp_path, *arguments)
        assert "Traceback" not in done.out + done.err
        return done

    public, ours = tmp_path / "public.pt", tmp_path / "ours.safetensors"
    done = command("convert", "ours-to-release", trained, public)
    assert (done.code, done.out) == (0, f"{public}: {len(release_entries(MINI))} entries written\n")
    assert command("convert", "release-to-ours", public, ours, "--scale", "mini").code == 0
    assert run_of(ours) == (MINI_RUN, Path("results"))  # the file itself says what it is
    refused = command("convert", "swin", public, tmp_path / "x.safetensors")
    assert refused.code == 1
    assert refused.err.startswith(f"dgsct: {public} is a whole model's checkpoint (use `dgsct convert release-to-ours`)")
    assert command("convert", "swim", public, tmp_path / "x.safetensors").code == 2
    assert not (tmp_path / "x.safetensors").exists()


def test_a_full_disk_is_one_sentence_and_leaves_nothing(small_disk, tmp_path):
    torch.save(release_entries(MINI), tmp_path / "public.pt")
    (small_disk / "filler").write_bytes(bytes(2 << 20))  # of the 3 MiB
    assert (tmp_path / "public.pt").stat().st_size > 1 << 20
    with pytest.raises(DgsctError, match=r"cannot write .*; free space"):
        release_to_ours(tmp_path / "public.pt", small_disk / "ours.safetensors", MINI_RUN)
    ours = tmp_path / "ours.safetensors"
    release_to_ours(tmp_path / "public.pt", ours, MINI_RUN)
    with pytest.raises(DgsctError, match=r"cannot write .*; free space"):
        ours_to_release(ours, small_disk / "public.pt", MINI_RUN, tmp_path)
    assert list(small_disk.iterdir()) == [small_disk / "filler"]


KEY = "temporal_attn.v_fc.bias"


def forms_with(value: float, folder: Path, trained: Path) -> dict[str, Path]:
    """One number of a model in all three forms of a checkpoint."""
    entries = release_entries(MINI)
    entries[KEY][3] = value
    torch.save(entries, folder / "public.pt")
    model = start_of(MINI_RUN)
    name = next(ours for ours, _ in model.named_parameters() if ours.endswith("visual_fc.bias"))
    with torch.no_grad():
        model.get_parameter(name)[3] = value
    best = folder / MINI_RUN.folder / "checkpoints"
    kept = read_tensors(trained).tensors.keys()
    save_best(best, {key: tensor for key, tensor in model.state_dict().items() if key in kept}, "key", 1, Units({}, ()))
    return {
        "release": folder / "public.pt",
        "ours": write(folder / "ours.safetensors", model.state_dict()),
        "best": best / "best.safetensors",
    }


@pytest.mark.parametrize(
    ("value", "what"), [(float("nan"), "not finite"), (float("-inf"), "not finite"), (1e30, "beyond 1e+10")]
)
def test_numbers_that_no_weights_are_stop_every_way_in(trained, tmp_path, value, what):
    results, out = trained.parents[8], tmp_path / "out"
    forms = forms_with(value, tmp_path, trained)
    ways = [(form, lambda p: load_checkpoint(start_of(MINI_RUN), p, "mini", results)) for form in forms]
    ways += [(form, lambda p: evaluate(MINI_RUN, p, results)) for form in forms]
    ways += [("release", lambda p: release_to_ours(p, out, MINI_RUN))]
    ways += [(form, lambda p: ours_to_release(p, out, MINI_RUN, results)) for form in ("ours", "best")]
    for form, way in ways:
        with pytest.raises(DgsctError) as error:
            way(forms[form])
        assert f"{forms[form]} holds numbers " in str(error.value)
        assert what in str(error.value)
        assert ("'temporal_attn.v_fc.bias'" if form == "release" else "visual_fc.bias'") in str(error.value)
        assert "\n" not in str(error.value)
    assert not out.exists()


def test_a_negative_variance_is_refused(tmp_path):
    entries = release_entries(MINI)
    key = "htsat.bn0.running_var"
    entries[key][0] = -1
    torch.save(entries, tmp_path / "public.pt")
    with pytest.raises(DgsctError, match=r"public.pt holds variances below zero in 'htsat.bn0.running_var', so it is damaged"):
        release_to_ours(tmp_path / "public.pt", tmp_path / "out", MINI_RUN)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module."])
def test_a_release_saved_from_a_wrapped_model_gives_the_same_file(tmp_path, prefix):
    entries = release_entries(MINI, seed=4)
    for name, before in (("plain", ""), ("wrapped", prefix)):
        (tmp_path / name).mkdir()
        torch.save({before + key: tensor for key, tensor in entries.items()}, tmp_path / name / "public.pt")
        run, _ = run_of(tmp_path / name / "public.pt", scale="mini")
        release_to_ours(tmp_path / name / "public.pt", tmp_path / name / "ours.safetensors", run)
    plain, wrapped = (read_tensors(tmp_path / name / "ours.safetensors") for name in ("plain", "wrapped"))
    assert same(plain.tensors, wrapped.tensors)
    assert {**plain.metadata, "origin_sha256": ""} == {**wrapped.metadata, "origin_sha256": ""}

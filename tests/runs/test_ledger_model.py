"""Entries of the deviation ledger without a switch: what the release does and all protocols keep."""

import numpy as np
import pytest
import torch
from ledger_rig import evaluated, first_batch, omega, opened, recorded, share, trained

from dgsct.data.media import sampled_indices
from dgsct.encoders.htsat import HTSAT
from dgsct.methods import METHODS
from dgsct.methods.dg_sct.ave import DGSCT
from dgsct.models.attention import SpatialAttention, TemporalGate
from dgsct.ops.shapes import shapes_only
from dgsct.runs.protocols import PROTOCOLS
from dgsct.runs.run import Run
from dgsct.settings.scales import PAPER, HtsatSizes
from dgsct.tasks import get_task
from dgsct.tasks.ave.decode import resize
from dgsct.tasks.ave.options import AveOptions as Options


@pytest.fixture(scope="module")
def root(mini_world, tmp_path_factory):
    return share(mini_world, tmp_path_factory.mktemp("model") / "results")


@pytest.fixture(scope="module")
def full():
    """The model at paper scale, without weights, and the calls of one forward pass: name and shapes of the inputs."""
    sizes = get_task("ave").at(PAPER)
    with torch.device("meta"):
        model = DGSCT(sizes, Options()).eval()
        backbone, calls = model.backbone, []
        named = {"temporal": model.temporal}
        for k in range(len(backbone.p1)):
            named |= {f"p1.{k}": backbone.p1[k], f"p2.{k}": backbone.p2[k]}
        for side, encoder in (("v", backbone.encoders.swin), ("a", backbone.encoders.htsat)):
            for i, stage in enumerate(encoder.stages()):
                named |= {f"{side}{i}.{j}": block.norm2 for j, block in enumerate(stage.blocks)}
        for name, module in named.items():
            module.register_forward_hook(
                lambda _m, inputs, _o, name=name: calls.append((name, [tuple(t.shape) for t in inputs]))
            )
        with torch.no_grad():
            model(torch.empty(1, 10, 3, 192, 192), torch.empty(1, 10, 32000))
    return model, calls


def test_places_of_the_adapters_at_paper_scale(full):
    """Names are p1 and p2 with the place, v and a with stage and block, where the norm beside the MLP runs (core, 5)."""
    model, calls = full
    expected, place = [], 0
    for stage, (visual, audio) in enumerate(((2, 2), (2, 2), (18, 6), (2, 2))):
        for j in range(visual):
            if visual == audio or j in (2, 5, 8, 11, 14, 17):
                expected += [f"p1.{place}", f"a{stage}.{j * audio // visual}", f"p2.{place}"]
                place += 1
            expected.append(f"v{stage}.{j}")
    assert [name for name, _ in calls] == [*expected, "temporal"]
    pairs = (*model.backbone.p1, *model.backbone.p2)
    assert len([adapter for pair in pairs for adapter in (pair.a2v, pair.v2a)]) == 48


def test_temporal_attention_stands_once_behind_the_pooling(full):
    model, calls = full
    assert calls[-1] == ("temporal", [(1, 10, 1536), (1, 10, 768)])
    gates = {name: m.theta.in_features for name, m in model.named_modules() if isinstance(m, TemporalGate)}
    assert gates == {"temporal.audio_gate": 256, "temporal.visual_gate": 256}
    with shapes_only():
        without = DGSCT(get_task("ave").at(PAPER), Options(T=False))
    assert {n: p.shape for n, p in without.named_parameters()} == {n: p.shape for n, p in model.named_parameters()}


def test_only_half_the_channels_as_hidden_width_give_the_published_count(full):
    model, _ = full
    parts = [m for m in model.modules() if isinstance(m, SpatialAttention)]
    dims = [part.guide.in_features for part in parts]
    assert [part.guide.out_features for part in parts] == [part.stream.out_features for part in parts] == [d // 2 for d in dims]

    def size(dim: int, hidden: int) -> int:
        return 2 * (dim * hidden + hidden) + hidden + 1

    assert [sum(p.numel() for p in part.parameters()) for part in parts] == [size(d, d // 2) for d in dims]
    total = sum(p.numel() for p in model.parameters())
    papers = total + sum(size(d, 256) - size(d, d // 2) for d in dims)
    assert f"{total / 1e6:.1f}" == "461.3"
    assert f"{papers / 1e6:.1f}" == "453.3"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_without_channel_attention_the_norms_epsilon_is_all_that_lets_s_through(root, protocol):
    """Adapters give the same with and without S once the LayerNorm has no epsilon; the pooling map is what stays of S."""
    deviations = {}
    for exact in (True, False):
        with_s, without_s = (opened(root, protocol, C=False, **s) for s in ({"beta": 0.5}, {"beta": 0.5, "S": False}))
        missing, unexpected = without_s.plain.load_state_dict(with_s.plain.state_dict(), strict=False)
        assert not missing
        assert all(".attention.spatial." in name for name in unexpected)
        for run in (with_s, without_s):
            for name, module in run.plain.backbone.named_modules():
                if exact and name.endswith("norm_before"):
                    module.eps = 0.0
        ours, theirs = (evaluated(run, torch.float64) for run in (with_s, without_s))
        names = [name for name in theirs if name.startswith("p")]
        deviations[exact] = max((ours[name] - theirs[name]).abs().max().item() for name in names)
        pooled = (ours["features.v"] - theirs["features.v"]).abs().max().item()
        if exact:
            assert (pooled > 1e-6) == (protocol != "paper")
    assert deviations[True] < 1e-11
    assert 1e-9 < deviations[False] < 1e-2


def test_without_either_direction_it_is_lavish_star(root):
    bare, star = opened(root, A2V=False, V2A=False), opened(root, method="lavish-star")
    assert bare.parameters == star.parameters
    ours, theirs = evaluated(bare), evaluated(star)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("keep_tokens", [True, False])
def test_without_tokens_and_directions_the_encoders_do_not_see_each_other(root, keep_tokens):
    """What is left is the temporal module and the head, which mix both streams in any case."""
    run = opened(root, A2V=False, V2A=False, keep_tokens=keep_tokens)
    inputs = first_batch(run).inputs
    run.model.eval()
    passed = []
    for other in ((), ("logmel",), ("frames",)):
        with recorded(run.plain) as values, torch.no_grad():
            run.model(**{name: t.flip(0) if name in other else t for name, t in inputs.items()})
        passed.append(values)
    plain, other_sound, other_frames = passed
    assert torch.equal(plain["features.v"], other_sound["features.v"]) == (not keep_tokens)
    assert torch.equal(plain["features.a"], other_frames["features.a"]) == (not keep_tokens)
    assert not torch.equal(plain["temporal.visual"], other_sound["temporal.visual"])


def test_alpha_beta_gamma_are_options_with_the_published_values(root):
    for protocol in PROTOCOLS:
        options = Run.make("ave", "dg-sct", protocol=protocol, scale="paper").resolved()["options"]
        assert (options["alpha"], options["beta"], options["gamma"]) == (0.3, 0.05, 0.1)
    gated, ungated = opened(root, alpha=0.2, beta=0.4, gamma=0.7), opened(root, alpha=0.2, beta=0.4, gamma=0.0)
    passed, plain = (evaluated(run, torch.float64) for run in (gated, ungated))
    pair = gated.plain.backbone.p1[0]
    residual, _ = omega(pair.a2v, passed["p1.0.v"], passed["p1.0.a"], gated.options)
    torch.testing.assert_close(passed["p1.0.to_v"], residual)
    visual, audio = (passed[f"temporal.{s}"] / plain[f"temporal.{s}"] - 1 for s in ("visual", "audio"))
    gate = passed["temporal.gate"]
    torch.testing.assert_close(visual * audio, (0.49 * gate).expand_as(visual), rtol=1e-6, atol=1e-9)


def test_an_epoch_draws_nothing_from_numpys_generator(root):
    run = opened(root)
    before = np.random.get_state()[1:3]
    trained(run)
    after = np.random.get_state()[1:3]
    assert np.array_equal(before[0], after[0])
    assert before[1] == after[1]


@pytest.mark.parametrize("rate", [3, 25, 300])
def test_frames_lie_up_to_half_a_second_from_the_middle_of_their_segment(rate):
    times = np.array(sampled_indices(10 * rate)) / (10 * rate - 1) * 10
    away = times - (np.arange(10) + 0.5)
    assert away[0] == -0.5
    assert away[-1] == 0.5
    assert np.abs(away).max() == 0.5


def test_half_precision_of_stored_frames():
    frames = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2) / 255
    exact = torch.nn.functional.interpolate(pixels, (48, 48), mode="bicubic", align_corners=False).numpy()
    inside = (exact >= 0) & (exact <= 1)
    error = np.abs(resize(frames, 48) - exact)[inside].max()
    assert 0.0002 < error <= 0.00025


def test_stripes_start_a_little_less_often_at_the_far_end():
    """One mel stripe of width 1 at most, in 16 bins: starts 0 to 14, of which the last is the rarer one."""
    sizes = HtsatSizes(32000, 2048, 1280, 16, 50.0, 14000.0, 64, 8, 24, (1,), (1,), 4, 8, time_stripe=1, mel_stripe=2)
    torch.manual_seed(0)
    masked = HTSAT(sizes)._spec_augment(torch.ones(40_000, 1, 1, 16))
    counts = (masked == 0).sum(dim=(0, 1, 2)).double()
    assert counts[15] == 0
    usual = counts[:14].mean()
    assert (counts[:14] / usual - 1).abs().max() < 0.1
    assert 0.4 < counts[14] / usual < 0.6


def test_lavishs_own_row_is_not_run():
    assert "lavish" not in METHODS


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_lavish_star_has_dg_scts_recipe(protocol):
    star, ours = (Run.make("ave", m, protocol=protocol, scale="paper").resolved() for m in ("lavish-star", "dg-sct"))
    assert star["recipe"] == ours["recipe"]
    options = Run.make("ave", "lavish-star", protocol=protocol, scale="paper").options
    assert (options.S, options.C, options.T, options.keep_tokens) == (False, False, False, True)
    for name in ("selection", "accuracy", "accumulation", "precision", "freeze_mode", "tile", "head", "gate_loss"):
        assert star["options"][name] == ours["options"][name]

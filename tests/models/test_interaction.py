"""The tiny dual backbone, end to end, through the public key mapping (golden values, float64)."""

from dataclasses import replace

import pytest
import torch
from golden_rig import TINY, assert_golden, fill_public, tone_and_noise, wave_sin

from dgsct.encoders.imagenet import IMAGENET_MEAN, IMAGENET_STD
from dgsct.engine.efficiency import without_gradient
from dgsct.methods.dg_sct.ave import DGSCT
from dgsct.models.interaction import DualBackbone
from dgsct.models.keys import from_public, to_public
from dgsct.runs.resolve import resolve_options
from dgsct.settings import scales
from dgsct.tasks import get_task
from dgsct.tasks.ave.options import AveOptions as Options


def tiny(**options) -> DualBackbone:
    model = DGSCT(TINY, Options(tile=1, **options)).double()
    public = to_public(model.state_dict())
    filled = fill_public(public, 0.1, ("htsat.spectrogram_extractor.", "htsat.logmel_extractor."))
    filled["htsat.bn0.running_mean"] = torch.full((16,), -20.0)
    filled["htsat.bn0.running_var"] = torch.full((16,), 100.0)
    model.load_state_dict(from_public(filled, list(model.state_dict())))
    return model.eval().backbone


@pytest.fixture(scope="module")
def clip():
    """Already normalised frames of the golden rig are un-normalised, since our model normalises inside."""
    _, m = tone_and_noise()
    wave = torch.stack([m.roll(37 * k) for k in range(10)])[None]
    images = wave_sin((1, 10, 3, 64, 64), 1.0, 0.0137, 0.2)
    mean, std = (torch.tensor(v, dtype=torch.float64).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    return images * std + mean, wave


@pytest.fixture(scope="module")
def backbone():
    model = tiny()
    # The rig's constants are float32 in the model; in float64 they must be the exact decimals.
    for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
        setattr(model.encoders, name, torch.tensor(values, dtype=torch.float64).view(1, 3, 1, 1))
    return model


def test_embeddings(backbone, clip):
    frames, wave = clip
    log_mel = backbone.encoders.htsat.log_mel(wave[0], 1)
    assert_golden(
        log_mel,
        -14.260756,
        12.417301,
        "14.075298 19.079287 9.022112 -1.721356 -7.646678 -11.839960 -15.069485 -19.027201",
        (10, 101, 16),
    )
    assert_golden(
        backbone.encoders.visual_tokens(frames),
        0.000457,
        1.005700,
        "0.066503 -1.211885 -1.053435 0.220292 1.191738 0.830687 -0.500316 -1.402140",
        (10, 256, 16),
    )
    assert_golden(
        backbone.encoders.audio_tokens(wave),
        -0.048526,
        0.964109,
        "-0.819581 -0.987324 -0.920514 -0.646713 -0.204328 0.363984 1.009276 1.669788",
        (10, 256, 8),
    )


def test_first_pair_of_adapters(backbone, clip):
    seen = {}
    hooks = [
        pair.register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out}))
        for name, pair in (("p1", backbone.p1[0]), ("p2", backbone.p2[0]))
    ]
    backbone(*clip)
    for hook in hooks:
        hook.remove()
    golden = {
        ("p1", 0): (0.060116, 1.072911, "-0.542113 -0.537262 -0.533397 -0.533749 -0.534173 -0.534666 -0.535221 -0.535828"),
        ("p1", 1): (0.000964, 1.038959, "-0.194614 -0.209423 -0.209787 -0.210459 -0.209788 -0.209483 -0.210338 -0.210214"),
        ("p2", 0): (0.057928, 1.073937, "-0.726044 -0.720465 -0.714355 -0.709189 -0.695998 -0.694557 -0.694039 -0.693384"),
        ("p2", 1): (0.000859, 1.039378, "-0.150346 -0.160690 -0.160958 -0.161454 -0.160963 -0.160739 -0.161369 -0.161277"),
    }
    for (round_, side), values in golden.items():
        assert_golden(seen[round_][side].residual.transpose(1, 2), *values, (10, (16, 8)[side], 256))


def test_after_every_merging(backbone, clip):
    seen = {}
    hooks = []
    for name, stages in (("swin", backbone.encoders.swin.stages()), ("htsat", backbone.encoders.htsat.stages())):
        for i, stage in enumerate(stages[1:]):
            hooks.append(
                stage.downsample.register_forward_hook(
                    lambda _m, _i, out, name=name, i=i: seen.update({(name, i): out.flatten(1, 2)})
                )
            )
    backbone(*clip)
    for hook in hooks:
        hook.remove()
    golden = {
        ("swin", 0): (-0.001408, 1.005927, "1.047157 0.565262 -1.116800 -1.088086 0.620640 1.044166 -0.627772 -1.445943"),
        ("htsat", 0): (-0.004565, 0.185810, "0.083306 0.216978 0.241115 0.143532 -0.026509 -0.183168 -0.247360 -0.186679"),
        ("swin", 1): (-0.001897, 1.001034, "1.167809 -1.374523 1.151652 -1.309368 0.974660 -0.977908 0.614693 -0.378857"),
        ("htsat", 1): (0.188121, 3.017067, "3.872309 2.147487 -3.366443 -2.940494 2.673774 3.570334 -1.832738 -4.002057"),
        ("swin", 2): (-0.005624, 0.999203, "0.065654 0.602382 0.985827 1.151125 1.063760 0.725488 0.185718 -0.452086"),
        ("htsat", 2): (0.056156, 3.082638, "4.353377 -4.375348 4.154534 -3.703186 3.046351 -2.220475 1.271385 -0.251748"),
    }
    for (name, i), values in golden.items():
        width = {"swin": 32, "htsat": 16}[name]
        assert_golden(seen[name, i], *values, (10, 64 >> 2 * i, width << i))


def test_pooled_features(backbone, clip):
    visual, audio = backbone(*clip)
    assert_golden(
        visual,
        -0.036532,
        0.953927,
        "0.103941 -1.626912 -0.660469 -1.142366 0.164004 0.421910 0.688719 0.701653",
        (1, 10, 128),
    )
    assert_golden(
        audio,
        0.137060,
        5.881786,
        "0.580389 -4.060518 -0.734235 -3.857591 -3.688136 -1.884178 -3.188023 3.206379",
        (1, 10, 64),
    )


def test_audio_block_split_as_in_equation_1(clip):
    audio = tiny(audio_block="split")(*clip).audio.flatten()[:4].tolist()
    assert audio == pytest.approx([0.662899, -4.405844, -0.566552, -4.219938], abs=6e-7)


def test_release_order_of_operations_gives_the_same_features(backbone, clip):
    model = DGSCT(TINY, Options(tile=1), release_order=True).double()
    model.load_state_dict({**model.state_dict(), **{f"backbone.{k}": v for k, v in backbone.state_dict().items()}})
    visual, audio = model.eval().backbone(*clip)
    expected = backbone(*clip)
    # The release's Fourier kernels are float32 tensors of its checkpoint, which moves the features by 5e-10.
    torch.testing.assert_close(visual, expected.visual, rtol=0, atol=1e-9)
    torch.testing.assert_close(audio, expected.audio, rtol=0, atol=1e-9)


def test_float32_deviates_little(backbone, clip):
    expected = backbone(*clip)
    single = tiny().float()
    visual, audio = single(*(t.float() for t in clip))
    # The public code deviates by 1.1e-5 in both; the fused kernel sums in another order.
    assert (visual - expected.visual).abs().max() <= 1.5e-5
    assert (audio - expected.audio).abs().max() <= 1.1e-5


def test_frozen_parts_keep_no_gradient_and_follow_freeze_mode():
    model = tiny()
    assert not any(p.requires_grad for p in model.encoders.parameters())
    assert all(p.requires_grad for p in model.p1.parameters())
    assert model.train().encoders.training
    assert not tiny(freeze_mode="eval").train().encoders.training


def loss_of(model: DGSCT, inputs: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    relevant = (torch.arange(10) < 5).expand(len(inputs[0]), -1).double()
    targets = {"relevant": relevant, "category": torch.arange(len(inputs[0]))}
    return sum(model.losses(model(*inputs), targets).values())


def small(options: Options, seed: int = 0, gate: float = scales.MINI.gate) -> DGSCT:
    """A model of the mini scale; the norms of fresh Swin-V2 blocks, which silence them, are drawn anew."""
    torch.manual_seed(seed)
    model = DGSCT(replace(get_task("ave").at(scales.MINI), gate=gate), options).double().eval()
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in model.backbone.encoders.swin.named_parameters():
            if "norm" in name:
                p.copy_(torch.rand(p.shape, generator=draw))
    return model


def open_gates(model: DGSCT) -> DGSCT:
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith(("bottleneck.gate", "latent.gate")):
                p.fill_(1.0)
    return model


def test_trainable_parameters_without_a_gradient():
    model = open_gates(DGSCT(TINY, Options(tile=1)).double().eval())
    draw = torch.Generator().manual_seed(0)
    frames = torch.rand(1, 10, 3, 64, 64, dtype=torch.float64, generator=draw)
    wave = torch.rand(1, 10, 32000, dtype=torch.float64, generator=draw) - 0.5
    loss_of(model, (frames, wave)).backward()
    unused = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad and p.grad is None}
    assert sum(unused.values()) == without_gradient(model) == 4_740_144
    assert sum(count for name, count in unused.items() if name.endswith("spare_gate")) == 48


@pytest.fixture(scope="module")
def two_clips():
    draw = torch.Generator().manual_seed(2)
    frames = torch.rand(2, 10, 3, 32, 32, dtype=torch.float64, generator=draw)
    return frames, torch.rand(2, 10, 32000, dtype=torch.float64, generator=draw) - 0.5


@pytest.mark.parametrize("gate", [0.0, 0.2])
def test_fresh_adapters_leave_the_encoders_as_they_are_unless_their_gates_are_ajar(two_clips, gate):
    """The release's gates start at zero, those of the mini scale at 0.2."""
    backbone = small(Options(pooling="mean"), gate=gate).backbone
    residuals = []
    for pair in (*backbone.p1, *backbone.p2):
        pair.register_forward_hook(lambda _m, _i, out: residuals.extend(adapted.residual for adapted in out))
    adapted, alone = backbone(*two_clips), backbone.encoders.pooled(*two_clips)
    assert len(residuals) == 4 * sum(scales.MINI.htsat.depths) == 8
    assert all((residual.abs().max() == 0) == (gate == 0) for residual in residuals)
    assert torch.equal(adapted.visual, alone.visual) == (gate == 0)
    assert torch.equal(adapted.audio, alone.audio) == (gate == 0)


def test_at_first_only_gates_learn_and_what_feeds_the_pooling_map(two_clips):
    model = small(Options(), gate=0.0)
    loss_of(model, two_clips).backward()
    backbone = model.backbone
    for place, pairs in (("p1", backbone.p1), ("p2", backbone.p2)):
        for k, pair in enumerate(pairs):
            for adapter in (pair.a2v, pair.v2a):
                learning = {name for name, p in adapter.named_parameters() if p.grad is not None and p.grad.any()}
                expected = {"bottleneck.gate"}
                if (place, k) == ("p2", len(pairs) - 1):
                    feeding = ("prompt.", "attention.", "latent.gate")
                    expected |= {name for name, _ in adapter.named_parameters() if name.startswith(feeding)}
                assert learning == expected


def test_every_adapter_learns_at_once_where_its_gates_are_ajar(two_clips):
    model = small(Options())
    loss_of(model, two_clips).backward()
    for pair in (*model.backbone.p1, *model.backbone.p2):
        for adapter in (pair.a2v, pair.v2a):
            still = {name for name, p in adapter.named_parameters() if p.grad is None or not p.grad.any()}
            assert still <= {"spare_gate"}


def test_lavish_star_is_dg_sct_without_its_attention(two_clips):
    star = resolve_options("ave", "lavish-star", "release", {})
    bare = resolve_options("ave", "dg-sct", "release", {"S": False, "C": False, "T": False})
    for ours, theirs in zip(open_gates(small(bare))(*two_clips), open_gates(small(star))(*two_clips), strict=True):
        assert torch.equal(ours, theirs)


CHOICES = {"S": False, "A2V": False, "beta": 0.1, "T": False, "gamma": 0.3}


@pytest.fixture(scope="module")
def full(two_clips):
    model = open_gates(small(Options()))
    return model.state_dict(), model(*two_clips)


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_acts_before_or_behind_the_temporal_gates(full, two_clips, name):
    """That every option of every method acts at all: conformance/test_training.py."""
    state, expected = full
    model = small(Options(**{name: CHOICES[name]}))
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not missing
    assert all(".attention." in key for key in unexpected)  # of an absent channel or spatial attention
    relevance, events, _, gate = ((a - b).abs().max() for a, b in zip(model(*two_clips), expected, strict=True))
    assert min(relevance, events) > 1e-5
    assert (gate > 1e-6) == (name not in ("T", "gamma"))  # which act behind the temporal gates

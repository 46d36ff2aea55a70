"""DG-SCT for segmentation: counts to the digit at full size, what learns in each setting, and what the switches take away."""

import pytest
import torch
from avs_golden import SIDE, TINY

from dgsct.methods.dg_sct.avs import DGSCTSegmentation
from dgsct.methods.dg_sct.avs import build as build_at
from dgsct.models.adapter import NoAdapter
from dgsct.ops.shapes import shapes_only
from dgsct.runs.resolve import resolve_options
from dgsct.settings.scales import PAPER, Scale
from dgsct.tasks import get_task
from dgsct.tasks.avs.options import AvsOptions as Options

ADAPTERS = ("backbone.p1.", "backbone.p2.")


def build(task: str, scale: Scale, options: Options) -> DGSCTSegmentation:
    """The model at that scale, as the setting has it."""
    return build_at(task, get_task(task).at(scale), options)


def options(task: str, protocol: str = "release", method: str = "dg-sct", **overrides) -> Options:
    return resolve_options(task, method, protocol, overrides)


@pytest.fixture(scope="module", params=["avs-s4", "avs-ms3"])
def full(request) -> tuple[str, DGSCTSegmentation]:
    with shapes_only():
        return request.param, build(request.param, PAPER, options(request.param))


def size(model: torch.nn.Module, *prefixes: str, of: str = "") -> int:
    return sum(p.numel() for name, p in model.named_parameters() if name.startswith(prefixes or ("",)) and of in name)


TOTALS = {"avs-s4": (594_766_109, 365_993_560), "avs-ms3": (602_853_149, 342_755_457)}
BUILT = {"avs-s4": 188_505_720, "avs-ms3": 196_592_760}
DOWN_UP = {"avs-s4": 2_695_680, "avs-ms3": 10_782_720}


def test_parameters_of_every_part(full):
    """avs.md, table 3.7."""
    task, model = full
    total, trainable = TOTALS[task]
    assert size(model) == total
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == trainable
    assert size(model, *ADAPTERS) == BUILT[task]
    assert size(model, *ADAPTERS, "head.temporal.") == BUILT[task] + 42_910_728
    assert size(model, *ADAPTERS, of="prompt.token") == 81_156_432
    assert size(model, *ADAPTERS, of="prompt.channel") == 17_278_848
    assert size(model, *ADAPTERS, of=".attention.") == 86_394_288
    tokens = sum(size(model, *ADAPTERS, of=part) for part in ("latent.", "bottleneck.gate"))
    assert tokens == 847_944
    assert sum(size(model, *ADAPTERS, of=part) for part in ("bottleneck.down", "bottleneck.up")) == DOWN_UP[task]
    assert size(model, *ADAPTERS, of="norm_after") == 52_992
    assert size(model, "head.segmenter.tpavi.") == 663_040
    assert size(model, "head.segmenter.decoder.") == 8_593_089 + 1_180_160
    assert size(model, "head.visual.") == 738_304
    assert size(model, "head.audio.") == 98_432
    assert size(model, "backbone.encoders.swin.") == 228_772_549
    assert size(model, "backbone.encoders.htsat.") == 31_325_143
    assert size(model, "unused.pvt.") == 81_443_008
    assert size(model, "unused.aspp.") == 9_441_280


LEARNING = {"avs-s4": 164_936_345, "avs-ms3": 225_563_409}


@pytest.fixture(scope="module")
def batch() -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    draw = torch.Generator().manual_seed(0)
    frames = torch.rand(2, 5, 3, SIDE, SIDE, generator=draw)
    wave = 0.1 * torch.randn(2, 5, 32000, generator=draw)
    masks = (torch.rand(2, 5, SIDE, SIDE, generator=draw) > 0.7).float()
    return frames, wave, {"masks": masks, "annotated": torch.ones(2, 5, dtype=torch.bool)}


@pytest.fixture(scope="module", params=["avs-s4", "avs-ms3"])
def stepped(request, batch) -> tuple[str, DGSCTSegmentation]:
    """A tiny model of a setting behind one backward pass in training mode."""
    torch.manual_seed(0)
    model = build(request.param, TINY, options(request.param)).train()
    frames, wave, targets = batch
    sum(model.losses(model(frames, wave), targets).values()).backward()
    return request.param, model


def test_parameters_that_receive_gradient(stepped):
    """By name, so that the count at full size follows."""
    task, model = stepped
    learning = {name for name, p in model.named_parameters() if p.grad is not None}
    with shapes_only():
        full = build(task, PAPER, options(task))
    assert sum(p.numel() for name, p in full.named_parameters() if name in learning) == LEARNING[task]
    htsat = {name for name in learning if ".htsat." in name}
    assert bool(htsat) == (task == "avs-s4")
    if task == "avs-s4":
        assert sum(p.numel() for name, p in full.named_parameters() if name in htsat) == 28_616_408
        mel = model.backbone.encoders.htsat.frontend.mel
        assert (mel.grad != 0).all()  # every entry of the mel matrix moves (avs.md, 1.2)


def test_output_has_the_side_of_the_frames(stepped, batch):
    _, model = stepped
    with torch.no_grad():
        output = model.eval()(*batch[:2])
    assert output.logits.shape == (2, 5, SIDE, SIDE)
    assert [tuple(x.shape) for x in output.maps] == [(10, 64, k, k) for k in (24, 12, 6, 3)]
    assert all((x >= 0).all() for x in output.maps)
    probability = model.predict(output)["masks"]
    assert probability.dtype == torch.float32
    assert torch.equal(probability > 0.5, output.logits > 0)


def test_frozen_encoders_train_as_the_release_has_them(batch):
    """Train mode mixes spectrograms and moves bn0; evaluation does neither."""
    _, wave, _ = batch
    torch.manual_seed(0)
    model = build("avs-ms3", TINY, options("avs-ms3")).train()
    htsat = model.backbone.encoders.htsat
    log_mel = htsat.log_mel(wave.flatten(0, 1), 5)
    before = htsat.bn0.running_mean.clone()
    images = [htsat.image(log_mel) for _ in range(2)]
    assert not torch.equal(*images)
    assert not torch.equal(before, htsat.bn0.running_mean)
    model.eval()
    assert torch.equal(htsat.image(log_mel), htsat.image(log_mel))
    clean = build("avs-ms3", TINY, options("avs-ms3", "clean")).train()
    assert not clean.backbone.encoders.htsat.training
    assert not clean.backbone.encoders.htsat.mixup


@pytest.mark.parametrize(
    ("overrides", "absent"),
    [({"A2V": False}, "a2v"), ({"V2A": False}, "v2a")],
)
def test_a_direction_that_is_off_has_no_adapters(batch, overrides, absent):
    model = build("avs-ms3", TINY, options("avs-ms3", **overrides)).eval()
    pairs = [*model.backbone.p1, *model.backbone.p2]
    assert all(isinstance(getattr(pair, absent), NoAdapter) for pair in pairs)
    with torch.no_grad():
        assert torch.isfinite(model(*batch[:2]).logits).all()


def test_no_direction_leaves_each_encoder_alone(batch):
    """The literal "no cross-modal connections": nothing is added to either stream."""
    torch.manual_seed(0)
    model = build("avs-ms3", TINY, options("avs-ms3", A2V=False, V2A=False, T=False)).eval()
    with torch.no_grad():
        walked = model.backbone.pyramid(*batch[:2])
        alone = model.backbone.encoders.pyramid(*batch[:2])
    for ours, plain in zip((*walked.visual, walked.audio), (*alone.visual, alone.audio), strict=True):
        torch.testing.assert_close(ours, plain)


def test_lavish_star_has_no_attention_and_no_temporal_module():
    star = options("avs-s4", method="lavish-star")
    with shapes_only():
        model = build("avs-s4", PAPER, star)
    assert (star.S, star.C, star.T, star.audio_encoder) == (False, False, False, "trained")
    assert size(model, *ADAPTERS) == 188_505_720 - 86_394_288
    assert model.head.temporal is None


@pytest.mark.parametrize(
    ("task", "protocol", "expected"),
    [
        ("avs-s4", "release", (0.3, 0.05, 0.05, "trained", True, 0.0, 5)),
        ("avs-ms3", "release", (0.2, 0.1, 0.1, "frozen", True, 0.5, 5)),
        ("avs-s4", "clean", (0.3, 0.05, 0.05, "frozen", False, 0.0, 5)),
        ("avs-ms3", "paper", (0.2, 0.1, 0.1, "frozen", False, 0.5, 1)),
    ],
)
def test_settings_and_protocols(task, protocol, expected):
    o = options(task, protocol)
    assert (o.alpha, o.beta, o.gamma, o.audio_encoder, o.mixup, o.av_weight, o.tile) == expected

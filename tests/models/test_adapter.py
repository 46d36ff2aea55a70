"""Golden values of the adapter, both directions, every ablation and the paper's form (fact sheet, float64)."""

from dataclasses import replace

import pytest
import torch
from golden_rig import assert_golden, fill, wave_cos, wave_sin

from dgsct.models.adapter import NORMED, Adapter, Form
from dgsct.models.attention import pooling_map
from dgsct.models.interaction import AdapterPair
from dgsct.models.keys import adapter_keys
from dgsct.settings.scales import MINI, PAPER
from dgsct.tasks.ave.options import AveOptions as Options

A2V = {"shape": (36, 32), "guide": (16, 16)}
V2A = {"shape": (16, 16), "guide": (36, 32)}


def adapter(direction: dict, release_order: bool = False, **options) -> Adapter:
    sizes = {"num_tokens": 4, "reduction": 4, "groups": 2}
    # In float64 before loading: a detour through float32 would cost the golden values their last digits.
    module = Adapter(**direction, **sizes, options=Options(**options), release_order=release_order).double()
    ours = module.state_dict()
    for public, (name, layout) in adapter_keys(2).items():
        if name in ours and "running" not in name and "num_batches" not in name:
            ours[name] = layout.ours(fill(public, tuple(layout.public(ours[name]).shape), 0.3))
    module.load_state_dict(ours)
    return module.eval()


def inputs(direction: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """Streams in the public layout (B, C, N, 1), brought to tokens [B, N, C]."""
    (n_x, c_x), (n_y, c_y) = direction["shape"], direction["guide"]
    x = wave_sin((2, c_x, n_x, 1), 0.5, 0.13, 0.2)
    y = wave_cos((2, c_y, n_y, 1), 0.5, 0.17, 0.4)
    return x[..., 0].transpose(1, 2), y[..., 0].transpose(1, 2)


def test_parameter_counts():
    assert sum(p.numel() for p in adapter(A2V).parameters()) == 6008
    assert sum(p.numel() for p in adapter(V2A).parameters()) == 2460


INSIDE = {
    "a2v": (
        A2V,
        (-0.003742, 0.221827, "0.174570 0.253919 0.298809 0.303254 0.266741 0.194288 0.095758 -0.015486"),
        (0.007062, 0.543010, "0.322586 -0.098327 0.445252 1.058626 0.569120 -0.065292 0.273175 0.580167"),
        (0.495101, 0.089635, "0.508461 0.464009 0.424589 0.395552 0.380311 0.380431 0.395976 0.425496"),
        (0.758996, 0.004379, "0.752861 0.752939 0.753114 0.753385 0.753746 0.754190 0.754711 0.755299"),
        (0.027778, 0.000216, "0.027418 0.027422 0.027431 0.027445 0.027463 0.027486 0.027513 0.027543"),
        (-0.003258, 0.482163, "0.287160 -0.086218 0.385152 0.906510 0.484740 -0.055614 0.233957 0.502014"),
    ),
    "v2a": (
        V2A,
        (-0.007863, 0.267356, "0.187716 0.421164 0.542716 0.500931 0.311852 0.051587 -0.179491 -0.303220"),
        (0.001857, 0.614491, "0.491104 0.935362 0.181727 0.743513 0.987910 -0.017796 0.284077 0.379058"),
        (0.494627, 0.054239, "0.521938 0.555159 0.468116 0.502130 0.419605 0.459836 0.401851 0.449403"),
        (0.284445, 0.007584, "0.282336 0.281069 0.279929 0.278933 0.278100 0.277440 0.276965 0.276682"),
        (0.062500, 0.000701, "0.063029 0.062846 0.062684 0.062543 0.062426 0.062334 0.062268 0.062229"),
        (-0.000401, 0.530601, "0.427603 0.823740 0.155295 0.642957 0.829842 -0.015163 0.237111 0.321797"),
    ),
}


@pytest.mark.parametrize("direction", INSIDE)
@pytest.mark.parametrize("release_order", [False, True])
def test_every_step_of_the_adapter(direction, release_order):
    sizes, prompt_, x1_, channel_, spatial_, pooling_, x2_ = INSIDE[direction]
    module, (x, y) = adapter(sizes, release_order), inputs(sizes)
    tokens, dim = sizes["shape"]
    prompt = module.prompt(y)
    assert_golden(prompt, *prompt_, (2, tokens, dim))
    read, pooled = module._prompted(y)
    x1 = module.latent(x, read)
    assert_golden(x1, *x1_, (2, tokens, dim))
    torch.testing.assert_close(pooled, prompt.mean(1, keepdim=True))
    channel = module.attention.channel(x1, pooled)
    assert_golden(channel, *channel_, (2, 1, dim))
    scores = module.attention.spatial(x1, pooled, channel)
    assert_golden(scores.sigmoid(), *spatial_, (2, tokens, 1))
    assert_golden(pooling_map(scores), *pooling_, (2, 1, tokens))
    assert_golden(module.attention.modulate(x1, *module.attention(x1, pooled)), *x2_, (2, tokens, dim))


def test_latent_tokens_after_reading_the_prompt():
    module, (_, y) = adapter(A2V), inputs(A2V)
    tokens = module.latent.tokens + module._prompted(y)[0]
    assert_golden(
        tokens, 0.004191, 0.373483, "0.466964 0.573414 0.602292 0.549685 0.422704 0.238526 0.022063 -0.197399", (2, 4, 32)
    )


X2_ROWS = [
    ({"S": False}, (-0.003525, 0.461560, "0.275017 -0.082517 0.368391 0.866660 0.463317 -0.053156 0.223674 0.480175")),
    ({"C": False}, (0.007312, 0.562249, "0.333944 -0.101790 0.460930 1.095902 0.589160 -0.067591 0.282794 0.600596")),
    (
        {"residual": "paper"},
        (-0.001140, 0.645028, "0.383935 -0.115716 0.518727 1.224098 0.655476 -0.075201 0.315910 0.676064"),
    ),
]


@pytest.mark.parametrize(("options", "golden"), X2_ROWS)
def test_combination_of_maps_in_every_row(options, golden):
    module, (x, y) = adapter(A2V, **options), inputs(A2V)
    read, guide = module._prompted(y)
    x1 = module.latent(x, read)
    guidance = module.attention(x1, guide)
    assert_golden(module.attention.modulate(x1, *guidance), *golden, (2, 36, 32))


NONE = {"S": False, "C": False}
OUTPUTS = [
    (A2V, {}, -0.001813, 1.252828, "1.734733 1.747860 1.759262 1.768752 1.776189 1.781469 1.784534 1.785361"),
    (A2V, {"S": False}, -0.001813, 1.252828, "1.734894 1.748018 1.759412 1.768892 1.776314 1.781579 1.784624 1.785431"),
    (A2V, {"C": False}, -0.001807, 1.252824, "1.731278 1.744491 1.756057 1.765785 1.773529 1.779180 1.782673 1.783978"),
    (A2V, NONE, -0.001807, 1.252824, "1.731279 1.744492 1.756057 1.765786 1.773529 1.779181 1.782673 1.783978"),
    (
        A2V,
        {"residual": "paper"},
        -0.001812,
        1.252826,
        "1.733827 1.746976 1.758419 1.767970 1.775484 1.780859 1.784032 1.784980",
    ),
    (V2A, {}, 0.124347, 1.400148, "3.078807 3.093133 3.105994 3.117315 3.127064 3.135243 3.141877 3.147002"),
    (V2A, NONE, 0.124324, 1.398561, "3.036462 3.051625 3.065563 3.078163 3.089358 3.099114 3.107423 3.114294"),
]


@pytest.mark.parametrize(("direction", "options", "mean", "std", "first"), OUTPUTS)
def test_output_in_every_row(direction, options, mean, std, first):
    module, (x, y) = adapter(direction, **options), inputs(direction)
    tokens, dim = direction["shape"]
    residual = module(x, y).residual.transpose(1, 2).unsqueeze(-1)  # the public layout is (B, C, N, 1)
    assert_golden(residual, mean, std, first, (2, dim, tokens, 1))


@pytest.mark.parametrize("direction", [A2V, V2A])
def test_float32_deviates_by_less_than_a_millionth(direction):
    module, (x, y) = adapter(direction), inputs(direction)
    exact = module(x, y).residual
    assert (module.float()(x.float(), y.float()).residual - exact).abs().max() <= 9e-7


def test_a_fresh_adapter_is_silent_and_only_its_gate_learns_first():
    module = Adapter(**A2V, num_tokens=4, reduction=4, groups=2, options=Options())
    x, y = (t.float() for t in inputs(A2V))
    residual = module(x, y).residual
    assert residual.abs().max() == 0
    (residual * torch.randn_like(residual)).sum().backward()
    learning = {name for name, p in module.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert learning == {"bottleneck.gate"}


@pytest.mark.parametrize("form", [NORMED, Form(prompt="tokens", bottleneck="bare"), Form(prompt="resize", bottleneck="bare")])
@pytest.mark.parametrize("gated", [True, False])
def test_a_gate_that_starts_ajar_lets_a_fresh_adapter_speak(form, gated):
    """As at scale mini; a normed bottleneck always has its gate, a bare one without gate speaks in the release, too."""
    x, y = (t.float() for t in inputs(A2V))
    sizes = {"num_tokens": 4, "reduction": 4, "groups": 2, "options": Options(), "form": form, "gated": gated}
    size = {}
    for gate in (0.0, 0.2):
        torch.manual_seed(0)
        module = Adapter(**A2V, **sizes, gate=gate)
        residual = module(x, y).residual
        # A layer's norm makes the bottleneck as loud as its gate, or as the scale of the norm itself, says.
        size[gate] = residual.pow(2).mean().sqrt().item()
        assert module.latent.gate.item() == pytest.approx(gate)
        (residual * torch.randn_like(residual)).sum().backward()
        learning = {name for name, p in module.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        assert ("bottleneck.down.weight" in learning) == (gate > 0 or (form is not NORMED and not gated))
    assert 0.15 < size[0.2] < 0.21
    assert size[0.0] == 0 if form is NORMED or gated else 0.75 < size[0.0] < 1.05


@pytest.mark.parametrize(("scale", "gate"), [(MINI, 0.2), (PAPER, 0.0)])
def test_gates_start_ajar_at_scale_mini_alone(scale, gate):
    """In both directions. At full size an adapter adds nothing when training starts, as in the release."""
    pair = AdapterPair((36, 32), (16, 16), replace(scale, num_tokens=4, reduction=4), Options(), False)
    for adapter in (pair.a2v, pair.v2a):
        assert adapter.bottleneck.gate.item() == adapter.latent.gate.item() == pytest.approx(gate)
    to_v, to_a = pair(*(t.float() for t in inputs(A2V)))
    assert (to_v.residual.abs().max() > 0) == (to_a.residual.abs().max() > 0) == (gate > 0)


def test_spatial_scale_alone_is_cancelled_by_the_layer_norm():
    """The release's LN makes S inert without C: the fact behind Table 5's third row."""
    x, y = inputs(A2V)
    spatial_only, nothing = adapter(A2V, C=False)(x, y), adapter(A2V, **NONE)(x, y)
    assert 0 < (spatial_only.residual - nothing.residual).abs().max() < 5e-6
    assert spatial_only.pooling is not None
    assert nothing.pooling is None


def test_tokens_off_skips_the_latent_cross_attention():
    x, y = inputs(A2V)
    module = adapter(A2V, keep_tokens=False)
    guidance = module.attention(x, module.prompt(y).mean(1, keepdim=True))
    torch.testing.assert_close(module(x, y).residual, module.bottleneck(module.attention.modulate(x, *guidance)))
    assert (module(x, y).residual - adapter(A2V)(x, y).residual).abs().max() > 0.1


def test_spatial_prompt_map_lets_the_place_of_the_prompt_through():
    x, y = inputs(A2V)
    for kind, moves in (("map", True), ("pooled", False)):
        module = adapter(A2V, spatial_prompt=kind)
        before = module(x, y).pooling
        with torch.no_grad():  # the same prompt in another order of its tokens
            order = torch.randperm(36, generator=torch.Generator().manual_seed(0))
            module.prompt.token.weight.copy_(module.prompt.token.weight[order])
            module.prompt.token.bias.copy_(module.prompt.token.bias[order])
        assert ((module(x, y).pooling - before).abs().max() > 1e-9) == moves

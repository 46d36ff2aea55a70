"""The lean walk gives the release's numbers: against a plain model in the release's order, values and gradients."""

import pytest
import torch
from golden_rig import TINY
from release_model import opened, release_twin, tiled

from dgsct.ops import recompute as lean
from dgsct.ops.fused import mlp, read_through, relu_mean, scaled_linear_relu, softmax, unit
from dgsct.settings import scales
from dgsct.tasks import get_task

MINI = get_task("ave").at(scales.MINI)


def clips(scale=TINY, count=1):
    side = scale.swin.image_size
    return torch.rand(count, 10, 3, side, side), torch.randn(count, 10, scale.htsat.sample_rate) * 0.1


def learning(model, *inputs) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Loss and gradients, batch statistics in the adapters, the frozen encoders without masks."""
    for name, module in model.named_modules():
        module.training = isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d) and "bn0" not in name
    output = model(*inputs)
    loss = sum(t.square().mean() for t in output)
    names, trained = zip(*((n, p) for n, p in model.named_parameters() if p.requires_grad), strict=True)
    gradients = torch.autograd.grad(loss, trained, allow_unused=True)
    return loss.detach(), {n: g for n, g in zip(names, gradients, strict=True) if g is not None}


def test_loss_gradients_and_statistics_are_the_release_model_s():
    model = opened(TINY)
    twin = release_twin(model, TINY).double()
    model = model.double()
    frames, wave = (t.double() for t in clips())
    ours, gradients = learning(model, frames, wave)
    theirs, expected = learning(twin, frames, tiled(wave, 1))
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)
    places = (("p1.0", "vis_adapter_blocks_p1.0"), ("p2.7", "vis_adapter_blocks_p2.7"))
    for here, there in places:
        adapter = f"backbone.{here}.a2v"
        pairs = (
            ("prompt.channel.weight", "fc.weight"), ("latent.tokens", "my_tokens"), ("latent.gate", "gate_av"),
            ("bottleneck.gate", "gate"), ("attention.channel.stream.weight", "fc_affine_video_1.weight"),
            ("attention.spatial.stream.weight", "fc_affine_video_2.weight"),
        )  # fmt: skip
        for mine, other in pairs:
            a, b = gradients[f"{adapter}.{mine}"], expected[f"{there}.{other}"]
            assert (a - b).abs().max() <= 1e-4 * b.abs().max(), mine
        statistics = model.get_submodule(adapter).bottleneck.bn_up, twin.get_submodule(there).bn2
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            torch.testing.assert_close(*(getattr(s, name) for s in statistics), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("stages", [False, True])
def test_what_is_made_again_gives_the_same_bits_in_less_room(monkeypatch, stages):
    inputs = clips(MINI)
    results, kept = [], []
    for large in (lean.LARGE, 0):
        monkeypatch.setattr(lean, "LARGE", large)
        model = opened(MINI)
        if stages:
            model.backbone.checkpoint_stages()
        model.train()
        torch.manual_seed(1)
        with torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True, acc_events=True
        ) as profile:
            loss = sum(t.square().mean() for t in model(*inputs))
        kept.append(sum(event.self_cpu_memory_usage for event in profile.key_averages()))
        loss.backward()
        results.append((loss, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}, model.state_dict()))
    for first, second in zip(*results, strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert stages or kept[1] < 0.9 * kept[0]


def test_walking_every_stage_twice_gives_the_same_bits_and_moves_statistics_once(monkeypatch):
    monkeypatch.setattr(lean, "LARGE", 0)
    inputs = clips(MINI)
    results = []
    for again in (False, True):
        model = opened(MINI)
        if again:
            model.backbone.checkpoint_stages()
        model.train()
        torch.manual_seed(1)
        loss = sum(t.square().mean() for t in model(*inputs))
        loss.backward()
        results.append((loss, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}, model.state_dict()))
    for first, second in zip(*results, strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_compiled_stages_give_the_same_numbers():
    inputs, model = clips(MINI), opened(MINI).eval()
    with torch.no_grad():
        eager = model(*inputs)
        model.backbone.compile_stages(backend="aot_eager")
        for a, b in zip(model(*inputs), eager, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_bf16_stays_near_float32_with_frozen_weights_stored_low():
    inputs, model = clips(TINY), opened(TINY).eval()
    with torch.no_grad():
        exact = model.backbone(*inputs)
        model.backbone.encoders.store_as(torch.bfloat16)
        with torch.autocast("cpu", torch.bfloat16):
            low = model.backbone(*inputs)
    for a, b in zip(low, exact, strict=True):
        assert a.dtype == torch.float32
        assert 0 < (a - b).norm() / b.norm() < 0.1


@pytest.mark.parametrize("scaled", [False, True])
def test_gradients_of_single_operations(scaled):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    scale = torch.rand(3, 1, 1, dtype=torch.float64) + 1 if scaled else None
    assert torch.autograd.gradcheck(lambda t: unit(t, scale), x)
    flat = x.flatten(1, 2)
    assert torch.autograd.gradcheck(relu_mean, flat)
    layer = torch.nn.Linear(5, 3).double()
    factor = torch.rand(2, 1, 5, dtype=torch.float64, requires_grad=True)
    expected = torch.relu(layer(flat * factor))
    torch.testing.assert_close(scaled_linear_relu(flat, factor, layer), expected)
    assert torch.autograd.gradcheck(lambda a, b: scaled_linear_relu(a, b, layer), (flat, factor))


def test_mlp_is_linear_gelu_linear_with_its_gradients_frozen_or_trained():
    torch.manual_seed(0)
    first, second = torch.nn.Linear(4, 6).double(), torch.nn.Linear(6, 4).double()
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    weights = (*first.parameters(), *second.parameters())
    expected = second(torch.nn.functional.gelu(first(x)))
    torch.testing.assert_close(mlp(x, first, second), expected)
    inputs = (x, *weights)
    results = [torch.autograd.grad(y.square().sum(), inputs) for y in (mlp(x, first, second), expected)]
    for mine, other in zip(*results, strict=True):
        torch.testing.assert_close(mine, other)
    for layer in (first, second):
        layer.requires_grad_(False)
    assert torch.autograd.gradcheck(lambda t: mlp(t, first, second), x)


def test_reading_through_a_map_is_two_products_and_a_softmax():
    torch.manual_seed(0)
    sizes = ((2, 3, 5), (3, 4), (4, 5))
    keys, offset, token = (torch.randn(size, dtype=torch.float64, requires_grad=True) for size in sizes)
    seen, weights = read_through(keys, offset, token)
    expected = torch.cat(((keys @ token.T + offset).softmax(-1), torch.full((2, 1, 4), 0.25, dtype=torch.float64)), 1)
    torch.testing.assert_close(weights, expected)
    torch.testing.assert_close(seen, expected @ token)
    assert torch.autograd.gradcheck(read_through, (keys, offset, token))


def test_softmax_leaves_no_subnormal_weight_and_else_is_torchs():
    scores = torch.tensor([[0.0, -20.0, -60.0, -100.0], [1.0, 2.0, 3.0, torch.nan]], requires_grad=True)
    assert 0 < scores[0].softmax(dim=-1)[3] < torch.finfo(torch.float32).tiny
    twin, out = scores.detach().clone().requires_grad_(), torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    weights = softmax(scores)
    assert weights[0, 2:].tolist() == [0.0, 0.0]
    assert weights[1].isnan().all()
    (weights * out)[0].sum().backward()
    (twin.softmax(dim=-1) * out)[0].sum().backward()
    torch.testing.assert_close(weights[0], twin.detach()[0].softmax(dim=-1), rtol=1e-6, atol=1e-19)
    torch.testing.assert_close(scores.grad[0], twin.grad[0], rtol=1e-6, atol=1e-18)

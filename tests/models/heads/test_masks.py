"""TPAVI, decoder, ASPP and losses of segmentation: golden values, and the facts that a rewrite would miss."""

import pytest
import torch
from avs_golden import assert_begins, cosines, load_filled, sines
from torch import Tensor

from dgsct.encoders.public_keys import SAME
from dgsct.models.heads.masks import (
    ASPP,
    TPAVI,
    Decoder,
    Fusion,
    MaskOutput,
    Segmenter,
    audio_visual_loss,
    mask_losses,
    trained_on,
)
from dgsct.models.keys_avs import fusion_keys, tpavi_keys
from dgsct.ops.shapes import shapes_only


def filled_tpavi() -> TPAVI:
    return load_filled(TPAVI(16, 128), tpavi_keys(), **{"W_z.1.running_mean": 0.0, "W_z.1.running_var": 1.0})


def tpavi_inputs() -> tuple[Tensor, Tensor]:
    """x [B, C, T, k, k] of the release as maps [B T, C, k, k], and the audio vector."""
    return sines((2, 16, 5, 4, 4), 0.3).transpose(1, 2).flatten(0, 1), cosines((2, 5, 128), 0.2)


@torch.no_grad()
def test_tpavi_golden_values():
    z, aligned = filled_tpavi()(*tpavi_inputs())
    z = z.unflatten(0, (2, 5)).transpose(1, 2)
    assert_begins(z, "0.223864 0.260372 0.292257 0.315832", 118.25831, 432.6495)
    assert aligned.flatten()[:4].tolist() == pytest.approx([-0.509182, -0.102419, 0.238990, 0.103410], abs=1e-6)


@torch.no_grad()
def test_tpavi_is_the_product_of_all_pairs_of_pixels():
    """The N x N matrix of the release, written out."""
    module, (x, audio) = filled_tpavi(), tpavi_inputs()
    tokens = x.flatten(2).transpose(1, 2).reshape(2, -1, 16)
    keys = module.key(module.align(audio)).repeat_interleave(16, dim=1)
    pairs = module.query(tokens) @ keys.transpose(1, 2) / tokens.shape[1]
    y = module.out(pairs @ module.value(tokens))
    expected = module.norm(module.batch_norm(y.flatten(0, 1)).view_as(tokens) + tokens)
    z = module(x, audio)[0].flatten(2).transpose(1, 2).reshape(2, -1, 16)
    torch.testing.assert_close(z, expected)


def test_fresh_tpavi_only_normalises():
    module = TPAVI(16, 8)
    x, audio = torch.randn(10, 16, 4, 4), torch.randn(2, 5, 8)
    z, _ = module(x, audio)
    torch.testing.assert_close(z, torch.nn.functional.layer_norm(x.movedim(1, 3), (16,)).movedim(3, 1))
    assert sum(p.numel() for p in TPAVI(256, 128).parameters()) == 165_760


@torch.no_grad()
def test_decoder_step_golden_values():
    step = load_filled(Fusion(4), fusion_keys())
    u, m = sines((1, 4, 6, 6), 0.3), cosines((1, 4, 6, 6), 0.2)
    assert_begins(step(m.relu(), u), "1.504159 1.744706 1.985253 2.132680", 454.9013)
    assert_begins(step(m.relu()), "0.898973 0.870174 0.841376 0.799427", 256.4718)


def test_decoder_doubles_the_finest_side_twice():
    decoder = Decoder(4, 16)
    maps = tuple(torch.rand(2, 16, k, k) for k in (8, 4, 2, 1))
    assert decoder(maps).shape == (2, 32, 32)
    decoder(maps).sum().backward()
    silent = {name for name, p in decoder.named_parameters() if p.grad is None}
    assert silent == {f"fusions.3.joining.{conv}.{leaf}" for conv in ("conv1", "conv2") for leaf in ("weight", "bias")}
    with shapes_only():
        full = Decoder(4, 256)
    dead = sum(p.numel() for p in full.fusions[3].joining.parameters())
    assert dead == 1_180_160
    assert sum(p.numel() for p in full.parameters()) - dead == 8_593_089


@torch.no_grad()
def test_aspp_golden_values():
    keys = {f"conv2d_list.{i}.{leaf}": (f"convs.{i}.{leaf}", SAME) for i in range(4) for leaf in ("weight", "bias")}
    module = load_filled(ASPP(3, 4), keys)
    assert_begins(module(sines((1, 3, 20, 20), 0.3)), "0.660541 0.510816 0.261671 0.081864", 155.3049)
    with shapes_only():
        assert sum(p.numel() for dim in (64, 128, 320, 512) for p in ASPP(dim, 256).parameters()) == 9_441_280
        assert sum(p.numel() for dim in (256, 512, 1024, 2048) for p in ASPP(dim, 256).parameters()) == 35_393_536


@pytest.mark.parametrize("side", [1, 2, 7, 14, 20])
def test_aspp_is_the_sum_of_its_convolutions_whatever_reads_only_padding(side):
    module, x = ASPP(3, 4).double(), sines((2, 3, side, side), 0.3).double()
    grads = []
    for total in (module(x), sum(conv(x) for conv in module.convs)):
        module.zero_grad()
        total.square().sum().backward()
        grads.append([total.detach(), *(p.grad.clone() for p in module.parameters())])
    for ours, plain in zip(*grads, strict=True):
        torch.testing.assert_close(ours, plain)


def test_training_on_first_frames_decodes_only_them_to_the_same_loss_and_gradients():
    maps, audio = [sines((10, 8, 8 >> i, 8 >> i), 0.1) for i in range(2)], sines((2, 5, 6), 0.2)
    targets = {"masks": (sines((2, 5, 32, 32), 0.7) > 0).float(), "annotated": torch.arange(5).expand(2, 5) == 0}
    every, first = (Segmenter(2, 8, 6, trained_on(task, 0.0)).double() for task in ("avs-ms3", "avs-s4"))
    first.load_state_dict(every.state_dict())
    outputs = [segmenter.train()(maps, audio) for segmenter in (every, first)]
    assert [output.logits.shape for output in outputs] == [(2, 5, 32, 32), (2, 1, 32, 32)]
    losses = [mask_losses(output, targets, 0.0)["masks"] for output in outputs]
    torch.stack(losses).sum().backward()
    torch.testing.assert_close(losses[0], losses[1])
    for ours, plain in zip(first.parameters(), every.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, plain.grad)
    assert first.eval()(maps, audio).logits.shape == (2, 5, 32, 32)
    assert trained_on("avs-s4", 0.5) == "all"  # whose loss between sound and image looks at every frame


def output_and_masks() -> tuple[MaskOutput, Tensor]:
    """Two clips of section 4's golden values: 4 x 4 logits, four maps, four audio features; the top left is object."""
    logits = ((torch.arange(160, dtype=torch.float64) - 80) / 40).reshape(2, 5, 4, 4)
    maps = tuple(sines((10, 3, h, h), 0.1 * k) for h, k in ((4, 1), (2, 2), (2, 3), (1, 4)))
    masks = torch.zeros(2, 5, 4, 4)
    masks[..., :2, :2] = 1
    return MaskOutput(logits, maps, tuple(cosines((2, 5, 3), 0.2 * k) for k in range(1, 5))), masks


def test_losses_golden_values():
    output, masks = output_and_masks()
    first = torch.zeros(2, 5, dtype=torch.bool)
    first[:, 0] = True
    assert mask_losses(output, {"masks": masks, "annotated": first}, 0.0) == {"masks": pytest.approx(0.7068474, abs=1e-7)}
    terms = mask_losses(output, {"masks": masks, "annotated": torch.ones_like(first)}, 0.5)
    assert terms["masks"].item() == pytest.approx(0.8738621, abs=1e-7)
    assert audio_visual_loss(output).item() == pytest.approx(0.7994741, abs=1e-6)
    assert sum(terms.values()).item() == pytest.approx(1.2735991, abs=1e-6)


def test_frames_without_annotation_have_no_gradient():
    output, masks = output_and_masks()
    logits = output.logits.requires_grad_()
    annotated = torch.tensor([[True, False, False, True, False], [False] * 4 + [True]])
    mask_losses(output, {"masks": masks, "annotated": annotated}, 0.0)["masks"].backward()
    assert torch.equal(logits.grad.abs().sum(dim=(-2, -1)) > 0, annotated)

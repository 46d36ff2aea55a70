"""The release's state dict: its entries, shapes and sizes at full scale, and the way there and back."""

from collections import Counter

import pytest
import torch

from dgsct.methods.dg_sct.ave import DGSCT
from dgsct.models.keys import from_public, to_public
from dgsct.ops.shapes import shapes_only
from dgsct.settings import scales
from dgsct.tasks import get_task
from dgsct.tasks.ave.options import AveOptions as Options

MINI, PAPER = map(get_task("ave").at, (scales.MINI, scales.PAPER))
LISTS = [f"{kind}_adapter_blocks_{place}" for kind in ("vis", "audio") for place in ("p1", "p2")]
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
# Tokens and channels of both streams at the twelve places (stage sizes and depths of HTS-AT).
DEPTHS = (2, 2, 6, 2)
VISUAL = [shape for shape, n in zip([(2304, 192), (576, 384), (144, 768), (36, 1536)], DEPTHS, strict=True) for _ in range(n)]
AUDIO = [shape for shape, n in zip([(4096, 96), (1024, 192), (256, 384), (64, 768)], DEPTHS, strict=True) for _ in range(n)]


@pytest.fixture(scope="module")
def public() -> dict[str, torch.Tensor]:
    with shapes_only():
        return to_public(DGSCT(PAPER, Options()).state_dict())


@pytest.fixture(scope="module")
def size(public):
    """Parameters below a public prefix, running statistics left out."""

    def count(*prefixes: str) -> int:
        return sum(t.numel() for k, t in public.items() if k.startswith(prefixes) and not k.endswith(BUFFERS))

    return count


def test_entries(public):
    """2646 in the release; left out are 7 attention masks and HTS-AT's 12 position indices, which timm recomputes."""
    masks_of_swin, masks_of_htsat, indices_of_htsat = 2, 5, 12
    groups = Counter(key.split(".")[0] for key in public)
    assert groups == {
        "swin": 427 - masks_of_swin,
        "htsat": 200 - masks_of_htsat - indices_of_htsat,
        **dict.fromkeys(LISTS, 456),
        "temporal_attn": 168,
        "CMBS": 24,
        "adapter_token_downsampler": 3,
    }
    assert len(public) == 2646 - 19
    assert not any("attn_mask" in key or "relative_position_index" in key for key in public)


def adapter_shapes(own: tuple[int, int], other: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    (n, c), (n_y, c_y) = own, other
    d, r = c // 2, c // 8
    linear = {
        "fc": (c, c_y),
        "fc_affine_audio_1": (c, c),
        "fc_affine_video_1": (c, c),
        "fc_affine_bottleneck": (d, c),
        "fc_affine_video_2": (d, c),
        "fc_affine_audio_2": (d, c),
        "fc_affine_v_s_att": (1, d),
        "fc_affine_v_c_att": (c, d),
    }
    shapes = {"gate": (1,), "gate_tk": (1,), "gate_av": (1,), "my_tokens": (32, c)}
    shapes |= {"conv_adapter.weight": (n, n_y, 1, 1), "conv_adapter.bias": (n,)}
    shapes |= {"down_sampler.weight": (r, c // 2, 1, 1), "up_sampler.weight": (c, r // 2, 1, 1)}
    shapes |= {f"{name}.weight": shape for name, shape in linear.items()}
    shapes |= {f"{name}.bias": shape[:1] for name, shape in linear.items()}
    for name, width in (("bn1", r), ("bn2", c)):
        shapes |= {f"{name}.{leaf}": (width,) for leaf in ("weight", "bias", "running_mean", "running_var")}
        shapes[f"{name}.num_batches_tracked"] = ()
    return shapes | {f"{name}.{leaf}": (c,) for name in ("ln_before", "ln_post") for leaf in ("weight", "bias")}


@pytest.mark.parametrize("name", LISTS)
def test_adapter_entries(public, name):
    own, other = (VISUAL, AUDIO) if name.startswith("vis") else (AUDIO, VISUAL)
    expected = {f"{name}.{k}.{leaf}": s for k in range(12) for leaf, s in adapter_shapes(own[k], other[k]).items()}
    assert {key: tuple(t.shape) for key, t in public.items() if key.startswith(f"{name}.")} == expected


OTHER_SHAPES = {
    "swin.patch_embed.proj.weight": (192, 3, 4, 4),
    "swin.layers.2.blocks.17.attn.logit_scale": (24, 1, 1),
    "swin.layers.2.blocks.17.attn.q_bias": (768,),
    "swin.layers.2.blocks.17.attn.cpb_mlp.0.weight": (512, 2),
    "swin.layers.2.blocks.17.attn.cpb_mlp.2.weight": (24, 512),
    "swin.layers.2.blocks.17.attn.qkv.weight": (2304, 768),
    "swin.layers.0.downsample.reduction.weight": (384, 768),
    "swin.layers.0.downsample.norm.weight": (384,),
    "swin.head.weight": (21841, 1536),
    "htsat.spectrogram_extractor.stft.conv_real.weight": (513, 1, 1024),
    "htsat.spectrogram_extractor.stft.conv_imag.weight": (513, 1, 1024),
    "htsat.logmel_extractor.melW": (513, 64),
    "htsat.bn0.running_var": (64,),
    "htsat.layers.0.blocks.0.attn.relative_position_bias_table": (225, 4),
    "htsat.layers.0.downsample.reduction.weight": (192, 384),
    "htsat.layers.0.downsample.norm.weight": (384,),
    "htsat.tscam_conv.weight": (527, 768, 2, 3),
    "htsat.head.weight": (527, 527),
    "temporal_attn.v_fc.weight": (512, 1536),
    "temporal_attn.a_fc.weight": (128, 768),
    "temporal_attn.video_encoder.affine_matrix.weight": (256, 512),
    "temporal_attn.audio_decoder.decoder.layers.0.self_attn.in_proj_weight": (768, 256),
    "temporal_attn.audio_visual_rnn_layer.audio_rnn.weight_ih_l0_reverse": (512, 128),
    "temporal_attn.audio_visual_rnn_layer.visual_rnn.weight_hh_l0": (1024, 256),
    "temporal_attn.audio_gated.0.weight": (1, 256),
    "CMBS.AVInter.video_multihead.in_proj_weight": (768, 256),
    "CMBS.localize_module.classifier.weight": (1, 256),
    "CMBS.localize_module.event_classifier.weight": (28, 256),
    "CMBS.video_cas.weight": (28, 256),
    "adapter_token_downsampler.0.weight": (48, 24),
    "adapter_token_downsampler.2.weight": (192, 96),
}


def test_other_shapes(public):
    assert {key: tuple(public[key].shape) for key in OTHER_SHAPES} == OTHER_SHAPES


# Token convolution, linear map, S + C layers, the rest, and their sum.
ADAPTERS = {
    ("vis", 0): (9_439_488, 18_624, 148_417, 11_955, 9_618_484),
    ("audio", 0): (9_441_280, 18_528, 37_345, 4_827, 9_501_980),
    ("vis", 2): (590_400, 74_112, 591_745, 33_123, 1_289_380),
    ("audio", 2): (590_848, 73_920, 148_417, 11_955, 825_140),
    ("vis", 4): (37_008, 295_680, 2_363_137, 103_107, 2_798_932),
    ("audio", 4): (37_120, 295_296, 591_745, 33_123, 957_284),
    ("vis", 10): (2_340, 1_181_184, 9_444_865, 353_667, 10_982_056),
    ("audio", 10): (2_368, 1_180_416, 2_363_137, 103_107, 3_649_028),
}


@pytest.mark.parametrize("place", ["p1", "p2"])
@pytest.mark.parametrize(("kind", "first"), ADAPTERS)
def test_parameters_of_every_adapter(size, kind, first, place):
    last = {0: 1, 2: 3, 4: 9, 10: 11}[first]
    for k in range(first, last + 1):
        prefix = f"{kind}_adapter_blocks_{place}.{k}."
        parts = [size(prefix + part) for part in ("conv_adapter.", "fc.", "fc_affine_")]
        total = size(prefix)
        assert (*parts, total - sum(parts), total) == ADAPTERS[kind, first]


PARTS = {
    "swin.": 228_772_549,
    "swin.head.": 33_569_617,
    "htsat.": 31_325_143,
    "htsat.spectrogram_extractor.": 1_050_624,
    "htsat.logmel_extractor.": 32_832,
    "htsat.bn0.": 128,
    "htsat.patch_embed.": 1_824,
    "htsat.layers.": 27_531_000,
    "htsat.norm.": 1_536,
    "htsat.tscam_conv.": 2_428_943,
    "htsat.head.": 278_256,
    "temporal_attn.": 12_071_554,
    "temporal_attn.v_fc.": 786_944,
    "temporal_attn.a_fc.": 98_432,
    "temporal_attn.video_encoder.": 2_500_608,
    "temporal_attn.video_decoder.": 2_237_184,
    "temporal_attn.audio_encoder.": 2_435_072,
    "temporal_attn.audio_decoder.": 2_171_648,
    "temporal_attn.audio_visual_rnn_layer.": 1_841_152,
    "temporal_attn.audio_gated.": 257,
    "temporal_attn.video_gated.": 257,
    "CMBS.": 550_229,
    "adapter_token_downsampler.": 24_192,
}


@pytest.mark.parametrize("prefix", PARTS)
def test_parameters_of_every_part(size, prefix):
    assert size(prefix) == PARTS[prefix]


def test_parameters_that_nothing_uses(public, size):
    assert size("CMBS.AVInter.", "CMBS.VAInter.", "CMBS.video_norm.", "CMBS.audio_norm.") == 528_384
    assert size("htsat.norm.", "htsat.tscam_conv.", "htsat.head.") == 2_708_735
    assert sum(t.numel() for key, t in public.items() if key.endswith(".gate_tk")) == 48


def test_there_and_back_is_bit_exact():
    state = DGSCT(MINI, Options()).state_dict()
    draw = torch.Generator().manual_seed(0)
    state = {k: torch.rand(t.shape, generator=draw) if t.is_floating_point() else t + 7 for k, t in state.items()}
    public = to_public(state)
    assert len(public) == len(state)
    again = from_public(public, list(state))
    assert again.keys() == state.keys()
    assert all(torch.equal(again[key], value) for key, value in state.items())


def test_grouped_weights_keep_their_blocks():
    """Block g maps half g of the channels: the public weight in torch's grouped convolution gives our numbers."""
    model = DGSCT(MINI, Options())
    public, bottleneck = to_public(model.state_dict()), model.backbone.p1[0].a2v.bottleneck
    for name, ours in (("down_sampler", bottleneck.down), ("up_sampler", bottleneck.up)):
        x = torch.rand(3, 2 * ours.weight.shape[2])
        weight = public[f"vis_adapter_blocks_p1.0.{name}.weight"]
        expected = torch.nn.functional.conv2d(x[..., None, None], weight, groups=2)[..., 0, 0]
        torch.testing.assert_close(ours(x), expected)


def test_a_missing_entry_is_named():
    state = DGSCT(MINI, Options()).state_dict()
    public = to_public(state)
    del public["CMBS.audio_cas.bias"]
    with pytest.raises(KeyError, match=r"CMBS\.audio_cas\.bias"):
        from_public(public, list(state))

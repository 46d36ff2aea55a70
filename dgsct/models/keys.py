"""Public checkpoint keys and shapes of the AVE release <-> ours, both ways, bit-exact.

The release's state dict holds the whole model: `swin.` in timm 0.6 naming, `htsat.`, the four adapter lists,
`temporal_attn.`, `CMBS.` and three unused maps. Ours differs in names and, for 1x1 convolutions, in layout only.
A rule is (public key template, our key template, how the shape changes).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from torch import Tensor

from dgsct.encoders.public_keys import BN, SAME, Layout, htsat_to_public, leaf_pairs, swin_to_public

TOKEN_CONV = Layout(lambda t: t.flatten(1), lambda t: t[..., None, None])


def grouped(groups: int) -> Layout:
    """Weight of a grouped 1x1 convolution (out, in/groups, 1, 1) <-> [groups, out/groups, in/groups]."""
    return Layout(
        lambda t: t.flatten(1).unflatten(0, (groups, -1)).contiguous(),
        lambda t: t.flatten(0, 1)[..., None, None],
    )


_ATTENTION = ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")


def adapter_keys(groups: int) -> dict[str, tuple[str, Layout]]:
    """Public key -> (our key, layout) of one adapter; 38 entries where S and C exist."""
    same = [
        ("gate", "bottleneck.gate"),
        ("gate_tk", "spare_gate"),
        ("gate_av", "latent.gate"),
        ("my_tokens", "latent.tokens"),
        ("conv_adapter.bias", "prompt.token.bias"),
        *leaf_pairs("fc", "prompt.channel"),
        *leaf_pairs("fc_affine_audio_1", "attention.channel.guide"),
        *leaf_pairs("fc_affine_video_1", "attention.channel.stream"),
        *leaf_pairs("fc_affine_bottleneck", "attention.channel.squeeze"),
        *leaf_pairs("fc_affine_v_c_att", "attention.channel.excite"),
        *leaf_pairs("fc_affine_video_2", "attention.spatial.stream"),
        *leaf_pairs("fc_affine_audio_2", "attention.spatial.guide"),
        *leaf_pairs("fc_affine_v_s_att", "attention.spatial.score"),
        *leaf_pairs("bn1", "bottleneck.bn_down", BN),
        *leaf_pairs("bn2", "bottleneck.bn_up", BN),
        *leaf_pairs("ln_before", "bottleneck.norm_before"),
        *leaf_pairs("ln_post", "bottleneck.norm_after"),
    ]
    table = {public: (ours, SAME) for public, ours in same}
    table["conv_adapter.weight"] = ("prompt.token.weight", TOKEN_CONV)
    table["down_sampler.weight"] = ("bottleneck.down.weight", grouped(groups))
    table["up_sampler.weight"] = ("bottleneck.up.weight", grouped(groups))
    return table


def _encoder_layer(public: str, ours: str) -> list[tuple[str, str]]:
    return [
        *leaf_pairs(f"{public}.self_attn", f"{ours}.self_attn", _ATTENTION),
        *(
            pair
            for part in ("linear1", "linear2", "norm1", "norm2")
            for pair in leaf_pairs(f"{public}.{part}", f"{ours}.{part}")
        ),
    ]


def _decoder_layer(public: str, ours: str, unused_self: str) -> list[tuple[str, str]]:
    return [
        *leaf_pairs(f"{public}.multihead_attn", f"{ours}.cross", _ATTENTION),
        *leaf_pairs(f"{public}.self_attn", unused_self, _ATTENTION),
        *(
            pair
            for part in ("linear1", "linear2", "norm1", "norm2")
            for pair in leaf_pairs(f"{public}.{part}", f"{ours}.{part}")
        ),
    ]


def temporal_keys() -> dict[str, tuple[str, Layout]]:
    """Public key -> (our key, layout) of the temporal module; 168 entries."""
    lstm = [f"{kind}_{gate}_l0{way}" for kind in ("weight", "bias") for gate in ("ih", "hh") for way in ("", "_reverse")]
    pairs = leaf_pairs("v_fc", "visual_fc") + leaf_pairs("a_fc", "audio_fc")
    for public, ours in (("video", "visual"), ("audio", "audio")):
        pairs += leaf_pairs(f"{public}_encoder.affine_matrix", f"{ours}_encoder.affine")
        for i in range(2):
            pairs += _encoder_layer(f"{public}_encoder.encoder.layers.{i}", f"{ours}_encoder.layers.{i}")
        pairs += _encoder_layer(f"{public}_encoder.encoder_layer", f"unused.{public}_encoder_layer")
        pairs += leaf_pairs(f"{public}_decoder.affine_matrix", f"{ours}_decoder.affine")
        unused = f"unused.{public}_decoder"
        pairs += _decoder_layer(f"{public}_decoder.decoder.layers.0", f"{ours}_decoder.layer", f"{unused}_self")
        pairs += _decoder_layer(f"{public}_decoder.decoder_layer", f"{unused}_layer", f"{unused}_layer_self")
        pairs += [(f"audio_visual_rnn_layer.{public}_rnn.{leaf}", f"{ours}_rnn.{leaf}") for leaf in lstm]
        pairs += leaf_pairs(f"{public}_gated.0", f"{ours}_gate.theta")
    renamed = [(p.replace("audio_visual_rnn_layer.video_rnn", "audio_visual_rnn_layer.visual_rnn"), o) for p, o in pairs]
    return {public: (ours, SAME) for public, ours in renamed}


def head_keys() -> dict[str, tuple[str, Layout]]:
    """Public key -> (our key, layout) of the AVE head; 24 entries."""
    pairs = [
        *leaf_pairs("AVInter.video_multihead", "visual_interaction.attention", _ATTENTION),
        *leaf_pairs("AVInter.norm1", "visual_interaction.norm"),
        *leaf_pairs("VAInter.video_multihead", "audio_interaction.attention", _ATTENTION),
        *leaf_pairs("VAInter.norm1", "audio_interaction.norm"),
        *leaf_pairs("localize_module.classifier", "relevance"),
        *leaf_pairs("localize_module.event_classifier", "event"),
        *leaf_pairs("video_norm", "visual_norm"),
        *leaf_pairs("audio_norm", "audio_norm"),
        *leaf_pairs("audio_cas", "audio_cas"),
        *leaf_pairs("video_cas", "visual_cas"),
    ]
    return {public: (ours, SAME) for public, ours in pairs}


_LISTS = {"a2v": "vis_adapter_blocks", "v2a": "audio_adapter_blocks"}


Rules = Callable[[list[str], int], Iterator[tuple[str, str, Layout]]]


class PublicLayout(NamedTuple):
    """A family of public checkpoints, declared as `PUBLIC` in the module of the model that they are of.

    `rules` map its keys to ours; `recognise(tensors)` gives what a file's entries tell of its run (task, method), None where
    they are not of this family.
    """

    title: str
    rules: Rules
    recognise: Callable[[Mapping[str, Tensor]], dict[str, str] | None]


def encoder_rule(key: str, adapters: dict[str, tuple[str, Layout]]) -> tuple[str, str, Layout]:
    """(public key, our key, layout) of an entry below `backbone.`; `adapters` holds an adapter's entries by our key."""
    if key.startswith("backbone.encoders.swin.swin."):
        return "swin." + swin_to_public(key.removeprefix("backbone.encoders.swin.swin.")), key, SAME
    if key.startswith("backbone.encoders.htsat."):
        return "htsat." + htsat_to_public(key.removeprefix("backbone.encoders.htsat.")), key, SAME
    _, place, index, direction, leaf = key.split(".", 4)
    public, layout = adapters[leaf]
    return f"{_LISTS[direction]}_{place}.{index}.{public}", key, layout


def ave_rules(our_keys: list[str], groups: int) -> Iterator[tuple[str, str, Layout]]:
    """(public key, our key, layout) for every entry of our full model for AVE."""
    adapters = {ours: (public, layout) for public, (ours, layout) in adapter_keys(groups).items()}
    temporal = {ours: public for public, (ours, _) in temporal_keys().items()}
    head = {ours: public for public, (ours, _) in head_keys().items()}
    for key in our_keys:
        room, _, rest = key.partition(".")
        if room == "temporal":
            yield f"temporal_attn.{temporal[rest]}", key, SAME
        elif room == "head":
            yield f"CMBS.{head[rest]}", key, SAME
        elif room == "unused_downsampler":
            yield f"adapter_token_downsampler.{rest}", key, SAME
        else:
            yield encoder_rule(key, adapters)


def to_public(state: dict[str, Tensor], groups: int = 2, rules: Rules = ave_rules) -> dict[str, Tensor]:
    """Our full model's state dict in the public keys and shapes (without the recomputable attention masks)."""
    return {public: layout.public(state[ours]) for public, ours, layout in rules(list(state), groups)}


def from_public(public: dict[str, Tensor], our_keys: list[str], groups: int = 2, rules: Rules = ave_rules) -> dict[str, Tensor]:
    """The inverse of `to_public` for a model whose state dict has `our_keys`; KeyError names a missing public key."""
    return {ours: layout.ours(public[name]) for name, ours, layout in rules(our_keys, groups)}

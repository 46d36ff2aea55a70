"""Public checkpoint keys and shapes of the AVS release and of AVSBench <-> ours, both ways, bit-exact.

DG-SCT's state dict in setting S4 or MS3 has 3,867 entries: encoders and adapters named as for AVE, one temporal module a
scale, TPAVI, the decoder, and the unused remains of AVSBench's model. AVSBench's own has 1,190 (PVT-v2-b5) or 630
(ResNet-50); VGGish is not in it. Rules are as in `keys`.
"""

from collections.abc import Iterator

from dgsct.encoders.public_keys import BN, SAME, Layout, leaf_pairs, pvt_to_public, resnet_to_public
from dgsct.models.keys import adapter_keys, encoder_rule, temporal_keys

POINT_CONV = Layout(lambda t: t.flatten(1), lambda t: t[..., None, None, None])


def segmentation_adapter_keys(groups: int) -> dict[str, tuple[str, Layout]]:
    """Public key -> (our key, layout) of one adapter; 29 entries on the visual side, 28 (no `gate`) on the other."""
    table = {
        public: rule for public, rule in adapter_keys(groups).items() if public.split(".")[0] not in ("gate_tk", "bn1", "bn2")
    }
    for public, ours in leaf_pairs("ln_before", "unused.norm_before") + leaf_pairs("temporal_gated.0", "unused.temporal_gate"):
        table[public] = (ours, SAME)
    return table


def scale_gates_keys(index: int) -> dict[str, tuple[str, Layout]]:
    """Public key -> (our key, layout) of the temporal module of one scale, without the scale in ours; 166 entries."""
    keys = {}
    for public, (ours, layout) in temporal_keys().items():
        if not ours.startswith("audio_fc."):
            name, _, rest = public.partition(".")
            keys[f"{name}.{index}.{rest}"] = (ours, layout)
    return keys


def tpavi_keys() -> dict[str, tuple[str, Layout]]:
    """Public key -> (our key, layout) of TPAVI at one scale; 17 entries."""
    table = {
        public: (ours, SAME)
        for public, ours in (
            *leaf_pairs("align_channel", "align"),
            *leaf_pairs("norm_layer", "norm"),
            *leaf_pairs("W_z.1", "batch_norm", BN),
        )
    }
    for public, ours in (("theta", "query"), ("phi", "key"), ("g", "value"), ("W_z.0", "out")):
        table[f"{public}.weight"] = (f"{ours}.weight", POINT_CONV)
        table[f"{public}.bias"] = (f"{ours}.bias", SAME)
    return table


def fusion_keys() -> dict[str, tuple[str, Layout]]:
    """Public key -> (our key, layout) of one step of the decoder; 8 entries."""
    units = (("resConfUnit1", "joining"), ("resConfUnit2", "refining"))
    return {
        public: (ours, SAME)
        for unit, name in units
        for conv in ("conv1", "conv2")
        for public, ours in leaf_pairs(f"{unit}.{conv}", f"{name}.{conv}")
    }


def _segmenter_rule(key: str) -> tuple[str, str, Layout]:
    """A key of `Segmenter` -> (public key, the key, layout)."""
    place, *rest = key.split(".")
    if place == "tpavi":
        public, layout = _reversed(tpavi_keys())[".".join(rest[1:])]
        return f"tpavi_b{int(rest[0]) + 1}.{public}", key, layout
    if rest[0] == "fusions":
        public, layout = _reversed(fusion_keys())[".".join(rest[2:])]
        return f"path{int(rest[1]) + 1}.{public}", key, layout
    index = {"at_half": 0, "at_full": 2, "score": 4}[rest[0]]
    return f"output_conv.{index}.{rest[1]}", key, SAME


def _aspp_key(rest: list[str]) -> str:
    """Scale, `convs`, index and leaf of an ASPP block -> public key."""
    scale, _, index, leaf = rest
    return f"conv{int(scale) + 1}.conv2d_list.{index}.{leaf}"


def _reversed(table: dict[str, tuple[str, Layout]]) -> dict[str, tuple[str, Layout]]:
    return {ours: (public, layout) for public, (ours, layout) in table.items()}


def segmentation_rules(our_keys: list[str], groups: int) -> Iterator[tuple[str, str, Layout]]:
    """(public key, our key, layout) for every entry of DG-SCT's model for segmentation."""
    adapters = _reversed(segmentation_adapter_keys(groups))
    for key in our_keys:
        room, part, *rest = key.split(".")
        if room == "backbone":
            yield encoder_rule(key, adapters)
        elif part == "segmenter":
            public, _, layout = _segmenter_rule(".".join(rest))
            yield public, key, layout
        elif (room, part) == ("head", "visual"):
            yield f"x{int(rest[0]) + 1}_linear_.{rest[1]}", key, SAME
        elif (room, part) == ("head", "audio"):
            yield f"audio_linear.{rest[0]}", key, SAME
        elif (room, part) == ("head", "temporal"):
            _, scale, *leaf = rest
            public, layout = _reversed(scale_gates_keys(int(scale)))[".".join(leaf)]
            yield f"temporal_attn.{public}", key, layout
        elif part == "projections":
            yield f"x{int(rest[0]) + 1}_linear.{rest[1]}", key, SAME
        elif part == "aspp":
            yield _aspp_key(rest), key, SAME
        else:
            yield "encoder_backbone." + pvt_to_public(key.removeprefix("unused.pvt.pvt.")), key, SAME


def baseline_rules(our_keys: list[str], groups: int = 0) -> Iterator[tuple[str, str, Layout]]:
    """(public key, our key, layout) for every entry of AVSBench's model; VGGish's are no part of its checkpoints."""
    for key in our_keys:
        room, part, *rest = key.split(".")
        if room == "segmenter":
            public, _, layout = _segmenter_rule(key.removeprefix("segmenter."))
            yield public, key, layout
        elif room == "bridges":
            yield _aspp_key([part, *rest]), key, SAME
        elif part == "pvt":
            yield "encoder_backbone." + pvt_to_public(key.removeprefix("encoders.pvt.pvt.")), key, SAME
        elif part == "resnet50":
            yield "resnet." + resnet_to_public(key.removeprefix("encoders.resnet50.")), key, SAME

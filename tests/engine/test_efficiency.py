"""Table 6: exact counts at full size (fact sheet, section 8), on the meta device."""

import pytest

from dgsct.engine.efficiency import efficiency
from dgsct.errors import UsageError


@pytest.fixture
def ours(counted):
    return counted["dg-sct"]


@pytest.fixture
def lavish_star(counted):
    return counted["lavish-star"]


def test_parameters_of_every_component(ours):
    assert ours["parameters"] == {
        "total": 461_282_531,
        "trainable": 201_160_647,
        "without_gradient": 4_740_144,
        "components": {
            "swin": 228_772_549,
            "htsat": 31_325_143,
            "token_downsampler": 24_192,
            "a2v_adapters_p1": 60_573_432,
            "a2v_adapters_p2": 60_573_432,
            "v2a_adapters_p1": 33_696_000,
            "v2a_adapters_p2": 33_696_000,
            "temporal_attention": 12_071_554,
            "head": 550_229,
        },
    }
    assert ours["adapter_parts"] == {
        "token_conv": 81_156_432,
        "linear": 17_278_848,
        "attention": 86_394_288,
        "tokens": 847_872,
        "down_up": 2_695_680,
        "batch_norm": 59_616,
        "layer_norm": 105_984,
        "gates": 144,
    }


def test_lavish_star(lavish_star):
    assert lavish_star["parameters"]["total"] == 374_888_243
    assert lavish_star["parameters"]["trainable"] == 114_766_359


def test_trainable_shares(ours, lavish_star):
    shares = [100 * e["parameters"]["trainable"] / e["parameters"]["total"] for e in (ours, lavish_star)]
    assert [round(share, 2) for share in shares] == [43.61, 30.61]


def test_macs_by_both_countings(ours, lavish_star):
    def billions(counting: str) -> list[float]:
        return [round(e["macs"][counting] / 1e9, 2) for e in (ours, lavish_star)]

    assert billions("module") == [460.53, 415.78]
    assert billions("release_order") == [544.30, 499.48]
    # The sheet's 44.75 and 44.82 are differences of the rounded figures.
    for counting, difference in (("module", 44.75), ("release_order", 44.82)):
        assert (ours["macs"][counting] - lavish_star["macs"][counting]) / 1e9 == pytest.approx(difference, abs=0.0055)
    assert ours["macs"]["ours"] < ours["macs"]["release_order"]


def test_other_methods_are_refused():
    with pytest.raises(UsageError, match="late-fusion"):
        efficiency("late-fusion")

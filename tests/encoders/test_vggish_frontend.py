"""The VGGish input: golden values of the fact sheet, and what becomes of sound that is too short."""

import numpy as np
import pytest

from dgsct.encoders.vggish_frontend import examples, mel_weights

TONE = 0.5 * np.sin(2 * np.pi * 440 * np.arange(80000) / 16000)


def test_golden_values():
    found = examples(TONE, 5)
    assert (found.shape, found.dtype) == ((5, 1, 96, 64), np.float32)
    assert found.sum(dtype=np.float64) == pytest.approx(-107575.155, abs=1e-3)
    assert (found.min(), found.max()) == (pytest.approx(-4.604327, abs=1e-6), pytest.approx(4.089175, abs=1e-6))
    first = [-3.736307, -2.743742, -2.204709, -2.052619, -2.339517, -0.347574]
    assert found[0, 0, 0, :6] == pytest.approx(first, abs=1e-6)
    assert found.mean(axis=(0, 1, 2)).argmax() == 8


def test_examples_follow_each_other_every_96_frames():
    noise = np.random.default_rng(0).standard_normal(80000) * 0.1
    whole = examples(noise, 5)
    for k in range(5):
        assert examples(noise[k * 96 * 160 :], 1)[0] == pytest.approx(whole[k], abs=1e-5)


@pytest.mark.parametrize(("seconds", "own"), [(5.0, 5), (4.7, 4), (1.0, 1), (0.3, 1), (0.0, 1)])
def test_short_sound_repeats_its_last_example(seconds, own):
    found = examples(TONE[: int(seconds * 16000)], 5)
    assert found.shape == (5, 1, 96, 64)
    assert all(np.array_equal(found[k], found[own - 1]) for k in range(own, 5))
    assert np.isfinite(found).all()


def test_bands_lie_between_their_edges_and_leave_out_direct_current():
    weights, hertz = mel_weights(), np.arange(257) * 31.25
    assert weights.shape == (257, 64)
    assert not weights[0].any()
    assert not weights[(hertz < 125) | (hertz > 7500)].any()
    assert weights.any(axis=0).all()
    assert 0 <= weights.min() < weights.max() <= 1

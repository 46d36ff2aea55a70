"""Golden values of HTS-AT's front end, and the periodic shortcut against the tiled signal."""

import pytest
import torch
from golden_rig import assert_golden, tone_and_noise

from dgsct.encoders.frontend import LogMel, compact_copies, expand_index, log_mel_compact, mel_filters
from dgsct.encoders.htsat import HTSAT
from dgsct.settings.scales import MINI, PAPER

SIZES = PAPER.htsat


@pytest.fixture(scope="module")
def signals():
    s, m = tone_and_noise()
    return {"s": s[None], "m": m[None]}


@pytest.fixture(scope="module")
def front():
    return LogMel(SIZES).double()


GOLDEN = [
    (
        "s",
        (47.911965, 757.643252, "135.151441 135.194973 140.926331 146.879354 160.696355 175.295351 204.499806 236.290669"),
        (-77.522955, 32.690273, "6.749300 7.794814 8.788380 10.476034 13.190595 20.581718 20.462035 20.851328"),
        (-79.491308, 31.349793),
    ),
    (
        "m",
        (48.223789, 757.525905, "125.104456 141.879122 159.224507 148.113332 152.248719 178.696283 215.957767 238.746195"),
        (-18.313071, 9.132814, "6.752463 7.863699 8.921638 10.648517 13.079440 20.442511 20.388966 20.961179"),
        (-18.499244, 8.955671),
    ),
]


@pytest.mark.parametrize(("name", "power", "log_mel", "tiled"), GOLDEN)
def test_spectrogram(front, signals, name, power, log_mel, tiled):
    assert_golden(front.power(signals[name]), *power, shape=(1, 101, 513))
    assert_golden(front(signals[name]), *log_mel, shape=(1, 101, 64))
    assert_golden(front.tiled(signals[name], 10), *tiled, log_mel[2], shape=(1, 1001, 64))


def test_single_frames_of_the_tone(front, signals):
    frame = front(signals["s"])[0]
    expected = "-58.666399 -52.236662 -45.625163 -37.535741 -27.028831 13.738131 24.855508 20.992621"
    assert frame[50, :8].tolist() == pytest.approx([float(v) for v in expected.split()], abs=6e-7)
    assert frame[0].argmax() == 7
    assert frame.max().item() == pytest.approx(24.855508, abs=6e-7)
    assert frame.min().item() == pytest.approx(-100.0, abs=1e-9)


IMAGES = [
    ("s", 10, -79.490837, 31.348357, "6.749266 -2.452360 -53.206735 -55.087313 -56.653063 -58.634610 -57.255446 -55.232068"),
    ("m", 1, -18.377134, 9.039276, "6.752430 6.026080 5.345624 4.671401 3.963748 3.183002 2.289502 1.243584"),
    ("m", 10, -18.499183, 8.934599, "6.752430 -3.205291 -19.509321 -18.447378 -18.500954 -21.860051 -21.656221 -19.963758"),
]


@pytest.mark.parametrize(("name", "tile", "mean", "std", "first"), IMAGES)
def test_image(signals, name, tile, mean, std, first):
    encoder = HTSAT(SIZES).double().eval()
    image = encoder.image(encoder.log_mel(signals[name], tile))
    assert_golden(image, mean, std, first, (1, 1, 256, 256))
    if (name, tile) == ("m", 10):
        assert image[0, 0, 64, :4].tolist() == pytest.approx([-19.595986, -20.734638, -21.942501, -22.856012], abs=6e-7)
        assert image[0, 0, 200, 100:104].tolist() == pytest.approx([-14.187577, -14.824220, -15.571942, -14.479980], abs=6e-7)


@pytest.mark.parametrize("sizes", [PAPER.htsat, MINI.htsat])
@pytest.mark.parametrize("tile", [1, 2, 3, 10])
def test_periodic_shortcut_equals_the_tiled_signal(sizes, tile):
    second = torch.randn(2, sizes.sample_rate, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    front = LogMel(sizes).double()
    compact = front(second.repeat(1, compact_copies(tile)))
    torch.testing.assert_close(compact[:, expand_index(sizes, tile)], front(second.repeat(1, tile)), rtol=1e-9, atol=1e-7)


def test_stored_frames_are_what_the_encoder_expands(signals):
    encoder = HTSAT(MINI.htsat)
    wave = signals["m"].float()
    stored = log_mel_compact(wave, MINI.htsat, 10)
    torch.testing.assert_close(encoder.log_mel(stored, 10), encoder.log_mel(wave, 10))


def test_noise_of_the_rig(signals):
    noise = (signals["m"] - signals["s"])[0] / 0.1
    expected = [-0.49999999953, 0.01387007814, -0.32425869675, -0.19134848378]
    assert noise[:4].tolist() == pytest.approx(expected, abs=6e-12)


# The convolution's float32 sums run in an order that each processor chooses: 1.5e-4 here, 2.1e-4 without AVX.
@pytest.mark.parametrize(("as_convolution", "bound"), [(False, 1.6e-4), (True, 3e-4)])
def test_float32_deviates_little(front, signals, as_convolution, bound):
    single = LogMel(SIZES, as_convolution)
    assert (single(signals["m"].float()) - front(signals["m"])).abs().max() <= bound


def test_mel_matrix():
    matrix = mel_filters(SIZES)
    assert matrix.shape == (513, 64)
    assert matrix.sum().item() == pytest.approx(2.048126, abs=1e-6)
    assert (matrix != 0).sum() == 866
    assert matrix.max().item() == pytest.approx(0.01814952, abs=1e-8)


def test_masks_only_while_training(signals):
    encoder = HTSAT(SIZES)
    log_mel = encoder.log_mel(signals["m"].float().expand(4, -1), 10)
    assert torch.equal(encoder.eval().image(log_mel), encoder.image(log_mel))
    masked = encoder.train()._spec_augment(torch.ones(64, 1, 1001, 64))
    zero_times = (masked == 0).all(dim=3).sum(dim=2)
    zero_bins = (masked == 0).all(dim=2).sum(dim=2)
    assert zero_times.max() <= 126
    assert zero_bins.max() <= 14
    assert zero_times.float().std() > 0  # every sample draws its own stripes

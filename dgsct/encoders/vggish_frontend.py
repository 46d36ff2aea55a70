"""The VGGish input: log-mel examples of 0.96 s of sound at 16 kHz.

Example k covers the seconds 0.96 k to 0.96 (k + 1), which is not second k. NumPy in float64, stored as float32.
"""

from functools import cache

import numpy as np

SAMPLE_RATE = 16000  # Hz
WINDOW, HOP, FFT = 400, 160, 512  # samples: 25 ms, 10 ms
BANDS, F_MIN, F_MAX = 64, 125.0, 7500.0
FRAMES = 96  # of an example, and from one example to the next
OFFSET = 0.01


def _mel(hertz: np.ndarray) -> np.ndarray:
    """The HTK scale."""
    return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)


@cache
def mel_weights() -> np.ndarray:
    """[257, 64]: triangles whose flanks are straight in mel (not in Hz, as most libraries have them); no direct current."""
    bins = _mel(np.linspace(0.0, SAMPLE_RATE / 2, FFT // 2 + 1))[:, None]
    edges = np.linspace(_mel(F_MIN), _mel(F_MAX), BANDS + 2)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    weights = np.maximum(0.0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)))
    weights[0] = 0.0
    return weights


def examples(wave: np.ndarray, count: int) -> np.ndarray:
    """`wave` [samples] at 16 kHz -> [count, 1, 96, 64] float32, ln(mel magnitude + 0.01).

    Sound too short for `count` examples repeats its last one; shorter than one example, it is padded with zeros to one.
    """
    least = WINDOW + (FRAMES - 1) * HOP
    wave = np.pad(np.asarray(wave, dtype=np.float64), (0, max(least - len(wave), 0)))
    windows = np.lib.stride_tricks.sliding_window_view(wave, WINDOW)[::HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi / WINDOW * np.arange(WINDOW))
    magnitude = np.abs(np.fft.rfft(windows * hann, FFT))
    mel = np.log(magnitude @ mel_weights() + OFFSET)
    whole = min(len(mel) // FRAMES, count)
    spectrograms = mel[: whole * FRAMES].reshape(whole, 1, FRAMES, BANDS)
    return np.concatenate([spectrograms, *[spectrograms[-1:]] * (count - whole)]).astype(np.float32)

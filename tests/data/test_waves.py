"""Sound stored by others: its shape and its numbers are looked at before they are believed."""

import numpy as np
import pytest

from dgsct.data.media import MediaError
from dgsct.data.waves import read_wave

SECONDS, RATE = 10, 800
WAVE = (0.4 * np.sin(np.arange(SECONDS * RATE) / 7)).astype(np.float32)


def read(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    return read_wave(tmp_path / "a.npy", SECONDS, RATE)


@pytest.mark.parametrize(
    "array",
    [
        WAVE, WAVE.reshape(10, 800), WAVE[None], WAVE[:, None], WAVE.reshape(1, 10, 800), WAVE.astype(np.float64), 3 * WAVE,
        0 * WAVE, np.sign(WAVE), WAVE.astype(">f4"), np.asfortranarray(WAVE.reshape(10, 800)),
    ],
)  # fmt: skip
def test_any_form_of_the_same_sound_is_taken_as_it_is(tmp_path, array):
    found = read(tmp_path, array)
    assert found.dtype == np.float32
    assert np.array_equal(found, np.asarray(array, dtype=np.float32).reshape(-1))


@pytest.mark.parametrize(
    ("array", "reason", "sentence"),
    [
        (np.round(WAVE * 32767), "wrong_range", r"holds numbers from -13107 to 13107, as a sound file's integers are"),
        (WAVE * 32767.5, "wrong_range", r"as a sound file's integers are"),
        (np.round(WAVE * 127), "wrong_range", r"holds numbers from -51 to 51"),
        (np.round(WAVE * 4), "wrong_range", r"holds numbers from -2 to 2"),
        (WAVE / 2 + 0.5, "wrong_range", r"holds no number below zero"),
        (np.abs(WAVE), "wrong_range", r"holds no number below zero"),
        (WAVE.reshape(2, -1), "wrong_length", r"has the shape \[2, 4000\] instead of \[8000\] or \[10, 800\]"),
        (WAVE.reshape(800, 10), "wrong_length", r"has the shape \[800, 10\]"),
        (WAVE.reshape(20, 400), "wrong_length", r"so its channels and its sampling rate are not known"),
        (WAVE[:-1], "wrong_length", r"holds 7999 samples instead of 8000"),
        (np.float32([]), "wrong_length", r"holds 0 samples"),
        ((WAVE * 32767).astype(np.int16), "unreadable", r"holds int16 instead of floats in \[-1, 1\]"),
        (WAVE > 0, "unreadable", r"holds bool instead of floats"),
        (np.where(np.arange(8000) == 5, np.nan, WAVE), "unreadable", r"holds numbers that are not finite"),
        (np.where(np.arange(8000) == 5, -np.inf, WAVE), "unreadable", r"holds numbers that are not finite"),
        (np.array([{}] * 8000), "unreadable", r"holds object instead of floats"),
    ],
)
def test_an_array_of_the_right_size_is_not_believed(tmp_path, array, reason, sentence):
    with pytest.raises(MediaError, match=sentence) as caught:
        read(tmp_path, array)
    assert caught.value.reason == reason
    assert str(tmp_path / "a.npy") in str(caught.value)

"""Sound stored by others: its shape and its numbers are looked at before they are believed."""

import numpy as np
import pytest

from dgsct.data.media import MediaError, read_sound
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
        0 * WAVE, WAVE.astype(">f4"), np.asfortranarray(WAVE.reshape(10, 800)),
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
        (WAVE / 2 + 0.5, "wrong_range", r"holds numbers from 0 to 0.\d+ on one side of zero"),
        (-np.abs(WAVE), "wrong_range", r"on one side of zero"),
        (0 * WAVE - 0.5, "wrong_range", r"on one side of zero"),
        (np.sign(WAVE), "wrong_range", r"holds numbers from -1 to 1, as a sound file's integers are"),
        (np.abs(WAVE), "wrong_range", r"on one side of zero"),
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


def write_wav(path, wave, rate=RATE):
    from scipy.io import wavfile

    wavfile.write(path, rate, wave)


@pytest.mark.parametrize(
    ("wave", "reason", "sentence"),
    [
        (np.round(WAVE * 32767), "wrong_range", r"a.wav holds numbers from -13107 to 13107, as a sound file's integers are"),
        (np.abs(WAVE), "wrong_range", r"on one side of zero"),
        (np.where(np.arange(8000) % 800 == 5, np.nan, WAVE), "unreadable", r"has sound with numbers that are not finite"),
        (np.where(np.arange(8000) == 5, np.inf, WAVE), "unreadable", r"not finite"),
    ],
)
def test_numbers_in_a_sound_file_are_not_believed_either(tmp_path, wave, reason, sentence):
    write_wav(tmp_path / "a.wav", wave.astype(np.float32))
    with pytest.raises(MediaError, match=sentence) as caught:
        read_sound(tmp_path / "a.wav", RATE, SECONDS)
    assert caught.value.reason == reason


def test_a_sound_file_of_any_sound_form_is_read(tmp_path):
    for name, wave in (("f", WAVE), ("i16", (WAVE * 32767).astype(np.int16)), ("u8", (WAVE * 127 + 128).astype(np.uint8))):
        write_wav(tmp_path / f"{name}.wav", wave)
        assert np.abs(read_sound(tmp_path / f"{name}.wav", RATE, SECONDS) - WAVE).max() < 0.02
    write_wav(tmp_path / "loud.wav", 3 * WAVE)  # above full scale, as a resampled sound may be: cut
    assert np.array_equal(read_sound(tmp_path / "loud.wav", RATE, SECONDS), np.clip(3 * WAVE, -1, 1))

"""Sound that others have stored as numbers: what its shape and its range must be before it is believed."""

from pathlib import Path

import numpy as np

from dgsct.data.container import MediaError, file_bytes

LOUDEST = 2.0  # resampling overshoots full scale a little; sixteen-bit integers do so by thousands


def read_wave(path: Path, seconds: int, rate: int) -> np.ndarray:
    """The sound in a npy file of floats: [seconds * rate] float32; MediaError as in `as_wave`, or if it is no whole file."""
    data = file_bytes(path, "no_audio")
    again = "extract the clip's sound again"
    try:
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
            absent = int(np.prod(shape)) * dtype.itemsize - (len(data) - file.tell())
        if dtype.hasobject:
            raise MediaError("unreadable", f"{path} holds {dtype} instead of floats in [-1, 1]; {again}")
        if absent > 0:
            raise MediaError("truncated", f"{path} is cut off ({absent} bytes are missing); {again}")
        wave = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise MediaError("unreadable", f"{path} is no npy file ({str(error).splitlines()[0]}); {again}") from error
    return as_wave(wave, seconds, rate, str(path), again)


def as_wave(wave: np.ndarray, seconds: int, rate: int, where: str, again: str) -> np.ndarray:
    """An array as the sound of one clip, [seconds * rate] float32; `where` and `again` are parts of the sentence.

    Either in one piece, [seconds * rate], or a row a second, [seconds, rate]; axes of length one do not count. MediaError
    for other dtypes, lengths and shapes, and for numbers that are no sound in [-1, 1].
    """
    samples = seconds * rate
    if wave.dtype.kind != "f":
        # A full scale would have to be guessed, and objects would be code.
        raise MediaError("unreadable", f"{where} holds {wave.dtype} instead of floats in [-1, 1]; {again}")
    if wave.size != samples:
        problem = f"{where} holds {wave.size} samples instead of {samples}, so its sampling rate is not known"
        raise MediaError("wrong_length", f"{problem}; {again}")
    if wave.squeeze().shape not in ((samples,), (seconds, rate)):
        problem = f"{where} has the shape {list(wave.shape)} instead of [{samples}] or [{seconds}, {rate}]"
        raise MediaError("wrong_length", f"{problem}, so its channels and its sampling rate are not known; {again}")
    if not np.isfinite(wave).all():
        raise MediaError("unreadable", f"{where} holds numbers that are not finite; {again}")
    if strange := strange_numbers(wave):
        raise MediaError("wrong_range", f"{where} {strange}; {again}")
    return wave.reshape(samples).astype(np.float32)


def strange_numbers(wave: np.ndarray) -> str:
    """Why finite numbers are no sound in [-1, 1], as a part of a sentence; empty where they may be one."""
    low, high = float(wave.min(initial=0.0)), float(wave.max(initial=0.0))
    problem = f"holds numbers from {low:.6g} to {high:.6g}"
    peak = max(-low, high)
    if peak > LOUDEST or (peak >= 1 and np.array_equal(wave, np.round(wave))):
        return f"{problem}, as a sound file's integers are, instead of floats in [-1, 1]"
    if peak and not float(wave.min()) < 0 < float(wave.max()):
        return f"{problem} on one side of zero, where a sound swings around it"
    return ""

"""One AVSBench clip from its files to arrays, in any layout, with what is odd about it (avs, sections 2.5 to 2.7)."""

import io
import pickle
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch.nn import functional as F

from dgsct.data.base import SILENCE, Clip
from dgsct.data.media import MediaError, file_bytes, read_chosen_frames, read_facts, read_sound
from dgsct.encoders.frontend import log_mel_compact
from dgsct.encoders.vggish_frontend import examples
from dgsct.settings.scales import Scale
from dgsct.tasks.avs.files import SEGMENTS, SPEECH_RATE, TILE, AvsSource

SHORT, LONG = SEGMENTS - 0.1, SEGMENTS + 1.0  # seconds
AGAIN = "take it from the archive again"
# What a pickled dict of arrays consists of, under the names of old and new NumPy; nothing else is ever called.
HARMLESS = frozenset(
    (f"numpy{module}", name)
    for module, name in (
        ("", "dtype"), ("", "ndarray"), (".core.multiarray", "_reconstruct"), ("._core.multiarray", "_reconstruct"),
        (".core.numeric", "_frombuffer"), ("._core.numeric", "_frombuffer"),
    )
)  # fmt: skip


def decode_clip(source: AvsSource, scale: Scale) -> Clip:
    """Frames [5, 3, H, W] and masks [5, H, W] uint8, wave [5, rate], log-mel [5, F, mel], VGGish input [5, 1, 96, 64].

    Masks are 1 on the object and 0 elsewhere, and 0 on frames without annotation. A clip that cannot be used carries its
    status and one sentence instead.
    """
    torch.set_num_threads(1)
    rate = scale.htsat.sample_rate
    try:
        if source.stamp is None:
            first = source.video or source.frames[0]
            raise MediaError("missing", f"{first} does not exist; put the clip's files there")
        images = _video(source) if source.video else np.stack([_rgb(path) for path in source.frames])
        wave, speech, notes = _sounds(source, rate)
        masks = _masks(source, scale.frame_size)
    except MediaError as error:
        return Clip(status=error.reason, problem=str(error))
    peak = float(np.abs(wave).max(initial=0.0))
    if peak < SILENCE:
        notes["silent"] = round(peak, 6)
    if empty := int((~masks[: len(source.masks)].any(axis=(1, 2))).sum()):
        notes["empty_masks"] = empty
    wave = np.pad(wave, (0, rate * SEGMENTS - len(wave))).reshape(SEGMENTS, rate)
    arrays = {
        "frames": resize(images, scale.frame_size),
        "wave": wave,
        "logmel": log_mel_compact(torch.from_numpy(wave), scale.htsat, TILE).numpy(),
        "vggish_examples": examples(speech, SEGMENTS),
        "masks": masks,
    }
    return Clip(arrays, notes=notes)


def frame_indices(total: int, fps: float, start: int) -> list[int]:
    """Which of `total` frames stand for the five seconds: of each the one after 15/16 of it, at a whole number a second.

    A clip whose source was cut at second 6 has four seconds; its last frame stands for the fifth, too.
    """
    seconds, rate = SEGMENTS if start <= SEGMENTS else 2 * SEGMENTS - start, round(fps)
    found = [min(int(second * rate + 15 / 16 * rate), total - 1) for second in range(seconds)]
    return found + found[-1:] * (SEGMENTS - seconds)


def resize(images: np.ndarray, side: int) -> np.ndarray:
    """uint8 [T, H, W, 3] -> uint8 [T, 3, side, side], bilinear without antialiasing; aspect is not kept."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
    if pixels.shape[-2:] != (side, side):
        pixels = F.interpolate(pixels.float(), (side, side), mode="bilinear", align_corners=False).round().to(torch.uint8)
    return pixels.contiguous().numpy()


def _video(source: AvsSource) -> np.ndarray:
    def choose(total: int, fps: float) -> Sequence[int]:
        return frame_indices(total, fps, source.start)

    return read_chosen_frames(Path(str(source.video)), choose)


def _sounds(source: AvsSource, rate: int) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Sound at `rate` and at 16 kHz, at most five seconds of each, and the notes."""
    notes: dict[str, Any] = {}
    if source.wave:
        wave = _packed_wave(source.wave, f"{source.video_id}.wav", rate * SEGMENTS)
        if source.speech:
            return wave, read_sound(source.speech, SPEECH_RATE, SEGMENTS), notes
        from torchaudio.functional import resample

        notes["no_wav"] = True
        return wave, resample(torch.from_numpy(wave), rate, SPEECH_RATE).numpy(), notes
    path = source.video or source.speech
    if path is None:
        raise ValueError(f"{source.video_id} has no sound in any layout")
    wave, speech = read_sound(path, rate, SEGMENTS), read_sound(path, SPEECH_RATE, SEGMENTS)
    seconds = {"sound": round(len(wave) / rate, 2)}
    if source.video:
        facts = read_facts(source.video)
        seconds = {"video": round(facts.video_seconds, 2), "sound": round(facts.sound_seconds, 2)}
        if facts.rate != rate:
            notes["wrong_rate"] = facts.rate
    if min(seconds.values()) < SHORT:
        notes["short"] = seconds
    if max(seconds.values()) > LONG:
        notes["long"] = seconds
    return wave, speech, notes


def _packed_wave(path: Path, key: str, samples: int) -> np.ndarray:
    """One clip's sound out of an `AVS.npy`: [samples] float32."""
    found = _waves(path, path.stat().st_mtime_ns if path.exists() else 0)
    if key not in found:
        raise MediaError("no_audio", f"{path} has no sound named {key!r}; make that file again with all its clips")
    wave = np.asarray(found[key])
    if wave.dtype.kind != "f":
        # A full scale would have to be guessed.
        raise MediaError("unreadable", f"{path}: {key!r} holds {wave.dtype} instead of floats in [-1, 1]; make it again")
    if wave.size != samples:
        told = f"{path}: {key!r} holds {wave.size} samples instead of {samples}, so its sampling rate is not known"
        raise MediaError("wrong_length", f"{told}; make it again")
    if not np.isfinite(wave).all():
        raise MediaError("unreadable", f"{path}: {key!r} holds numbers that are not finite; make it again")
    return wave.reshape(samples).astype(np.float32)


@lru_cache(maxsize=1)
def _waves(path: Path, _time: int) -> dict[str, Any]:
    """The dict in an `AVS.npy`; one of them is kept, as clips come sorted by their file. No code of it is run."""
    file = io.BytesIO(file_bytes(path, "no_audio"))
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        _, _, dtype = read(file)
        found = _Harmless(file).load() if dtype.hasobject else None
        found = found.item() if isinstance(found, np.ndarray) and found.shape == () else found
    except (ValueError, EOFError, KeyError, IndexError, TypeError, AttributeError, pickle.UnpicklingError) as error:
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MediaError("unreadable", f"{path} is no readable AVS.npy ({told}); make it again") from error
    if not isinstance(found, dict):
        raise MediaError("unreadable", f"{path} holds no dict of sounds; make it again")
    return found


class _Harmless(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Parts of arrays only."""
        if (module, name) not in HARMLESS:
            raise pickle.UnpicklingError(f"it wants to call {module}.{name}")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _open_image(path: Path, absent: str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(file_bytes(path, absent)))
        image.load()
        return image
    except UnidentifiedImageError as error:
        raise MediaError("unreadable", f"{path} is no picture; {AGAIN}") from error
    except (OSError, SyntaxError, ValueError) as error:
        reason = "truncated" if "truncated" in str(error) else "unreadable"
        raise MediaError(reason, f"{path} cannot be read to its end ({error}); {AGAIN}") from error


def _rgb(path: Path) -> np.ndarray:
    return np.asarray(_open_image(path, "no_video").convert("RGB"))


def _masks(source: AvsSource, side: int) -> np.ndarray:
    """[5, side, side] uint8 {0, 1}."""
    masks = np.zeros((SEGMENTS, side, side), dtype=np.uint8)
    for mask, path in zip(masks, source.masks, strict=False):
        image = _open_image(path, "no_mask")
        if image.size != (side, side):
            told = f"{path} is {image.size[0]} x {image.size[1]} pixels, the set's masks are {side} x {side}"
            raise MediaError("wrong_mask", f"{told}; {AGAIN}")
        mask[:] = binary_mask(image, source.grey, path)
    return masks


def binary_mask(image: Image.Image, grey: bool, path: Path) -> np.ndarray:
    """[H, W] bool: where any channel is not zero. MediaError if the release's conversion gives anything else than 0 and 1.

    The release opens masks in mode P and divides the index (or grey value) by 255 (`grey`, MS3), or in mode 1 (S4).
    """
    mask = np.asarray(image.convert("RGB")).any(axis=2)
    read = np.asarray(image.convert("P")) / 255 if grey else np.asarray(image.convert("1"))
    differs = int((read != mask).sum())
    if differs:
        values = ", ".join(f"{value:.4g}" for value in np.unique(np.asarray(read, dtype=float))[:3])
        told = f"{path} is not black and white: the release would read {values} ... ({differs} pixels are neither 0 nor 1)"
        raise MediaError("wrong_mask", f"{told}; take the masks of AVSBench-object")
    return mask

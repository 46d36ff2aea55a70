"""One AVSBench clip from its files to arrays, in any layout, with what is odd about it."""

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
from dgsct.data.container import MediaError, file_bytes, missing
from dgsct.data.media import Media
from dgsct.data.waves import as_wave
from dgsct.encoders.frontend import log_mel_compact
from dgsct.encoders.vggish_frontend import examples
from dgsct.settings.scales import Scale
from dgsct.tasks.avs.files import SEGMENTS, SPEECH_RATE, TILE, AvsSource

AGAIN = "take it from the archive again"
WHOLE = 0.05  # up to this share a rate counts as a whole number of frames a second, as 29.97 does
PNG, PNG_DEPTH = b"\x89PNG\r\n\x1a\n", 24  # how such a file begins, and where it says how many bits a channel has
DEEP = frozenset({"I", "F", "I;16", "I;16B", "I;16L", "I;16N"})  # Pillow's words for numbers above 255
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
            raise missing(source.video or source.frames[0])
        images, wave, speech, notes = _of_video(source, rate) if source.video else _of_files(source, rate)
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

    A rate far from a whole number (7.5) counts as it is. A clip whose source was cut at second 6 has four seconds; its last
    frame stands for the fifth, too.
    """
    seconds, rate = SEGMENTS if start <= SEGMENTS else 2 * SEGMENTS - start, fps
    if abs(fps - round(fps)) < WHOLE * fps:
        rate = round(fps)
    frames = [min(int(second * rate + 15 / 16 * rate), total - 1) for second in range(seconds)]
    return frames + frames[-1:] * (SEGMENTS - seconds)


def resize(images: np.ndarray, side: int) -> np.ndarray:
    """uint8 [T, H, W, 3] -> uint8 [T, 3, side, side], bilinear without antialiasing; aspect is not kept."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
    if pixels.shape[-2:] != (side, side):
        pixels = F.interpolate(pixels.float(), (side, side), mode="bilinear", align_corners=False).round().to(torch.uint8)
    return pixels.contiguous().numpy()


def _of_video(source: AvsSource, rate: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
    """Pictures, sound at `rate` and at 16 kHz (at most five seconds of each), and the notes."""
    media = Media.open(Path(str(source.video)))
    images = media.frames(lambda total, fps: frame_indices(total, fps, source.start))
    wave, speech = media.sound([rate, SPEECH_RATE], SEGMENTS)
    return images, wave, speech, media.all_notes(SEGMENTS, rate)


def _of_files(source: AvsSource, rate: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
    """The same of the archive's own frames and wav file, or of the release's wave in place of the latter."""
    images = _rgbs(source.frames)
    if source.wave:
        wave = _packed_wave(source.wave, f"{source.video_id}.wav", rate)
        if source.speech:
            media = Media.open(source.speech)
            (speech,) = media.sound([SPEECH_RATE], SEGMENTS)
            return images, wave, speech, media.all_notes(SEGMENTS, SPEECH_RATE)
        from torchaudio.functional import resample

        return images, wave, resample(torch.from_numpy(wave), rate, SPEECH_RATE).numpy(), {"no_wav": True}
    if source.speech is None:
        raise ValueError(f"{source.video_id} has no sound in any layout")
    media = Media.open(source.speech)
    wave, speech = media.sound([rate, SPEECH_RATE], SEGMENTS)
    return images, wave, speech, media.all_notes(SEGMENTS, SPEECH_RATE)


def _packed_wave(path: Path, key: str, rate: int) -> np.ndarray:
    """One clip's sound out of an `AVS.npy`: [samples] float32."""
    sounds = _waves(path, path.stat().st_mtime_ns if path.exists() else 0)
    if key not in sounds:
        raise MediaError("no_audio", f"{path} has no sound named {key!r}; make that file again with all its clips")
    return as_wave(np.asarray(sounds[key]), SEGMENTS, rate, f"{path}: {key!r}", "make it again")


@lru_cache(maxsize=1)
def _waves(path: Path, _time: int) -> dict[str, Any]:
    """The dict in an `AVS.npy`; one of them is kept, as clips come sorted by their file. No code of it is run."""
    file = io.BytesIO(file_bytes(path, "no_audio"))
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        _, _, dtype = read(file)
        sounds = _Harmless(file).load() if dtype.hasobject else None
        sounds = sounds.item() if isinstance(sounds, np.ndarray) and sounds.shape == () else sounds
    except (ValueError, EOFError, KeyError, IndexError, TypeError, AttributeError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MediaError("unreadable", f"{path} is no readable AVS.npy ({reason}); make it again") from error
    if not isinstance(sounds, dict):
        raise MediaError("unreadable", f"{path} holds no dict of sounds; make it again")
    return sounds


class _Harmless(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Parts of arrays only."""
        if (module, name) not in HARMLESS:
            raise pickle.UnpicklingError(f"it wants to call {module}.{name}")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _open_image(path: Path, absent: str, deep: str) -> Image.Image:
    """A picture of 8 bits a channel; `absent` and `deep` are the statuses of a clip whose picture is missing or deeper."""
    content = file_bytes(path, absent)
    try:
        image = Image.open(io.BytesIO(content))
        image.load()
    except UnidentifiedImageError as error:
        raise MediaError("unreadable", f"{path} is no picture; {AGAIN}") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = "truncated" if "truncated" in str(error) else "unreadable"
        raise MediaError(reason, f"{path} cannot be read to its end ({error}); {AGAIN}") from error
    if image.mode in DEEP or (content.startswith(PNG) and content[PNG_DEPTH] > 8):
        # Made eight bits deep, numbers would be cut or divided.
        raise MediaError(deep, f"{path} has more than 8 bits a channel; {AGAIN}")
    return image


def _rgbs(paths: Sequence[Path]) -> np.ndarray:
    """Pictures of one size, [T, H, W, 3] uint8."""
    images = []
    for path in paths:
        image = _open_image(path, "no_video", "wrong_range")
        images.append(np.asarray(image.convert("RGB")))
        if images[-1].shape != images[0].shape:
            (h, w, _), (height, width, _) = images[-1].shape, images[0].shape
            problem = f"{path} is {w} x {h} pixels, the clip's first frame {width} x {height}"
            raise MediaError("unreadable", f"{problem}; {AGAIN}")
    return np.stack(images)


def _masks(source: AvsSource, side: int) -> np.ndarray:
    """[5, side, side] uint8 {0, 1}."""
    masks = np.zeros((SEGMENTS, side, side), dtype=np.uint8)
    for mask, path in zip(masks, source.masks, strict=False):
        image = _open_image(path, "no_mask", "wrong_mask")
        if image.size != (side, side):
            problem = f"{path} is {image.size[0]} x {image.size[1]} pixels, the set's masks are {side} x {side}"
            raise MediaError("wrong_mask", f"{problem}; {AGAIN}")
        if "A" in image.getbands() and len(set(image.getchannel("A").getextrema())) > 1:
            raise MediaError("wrong_mask", f"{path} has an alpha channel that is not the same everywhere; {AGAIN}")
        mask[:] = binary_mask(image, source.grey, path)
    return masks


def binary_mask(image: Image.Image, grey: bool, path: Path) -> np.ndarray:
    """[H, W] bool: where any channel is not zero. MediaError if the release's conversion gives anything else than 0 and 1.

    The release opens masks in mode P and divides the index (or grey value) by 255 (`grey`, MS3), or in mode 1 (S4).
    """
    mask = np.asarray(image.convert("RGB")).any(axis=2)
    try:
        read = np.asarray(image.convert("P")) / 255 if grey else np.asarray(image.convert("1"))
    except ValueError as error:
        problem = f"{path} cannot be read as the release does (a picture of mode {image.mode})"
        raise MediaError("wrong_mask", f"{problem}; take the masks of AVSBench-object") from error
    differs = int((read != mask).sum())
    if differs:
        values = ", ".join(f"{value:.4g}" for value in np.unique(np.asarray(read, dtype=float))[:3])
        problem = f"{path} is not black and white: the release would read {values} ... ({differs} pixels are neither 0 nor 1)"
        raise MediaError("wrong_mask", f"{problem}; take the masks of AVSBench-object")
    return mask

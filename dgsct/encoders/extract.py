"""Pre-extracted features made by us, or imported from the public feature files: `dgsct features avs-s4 vggish`.

What a frozen encoder gives for a clip is the same in every run and epoch, so it is computed once. Public files hold either
the features themselves, one array a clip (`.npy`) or all in one HDF5 file, or what the encoder reads (`.pkl`, AVSBench's
log-mel examples), which goes through the encoder like our own. An array of the right shape is refused, too, where its
numbers cannot be what its name says (`RANGES`).
"""

import io
import math
import pickle
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from dgsct.data.base import DataSet
from dgsct.data.extractors import Extractor, get_extractor
from dgsct.data.features import PublicFeature, features_folder, write_features
from dgsct.data.media import over_clips, processes
from dgsct.data.packed import Packed
from dgsct.encoders.public import module_of
from dgsct.encoders.vggish_frontend import OFFSET
from dgsct.encoders.weights import encoder_state
from dgsct.errors import DgsctError, UsageError
from dgsct.ops.numerics import exact_numerics
from dgsct.progress import counted
from dgsct.settings.scales import Scale

CLIPS = 32  # at a time
# What a pickled float tensor consists of; nothing else is ever called.
HARMLESS = frozenset((("torch._utils", "_rebuild_tensor_v2"), ("collections", "OrderedDict")))


class Range(NamedTuple):
    """Between which numbers an array lies, and what it is in words."""

    low: float
    high: float
    what: str


# By the name of the array that an encoder reads, or of the features. A wave in [-1, 1] gives no mel above e^6.2; the last
# layer of VGGish is rectified, and quantised embeddings go up to 255.
RANGES = {
    "vggish_examples": Range(math.log(OFFSET) - 1e-3, 7.0, f"ln(mel + {OFFSET}) of a wave between -1 and 1"),
    "vggish": Range(0.0, 100.0, "embeddings without PCA and quantisation"),
}


class Extraction:
    """An extractor with its encoder's weights, on a GPU if there is one."""

    def __init__(self, extractor: Extractor, scale: Scale, root: Path) -> None:
        exact_numerics()
        self.shape = extractor.shape(scale)
        self.place = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = module_of(extractor.encoder, scale).to_empty(device=self.place)
        self.model.load_state_dict(encoder_state(root, scale.name, extractor.encoder, self.model.state_dict()))
        self.model.eval()

    @torch.no_grad()
    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """What the encoder reads of R clips, [R, T, ...] -> features [R, T, *shape] float32."""
        entries = torch.from_numpy(np.ascontiguousarray(inputs, dtype=np.float32)).to(self.place)
        return self.model(entries.flatten(0, 1)).view(*entries.shape[:2], *self.shape).float().cpu().numpy()


def extract(
    data_set: DataSet,
    extractor: str,
    scale: Scale,
    root: Path,
    raw: Path | None = None,
    public: Path | None = None,
    jobs: int | None = None,
) -> Path:
    """Make the features of a prepared set below the results folder `root`; returns their folder.

    `raw` is the folder that holds the data set in its own layout, which only features of the clips themselves need. With
    `public`, such a folder too, they come from its public feature files: clips without one are left out and counted.
    DgsctError names what is missing or malformed.
    """
    known, root = get_extractor(extractor), Path(root)
    packed = Packed.open(root / "data" / scale.name / data_set.name / "packed")
    # One row a clip is enough: rows of one video share its media.
    rows = {packed.manifest["rows"][row]["id"]: row for split in packed.splits.values() for row in split}
    ids = sorted(rows, key=lambda name: packed.media_of_row[rows[name]])
    if public is not None:
        given = data_set.public_features(Path(public), extractor)
        ids = [name for name in ids if name in given]
        if not ids:
            raise DgsctError(f"{public} holds no public features {extractor!r} of {data_set.name}; give the folder that does")
        print(f"{len(ids)} of {len(rows)} clips have public features", flush=True)
        parts = _imported([given[name] for name in ids], known, Extraction(known, scale, root), _input_shape(known, packed))
    elif known.reads is None:
        ids, parts = _of_clips(data_set, known, scale, root, raw, set(rows), jobs)
    elif known.reads in packed.arrays:
        parts = _of_array(packed, known, [rows[name] for name in ids], Extraction(known, scale, root))
    else:
        raise UsageError(f"the data set {data_set.name!r} has no {known.reads}, which the features {extractor!r} are made from")
    folder = root / features_folder(scale.name, data_set.name, extractor)
    facts = {
        "dataset": data_set.name,
        "extractor": extractor,
        "scale": scale.name,
        "source": "extracted" if public is None else "public files",
        "encoder": known.encoder,
    }
    write_features(folder, parts, ids, facts)
    return folder


def _input_shape(known: Extractor, packed: Packed) -> tuple[int, ...] | None:
    """Shape [T, ...] of what the encoder reads of a clip, where it is stored."""
    return packed.arrays[known.reads].shape[1:] if known.reads in packed.arrays else None


def _of_array(packed: Packed, known: Extractor, rows: list[int], extraction: Extraction) -> Iterator[np.ndarray]:
    """Features [T, ...] of clips, from the array that the encoder reads."""
    for i in counted(-(-len(rows) // CLIPS), f"features {known.name}", "batches"):
        yield from extraction(packed.take(str(known.reads), np.array(rows[i * CLIPS : (i + 1) * CLIPS])))


def _of_clips(
    data_set: DataSet, known: Extractor, scale: Scale, root: Path, raw: Path | None, wanted: set[str], jobs: int | None
) -> tuple[list[str], Iterator[np.ndarray]]:
    """Ids and features of clips, decoded for this purpose."""
    if raw is None:
        raise UsageError(f"the features {known.name!r} are made from the clips themselves; give the folder that holds them")
    _, sources = data_set.find_sources(Path(raw), data_set.read_index(Path(raw)))
    sources = [source for source in sources if source.video_id in wanted]
    decode = partial(import_module(data_set.decoder).decode_features, extractor=known.name, scale=scale)
    decoded = over_clips(decode, sources, processes(jobs), "decoding", True)
    extraction = Extraction(known, scale, root)
    return [source.video_id for source in sources], (extraction(inputs[None])[0] for inputs in decoded)


def _imported(
    features: list[PublicFeature], known: Extractor, extraction: Extraction, input_shape: tuple[int, ...] | None
) -> Iterator[np.ndarray]:
    """Features [T, ...] from public files: as they are, or from what the encoder reads (`input_shape`); of one T all."""
    length = input_shape[0] if input_shape else None
    for feature in features:
        array = read_public(feature)
        length = length or (len(array) if array.ndim else 1)
        if array.shape == (length, *extraction.shape):
            _plausible(feature, array, known.name)
            yield array
        elif array.shape == input_shape:
            _plausible(feature, array, known.reads)
            yield extraction(array[None])[0]
        else:
            wanted = f"{[length, *extraction.shape]}" + (f" or {list(input_shape)}" if input_shape else "")
            problem = f"{feature.path} holds an array {list(array.shape)} where {wanted} is needed"
            raise DgsctError(f"{problem}; take it from the archive again")


def _plausible(feature: PublicFeature, array: np.ndarray, name: str | None) -> None:
    """DgsctError unless the numbers lie where those of such an array do."""
    wanted = RANGES.get(name or "")
    low, high = float(array.min()), float(array.max())
    if wanted and not (wanted.low <= low and high <= wanted.high):
        problem = f"{feature.path} holds numbers from {low:.6g} to {high:.6g}"
        between = f"{wanted.what} lie between {wanted.low:.2f} and {wanted.high:g}"
        raise DgsctError(f"{problem}, but {between}; give the public files of these features")


def read_public(feature: PublicFeature) -> np.ndarray:
    """One clip's float32 array from a `.npy` file, an HDF5 file, or a `.pkl` file that holds one tensor; no code is run.

    DgsctError if it holds anything else.
    """
    path = feature.path
    try:
        match path.suffix:
            case ".npy":
                array: Any = np.load(path, allow_pickle=False)
            case ".h5" | ".hdf5":
                import h5py

                with h5py.File(path) as file:
                    array = np.asarray(file[feature.key][feature.row])
            case _:
                array = _Harmless(io.BytesIO(path.read_bytes())).load().detach().numpy()
        if array.dtype.kind != "f":
            raise ValueError(f"{array.dtype} instead of floats")
        with np.errstate(over="ignore"):
            array = array.astype(np.float32)
        if not array.size or not np.isfinite(array).all():
            raise ValueError("numbers that are not finite in float32" if array.size else "no numbers")
        return array
    except (
        OSError, ValueError, EOFError, KeyError, IndexError, AttributeError, TypeError, RuntimeError, pickle.UnpicklingError,
    ) as error:  # fmt: skip
        reason = " ".join(str(error).split())[:200]
        raise DgsctError(f"{path} is no readable feature file ({reason}); take it from the archive again") from error


class _Harmless(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Parts of a tensor only; its numbers, a file of torch's inside, are read without code, too."""
        if (module, name) == ("torch.storage", "_load_from_bytes"):
            return lambda content: torch.load(io.BytesIO(content), weights_only=True)
        if (module, name) not in HARMLESS:
            raise pickle.UnpicklingError(f"it wants to call {module}.{name}")
        return super().find_class(module, name)

"""Pre-extracted features made by us, or imported from the public feature files: `dgsct features avs-s4 vggish`.

What a frozen encoder gives for a clip is the same in every run and epoch, so it is computed once. Public files hold either
the features themselves (`.npy`, one array a clip) or what the encoder reads (`.pkl`, AVSBench's log-mel examples), which goes
through the encoder like our own.
"""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dgsct.data.base import DataSet
from dgsct.data.features import Extractor, features_folder, get_extractor, write_features
from dgsct.data.packed import Packed
from dgsct.encoders.public import module_of
from dgsct.encoders.weights import encoder_file, encoder_state
from dgsct.errors import DgsctError, UsageError
from dgsct.progress import counted
from dgsct.settings.scales import Scale

CLIPS = 32  # at a time
# What a pickled float tensor consists of; nothing else is ever called.
HARMLESS = frozenset((("torch._utils", "_rebuild_tensor_v2"), ("collections", "OrderedDict")))


class Extraction:
    """An extractor with its encoder's weights, on a GPU if there is one."""

    def __init__(self, extractor: Extractor, scale: Scale, root: Path) -> None:
        self.width = extractor.width(scale)
        self.place = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.weights = encoder_file(root, scale.name, extractor.encoder)
        self.model = module_of(extractor.encoder, scale).to_empty(device=self.place)
        self.model.load_state_dict(encoder_state(root, scale.name, extractor.encoder, self.model.state_dict()))
        self.model.eval()

    @torch.no_grad()
    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """What the encoder reads of R clips, [R, T, ...] -> features [R, T, width] float32."""
        entries = torch.from_numpy(np.ascontiguousarray(inputs, dtype=np.float32)).to(self.place)
        return self.model(entries.flatten(0, 1)).view(*entries.shape[:2], self.width).float().cpu().numpy()


def extract(data_set: DataSet, extractor: str, scale: Scale, root: Path, public: Path | None = None) -> Path:
    """Make the features of a prepared set below the results folder `root`; returns their folder.

    With `public`, the folder that holds the data set in its own layout, they come from its public feature files: clips
    without one are left out and counted. DgsctError names what is missing or malformed.
    """
    known, root = get_extractor(extractor), Path(root)
    packed = Packed.open(root / "data" / scale.name / data_set.name / "packed")
    if known.reads not in packed.arrays:
        raise UsageError(f"the data set {data_set.name!r} has no {known.reads}, which the features {extractor!r} are made from")
    # One row a clip is enough: rows of one video share its media.
    rows = {packed.manifest["rows"][row]["id"]: row for split in packed.splits.values() for row in split}
    ids, given = sorted(rows, key=lambda name: packed.media_of_row[rows[name]]), {}
    if public is not None:
        given = {name: path for name in ids if (path := data_set.public_features(Path(public), name, extractor))}
        if not given:
            raise DgsctError(f"{public} holds no public features {extractor!r} of {data_set.name}; give the folder that does")
        print(f"{len(given)} of {len(ids)} clips have public features", flush=True)
        ids = [name for name in ids if name in given]
    extraction = Extraction(known, scale, root)
    shape = packed.arrays[known.reads].shape[1:]
    parts: list[np.ndarray] = []
    for i in counted(-(-len(ids) // CLIPS), f"features {extractor} of {data_set.name}", "batches"):
        some = ids[i * CLIPS : (i + 1) * CLIPS]
        if public is None:
            parts.append(extraction(packed.take(known.reads, np.array([rows[name] for name in some]))))
        else:
            parts += [_from_public(given[name], shape, extraction)[None] for name in some]
    folder = root / features_folder(scale.name, data_set.name, extractor)
    facts = {
        "dataset": data_set.name,
        "extractor": extractor,
        "scale": scale.name,
        "source": "extracted" if public is None else "public files",
        "encoder": known.encoder,
    }
    write_features(folder, np.concatenate(parts), ids, facts)
    return folder


def _from_public(path: Path, shape: tuple[int, ...], extraction: Extraction) -> np.ndarray:
    """One clip's features [T, width] from its public file: as they are, or from what the encoder reads (`shape`)."""
    found = read_public(path)
    if found.shape == (shape[0], extraction.width):
        return found
    if found.shape != shape:
        wanted = f"{list(shape)} or {[shape[0], extraction.width]}"
        raise DgsctError(f"{path} holds an array {list(found.shape)} where {wanted} is needed; take it from the archive again")
    return extraction(found[None])[0]


def read_public(path: Path) -> np.ndarray:
    """The float32 array in a `.npy` file, or in a `.pkl` file that holds one tensor; no code in it is run.

    DgsctError if it holds anything else.
    """
    try:
        if path.suffix == ".npy":
            found: Any = np.load(path, allow_pickle=False)
        else:
            found = _Harmless(io.BytesIO(path.read_bytes())).load().detach().numpy()
        if found.dtype.kind != "f" or not np.isfinite(found).all():
            raise ValueError(f"{found.dtype} instead of finite floats")
        return found.astype(np.float32)
    except (OSError, ValueError, EOFError, AttributeError, TypeError, RuntimeError, pickle.UnpicklingError) as error:
        told = " ".join(str(error).split())[:200]
        raise DgsctError(f"{path} is no readable feature file ({told}); take it from the archive again") from error


class _Harmless(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Parts of a tensor only; its numbers, a file of torch's inside, are read without code, too."""
        if (module, name) == ("torch.storage", "_load_from_bytes"):
            return lambda content: torch.load(io.BytesIO(content), weights_only=True)
        if (module, name) not in HARMLESS:
            raise pickle.UnpicklingError(f"it wants to call {module}.{name}")
        return super().find_class(module, name)

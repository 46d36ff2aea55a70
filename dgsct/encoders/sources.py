"""The public weights as data, and where a site keeps them. No torch: the DAG and `dgsct weights` read this table."""

import contextlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dgsct.encoders.file_kinds import strange
from dgsct.encoders.nearby import instead
from dgsct.errors import DgsctError, UsageError

VARIABLE = "DGSCT_WEIGHTS"
FOLDER = Path("weights")
ENDINGS = (".safetensors", ".pth", ".pt", ".ckpt")


@dataclass(frozen=True)
class PublicWeights:
    """One public file: what it is, who needs it, where it comes from, what must be in it.

    `usual` is the file name that the source gives; files of any of `stems` with any of `ENDINGS` are accepted.
    `entries` counts the release's own layout with its recomputable buffers, `parameters` numbers without buffers, both
    without a classifier that may be in the file and is left out; `stored` is the size of our file in bytes, by scale;
    `sha256` belongs to `usual` and is None as long as nobody has stated it; `hub` names the repository and file that
    `dgsct weights --fetch NAME` may ask for.
    """

    encoder: str
    name: str
    title: str
    used_by: str
    page: str
    usual: str
    stems: tuple[str, ...]
    entries: int
    parameters: int
    megabytes: int
    stored: Mapping[str, int]
    sha256: str | None = None
    hub: tuple[str, str] | None = None

    @property
    def file_names(self) -> tuple[str, ...]:
        """Every accepted file name, in the order in which a folder is searched."""
        return tuple(dict.fromkeys((self.usual, *(stem + ending for stem in self.stems for ending in ENDINGS))))


WEIGHTS: dict[str, PublicWeights] = {
    w.encoder: w
    for w in (
        PublicWeights(
            encoder="swin",
            name="swinv2_large_window12_192_22k",
            title="Swin-V2-L, 192 pixels, ImageNet-22k",
            used_by="dg-sct, lavish-star, late-fusion",
            page="https://huggingface.co/timm/swinv2_large_window12_192.ms_in22k",
            usual="swinv2_large_window12_192.ms_in22k.safetensors",
            stems=(
                "swinv2_large_window12_192.ms_in22k",  # timm >= 1.0
                "swinv2_large_window12_192_22k",  # timm 0.6
                "swinv2_large_patch4_window12_192_22k",  # the authors of Swin
            ),
            entries=427,
            parameters=228_772_549,
            megabytes=915,
            stored={"paper": 915_090_196, "mini": 222_800},
            hub=("timm/swinv2_large_window12_192.ms_in22k", "model.safetensors"),
        ),
        PublicWeights(
            encoder="htsat",
            name="HTSAT_AudioSet_Saved_1",
            title="HTS-AT, AudioSet",
            used_by="dg-sct, lavish-star, late-fusion",
            page="https://github.com/RetroCirce/HTS-Audio-Transformer",
            usual="HTSAT_AudioSet_Saved_1.ckpt",
            stems=("HTSAT_AudioSet_Saved_1",),
            entries=200,
            parameters=31_325_143,
            megabytes=126,
            stored={"paper": 125_301_092, "mini": 446_228},
        ),
        PublicWeights(
            encoder="pvt",
            name="pvt_v2_b5",
            title="PVT-v2-b5, ImageNet-1k",
            used_by="avs: avs-pvt",
            page="https://github.com/whai362/PVT",
            usual="pvt_v2_b5.pth",
            stems=("pvt_v2_b5", "pvt_v2_b5.in1k"),  # the authors' naming, timm's
            entries=1052,
            parameters=81_443_008,
            megabytes=328,
            stored={"paper": 325_772_032, "mini": 737_024},
        ),
        PublicWeights(
            encoder="resnet50",
            name="resnet50-19c8e357",
            title="ResNet-50, ImageNet-1k, torchvision's first weights",
            used_by="avs: avs-r50",
            page="https://download.pytorch.org/models/resnet50-19c8e357.pth",
            usual="resnet50-19c8e357.pth",
            stems=("resnet50-19c8e357", "resnet50-0676ba61"),  # the latter holds the counters of batches, too
            entries=318,
            parameters=23_508_032,
            megabytes=103,
            stored={"paper": 182_669_712, "mini": 3_986_880},
        ),
        PublicWeights(
            encoder="vggish",
            name="vggish-10086976",
            title="VGGish, AudioSet",
            used_by="avs: avs-pvt, avs-r50",
            page="https://github.com/harritaylor/torchvggish",
            usual="vggish-10086976.pth",
            stems=("vggish-10086976",),
            entries=18,
            parameters=72_141_184,
            megabytes=289,
            stored={"paper": 288_564_736, "mini": 317_632},
        ),
    )
}


def get_weights(encoder: str) -> PublicWeights:
    """The row of an encoder; UsageError that lists the known ones."""
    if encoder not in WEIGHTS:
        raise UsageError(f"unknown encoder {encoder!r}; choose one of: {', '.join(WEIGHTS)}")
    return WEIGHTS[encoder]


@dataclass(frozen=True)
class Place:
    """Where one file is looked for: a folder, or the file itself, and what names it (`given_by`)."""

    path: Path
    given_by: str
    is_file: bool = False

    def find(self, weights: PublicWeights) -> Path | None:
        """The first accepted file that exists there."""
        candidates = [self.path] if self.is_file else [self.path / name for name in weights.file_names]
        return next((path for path in candidates if path.is_file()), None)


def place_of(encoder: str, site: Any = None) -> Place:
    """Where the public file of `encoder` is looked for; `site` is the site file's entry `weights`.

    The first that is given counts, and no other: the environment variable, the site file, the folder `weights`.
    """
    if folder := os.environ.get(VARIABLE):
        return Place(Path(folder).expanduser(), VARIABLE)
    if isinstance(site, str):
        return Place(Path(site).expanduser(), "the site file")
    if isinstance(site, dict) and site.get(encoder):
        return Place(Path(str(site[encoder])).expanduser(), "the site file", is_file=True)
    return Place(FOLDER, "default")


def remedy(encoder: str, site: Any = None) -> str:
    """What to do about a file that is not there, as the rest of a sentence; what lies there instead is named."""
    weights, place = get_weights(encoder), place_of(encoder, site)
    if place.is_file:
        fault = strange(place.path) if os.path.lexists(place.path) else None
        what = fault[0] if fault else "does not exist"
        return f"{place.path} {what}; correct weights.{encoder} in the site file ({weights.page})"
    return (
        f"no {weights.usual} (or another name that `dgsct weights` lists) in the folder {place.path} "
        f"({place.given_by}){instead(place.path, weights.stems, weights.file_names)}; "
        f"get it from {weights.page} and put it there, or name your folder in {VARIABLE} or in the site file"
    )


def fetch(encoder: str, site: Any = None) -> Path:
    """Download a public file to where it is looked for, on explicit request; DgsctError where that is impossible."""
    weights, place = get_weights(encoder), place_of(encoder, site)
    by_hand = f"get {weights.usual} by hand from {weights.page} and put it into {place.path}"
    if weights.hub is None:
        raise DgsctError(f"{weights.name} has no automatic source; {by_hand}")
    if place.is_file:
        raise UsageError(
            f"weights.{encoder} of the site file names one file, {place.path}; put it there by hand ({weights.page})"
        )
    if path := place.find(weights):
        return path
    repository, name = weights.hub
    target = place.path / weights.usual
    partial = place.path / ".download"
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.utils import logging

        logging.set_verbosity_error()  # it reports each of its own retries
        os.replace(hf_hub_download(repository, name, local_dir=partial), target)
    except Exception as error:  # whatever network, hub or disk say, the way out is the same
        reason = " ".join(str(error).split())[:120]
        raise DgsctError(f"cannot fetch {weights.name} ({type(error).__name__}: {reason}); {by_hand}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        with contextlib.suppress(OSError):
            place.path.rmdir()  # unless something is in it
    return target

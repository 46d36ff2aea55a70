"""The pre-extracted features by name: how each is made (`dgsct.encoders.extract`). No torch here.

What is read of this table stands in a run's description and in the features' key, so that a line more changes no key.
"""

from collections.abc import Callable
from dataclasses import dataclass

from dgsct.errors import UsageError
from dgsct.settings.scales import Scale


@dataclass(frozen=True)
class Extractor:
    """How features are made: a frozen encoder, applied to one packed array or to the clips themselves.

    `reads` is that array, [R, T, ...], or None where the input is too large to be stored (many frames a second): then the
    data set's decoder gives it clip by clip (`decode_features(source, extractor, scale)`, [T, ...]). The encoder takes its
    entries [M, ...] and gives [M, *shape]; the features are [R, T, *shape] float32. `shape(scale)` is known without the
    encoder.
    """

    name: str
    encoder: str
    reads: str | None
    shape: Callable[[Scale], tuple[int, ...]]
    summary: str


EXTRACTORS: dict[str, Extractor] = {
    e.name: e
    for e in (
        Extractor(
            "vggish",
            "vggish",
            "vggish_examples",
            lambda scale: (scale.vggish.embed_dim,),
            "VGGish embeddings of log-mel examples of 0.96 s, no PCA and no quantisation",
        ),
    )
}


def get_extractor(name: str) -> Extractor:
    """Extractor by name; UsageError that lists the known ones."""
    if name not in EXTRACTORS:
        raise UsageError(f"unknown features {name!r}; known: {', '.join(EXTRACTORS)}")
    return EXTRACTORS[name]

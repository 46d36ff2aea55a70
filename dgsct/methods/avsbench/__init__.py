"""The AVSBench baseline on PVT-v2-b5 and on ResNet-50, declared; `model` builds it."""

from dataclasses import dataclass, replace
from typing import Literal

from dgsct.methods.base import Method, Parent, Part
from dgsct.settings.keys import later
from dgsct.settings.options import RECIPE
from dgsct.settings.recipe import Recipe

VisualBackbone = Literal["pvt", "resnet50"]
Start = Literal["encoders", "s4"]


@dataclass(frozen=True)
class AvsBenchOptions:
    """What the baseline brings: which image encoder it trains, and what MS3 starts from.

    `start=s4`: the best weights of its own training on S4, as its publication also reports; `encoders`:
    from the pre-trained image encoder alone, which is Table 3's row.
    """

    visual_backbone: VisualBackbone = "pvt"
    start: Start = later("encoders", before="encoders")


def _on_s4(method: str):
    """The parent of a run on MS3."""
    return lambda options: (Parent("s4", "avs-s4", method, RECIPE),) if options.start == "s4" else ()


def _recipes(mini_epochs: int, paper_epochs: int) -> dict[str, Recipe]:
    """Trained whole. At mini scale, from less pre-training, at a higher rate; there the decoder dies on MS3, one seed in three,
    unless the training begins softly.
    """
    softly = {"warmup": 1, "warmup_lr": 3e-4, "clip_norm": 0.5}
    return {
        "paper": Recipe(paper_epochs, paper_epochs, batch_size=4, lr=1e-4),
        "mini": Recipe(mini_epochs, mini_epochs, batch_size=4, lr=1e-3, threads=1, evaluate_every=3, **softly),
    }


def _method(name: str, summary: str, encoder: str, trainable: dict[str, int]) -> Method:
    s4 = Part(
        "dgsct.methods.avsbench.model",
        options=("av_weight", *RECIPE),
        own=AvsBenchOptions,
        preset={"visual_backbone": encoder, "selection": "val"},
        inputs=("frames", "features/vggish"),
        encoders=(encoder,),
        sizes=(encoder, "vggish", "head"),
        recipes=_recipes(5, 15),
        trainable=trainable,
    )
    ms3 = replace(s4, options=(*s4.options, "start"), parents=_on_s4(name), recipes=_recipes(6, 30))
    return Method(name, summary, {"avs-s4": s4, "avs-ms3": ms3})


METHODS = (
    _method(
        "avs-pvt",
        "the AVSBench baseline: PVT-v2-b5, trained whole, with VGGish features, TPAVI and a decoder",
        "pvt",
        {"paper": 101_320_577, "mini": 822_549},
    ),
    _method(
        "avs-r50",
        "the AVSBench baseline on ResNet-50",
        "resnet50",
        {"paper": 91_400_961, "mini": 3_036_373},
    ),
)

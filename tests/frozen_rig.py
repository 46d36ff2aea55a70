"""A method that nothing is trained of: an encoder's file and the best weights of `avs_rig`'s small model, as they are."""

from collections.abc import Mapping
from pathlib import Path

import torch
from pixels_avs import PixelOutput, Pixels
from torch import Tensor, nn

from dgsct.encoders.weights import encoder_file, publish
from dgsct.methods.base import Method, Parent, Part
from dgsct.settings.options import RECIPE
from dgsct.settings.recipe import Recipe

ENCODER = "swin"


class Judge(Pixels):
    """The small model's layer as its training left it, beside an encoder that shifts every logit by what its bias says."""

    def __init__(self) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({ENCODER: nn.Linear(3, 1)})

    def forward(self, frames: Tensor, vggish: Tensor) -> PixelOutput:
        assert not self.training
        shift = self.encoders[ENCODER](frames.movedim(2, -1)).squeeze(-1)
        return PixelOutput(super().forward(frames, vggish).logits + shift)

    def losses(self, output: PixelOutput, targets: Mapping[str, Tensor], epoch: int = 0) -> dict[str, Tensor]:
        raise AssertionError("nothing of it is trained")

    def start_from(self, name: str, weights: Mapping[str, Tensor]) -> None:
        assert name == "learned"
        own = {key: value for key, value in self.state_dict().items() if key.startswith("encoders.")}
        self.load_state_dict({**own, **weights})


def build(task: str, scale, options) -> Judge:
    return Judge()


JUDGE = Method(
    "judge",
    "the small model of another run, evaluated",
    {
        "avs-s4": Part(
            "frozen_rig",
            options=RECIPE,
            inputs=("frames", "features/vggish"),
            encoders=(ENCODER,),
            kind="frozen",
            recipes={"mini": Recipe(6, 6, batch_size=4, lr=1e-3, threads=1)},
            parents=lambda _: (Parent("learned", "avs-s4", "pixels", RECIPE),),
        )
    },
)


def write_encoder(root: Path, bias: float = 0.0) -> None:
    """The encoder's file below a results folder: no weights, and a bias."""
    layer = nn.Linear(3, 1)
    nn.init.zeros_(layer.weight)
    nn.init.constant_(layer.bias, bias)
    with torch.no_grad():
        publish(encoder_file(root, "mini", ENCODER), layer, {"encoder": ENCODER})

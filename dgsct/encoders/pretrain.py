"""Pre-training of the mini encoders, each on its own modality, on generated data that share no scene with the clips.

`python -m dgsct.encoders.pretrain swin OUT.safetensors` (or another module of `dgsct.encoders.mini`): a multi-label
classification of what is seen (or heard), a few hundred steps; the classification layer is thrown away.
"""

import argparse
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dgsct.encoders import mini
from dgsct.encoders.weights import publish
from dgsct.errors import exit_code

SEED = 7
EXAMPLES = 1600
HELD_OUT = 200
SHARPNESS = 4.0  # of the smooth maximum over places; the mean at 0, the maximum at infinity


class Pretraining(Protocol):
    """What a module of `dgsct.encoders.mini` has."""

    EPOCHS: int
    BATCH: int
    LR: float  # at its highest

    def examples(self, count: int, seed: int) -> tuple[Tensor, Tensor]:
        """Inputs [count, ...] of the encoder, and labels 0 or 1, float32 [count, classes]."""

    def build(self) -> tuple[nn.Module, int]:
        """The encoder as its training starts, and the width of `places`."""

    def places(self, encoder: nn.Module, inputs: Tensor) -> Tensor:
        """Features of a batch of inputs place by place, [B, N, width]; of what has no places N is one."""


def names() -> tuple[str, ...]:
    """The encoders that can be pre-trained."""
    return tuple(module.name for module in iter_modules(mini.__path__))


class Classifier(nn.Module):
    """An encoder, one linear layer at every place, and the smooth maximum of its scores over places.

    Labels tell what is there, not where. The maximum lets each place speak for itself, so that features of places tell
    things apart, as those of large encoders do.
    """

    def __init__(self, places: Callable[[nn.Module, Tensor], Tensor], encoder: nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.places = places
        self.encoder = encoder
        self.classify = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Inputs of the encoder -> multi-label logits [B, classes]."""
        scores = self.classify(self.places(self.encoder, x))
        return (SHARPNESS * scores).logsumexp(dim=1) / SHARPNESS


def _average_precision(logits: Tensor, labels: Tensor) -> float:
    """Mean over labels of the average precision on held-out examples (fraction)."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(labels.numpy(), logits.numpy(), average="macro"))


def pretrain(encoder: str) -> tuple[nn.Module, dict[str, Any]]:
    """Train one mini encoder; returns it and what to know of it (mean average precision on held-out data)."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    its = cast(Pretraining, import_module(f"{mini.__name__}.{encoder}"))
    inputs, labels = its.examples(EXAMPLES, SEED)
    model = Classifier(its.places, *its.build(), labels.shape[1])
    train, test = slice(0, EXAMPLES - HELD_OUT), slice(EXAMPLES - HELD_OUT, None)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=its.LR, weight_decay=0.01)
    steps = its.EPOCHS * ((EXAMPLES - HELD_OUT) // its.BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, its.LR, total_steps=steps + its.EPOCHS)
    for epoch in range(its.EPOCHS):
        model.train()
        total, count = 0.0, 0
        for batch in torch.randperm(EXAMPLES - HELD_OUT).split(its.BATCH):
            loss = F.binary_cross_entropy_with_logits(model(inputs[train][batch]), labels[train][batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total, count = total + loss.item(), count + 1
        model.eval()
        with torch.no_grad():
            logits = torch.cat([model(chunk) for chunk in inputs[test].split(100)])
        precision = _average_precision(logits, labels[test])
        line = f"{encoder} epoch {epoch + 1}/{its.EPOCHS}  loss {total / count:.4f}  held-out mAP {precision:.3f}"
        print(line, flush=True)
    return model.encoder, {"encoder": encoder, "scale": "mini", "examples": EXAMPLES, "held_out_map": round(precision, 4)}


def main(argv: list[str] | None = None) -> int:
    """Command line: which encoder, where to."""
    parser = argparse.ArgumentParser(prog="python -m dgsct.encoders.pretrain", description=__doc__)
    parser.add_argument("encoder", choices=names())
    parser.add_argument("out", type=Path)
    args = parser.parse_args(argv)
    return exit_code(lambda: publish(args.out, *pretrain(args.encoder)))


if __name__ == "__main__":
    sys.exit(main())

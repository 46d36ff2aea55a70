"""Pre-training of the mini encoders, each on its own modality, on generated data that share no scene with the clips.

`python -m dgsct.encoders.pretrain swin OUT.safetensors` (or another of `dgsct weights`): a multi-label classification of
what is seen (or heard), a few hundred steps; the classification layer is thrown away.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dgsct.data.scenes import pretraining_images, pretraining_sounds
from dgsct.encoders.frontend import log_mel_compact
from dgsct.encoders.htsat import HTSAT
from dgsct.encoders.pvt import Pvt
from dgsct.encoders.resnet import Resnet
from dgsct.encoders.sources import WEIGHTS
from dgsct.encoders.swin import IMAGENET_MEAN, IMAGENET_STD, SwinV2
from dgsct.encoders.vggish import Vggish
from dgsct.encoders.vggish_frontend import SAMPLE_RATE, examples
from dgsct.encoders.weights import publish
from dgsct.errors import exit_code
from dgsct.settings.scales import MINI

SEED = 7
EXAMPLES = 3000
HELD_OUT = 400
EPOCHS = {"swin": 8, "htsat": 8, "pvt": 4, "resnet50": 3, "vggish": 3}
BATCH = 32
LR = 2e-3
TILE = 10


# Each encoder's features of a batch of its inputs, [B, width].
POOLED: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "swin": lambda encoder, x: encoder(x).mean(dim=1),
    "htsat": lambda encoder, x: encoder(x, TILE).mean(dim=1),
    "pvt": lambda encoder, x: encoder(x)[-1].mean(dim=(2, 3)),
    "resnet50": lambda encoder, x: encoder(x)[-1].mean(dim=(2, 3)),
    "vggish": lambda encoder, x: encoder(x),
}


class Classifier(nn.Module):
    """An encoder, pooled, and one linear layer."""

    def __init__(self, name: str, encoder: nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.pool = POOLED[name]
        self.encoder = encoder
        self.classify = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Inputs of the encoder -> multi-label logits [B, classes]."""
        return self.classify(self.pool(self.encoder, x))


def _images(side: int) -> tuple[Tensor, Tensor]:
    """Normalised stills [N, 3, side, side], and which looks are seen [N, looks]."""
    images, labels = pretraining_images(EXAMPLES, SEED, side)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    return (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - mean) / std, torch.from_numpy(labels).float()


def _prepare(encoder: str) -> tuple[Classifier, Tensor, Tensor]:
    """The classifier, all inputs and all labels (float) for one encoder."""
    model: nn.Module
    if encoder == "swin":
        inputs, labels = _images(MINI.swin.image_size)
        model = SwinV2(MINI.swin)
        for block in [b for stage in model.stages() for b in stage.blocks]:
            # timm starts these norms at zero, a fresh block being the identity; a few hundred steps need a warmer start
            nn.init.constant_(block.norm1.weight, 0.5)
            nn.init.constant_(block.norm2.weight, 0.5)
        width = MINI.swin.embed_dim << (len(MINI.swin.depths) - 1)
    elif encoder in ("pvt", "resnet50"):
        inputs, labels = _images(MINI.frame_size)
        model = Pvt(MINI.pvt) if encoder == "pvt" else Resnet(MINI.resnet50)
        width = getattr(MINI, encoder).dims[-1]
    else:
        rate = MINI.htsat.sample_rate
        waves, heard = pretraining_sounds(EXAMPLES, SEED, rate)
        labels = torch.from_numpy(heard).float()
        if encoder == "htsat":
            chunks = torch.from_numpy(waves).split(200)
            inputs = torch.cat([log_mel_compact(chunk, MINI.htsat, TILE) for chunk in chunks])
            model = HTSAT(MINI.htsat)
            width = MINI.htsat.embed_dim << (len(MINI.htsat.depths) - 1)
        else:
            slower = waves.reshape(len(waves), -1, rate // SAMPLE_RATE).mean(axis=2)
            inputs = torch.cat([torch.from_numpy(examples(wave, 1)) for wave in slower])
            model, width = Vggish(MINI.vggish), MINI.vggish.embed_dim
    return Classifier(encoder, model, width, labels.shape[1]), inputs, labels


def _average_precision(logits: Tensor, labels: Tensor) -> float:
    """Mean over labels of the average precision on held-out examples (fraction)."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(labels.numpy(), logits.numpy(), average="macro"))


def pretrain(encoder: str) -> tuple[nn.Module, dict[str, Any]]:
    """Train one mini encoder; returns it and what to know of it (mean average precision on held-out data)."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    model, inputs, labels = _prepare(encoder)
    train, test = slice(0, EXAMPLES - HELD_OUT), slice(EXAMPLES - HELD_OUT, None)
    frozen_front = {"encoder.frontend.conv_real", "encoder.frontend.conv_imag", "encoder.frontend.mel"}
    parameters = [p for name, p in model.named_parameters() if name not in frozen_front]
    optimizer = torch.optim.AdamW(parameters, lr=LR, weight_decay=0.01)
    epochs = EPOCHS[encoder]
    steps = epochs * (EXAMPLES - HELD_OUT) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=steps + epochs)
    for epoch in range(epochs):
        model.train()
        total, count = 0.0, 0
        for batch in torch.randperm(EXAMPLES - HELD_OUT).split(BATCH):
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
        print(f"{encoder} epoch {epoch + 1}/{epochs}  loss {total / count:.4f}  held-out mAP {precision:.3f}", flush=True)
    return model.encoder, {"encoder": encoder, "scale": "mini", "examples": EXAMPLES, "held_out_map": round(precision, 4)}


def main(argv: list[str] | None = None) -> int:
    """Command line: which encoder, where to."""
    parser = argparse.ArgumentParser(prog="python -m dgsct.encoders.pretrain", description=__doc__)
    parser.add_argument("encoder", choices=tuple(WEIGHTS))
    parser.add_argument("out", type=Path)
    args = parser.parse_args(argv)
    return exit_code(lambda: publish(args.out, *pretrain(args.encoder)))


if __name__ == "__main__":
    sys.exit(main())

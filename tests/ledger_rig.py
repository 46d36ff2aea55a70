"""A run of the small world, observed: every value that passes between the model's parts, and what a batch moves.

The adapters' gates are opened and the norms of fresh Swin-V2 blocks drawn anew; else both would hide what a switch does.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from accelerate.state import AcceleratorState
from torch import Tensor
from torch.nn import functional as F

from dgsct.data.batch import Batch
from dgsct.engine.training import Training, in_dtype
from dgsct.methods.dg_sct.ave import DGSCT
from dgsct.models.adapter import Adapter
from dgsct.models.interaction import AdapterPair
from dgsct.progress import display
from dgsct.runs.run import Run
from dgsct.tasks.ave.options import AveOptions as Options

CLIPS = 4
LAST = 1  # the last of the mini scale's two places


def share(world: Path, target: Path) -> Path:
    """A results folder `target` with the prepared data and encoders of `world`."""
    target.mkdir(parents=True)
    for name in ("data", "encoders"):
        (target / name).symlink_to(world / name)
    return target


def opened(root: Path, protocol: str = "release", method: str = "dg-sct", batch_size: int = CLIPS, **overrides) -> Training:
    """The training of a run on the first 12 clips, with nothing in its model that is silent at the start."""
    AcceleratorState._reset_state()  # else the first precision of a process is its only one
    training = Training(Run.make("ave", method, overrides, protocol), root, "0" * 64)
    training.recipe = replace(training.recipe, batch_size=batch_size, checkpoint_every=None, evaluate_every=1)
    training.view.splits["train"] = training.view.splits["train"][:12]
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in training.plain.named_parameters():
            if name.endswith(("bottleneck.gate", "latent.gate")):
                p.fill_(0.5)
            elif "encoders.swin" in name and "norm" in name:
                p.copy_(torch.rand(p.shape, generator=draw))
    return training


@contextmanager
def recorded(model: DGSCT) -> Iterator[dict[str, Tensor]]:
    """Copies of what passes between the parts of the last forward pass and, if computed, the loss terms."""
    values: dict[str, Tensor] = {}

    def keep(prefix: str, **tensors: Tensor | None) -> None:
        values.update({f"{prefix}.{name}": t.detach().clone() for name, t in tensors.items() if t is not None})

    def pair_hook(prefix: str, pair: AdapterPair):
        def hook(_module, inputs, output):
            (v, a), (to_v, to_a) = inputs, output
            keep(prefix, v=v, a=a, to_v=to_v.residual, to_a=to_a.residual, pool_v=to_v.pooling, pool_a=to_a.pooling)

        return pair.register_forward_hook(hook)

    def temporal_hook(_module, inputs, output):
        keep("features", v=inputs[0], a=inputs[1])
        keep("temporal", **output._asdict())

    def losses(output, targets, epoch=0, original=model.losses):
        terms = original(output, targets, epoch)
        keep("loss", **terms)
        return terms

    rounds = {"p1": model.backbone.p1, "p2": model.backbone.p2}
    hooks = [pair_hook(f"{name}.{k}", pair) for name, pairs in rounds.items() for k, pair in enumerate(pairs)]
    hooks.append(model.temporal.register_forward_hook(temporal_hook))
    hooks.append(model.head.register_forward_hook(lambda _m, _i, output: keep("head", **output._asdict())))
    model.losses = losses
    yield values
    del model.losses
    for hook in hooks:
        hook.remove()


def first_batch(training: Training) -> Batch:
    """The first `CLIPS` clips of the training split, in their order."""
    return training._read((0, training.view.splits["train"][:CLIPS]))


def evaluated(training: Training, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """The recorded values of a forward pass in evaluation, with loss terms; float64 is for comparing with formulas."""
    batch = in_dtype(first_batch(training), dtype)
    training.model.to(dtype).eval()
    with recorded(training.plain) as values, torch.no_grad():
        training.plain.losses(training.model(**batch.inputs), batch.targets)
    return values


def trained(training: Training, clips: int = CLIPS) -> tuple[dict[str, Tensor], set[str]]:
    """The recorded values of an epoch's last batch, and which entries of the state dict the epoch changed."""
    training.view.splits["train"] = training.view.splits["train"][:clips]
    before = {name: t.clone() for name, t in training.plain.state_dict().items()}
    torch.manual_seed(7)
    with recorded(training.plain) as values, display("", 0, show=False) as show:
        training.train_epoch(show)
    after = training.plain.state_dict()
    return values, {name for name, t in before.items() if not torch.equal(t, after[name])}


def omega(adapter: Adapter, x: Tensor, y: Tensor, options: Options) -> tuple[Tensor, Tensor]:
    """Section 6 of the core fact sheet written out, in evaluation: the residual and the pooling map."""
    p = dict(adapter.state_dict())

    def affine(name: str, value: Tensor) -> Tensor:
        return value @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def grouped(name: str, value: Tensor) -> Tensor:
        parts = value.chunk(len(p[name]), dim=-1)
        return torch.cat([part @ block.T for part, block in zip(parts, p[name], strict=True)], dim=-1)

    def norm(name: str, value: Tensor) -> Tensor:
        return F.layer_norm(value, value.shape[-1:], p[f"bottleneck.{name}.weight"], p[f"bottleneck.{name}.bias"])

    def batch_norm(name: str, value: Tensor) -> Tensor:
        mean, variance, weight, bias = (
            p[f"bottleneck.{name}.{leaf}"] for leaf in ("running_mean", "running_var", "weight", "bias")
        )
        return (value - mean) / (variance + 1e-5).sqrt() * weight + bias

    token = p["prompt.token.weight"] @ y + p["prompt.token.bias"][:, None]
    prompt = affine("prompt.channel", token)
    if options.keep_tokens:
        start = p["latent.tokens"].expand(len(x), -1, -1)
        tokens = start + (start @ prompt.transpose(1, 2)).softmax(-1) @ prompt
        x = x + p["latent.gate"] * (x @ tokens.transpose(1, 2)).softmax(-1) @ tokens
    pooled = prompt.mean(dim=1, keepdim=True)
    c, s = "attention.channel", "attention.spatial"
    joint = (affine(f"{c}.guide", pooled).relu() * affine(f"{c}.stream", x).relu()).mean(dim=1, keepdim=True)
    m_c = affine(f"{c}.excite", affine(f"{c}.squeeze", joint).relu()).sigmoid()
    seen = prompt if options.spatial_prompt == "map" else pooled
    score = affine(f"{s}.score", affine(f"{s}.stream", x * (1 + m_c)).relu() * affine(f"{s}.guide", seen).relu())
    rest = 1.0 if options.residual == "paper" else 1.0 - options.alpha
    x = x * (options.alpha * m_c + options.beta * score.sigmoid() + rest)
    z = batch_norm("bn_down", grouped("bottleneck.down.weight", norm("norm_before", x))).relu()
    z = norm("norm_after", batch_norm("bn_up", grouped("bottleneck.up.weight", z)))
    return p["bottleneck.gate"] * z, score.tanh().transpose(1, 2).softmax(-1)

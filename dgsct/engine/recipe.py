"""A recipe carried out: the optimiser, the schedule, the order of batches, and which of them lead to an update."""

import math
from collections.abc import Iterable
from fnmatch import fnmatchcase

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    ExponentialLR,
    LRScheduler,
    MultiStepLR,
    SequentialLR,
    StepLR,
)

from dgsct.settings.recipe import Recipe

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def build_optimizer(model: nn.Module, recipe: Recipe) -> Optimizer:
    """The optimiser of all trainable parameters, in the recipe's groups; a parameter belongs to the first group that it fits.

    A group of parameters that are all frozen is left out, and an optional one that fits none. ValueError names another that
    fits none, or none that is left.
    """
    trainable = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    groups: list[dict[str, object]] = []
    taken: set[str] = set()
    for group in recipe.groups:
        fitting = {name: p for name, p in model.named_parameters() if fnmatchcase(name, group.match)}
        if not any(p.requires_grad for p in fitting.values()) and (fitting or group.optional):
            continue
        mine = {name: p for name, p in fitting.items() if p.requires_grad and name not in taken}
        if not mine:
            raise ValueError(f"no trainable parameter is left for the recipe's group {group.match!r}")
        taken |= mine.keys()
        own = {"lr": group.lr, "weight_decay": group.weight_decay}
        groups.append({"params": list(mine.values()), **{k: v for k, v in own.items() if v is not None}})
    rest = [p for name, p in trainable if name not in taken]
    groups += [{"params": rest}] if rest or not groups else []
    common = {"lr": recipe.lr, "weight_decay": recipe.weight_decay, "fused": True}
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=recipe.momentum, **common)
    return torch.optim.Adam(groups, **common)


def build_schedule(optimizer: Optimizer, recipe: Recipe, steps: int) -> LRScheduler:
    """The schedule of the learning rate; it is moved once an epoch, or once a step of which an epoch has `steps`."""
    match recipe.schedule:
        case "step":
            main: LRScheduler = StepLR(optimizer, recipe.lr_step, recipe.lr_gamma)
        case "multi-step":
            main = MultiStepLR(optimizer, list(recipe.milestones), recipe.lr_gamma)
        case "exponential":
            main = ExponentialLR(optimizer, recipe.lr_gamma)
        case _:
            length = recipe.epochs * (steps if recipe.lr_per == "iteration" else 1)
            main = CosineAnnealingLR(optimizer, max(length, 1))
    if not recipe.warmup:
        return main
    constant = ConstantLR(optimizer, recipe.warmup_lr / recipe.lr, total_iters=recipe.warmup + 1)
    return SequentialLR(optimizer, [constant, main], [recipe.warmup])


def epoch_batches(rows: np.ndarray, recipe: Recipe, seed: int, epoch: int) -> list[np.ndarray]:
    """The batches of one epoch; a function of seed and epoch alone, so that a resumed run sees the same.

    A split with fewer rows than a batch is one batch, whatever `drop_last` says.
    """
    order = np.arange(len(rows))
    if recipe.order == "shuffled":
        order = np.random.default_rng([seed, epoch]).permutation(len(rows))
    starts = range(0, len(rows), recipe.batch_size)
    return [rows[order[i : i + recipe.batch_size]] for i in starts][: recipe.steps(len(rows))]


def draw_of(seed: int, epoch: int, batch: int, process: int = 0) -> np.random.Generator:
    """What a task may draw from for one batch: of seed, epoch and batch alone. Evaluations are epoch -1."""
    return np.random.default_rng([seed, epoch + 1, batch, process, 1])


class Updates:
    """Which batches of an epoch lead to an update, and how their losses weigh.

    `release`: the release zeroes gradients before every batch and steps on every second one and on the last, so that only
    the batches at which it steps teach anything; `off`: every batch, or the mean of `accumulate` batches, as it should be.
    """

    def __init__(self, accumulation: str, accumulate: int, batches: int) -> None:
        self.faulty, self.each, self.batches = accumulation == "release", accumulate, batches

    def learns(self, batch: int) -> bool:
        """Whether gradients of this batch are computed at all."""
        return not self.faulty or self.steps(batch)

    def starts(self, batch: int) -> bool:
        """Whether gradients are zero before it."""
        return self.faulty or batch % self.each == 0

    def steps(self, batch: int) -> bool:
        """Whether the optimiser steps after it."""
        last = batch == self.batches - 1
        return last or (batch % 2 == 1 if self.faulty else batch % self.each == self.each - 1)

    def weight(self, batch: int) -> float:
        """The factor of its loss: batches of one update count alike."""
        if self.faulty or self.each == 1:
            return 1.0
        first = batch - batch % self.each
        return 1.0 / (min(first + self.each, self.batches) - first)


def clip(parameters: Iterable[nn.Parameter], recipe: Recipe) -> None:
    """Clip the norm of all gradients, where the recipe says so."""
    if recipe.clip_norm is not None and math.isfinite(recipe.clip_norm):
        torch.nn.utils.clip_grad_norm_(parameters, recipe.clip_norm)

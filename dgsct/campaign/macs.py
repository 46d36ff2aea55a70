"""The multiply-accumulates (MACs) of a run's steps, counted on the meta device: no GPU, no data, no weights, no numbers.

Counted is what torch does in a step: the forward pass, and backward the gradients that are needed. Those are weight
gradients of trained layers, input gradients of frozen layers behind the first trained one, and what is computed again
because it was not kept. Only matrix products and convolutions count (`dgsct.engine.efficiency.counting`).
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import conv_flop_count

from dgsct.campaign.bounds import StepMacs
from dgsct.campaign.probe import pretended_batch
from dgsct.engine.efficiency import counting
from dgsct.runs.run import Run

WINOGRAD = 4  # F(4 x 4, 3 x 3) multiplies a quarter as often as the direct form
WORKERS = 4  # processes that count at a time, at most: each imports torch


def _convolution(
    x: Any, weight: Any, _bias: Any, stride: Any, _padding: Any, _dilation: Any, transposed: bool, *_: Any, out_shape: Any
) -> int:
    """Operations of a convolution, two a MAC: those of Winograd's form where the kernel allows it, as cuDNN may take it."""
    operations = conv_flop_count(x, weight, out_shape, transposed)
    return operations // WINOGRAD if max(weight[2:]) > 1 and max(stride) == 1 else operations


def _convolution_backward(gradient: Any, x: Any, weight: Any, *others: Any, out_shape: Any) -> int:
    """Each of the gradients of input and weight costs what the forward pass did; torch's own formula forgets groups."""
    *geometry, wanted = others
    return sum(wanted[:2]) * _convolution(x, weight, *geometry, out_shape=gradient)


RULES = {torch.ops.aten.convolution: _convolution, torch.ops.aten.convolution_backward: _convolution_backward}

# A draw that torch cannot make on the meta device: only its shape matters here.
_META = torch.library.Library("aten", "IMPL", "Meta")
_META.impl("_sample_dirichlet", lambda concentration, generator=None: torch.empty_like(concentration))


def step_macs(run: Run, checkpoint_stages: bool = False) -> StepMacs:
    """Count a training step of `run` with and without gradients and an evaluation batch, all of the recipe's batch size.

    `checkpoint_stages` as in the site file. Whatever the model raises on the meta device is raised here.
    """
    with _unchecked_distributions():
        return _counted(run, checkpoint_stages)


def _counted(run: Run, checkpoint_stages: bool) -> StepMacs:
    model: Any = run.build(meta=True)
    for module in model.modules() if checkpoint_stages else ():
        if hasattr(module, "checkpoint_stages"):
            module.checkpoint_stages()
    batch = pretended_batch(run)
    inputs, targets = ({name: t.to("meta") for name, t in part.items()} for part in (batch.inputs, batch.targets))
    model.train()
    with counting(RULES) as macs:
        terms: dict[str, Tensor] = model.losses(model(**inputs), targets, 0)
        still = macs()
        torch.stack(list(terms.values())).sum().backward()
        learn = macs()
    model.eval()
    with torch.no_grad(), counting(RULES) as macs:
        model.predict(model(**inputs))
        evaluation = macs()
    return StepMacs(learn, still, evaluation, sum(p.numel() for p in model.parameters() if p.requires_grad))


@contextmanager
def _unchecked_distributions() -> Iterator[None]:
    """A region in which torch's distributions do not look at their parameters, which have no values on the meta device."""
    distribution = torch.distributions.Distribution
    before = distribution._validate_args
    distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        distribution.set_default_validate_args(before)


def count_all(runs: Sequence[Run], checkpoint_stages: bool, cores: int) -> Iterator[StepMacs | str]:
    """The counts of `runs` in their order, as they come; of a run that cannot be counted, why, in a few words."""
    count = partial(_or_why, checkpoint_stages=checkpoint_stages)
    described = [run.to_dict() for run in runs]
    workers = min(cores, len(runs), WORKERS)
    if workers < 2:
        yield from map(count, described)
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        yield from pool.map(count, described)


def _or_why(run: Mapping[str, Any], checkpoint_stages: bool) -> StepMacs | str:
    try:
        return step_macs(Run.from_dict(run), checkpoint_stages)
    except Exception as error:  # a model that needs numbers must not hide the others
        return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"

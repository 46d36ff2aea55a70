"""Every method on every task is trained, stopped, kept and measured, and each of its options does something.

On a few clips of random numbers in this process, without a file of data or of an encoder: the engine's own code for the rest.
A method that is added is checked by being listed.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import torch
from conformance_rig import MODELS
from torch import Tensor, nn

from dgsct.campaign.probe import pretended_view
from dgsct.data.batch import Batch
from dgsct.engine import training as engine
from dgsct.engine.checkpoint import best_weights, save_best
from dgsct.engine.recipe import DTYPES, Updates, draw_of
from dgsct.engine.training import Training, in_dtype, predictions, seed_everything
from dgsct.methods import get_method
from dgsct.runs.resolve import options_class
from dgsct.runs.run import Run
from dgsct.settings.ledger import PROTOCOLS
from dgsct.settings.options import RECIPE
from dgsct.tasks import get_task
from dgsct.tasks.base import View

CLIPS = 3  # a batch of two and a batch of one
ROWS = np.arange(2)
WITH_A_MODEL = pytest.mark.parametrize(("method", "task"), MODELS)


def view_of(run: Run) -> View:
    """A run's task on a few clips of random numbers; all of them are in every split."""
    view = pretended_view(run, run.reads)
    view.splits = dict.fromkeys(("train", "val", "test"), np.arange(min(CLIPS, run.recipe.batch_size)))
    return view


@pytest.fixture
def training(monkeypatch, tmp_path):
    """Begins a training of a run in `tmp_path`, on such clips and with random encoders."""
    views: dict[Run, View] = {}

    def open_view(run: Run, *_: object) -> View:
        views[run] = views.get(run) or view_of(run)
        return views[run]

    monkeypatch.setattr(engine, "open_view", open_view)
    monkeypatch.setattr(engine, "load_encoders", lambda *_, **__: None)
    return lambda run: Training(run, tmp_path, "0" * 64)


def step(training: Training) -> dict[str, float]:
    """One update of all weights."""
    training.model.train()
    terms = training._step(ROWS, training._read((0, ROWS)), Updates("off", 1, 1), 0)
    training.progress.step += 1
    return terms


def state(training: Training) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in training.plain.state_dict().items()}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    different = [name for name, tensor in one.items() if not torch.equal(tensor, other[name])]
    assert not different


@WITH_A_MODEL
def test_it_learns_stops_and_goes_on_to_the_same_bits(training, method, task):
    """Weights, statistics, the optimiser's memory and chance are all in the checkpoint, but for frozen weights."""
    run = Run.make(task, method, seed=1)
    if run.kind != "trained":
        pytest.skip("nothing of it is trained")
    first = training(run)
    start = state(first)
    step(first)
    moved = {name for name, tensor in state(first).items() if not torch.equal(tensor, start[name])}
    assert moved
    assert not moved & first.frozen
    first.save()
    terms, end = step(first), state(first)
    again = training(run)
    torch.rand(7)  # chance stands elsewhere
    assert "resumed at epoch 1, batch 0" in again.resume()
    assert step(again) == terms
    assert_same(state(again), end)


@WITH_A_MODEL
def test_its_best_weights_give_its_predictions_again_and_every_metric(training, tmp_path, method, task):
    run = Run.make(task, method, seed=1)

    def predicted(model: nn.Module, view: View) -> dict[str, np.ndarray]:
        return predictions(model, model, view, view.splits["test"], run, torch.device("cpu"), keep=lambda p, rows: p)

    view = view_of(run)
    for array in view.data.arrays.values():
        if array.dtype == bool:
            array[:] = True  # of a test clip every truth is known
    seed_everything(run.seed)
    model: Any = run.build().to(DTYPES[run.recipe.dtype])
    open_gates(model)
    expected = predicted(model, view)
    assert set(expected) == set(get_task(task).predictions)
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    kept = {name: tensor for name, tensor in model.state_dict().items() if name not in frozen}
    rows, size = view.splits["test"], run.recipe.batch_size
    units = view.units(view.keep(expected, rows), rows, size)
    metrics = get_task(task).measure_all(units)
    assert np.isfinite(metrics[run.reported])
    if not kept:
        return
    save_best(tmp_path, kept, "0" * 64, 1, units)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.zero_()
    model.load_state_dict(best_weights(tmp_path / "best.safetensors"), strict=False)
    for name, array in predicted(model, view).items():
        assert np.array_equal(array, expected[name])


# Options and protocols

# How a run is selected, accumulated and computed is the engine's work: tests/engine/test_recipe.py and test_execute_avs.py.
ENGINES = ("selection", "accumulation")
# What changes nothing, with the reason.
INERT = {("lavish-star", "residual"): "it says what attention is added to, and LAVisH* has none"}


def open_gates(model: nn.Module) -> None:
    """What starts at zero, as a gate does, lets nothing through: here it is open."""
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.copy_(0.3 + 0.2 * torch.rand(parameter.shape, generator=draw))


@cache
def plain(method: str, task: str, protocol: str = "release") -> tuple[dict[str, Tensor], Any]:
    """The state of a run's model, gates open, and what it gives."""
    run = Run.make(task, method, protocol=protocol)
    seed_everything(0)
    model = run.build()
    open_gates(model)
    first = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    return first, outcome(run, model)


def outcome(run: Run, model: Any) -> tuple[tuple[str, ...], list[str], list[Tensor], bool]:
    """What the engine hands the model, which parameters learn, and output and losses of a training batch."""
    dtype = DTYPES[run.recipe.dtype]
    batch: Batch = in_dtype(view_of(run).batch(ROWS, draw_of(0, 0, 0)), dtype)
    model.to(dtype).train()
    half = run.options.precision == "bf16"
    if half:
        for module in model.modules():
            if hasattr(module, "store_as"):
                module.store_as(torch.bfloat16)
    seed_everything(0)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        output = model(**batch.inputs)
        terms = model.losses(output, batch.targets, 0)
    assert all(torch.isfinite(term) for term in terms.values())
    numbers = [*tensors(output), *(terms[name] for name in sorted(terms))]
    return run.reads, [name for name, p in model.named_parameters() if p.requires_grad], numbers, half


def tensors(value: Any) -> Iterator[Tensor]:
    """All floating tensors in an output."""
    if isinstance(value, Tensor):
        yield from (value.detach(),) if value.is_floating_point() else ()
    elif isinstance(value, dict):
        yield from tensors(tuple(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors(item)


def other_values(method: str, task: str, option: str) -> list[Any]:
    """Values that an option does not have in a plain run: all where they are few, one of a number."""
    kind, now = get_type_hints(options_class(task, method))[option], getattr(Run.make(task, method).options, option)
    if get_origin(kind) is Literal:
        return [value for value in get_args(kind) if value != now]
    if kind is bool:
        return [not now]
    return [max(now - 1, 1) if kind is int else now + 0.25]


OPTIONS = [
    (method, task, option, value)
    for method, task in MODELS
    for option in get_method(method).on(task).options
    if option not in ENGINES and (method, option) not in INERT
    for value in other_values(method, task, option)
]


@pytest.mark.parametrize(("method", "task", "option", "value"), OPTIONS)
def test_every_option_acts(method, task, option, value):
    """It changes what is read, what learns, what the model consists of, what it gives, or where it starts."""
    run = Run.make(task, method, {option: value})
    first, (reads, learning, numbers, _) = plain(method, task)
    if run.parents:
        return  # test_methods.py: it takes over its parents' weights
    seed_everything(0)
    model = run.build()
    own = model.state_dict()
    if {name: t.shape for name, t in own.items()} != {name: t.shape for name, t in first.items()}:
        open_gates(model)
        outcome(run, model)
        return
    model.load_state_dict(first)
    reads_, learning_, numbers_, half = outcome(run, model)
    moved = len(numbers) != len(numbers_) or any(
        one.shape != other.shape or not torch.equal(one, other.to(one.dtype))
        for one, other in zip(numbers, numbers_, strict=True)
    )
    assert reads != reads_ or learning != learning_ or moved
    if half:  # and to no other end
        for one, other in zip(numbers, numbers_, strict=True):
            torch.testing.assert_close(other.to(one.dtype), one, rtol=0.2, atol=0.2)


@pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if name != "release"])
@WITH_A_MODEL
def test_it_trains_under_every_protocol(training, protocol, method, task):
    run = Run.make(task, method, protocol=protocol)
    if run.kind == "trained":
        assert all(np.isfinite(value) for value in step(training(run)).values())


assert set(ENGINES) < set(RECIPE)

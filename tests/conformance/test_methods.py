"""Every method on every task, by name: what it declares is so, and its model does what the engine asks of one.

A method that is added is checked by being listed, and asks for a line in `counts.json`. What a model may not do elsewhere
stands in the exceptions, with the reason.
"""

import inspect
import json
from dataclasses import fields
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import torch
from conformance_rig import MODELS, PAIRS, Watched, assert_declared, counts

from dgsct.campaign.probe import pretended_batch
from dgsct.checkpoints.convert import public_layouts
from dgsct.data.batch import Batch, argument
from dgsct.data.extractors import get_extractor
from dgsct.data.features import PREFIX
from dgsct.encoders.sources import WEIGHTS
from dgsct.engine.recipe import DTYPES, build_optimizer
from dgsct.engine.training import in_dtype
from dgsct.methods import METHODS, get_method
from dgsct.methods.base import Part
from dgsct.models.keys import from_public, to_public
from dgsct.ops.shapes import shapes_only
from dgsct.runs.inputs import encoders_needed, input_paths, inputs_of
from dgsct.runs.resolve import option_names, options_class
from dgsct.runs.run import Run
from dgsct.settings.ledger import PROTOCOLS
from dgsct.settings.scales import SCALES, Scale, get_scale
from dgsct.tasks import get_task

COUNTS = json.loads(Path(__file__).with_name("counts.json").read_text())
MOST_AT_MINI = 5_000_000  # parameters: minutes on two cores
# Trained are all parameters but those that are there because the release has them, and never called.
NEVER_CALLED = {
    "ave": ("*unused.*", "backbone.*.spare_gate", "head.*_interaction.*", "head.*_norm.*"),
    "avs-s4": (
        "*unused.*",
        "head.temporal.scales.*_decoder.*",
        "backbone.*.prompt.token.*",
        "backbone.encoders.htsat.swin.norm.*",
    ),
    "avs-ms3": ("*unused.*", "head.temporal.scales.*_decoder.*"),
}

EVERYWHERE = pytest.mark.parametrize(("method", "task"), PAIRS)
WITH_A_MODEL = pytest.mark.parametrize(("method", "task"), MODELS)


def part_of(method: str, task: str) -> Part:
    return get_method(method).on(task)


@cache
def model_and_batch(method: str, task: str) -> tuple[Any, Batch]:
    """At mini scale, in training mode, with a batch of pretended clips."""
    run = Run.make(task, method)
    torch.manual_seed(0)
    dtype = DTYPES[run.recipe.dtype]
    return run.build().to(dtype).train(), in_dtype(pretended_batch(run), dtype)


@EVERYWHERE
def test_it_declares_options_that_there_are(method, task):
    part, known = part_of(method, task), options_class(task, method)
    assert set(part.options) <= set(known.names())
    assert set(option_names(task, method)) == {*part.options, *get_task(task).shared}
    assert known().replace(**part.preset)  # which names an unknown option or a bad value
    if part.own is not None:
        own = {field.name for field in fields(part.own)}
        assert not own & set(get_task(task).options.names())  # a task's option is no method's own
        assert own & {*part.options, *part.preset}
    assert get_method(method).summary


@EVERYWHERE
def test_its_inputs_encoders_and_sizes_are_known(method, task):
    part, known = part_of(method, task), get_task(task)
    for protocol in PROTOCOLS:
        reads = Run.make(task, method, protocol=protocol).reads
        assert set(reads) <= set(known.inputs)
        assert len({argument(name) for name in reads}) == len(reads)
    assert set(part.encoders) <= set(WEIGHTS)
    assert set(part.sizes) <= {field.name for field in fields(Scale)} - {"name", "classes"}
    assert set(part.recipes) <= set(SCALES)


@EVERYWHERE
@pytest.mark.parametrize("scale", SCALES)
def test_its_runs_resolve_under_every_protocol(tmp_path, method, task, scale):
    for protocol in PROTOCOLS:
        run = Run.make(task, method, protocol=protocol, scale=scale, seed=2)
        assert run.reported in {metric.name for metric in get_task(task).metrics}
        assert Run.from_dict(run.to_dict()) == Run.from_folder(tmp_path / run.folder) == run
        assert run.recipe.epochs > 0
        assert len(run.plan_key()) == 64
        names = [one.name for one in inputs_of(run, tmp_path)]
        assert names[0] == f"data/{get_task(task).dataset}"
        assert len(set(names)) == len(names) == len(input_paths(run))
        assert set(encoders_needed(run)) <= set(WEIGHTS)


@WITH_A_MODEL
@pytest.mark.parametrize("scale", SCALES)
def test_it_trains_as_many_parameters_as_it_says(method, task, scale):
    total, trainable, _ = counts(method, task, scale)
    assert part_of(method, task).trainable == {**part_of(method, task).trainable, scale: trainable}
    assert set(part_of(method, task).trainable) == set(SCALES)
    if get_scale(scale).short_runs:
        assert total < MOST_AT_MINI


@WITH_A_MODEL
def test_its_counts_at_full_size_are_those_that_are_noted(method, task):
    """`counts.json` holds, of every method and task: parameters, those that are trained, entries of its state dict."""
    found, noted = counts(method, task, "paper"), COUNTS.get(f"{method} {task}")
    assert found == noted, f'counts.json has {noted}; if it is meant, its line is "{method} {task}": {json.dumps(found)}'


def test_no_counts_are_noted_of_what_is_not_there():
    assert set(COUNTS) == {f"{method} {task}" for method, task in MODELS}


@WITH_A_MODEL
def test_the_sizes_that_it_reads_are_those_in_its_key(method, task):
    """One that is read and not named would change a model without changing its key; one that is named is read by some."""
    part, read = part_of(method, task), set()
    for protocol in PROTOCOLS:
        run = Run.make(task, method, protocol=protocol)
        watched = Watched(run.sizes)
        with shapes_only():
            import_module(part.module).build(task, watched, run.options)
        read |= watched.read
    assert read - {"classes"} == set(part.sizes)
    assert "classes" not in read or get_task(task).classes


@WITH_A_MODEL
def test_forward_takes_what_it_reads_by_name(method, task):
    model = Run.make(task, method).build(meta=True)
    taken = inspect.signature(model.forward).parameters
    needed = {name for name, parameter in taken.items() if parameter.default is inspect.Parameter.empty}
    for protocol in PROTOCOLS:
        given = {argument(name) for name in Run.make(task, method, protocol=protocol).reads}
        assert needed <= given <= set(taken)


@WITH_A_MODEL
def test_without_numbers_it_has_the_same_forms(method, task):
    run, real = Run.make(task, method), model_and_batch(method, task)[0]
    model = run.build(meta=True).to(DTYPES[run.recipe.dtype])
    shapes = [{name: (t.shape, t.dtype) for name, t in one.state_dict().items()} for one in (real, model)]
    learning = [{name for name, p in one.named_parameters() if p.requires_grad} for one in (real, model)]
    assert (shapes[0], learning[0]) == (shapes[1], learning[1])
    assert all(t.is_meta for t in model.state_dict().values())


@WITH_A_MODEL
def test_its_encoders_lie_where_their_files_are_loaded(method, task):
    model = Run.make(task, method).build(meta=True)
    needed = set(part_of(method, task).encoders)
    holders = [module for name, module in model.named_modules() if name.split(".")[-1] == "encoders"]
    assert [{name for name, _ in holder.named_children()} for holder in holders] == [needed] * bool(needed)


@WITH_A_MODEL
def test_losses_and_gradients(method, task):
    run = Run.make(task, method)
    model, batch = model_and_batch(method, task)
    terms = model.losses(model(**batch.inputs), batch.targets, 0)
    assert terms
    assert all(term.shape == () and torch.isfinite(term) for term in terms.values())
    if run.kind != "trained":
        assert not any(p.requires_grad for p in model.parameters())
        return
    torch.stack(list(terms.values())).sum().backward()
    named = dict(model.named_parameters())
    learning = {name for name, p in named.items() if p.grad is not None}
    assert all(torch.isfinite(named[name].grad).all() for name in learning)
    trained = {name for name, p in named.items() if p.requires_grad}
    assert learning <= trained
    scales = {int(name.split(".fusions.")[1].split(".")[0]) for name in trained if ".fusions." in name}
    # At the coarsest scale there is nothing to join.
    released = (*NEVER_CALLED.get(task, ()), f"*.fusions.{max(scales, default=0)}.joining.*")
    assert [name for name in trained - learning if not any(fnmatchcase(name, pattern) for pattern in released)] == []
    model.zero_grad(set_to_none=True)


@WITH_A_MODEL
def test_predictions_are_as_declared_and_each_row_s_is_its_own(method, task):
    """In evaluation mode, whatever lies beside it in the batch: the last batch of a split is a small one."""
    model, batch = model_and_batch(method, task)
    model.eval()
    with torch.no_grad():
        whole = model.predict(model(**batch.inputs))
        alone = model.predict(model(**{name: tensor[1:2] for name, tensor in batch.inputs.items()}))
    model.train()
    single = {name: p.float() if p.dtype == torch.float64 else p for name, p in whole.items()}
    assert_declared(single, dict(get_task(task).predictions), Run.make(task, method).recipe.batch_size)
    for name in whole:
        torch.testing.assert_close(alone[name], whole[name][1:2], rtol=1e-4, atol=1e-5)


@WITH_A_MODEL
def test_its_recipe_can_be_carried_out(method, task):
    """Groups of parameters are those of the model."""
    run = Run.make(task, method)
    if run.kind == "trained":
        optimizer = build_optimizer(model_and_batch(method, task)[0], run.recipe)
        counted = sum(p.numel() for group in optimizer.param_groups for p in group["params"])
        assert counted == part_of(method, task).trainable["mini"]


@WITH_A_MODEL
def test_its_public_layout_holds_every_entry_once(method, task):
    layout = public_layouts().get(part_of(method, task).module)
    if layout is None:
        pytest.skip("no public checkpoint of it is known")
    run = Run.make(task, method)
    state = run.build(meta=True).state_dict()
    public = to_public(state, run.sizes.groups, layout.rules)
    assert len(public) == len(state)
    again = from_public(public, list(state), run.sizes.groups, layout.rules)
    assert {key: tensor.shape for key, tensor in again.items()} == {key: tensor.shape for key, tensor in state.items()}


def starting_elsewhere() -> list[tuple[str, str, str, Any]]:
    """Method, task, option and value of runs that start from another run's best weights."""
    found = []
    for method, task in MODELS:
        for option, kind in get_type_hints(options_class(task, method)).items():
            if option not in METHODS[method].on(task).options:
                continue
            values = get_args(kind) if get_origin(kind) is Literal else (True, False) if kind is bool else ()
            found += [(method, task, option, v) for v in values if Run.make(task, method, {option: v}).parents]
    return found


@pytest.mark.parametrize(("method", "task", "option", "value"), starting_elsewhere())
def test_it_takes_over_its_parents_weights(tmp_path, method, task, option, value):
    run = Run.make(task, method, {option: value})
    model: Any = run.build()
    for name, parent in run.parents.items():
        assert (parent.scale, parent.protocol, parent.seed) == (run.scale, run.protocol, run.seed)
        torch.manual_seed(7)
        other = parent.build()
        frozen = {key for key, p in other.named_parameters() if not p.requires_grad}  # which a run's best weights lack
        best = {key: tensor for key, tensor in other.state_dict().items() if key not in frozen}
        before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
        model.start_from(name, best)
        after = model.state_dict()
        assert any(not torch.equal(after[key], tensor) for key, tensor in before.items())
        assert f"runs/{name}" in {one.name for one in inputs_of(run, tmp_path)}
        with pytest.raises((ValueError, RuntimeError, KeyError)):
            model.start_from(name, {"unknown": torch.ones(1)})


def test_features_that_a_method_reads_have_an_extractor():
    read = {name for method, task in MODELS for name in Run.make(task, method).reads if name.startswith(PREFIX)}
    assert {get_extractor(name.removeprefix(PREFIX)).encoder for name in read} <= set(WEIGHTS)

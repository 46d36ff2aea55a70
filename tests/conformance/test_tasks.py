"""Every task and every data set, by name: what is declared is so, on pretended clips and on a few generated ones.

A task that is added is checked by being listed, a data set by its name in the task's `DATASETS`.
"""

import json
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from conformance_rig import assert_declared, declared_form

from dgsct.campaign.probe import pretended_view
from dgsct.data.base import DataSet
from dgsct.data.batch import argument
from dgsct.data.features import PREFIX
from dgsct.data.index import Index
from dgsct.data.packed import ROW, Packed
from dgsct.data.prepare import prepare_set
from dgsct.data.prepared import Prepared
from dgsct.data.units import Units, read_units, write_units
from dgsct.engine.recipe import draw_of
from dgsct.methods import METHODS
from dgsct.runs.protocols import option_values
from dgsct.runs.run import Run
from dgsct.settings.ledger import PROTOCOLS
from dgsct.settings.options import Options
from dgsct.settings.scales import MINI, SCALES, Scale
from dgsct.tasks import FOLDERS, HOMES, TASKS, get_set, get_task
from dgsct.tasks.base import View
from dgsct.tasks.generate import generator_module, mini_splits, write_mini

SPLITS = {"train": 6, "val": 1, "test": 3}
BATCH = 2  # of the evaluation: the test split has a whole batch and a smaller one

EVERY_TASK = pytest.mark.parametrize("name", TASKS)
EVERY_SET = pytest.mark.parametrize("dataset", HOMES)


@pytest.fixture(scope="module")
def worlds(once):
    """Of a data set: its generated clips in the set's own layout, and the same prepared; made when asked for."""

    def world(dataset: str) -> tuple[Path, Path]:
        def make(folder: Path) -> None:
            write_mini(dataset, folder / "raw", splits=SPLITS, jobs=1, progress=False)
            prepare_set(get_set(dataset), folder / "raw", folder / "packed", MINI, jobs=1, progress=False)

        folder = once(f"conformance-{dataset}", make)
        return folder / "raw", folder / "packed"

    return world


def plain_inputs(name: str) -> tuple[str, ...]:
    """The inputs of a task that lie in the prepared set."""
    return tuple(one for one in TASKS[name].inputs if not one.startswith(PREFIX))


@pytest.fixture
def view(worlds, name) -> View:
    """A task on its few prepared clips, with its default options."""
    task = TASKS[name]
    data = Prepared.open(worlds(task.dataset)[1])
    return task.room("task").open_task(data, task.at(MINI), task.options(), plain_inputs(name))


def predictions_of(name: str, view: View) -> dict[str, dict[str, np.ndarray]]:
    """What each of a task's yardsticks predicts for the test split."""
    rows, fit = view.splits["test"], TASKS[name].room("yardsticks").fit
    return {one.name: fit(one.name, view)(rows) for one in TASKS[name].yardsticks}


def units_of(view: View, predicted: dict[str, np.ndarray]) -> Units:
    """Kept batch by batch, as an evaluation does."""
    rows, kept = view.splits["test"], []
    for i in range(0, len(rows), BATCH):
        kept.append(view.keep({key: array[i : i + BATCH] for key, array in predicted.items()}, rows[i : i + BATCH]))
    return view.units({key: np.concatenate([part[key] for part in kept]) for key in kept[0]}, rows, BATCH)


# What is declared


@EVERY_TASK
def test_its_room_has_what_the_convention_says(name):
    task = TASKS[name]
    assert task.folder in FOLDERS
    assert HOMES[task.dataset] in FOLDERS
    for room, attribute in (("task", "open_task"), ("details", "details"), ("yardsticks", "fit"), ("ledger", "ENTRIES")):
        assert hasattr(task.room(room), attribute)
    assert task.module == task.room("task").__name__
    assert task.summary
    assert set(task.recipes) == set(SCALES)
    assert not task.classes or set(task.classes) == set(SCALES)
    assert set(task.sets) < {field.name for field in fields(Scale)}
    assert {METHODS[one.name].on(name).kind for one in task.yardsticks} == {"yardstick"}


@EVERY_TASK
def test_its_metrics_are_named_labelled_and_computed(name):
    task = TASKS[name]
    names = [metric.name for metric in task.metrics]
    assert len(set(names)) == len(names)
    assert len({metric.label for metric in task.metrics if not metric.called}) == sum(not m.called for m in task.metrics)
    for metric in task.metrics:
        assert metric.label
        assert callable(import_module(metric.measures).MEASURES[metric.name])
        assert metric.bounds is None or metric.bounds[0] < metric.bounds[1]
        if metric.bounded_by:
            assert {metric.bounded_by, f"{metric.bounded_by}_lower", f"{metric.bounded_by}_upper"} <= set(names)
    assert {m for module in {metric.measures for metric in task.metrics} for m in import_module(module).MEASURES} == set(names)


@EVERY_TASK
def test_reported_is_a_metric_under_every_way_of_measuring(name):
    task = TASKS[name]
    kind = get_type_hints(task.options)[task.measure]
    assert get_origin(kind) is Literal
    assert task.measure in task.shared
    assert set(task.shared) <= set(task.options.names())
    asked = {called for metric in task.metrics for called in metric.called}
    assert "reported" in asked
    for value in get_args(kind):
        options = task.options().replace(**{task.measure: value})
        for called in asked:
            meant = [metric for metric in task.metrics if metric.meant(called, options)]
            assert len(meant) == 1, (called, value)
            assert task.metric(called, options) == meant[0].name
        assert task.measured(task.metric("reported", options)).how  # tables say how a number is measured
    for metric in task.metrics:
        for option, values in metric.when.items():
            assert [task.options.parse(option, value) for value in values] == list(values)


@EVERY_TASK
def test_its_options_are_its_own_class_with_values_that_parse(name):
    task = TASKS[name]
    assert issubclass(task.options, Options)
    options = task.options()
    assert options.replace(**{option: getattr(options, option) for option in task.options.names()}) == options
    for protocol in PROTOCOLS:
        chosen = {option: value for option, value in option_values(protocol, name).items() if option in task.options.names()}
        assert options.replace(**chosen)


@EVERY_TASK
def test_its_tensors_are_declared_with_dtype_and_form(name):
    task = TASKS[name]
    for declared in (task.inputs, task.targets, task.predictions):
        for text in declared.values():
            declared_form(text)
    arguments = [argument(one) for one in task.inputs]
    assert len(set(arguments)) == len(arguments)


# Data sets


@EVERY_SET
def test_a_set_has_files_decoder_and_generator_by_convention(dataset):
    data_set = get_set(dataset)
    assert isinstance(data_set, DataSet)
    assert data_set.name == dataset
    assert callable(import_module(data_set.decoder).decode_clip)
    assert callable(import_module(generator_module(dataset)).write)
    assert set(mini_splits(dataset)) == set(data_set.published) == {"train", "val", "test"}
    assert sum(data_set.published.values()) >= data_set.videos
    assert any(task.dataset == dataset for task in TASKS.values())


@EVERY_SET
@pytest.mark.parametrize("scale", SCALES.values(), ids=list(SCALES))
def test_pretended_clips_have_the_forms_of_prepared_ones(dataset, scale):
    data_set = get_set(dataset)
    for name in (name for name, task in TASKS.items() if task.dataset == dataset):
        sizes = TASKS[name].at(scale)
        pretended = data_set.pretend(sizes, 2, sizes.classes, np.random.default_rng(0))
        forms = {array: ((2, *shape), dtype) for array, (shape, dtype) in data_set.forms(sizes).items()}
        of_clips = {array: (found.shape, str(found.dtype)) for array, found in pretended.items() if array in forms}
        assert of_clips == forms
        assert set(pretended) - set(forms) <= set(TASKS[name].arrays)  # those by annotation row
        assert {*plain_inputs(name), *TASKS[name].arrays} <= set(pretended)


@EVERY_SET
def test_generated_clips_are_prepared_in_the_same_forms(worlds, dataset):
    """What a set's files say of a clip, what its generator writes, and what is packed are one thing."""
    raw, folder = worlds(dataset)
    data_set, packed = get_set(dataset), Packed.open(folder)
    index: Index = data_set.read_index(raw)
    assert {split: len(rows) for split, rows in index.splits.items()} == SPLITS
    assert packed.clips == len(index.video_ids)
    of_clips = {name: ((packed.clips, *shape), dtype) for name, (shape, dtype) in data_set.forms(MINI).items()}
    of_rows = {name: (array.shape, str(array.dtype)) for name, array in index.row_arrays().items()}
    assert {name: (array.shape, str(array.dtype)) for name, array in packed.arrays.items()} == of_clips | of_rows
    assert {name for name, said in packed.manifest["arrays"].items() if said["axis"] == ROW} == set(of_rows)
    pretended = data_set.pretend(MINI, 2, 3, np.random.default_rng(0))
    for name, (shape, dtype) in of_rows.items():
        assert (pretended[name].shape[1:], str(pretended[name].dtype)) == (shape[1:], dtype), name
    assert data_set.source_stamps(raw)


# Views


@EVERY_TASK
def test_a_batch_of_pretended_clips_is_as_declared(name):
    """Of every input that a method may name, features too, at both scales."""
    task = TASKS[name]
    for scale in SCALES:
        run = Run.make(name, task.yardsticks[0].name, scale=scale)
        rows = np.arange(min(run.recipe.batch_size, 3))
        pretended = pretended_view(run, tuple(task.inputs))
        batch = pretended.batch(rows, draw_of(0, 0, 0))
        assert_declared(batch.inputs, {argument(one): text for one, text in task.inputs.items()}, len(rows))
        assert_declared(batch.targets, dict(task.targets), len(rows))
        few = tuple(task.inputs)[:1]
        assert set(pretended_view(run, few).batch(rows, draw_of(0, 0, 0)).inputs) == {argument(few[0])}


@EVERY_TASK
def test_a_batch_of_prepared_clips_is_as_declared_and_the_same_again(name, view):
    """What is drawn is drawn from the generator alone, so that a stopped run that goes on sees the same."""
    rows = view.splits["train"][[4, 1]]
    first, again = (view.batch(rows, draw_of(3, 1, 2)) for _ in range(2))
    assert_declared(first.inputs, {argument(one): TASKS[name].inputs[one] for one in plain_inputs(name)}, 2)
    assert_declared(first.targets, dict(TASKS[name].targets), 2)
    for part, same in zip(first, again, strict=True):
        assert all((tensor == same[key]).all() for key, tensor in part.items())


@EVERY_TASK
def test_yardsticks_predict_what_is_declared(name, view):
    rows = view.splits["test"]
    assert {split: len(found) for split, found in view.splits.items()} == SPLITS
    for predicted in predictions_of(name, view).values():
        assert_declared(predicted, dict(TASKS[name].predictions), len(rows))
    with pytest.raises(ValueError, match="no yardstick 'nothing'"):
        TASKS[name].room("yardsticks").fit("nothing", view)(rows)


@EVERY_TASK
def test_units_give_every_metric_again_from_their_file(tmp_path, name, view):
    """Those that are always reported, and, of a split without a clip and with one that training has seen, all others."""
    task = TASKS[name]
    reported = {task.metric("reported", task.options().replace(**{task.measure: value})) for value in measures_of(name)}
    for predicted in predictions_of(name, view).values():
        units = units_of(view, predicted)
        assert len(units) == SPLITS["test"]
        assert units.facts["absent"] == 0
        checksum = write_units(tmp_path / "units.npz", units)
        again = read_units(tmp_path / "units.npz", checksum)
        metrics = task.measure_all(units)
        assert task.measure_all(again) == metrics
        assert reported <= set(metrics)
        seen = np.arange(len(units)) == 0
        odd = Units({**units.of, "seen": seen} if "seen" in units.of else units.of, units.ids, {**units.facts, "absent": 2})
        everything = task.measure_all(odd)
        assert set(everything) == {metric.name for metric in task.metrics}
        for metric in task.metrics:
            low, high = metric.bounds or (-np.inf, np.inf)
            assert low <= everything[metric.name] <= high
        for bounded in {metric.bounded_by for metric in task.metrics if metric.bounded_by}:
            assert everything[f"{bounded}_lower"] <= everything[bounded] <= everything[f"{bounded}_upper"]


def measures_of(name: str) -> tuple:
    return get_args(get_type_hints(TASKS[name].options)[TASKS[name].measure])


@EVERY_TASK
def test_units_hold_little_and_each_row_for_itself(name, view):
    """A split's units are a subset's units put together: nothing in them depends on the batch."""
    predicted = next(iter(predictions_of(name, view).values()))
    units = units_of(view, predicted)
    assert all(len(array) == len(units) for array in units.of.values())
    assert len(set(units.ids)) == len(units)
    rows = view.splits["test"]
    for i, row in enumerate(rows):
        kept = view.keep({key: array[i : i + 1] for key, array in predicted.items()}, rows[i : i + 1])
        for key, array in kept.items():
            assert np.array_equal(array[0], units[key][i], equal_nan=True), (key, row)


@EVERY_TASK
def test_details_of_an_evaluation_can_be_printed_and_written(name, view):
    units = units_of(view, next(iter(predictions_of(name, view).values())))
    details = get_task(name).room("details").details(view.data.manifest, units)
    assert details.title
    assert details.lines
    assert all(len(line) == len(details.heads) for line in details.lines)
    assert json.loads(json.dumps(details.described))
    for rows in details.tables.values():
        assert len({len(row) for row in rows}) == 1

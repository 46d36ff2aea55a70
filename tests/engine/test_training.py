"""A training by recipes that today's methods do not have, stopped anywhere; and what a task draws."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from avs_rig import COUNTS, write_world
from pixels_avs import Pixels
from safetensors.torch import load_file

from dgsct.data.batch import Batch
from dgsct.engine.execute import execute
from dgsct.engine.recipe import Updates
from dgsct.engine.training import Training
from dgsct.errors import Stopped
from dgsct.progress import display
from dgsct.records.results import read_record
from dgsct.runs.run import Run
from dgsct.tasks import TASKS
from dgsct.tasks.avs import task as avs_task
from dgsct.tasks.avs.measures import MEASURES
from dgsct.tasks.avs.metrics import statistics_of
from dgsct.tasks.avs.task import Avs
from dgsct.tasks.metric import Metric

TIMES = ("seconds", "seconds_per_update", "provenance")
RUN = Run("avs-s4", "pixels", seed=1)
BATCHES = 4  # of an epoch: 16 clips in batches of 4


@pytest.fixture
def root(tmp_path, pixels):
    return write_world(tmp_path)


@pytest.fixture
def by(trained_by):
    """Changes the recipe of the small model on S4."""
    return lambda **changes: trained_by("avs-s4", "pixels", **changes)


def record_of(root: Path, run: Run = RUN) -> dict:
    """The record without what the clock decides."""
    record = read_record(execute(run, root))
    curve = [{k: v for k, v in entry.items() if k not in TIMES} for entry in record["curve"]]
    return {**{k: v for k, v in record.items() if k not in ("efficiency", "provenance")}, "curve": curve}


def best(root: Path, run: Run = RUN) -> dict[str, torch.Tensor]:
    return load_file(root / run.folder / "checkpoints/best.safetensors")


def stopped_once(root: Path, monkeypatch, step: int, run: Run = RUN) -> str:
    """Train, and be asked to stop in that step; returns the name of the checkpoint that is left."""
    whole = Training._step

    def asked(self, *batch):
        self.stop.asked |= self.progress.step == step
        return whole(self, *batch)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "_step", asked)
        with pytest.raises(Stopped):
            execute(run, root)
    return max(path.name for path in (root / run.folder / "checkpoints").glob("step-*"))


class Drawing(Avs):
    """A task that adds to every frame what it draws, and swaps the sound for that of another clip: as negatives would be."""

    def batch(self, rows: np.ndarray, draw: np.random.Generator) -> Batch:
        inputs, targets = super().batch(rows, draw)
        noise = torch.from_numpy(draw.normal(0, 0.2, inputs["frames"].shape).astype(np.float32))
        other = draw.choice(self.splits["train"], len(rows))
        vggish = torch.from_numpy(self.data.take("features/vggish", other))
        return Batch({"frames": inputs["frames"] + noise, "vggish": vggish}, targets)


@pytest.mark.parametrize("step", [1, 6, 7, 22])
def test_what_a_task_draws_is_the_same_stopped_in_an_epoch_or_not(root, monkeypatch, step):
    plain = record_of(root)
    shutil.rmtree(root / RUN.folder)
    monkeypatch.setattr(avs_task, "open_task", Drawing)
    undisturbed, weights = record_of(root), best(root)
    assert undisturbed["curve"][0]["loss"] != plain["curve"][0]["loss"]
    shutil.rmtree(root / RUN.folder)
    stopped_once(root, monkeypatch, step)
    assert record_of(root) == undisturbed
    assert all(torch.equal(value, weights[name]) for name, value in best(root).items())


def test_every_batch_of_every_epoch_and_seed_draws_anew(root, monkeypatch):
    drawn = []

    class Noting(Avs):
        def batch(self, rows, draw):
            drawn.append((len(rows), draw.random()))
            return super().batch(rows, draw)

    monkeypatch.setattr(avs_task, "open_task", Noting)
    execute(RUN, root)
    first, epochs = list(drawn), RUN.recipe.epochs
    evaluated = [number for size, number in first[BATCHES : BATCHES + COUNTS["test"] // 4]]
    assert len({number for _, number in first}) == BATCHES * epochs + len(evaluated)  # every evaluation draws the same
    drawn.clear()
    execute(replace(RUN, seed=2), root)
    assert not {number for _, number in drawn} & {number for _, number in first}


SCHEDULES = (
    {"schedule": "multi-step", "milestones": (2, 4), "lr_gamma": 0.1},
    {"schedule": "multi-step", "milestones": (2, 9, 10, 17), "lr_gamma": 0.5, "lr_per": "iteration"},
    {"schedule": "exponential", "lr_gamma": 0.9, "lr_per": "iteration"},
    {"schedule": "cosine", "warmup": 1, "warmup_lr": 1e-5},
    {"schedule": "cosine", "warmup": 7, "warmup_lr": 1e-5, "lr_per": "iteration"},
    {"schedule": "cosine", "optimizer": "sgd", "momentum": 0.9, "weight_decay": 5e-4, "lr": 0.01},
)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_resumed_training_keeps_its_schedule_and_optimiser(root, by, monkeypatch, schedule):
    by(**schedule)
    undisturbed, weights = record_of(root), best(root)
    assert len({entry["lr"] for entry in undisturbed["curve"]}) > 1
    shutil.rmtree(root / RUN.folder)
    for step in (5, 9, 18):  # in the second, the third (behind its first step) and the fifth epoch
        stopped_once(root, monkeypatch, step)
    assert record_of(root) == undisturbed
    assert all(torch.equal(value, weights[name]) for name, value in best(root).items())


def epoch_of(root: Path, run: Run, clips: int = 16) -> Training:
    """A training behind its first epoch on so many clips."""
    training = Training(run, root, "0" * 64)
    training.view.splits["train"] = training.view.splits["train"][:clips]
    with display("", 0, show=False) as show:
        training.train_epoch(show)
    return training


def test_accumulated_batches_move_weights_as_one_large_batch(root, by):
    """14 clips: batches of 2 make groups of 2, 2, 2 and 1 batches, as batches of 4 make 4, 4, 4 and 2 clips."""
    run, found = Run.make("avs-s4", "pixels", {"accumulation": "off"}), []
    for size, accumulate in ((2, 2), (4, 1)):
        by(order="file", optimizer="sgd", momentum=0.9, lr=0.05, batch_size=size, accumulate=accumulate)
        training = epoch_of(root, run, clips=14)
        assert training.progress.updates == 4
        found.append(training.plain.layer.weight.detach().double())
    assert not torch.equal(found[0], torch.zeros(1, 3).double())
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)


def test_between_the_batches_of_an_update_a_training_does_not_stop(root, by, monkeypatch):
    """Their gradients are in no checkpoint: it stops behind the update, and goes on to the same end."""
    by(accumulate=3, batch_size=2, checkpoint_every=4, epochs=2)
    run = Run.make("avs-s4", "pixels", {"accumulation": "off"}, seed=1)
    undisturbed = record_of(root, run)
    shutil.rmtree(root / run.folder)
    assert stopped_once(root, monkeypatch, 3, run) == "step-00000006"  # batches 3, 4 and 5 are one update
    assert stopped_once(root, monkeypatch, 14, run) == "step-00000016"  # the last two of the second epoch
    assert record_of(root, run) == undisturbed


def test_gradients_are_clipped_in_a_training(root, by):
    by(optimizer="sgd", lr=1.0, clip_norm=1e-3, order="file", batch_size=16)
    training = epoch_of(root, Run.make("avs-s4", "pixels", {"accumulation": "off"}))
    moved = torch.cat([p.detach().flatten() for p in training.plain.parameters()])
    assert moved.norm().item() == pytest.approx(1e-3, rel=1e-4)


def test_an_incomplete_last_batch_is_left_out(root, by):
    by(drop_last=True, batch_size=5)
    training = epoch_of(root, RUN)
    assert (training.progress.step, training.progress.batch) == (3, 3)


def test_a_loss_knows_its_epoch_also_when_resumed(root, monkeypatch):
    epochs, losses = [], Pixels.losses

    def noting(self, output, targets, epoch):
        epochs.append(epoch)
        return losses(self, output, targets, epoch)

    monkeypatch.setattr(Pixels, "losses", noting)
    stopped_once(root, monkeypatch, 5)
    execute(RUN, root)
    assert epochs == [epoch for epoch in range(RUN.recipe.epochs) for _ in range(BATCHES)]


def test_float64_is_kept_from_the_batch_to_the_best_weights(root, by):
    plain = record_of(root)
    by(dtype="float64")
    seen, forward = set(), Pixels.forward
    with pytest.MonkeyPatch.context() as patch:

        def noting(self, frames, vggish):
            output = forward(self, frames, vggish)
            seen.update((frames.dtype, vggish.dtype, output.logits.dtype, self.training))
            return output

        patch.setattr(Pixels, "forward", noting)
        double = record_of(root)
    assert seen == {torch.float64, True, False}  # in training and in evaluation
    assert {t.dtype for t in best(root).values()} == {torch.float64}
    assert double["key"] != plain["key"]
    assert double["metrics"] == pytest.approx(plain["metrics"], abs=0.5)
    assert double["curve"][0]["loss"] != plain["curve"][0]["loss"]
    assert double["curve"][0]["loss"] == pytest.approx(plain["curve"][0]["loss"], rel=1e-5)


@pytest.mark.parametrize("method", ["dg-sct", "late-fusion"])
def test_encoders_and_all_run_in_float64(mini_world, tmp_path, trained_by, method):
    """A step and an evaluation of the real models."""
    for name in ("data", "encoders"):
        (tmp_path / name).symlink_to(mini_world / name)
    trained_by("ave", method, dtype="float64", batch_size=4)
    training = Training(Run.make("ave", method), tmp_path, "0" * 64)
    assert {p.dtype for p in training.model.parameters()} == {torch.float64}
    rows = training.view.splits["train"][:4]
    batch = training._read((0, rows))
    assert {t.dtype for t in (*batch.inputs.values(), batch.targets["relevant"])} == {torch.float64}
    training.model.train()
    training._step(rows, batch, Updates("off", 1, 1), 0)
    assert {p.grad.dtype for p in training.model.parameters() if p.grad is not None} == {torch.float64}
    assert len(training.evaluate("test")) == 12


@pytest.fixture
def reporting(monkeypatch):
    """Has S4 select by what the F-score over all thresholds lacks, which falls as it learns; `higher`: whether that is good."""

    def change(higher: bool) -> None:
        task, called = TASKS["avs-s4"], ("reported",)
        monkeypatch.setitem(MEASURES, "missed", lambda u: 100 - 100 * float(statistics_of(u["counts"])[..., 2:].mean()))
        missed = Metric("missed", "missed", "dgsct.tasks.avs.measures", higher=higher, called=called)
        others = tuple(replace(metric, called=()) for metric in task.metrics)
        monkeypatch.setitem(TASKS, "avs-s4", replace(task, metrics=(missed, *others)))

    return change


@pytest.mark.parametrize("higher", [False, True])
def test_a_metric_says_whether_more_or_less_is_better(root, reporting, higher):
    reporting(higher)
    record = record_of(root)
    scores = {entry["epoch"]: entry["metrics"]["test"]["missed"] for entry in record["curve"]}
    assert len(set(scores.values())) > 1
    assert record["reported"] == "missed"
    assert record["best_epoch"] == (max if higher else min)(scores, key=scores.get)
    assert record["metrics"]["missed"] == scores[record["best_epoch"]]


def test_the_last_epoch_is_taken_where_the_recipe_says_so(root, by, reporting):
    """Whatever it measures, and without patience."""
    reporting(higher=True)
    by(select="last", patience=1)
    record = record_of(root)
    scores = [entry["metrics"]["test"]["missed"] for entry in record["curve"]]
    assert scores[-1] < max(scores)
    assert record["best_epoch"] == len(scores) == RUN.recipe.epochs
    assert record["metrics"] == record["curve"][-1]["metrics"]["test"]
    training = Training(RUN, root, record["key"])
    training.plain.load_state_dict(best(root))
    assert training.task.measure_all(training.evaluate("test")) == record["metrics"]


def test_epochs_between_evaluations_are_not_measured_and_cost_no_patience(root, by):
    by(epochs=12, evaluate_every=3, patience=2, lr=0.0)
    record = record_of(root)
    measured = [entry["epoch"] for entry in record["curve"] if entry["metrics"]]
    assert measured == [3, 6, 9]  # the first is the best, the two after it are not better
    assert len(record["curve"]) == 9
    assert record["best_epoch"] == 3
    assert record["curve"][0]["metrics"] == {}

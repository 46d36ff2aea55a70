"""The training recipe of the release, batch by batch and epoch by epoch (fact sheet, AVE, section 5), and what others bring."""

import math
import re
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch

from dgsct.data.batch import Batch
from dgsct.data.units import Units
from dgsct.engine.recipe import Updates, build_optimizer, build_schedule, clip, epoch_batches
from dgsct.engine.training import Training
from dgsct.progress import display
from dgsct.runs.run import Run
from dgsct.settings.recipe import Group, Recipe
from dgsct.tasks import get_task

# `end_epoch` alone, without a batch before it, is what some tests drive.
pytestmark = pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler")

PAPER = get_task("ave").recipes["paper"]
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
BN0 = "backbone.encoders.htsat.bn0."


@pytest.fixture
def training(mini_world, tmp_path):
    """Of a run with the given overrides; 24 clips in batches of 5, so that the fifth and last batch has an even index."""
    root = tmp_path / "results"
    root.mkdir()
    for name in ("data", "encoders"):
        (root / name).symlink_to(mini_world / name)

    def build(protocol: str = "release", **overrides) -> Training:
        made = Training(Run.make("ave", "dg-sct", overrides, protocol), root, "0" * 64)
        made.recipe = replace(made.recipe, batch_size=5, checkpoint_every=None, evaluate_every=1)
        return made

    return build


def epoch(training: Training) -> list[set[str]]:
    """Train one epoch; which entries of the state dict each batch changed."""
    changed, step = [], training._step

    def watched(*batch: Any) -> dict[str, float]:
        before = {name: t.clone() for name, t in training.plain.state_dict().items()}
        terms = step(*batch)
        changed.append({name for name, t in training.plain.state_dict().items() if not torch.equal(t, before[name])})
        return terms

    training._step = watched
    with display("", 0, show=False) as show:
        training.train_epoch(show)
    return changed


def statistics(training: Training) -> set[str]:
    """Running statistics of the adapters and of bn0."""
    return {name for name in training.plain.state_dict() if name.endswith(STATISTICS)}


def weights(training: Training) -> set[str]:
    return {name for name, p in training.plain.named_parameters() if p.requires_grad}


def test_under_release_every_second_batch_and_the_last_learn_the_others_move_statistics_alone(training):
    run = training()
    changed = epoch(run)
    moving = statistics(run)
    assert {BN0 + leaf for leaf in STATISTICS} < moving
    assert len(moving) == 3 + 4 * len(run.plain.backbone.p1) * 2 * 3
    assert [names == moving for names in changed] == [True, False, True, False, False]
    for names in changed[1::2] + changed[4:]:
        assert moving < names <= moving | weights(run)
    assert run.progress.updates == 3
    assert (run.progress.step, run.progress.batch) == (5, 5)


def test_without_accumulation_every_batch_learns(training):
    run = training(accumulation="off")
    assert all(names & weights(run) for names in epoch(run))
    assert run.progress.updates == 5


@pytest.mark.parametrize(("protocol", "learning"), [("release", [False, True]), ("paper", [True] * 2), ("clean", [True] * 2)])
def test_batches_of_an_epoch_of_the_real_set(training, protocol, learning):
    """418, the last of 3 clips; under release 209 of them learn, the last included."""
    run = training(protocol)
    run.recipe = PAPER
    run.view.splits["train"] = np.arange(3339)
    steps = []
    run._read = lambda item: torch.from_numpy(item[1])
    run._step = lambda rows, _batch, updates, number: steps.append((len(rows), updates.learns(number))) or {}
    with display("", 0, show=False) as show:
        run.train_epoch(show)
    assert [size for size, _ in steps] == [8] * 417 + [3]
    assert [learns for _, learns in steps] == learning * 209
    assert run.progress.updates == {"release": 209}.get(protocol, 418)


class Guess(torch.nn.Module):
    """A model that says class 0 everywhere, and keeps the sizes of its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def forward(self, frames: torch.Tensor, logmel: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(frames))
        return torch.zeros(frames.shape[:2], dtype=torch.int64)

    @staticmethod
    def predict(output: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"segments": output}


def test_the_real_test_split_is_evaluated_in_51_batches_of_which_the_last_holds_two_clips(training):
    run = training()
    assert run.run.recipe.batch_size == PAPER.batch_size
    run.recipe = PAPER
    rows = run.view.splits["test"] = np.resize(run.view.splits["test"], 402)
    run.model = run.plain = Guess()
    metrics = run.task.measure_all(run.evaluate("test"))
    assert run.model.sizes == [8] * 50 + [2]
    right = (run.view.labels(rows) == 0).mean(axis=1)
    assert metrics["acc_exact"] == pytest.approx(100 * right.mean())
    weights = np.repeat([1 / (8 * 51), 1 / (2 * 51)], [400, 2])  # each of the last two clips weighs 1/102, together 1/51
    assert metrics["acc_batch8"] == pytest.approx(100 * (weights * right).sum())
    assert metrics["acc_batch8"] != pytest.approx(metrics["acc_exact"], abs=1e-3)


def scored(percent: float) -> Units:
    """Ten clips of which `percent` of the segments are right."""
    labels = np.zeros((10, 10), np.int16)
    wrong = np.arange(100).reshape(10, 10) >= percent
    told = {"segments": labels + wrong, "labels": labels, "seen": np.zeros(10, bool)}
    return Units(told, tuple("abcdefghij"), {"background": 6, "batch_size": 10, "absent": 0})


def end_epochs(training: Training, scores: list[float]) -> list[tuple[int, int, bool]]:
    """End epochs with the given accuracies: best epoch, epochs below the best, and whether that was the last."""
    told = []
    with display("", 0, show=False) as show:
        for score in scores:
            training.evaluate = lambda split, score=score: scored(score)
            training.end_epoch(show)
            told.append((training.progress.best_epoch, training.progress.below_best, training.over))
    return told


def test_a_tie_is_best_again_and_patience_counts_epochs_below_the_best(training):
    run = training()
    run.recipe = replace(run.recipe, patience=2)
    told = end_epochs(run, [10.0, 20.0, 15.0, 20.0, 19.0, 20.0, 12.0, 19.0])
    assert told == [
        (1, 0, False), (2, 0, False), (2, 1, False), (4, 0, False),
        (4, 1, False), (6, 0, False), (6, 1, False), (6, 2, True),
    ]  # fmt: skip
    assert run.progress.best_metrics["acc_batch8"] == 20.0


def test_the_last_epoch_ends_a_training(training):
    run = training()
    run.recipe = replace(run.recipe, epochs=2)
    assert [over for *_, over in end_epochs(run, [1.0, 2.0])] == [False, True]


def test_the_best_epoch_is_kept_with_what_drifted(training):
    from safetensors.torch import load_file

    run = training()
    epoch(run)
    end_epochs(run, [50.0])
    kept = load_file(run.folder / "checkpoints/best.safetensors")
    state = run.plain.state_dict()
    assert kept.keys() == state.keys() - run.frozen
    assert all(torch.equal(value, state[name]) for name, value in kept.items())


def test_optimizer_and_schedule_of_the_paper(training, trained_by):
    trained_by("ave", "dg-sct", **asdict(PAPER))
    run = training()
    run.recipe = PAPER
    assert (PAPER.epochs, PAPER.patience, PAPER.batch_size) == (50, 20, 8)
    (group,) = run.optimizer.param_groups
    assert isinstance(run.optimizer.optimizer, torch.optim.Adam)
    assert {k: group[k] for k in ("lr", "betas", "eps", "weight_decay")} == {
        "lr": 5e-4, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0,
    }  # fmt: skip
    assert {id(p) for p in group["params"]} == {id(p) for p in run.plain.parameters() if p.requires_grad}
    end_epochs(run, [1.0] * 18)
    rates = [entry["lr"] for entry in run.progress.curve]
    printed = ["5.000e-04", "1.750e-04", "6.125e-05", "2.144e-05", "7.503e-06", "2.626e-06"]
    assert [f"{rate:.3e}" for rate in rates] == [rate for rate in printed for _ in range(3)]


def test_the_loss_is_the_sum_of_its_terms_not_halved_by_accumulation_and_its_gradient_is_not_clipped(training):
    """Adam's first moment after one batch is a tenth of the gradient of the summed terms, however large."""
    run = training(freeze_mode="eval")
    losses = run.plain.losses
    run.plain.losses = lambda *given: {name: 1e4 * term for name, term in losses(*given).items()}
    rows = run.view.splits["train"][:5]
    batch: Batch = run._read((0, rows))
    run.model.train()
    for module in run.plain.modules():
        if isinstance(module, torch.nn.Dropout | torch.nn.MultiheadAttention):
            module.eval()
    weight = run.plain.head.relevance.weight
    terms = run.plain.losses(run.plain(**batch.inputs), batch.targets, 0)
    (gradient,) = torch.autograd.grad(sum(terms.values()), weight)
    run._step(rows, run._read((0, rows)), Updates("release", 1, 1), 0)
    assert gradient.norm() > 100
    torch.testing.assert_close(run.optimizer.state[weight]["exp_avg"], gradient / 10)


class Parts(torch.nn.Module):
    """An encoder and a head that learn, and a tower that does not."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head, self.tower = torch.nn.Linear(2, 2), torch.nn.Linear(2, 1), torch.nn.Linear(2, 2)
        self.tower.requires_grad_(False)


def recipe_of(**changes) -> Recipe:
    return Recipe(**{"epochs": 4, "patience": 4, "batch_size": 4, "lr": 0.1, **changes})


def names_of(group: dict, model: torch.nn.Module) -> set[str]:
    return {name for name, p in model.named_parameters() if any(p is other for other in group["params"])}


def test_adam_and_sgd_get_what_the_recipe_says():
    model = Parts()
    adam = build_optimizer(model, recipe_of(weight_decay=0.02))
    assert isinstance(adam, torch.optim.Adam)
    assert [(g["lr"], g["weight_decay"]) for g in adam.param_groups] == [(0.1, 0.02)]
    assert names_of(adam.param_groups[0], model) == {"encoder.weight", "encoder.bias", "head.weight", "head.bias"}
    weight = model.head.weight
    start, gradients, v = weight.detach().clone(), (torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, 0.5]])), 0.0
    sgd = build_optimizer(model, recipe_of(optimizer="sgd", momentum=0.9, weight_decay=0.02))
    assert isinstance(sgd, torch.optim.SGD)
    for gradient in gradients:
        weight.grad = gradient.clone()
        v = 0.9 * v + gradient + 0.02 * start
        start = start - 0.1 * v
        sgd.step()
    torch.testing.assert_close(weight.detach(), start)


def test_groups_have_a_rate_and_a_decay_of_their_own():
    model = Parts()
    groups = (Group("*.bias", weight_decay=0.0), Group("encoder.*", lr=0.001))
    found = build_optimizer(model, recipe_of(optimizer="sgd", momentum=0.9, weight_decay=0.02, groups=groups)).param_groups
    assert [names_of(g, model) for g in found] == [{"encoder.bias", "head.bias"}, {"encoder.weight"}, {"head.weight"}]
    assert [(g["lr"], g["weight_decay"], g["momentum"]) for g in found] == [
        (0.1, 0.0, 0.9), (0.001, 0.02, 0.9), (0.1, 0.02, 0.9),
    ]  # fmt: skip
    whole = build_optimizer(model, recipe_of(groups=(Group("*", lr=0.3),))).param_groups
    assert [g["lr"] for g in whole] == [0.3]


@pytest.mark.parametrize("groups", [("hed.*",), ("head.*", "head.weight"), ("head.*", "encoder.*", "*.weight")])
def test_a_group_that_fits_nothing_is_refused_by_name(groups):
    """A slip of the pen, and what earlier groups have taken, be it beside something that does not learn."""
    with pytest.raises(ValueError, match=rf"no trainable parameter is left for the recipe's group '{re.escape(groups[-1])}'"):
        build_optimizer(Parts(), recipe_of(groups=tuple(Group(name) for name in groups)))


def test_an_optional_group_may_fit_nothing():
    """As channel attention's where an ablation builds none."""
    (only,) = build_optimizer(Parts(), recipe_of(groups=(Group("hed.*", lr=0.3, optional=True),))).param_groups
    assert only["lr"] == 0.1


def test_a_group_that_is_all_frozen_is_left_out():
    """As HTS-AT's own group is where S4 does not train HTS-AT; once it learns, it has its own rate."""
    model, recipe = Parts(), recipe_of(groups=(Group("tower.*", lr=0.001), Group("head.*", lr=0.3)))
    found = build_optimizer(model, recipe).param_groups
    assert [(names_of(g, model), g["lr"]) for g in found] == [
        ({"head.weight", "head.bias"}, 0.3), ({"encoder.weight", "encoder.bias"}, 0.1),
    ]  # fmt: skip
    model.tower.requires_grad_(True)
    assert [g["lr"] for g in build_optimizer(model, recipe).param_groups] == [0.001, 0.3, 0.1]


def rates(recipe: Recipe, steps: int = 3) -> list[list[float]]:
    """The rate of every group at every epoch's start or, per iteration, at every step."""
    optimizer = build_optimizer(Parts(), recipe)
    schedule, found = build_schedule(optimizer, recipe, steps), []
    for _ in range(recipe.epochs * (steps if recipe.lr_per == "iteration" else 1)):
        found.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return found


def cosine(i: int, length: int, base: float = 0.1) -> float:
    return base * (1 + math.cos(math.pi * i / length)) / 2


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"lr_step": 2, "lr_gamma": 0.5}, [0.1, 0.1, 0.05, 0.05]),
        ({"schedule": "multi-step", "milestones": (1, 3), "lr_gamma": 0.1}, [0.1, 0.01, 0.01, 0.001]),
        ({"schedule": "exponential", "lr_gamma": 0.5}, [0.1, 0.05, 0.025, 0.0125]),
        ({"schedule": "cosine"}, [cosine(i, 4) for i in range(4)]),
        ({"lr_per": "iteration", "epochs": 2, "lr_step": 2, "lr_gamma": 0.5}, [0.1, 0.1, 0.05, 0.05, 0.025, 0.025]),
        (
            {"lr_per": "iteration", "epochs": 2, "schedule": "multi-step", "milestones": (1, 4), "lr_gamma": 0.1},
            [0.1, 0.01, 0.01, 0.01, 0.001, 0.001],
        ),
        ({"lr_per": "iteration", "epochs": 2, "schedule": "cosine"}, [cosine(i, 6) for i in range(6)]),
        ({"lr_per": "iteration", "epochs": 1, "schedule": "exponential", "lr_gamma": 0.5}, [0.1, 0.05, 0.025]),
        (
            {"lr_per": "iteration", "epochs": 2, "schedule": "cosine", "warmup": 2, "warmup_lr": 1e-3},
            [1e-3, 1e-3, *(cosine(i, 6) for i in range(4))],
        ),
        (
            {"schedule": "exponential", "lr_gamma": 0.5, "warmup": 2, "warmup_lr": 1e-3},
            [1e-3, 1e-3, 0.1, 0.05],
        ),
    ],
)
def test_schedules(changes, expected):
    assert [rate for (rate,) in rates(recipe_of(**changes))] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("lr", "epochs", "first", "last"),
    [
        (0.002, 50, [1e-5, 0.002, 0.001998027, 0.001992115, 0.001982287, 0.001968583], [1.771e-5, 7.885e-6]),
        (0.002, 100, [1e-5, 0.002, 0.001999507, 0.001998027, 0.001995562, 0.001992115], [4.438e-6, 1.973e-6]),
        (0.002, 200, [1e-5, 0.002, 0.001999877, 0.001999507, 0.001998890, 0.001998027], [1.110e-6, 4.934e-7]),
        (0.002, 10, [1e-5, 0.002, 0.001951057, 0.001809017, 0.001587785, 0.001309017], [4.122e-4, 1.910e-4]),
        (0.0035, 5, [1e-5, 0.0035, 0.003165780, 0.002290780, 0.001209220], []),
    ],
)
def test_a_constant_epoch_before_the_cosine_as_coop_has_it(lr, epochs, first, last):
    """The rates that Dassl's own scheduler gives (fewshot.md, 12.6)."""
    changes = {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 5e-4, "schedule": "cosine"}
    found = [rate for (rate,) in rates(recipe_of(lr=lr, epochs=epochs, warmup=1, warmup_lr=1e-5, **changes))]
    assert found[: len(first)] == pytest.approx(first, rel=1e-6)
    assert found[len(found) - len(last) :] == pytest.approx(last, rel=1e-3)
    assert len(found) == epochs


def test_groups_take_the_schedules_factors():
    changes = {"schedule": "cosine", "warmup": 1, "warmup_lr": 1e-3, "groups": (Group("head.*", lr=0.01),)}
    expected = [[1e-4, 1e-3], *([cosine(i, 4, 0.01), cosine(i, 4)] for i in range(3))]
    assert np.array(rates(recipe_of(**changes))) == pytest.approx(np.array(expected))


@pytest.mark.parametrize(("clip_norm", "norm"), [(1.0, 1.0), (100.0, 5.0), (None, 5.0)])
def test_the_norm_of_all_gradients_is_clipped(clip_norm, norm):
    model = Parts()
    model.encoder.bias.grad, model.head.bias.grad = torch.tensor([3.0, 0.0]), torch.tensor([4.0])
    clip(model.parameters(), recipe_of(clip_norm=clip_norm))
    gradient = torch.cat([model.encoder.bias.grad, model.head.bias.grad])
    torch.testing.assert_close(gradient, torch.tensor([3.0, 0.0, 4.0]) * norm / 5)


def told(updates: Updates, batches: int, word: str) -> list:
    return [getattr(updates, word)(i) for i in range(batches)]


@pytest.mark.parametrize(
    ("accumulation", "accumulate", "batches", "starts", "learns", "steps", "weights"),
    [
        # The release's fault, which knows no accumulation of its own.
        ("release", 1, 5, [1, 1, 1, 1, 1], [0, 1, 0, 1, 1], [0, 1, 0, 1, 1], [1, 1, 1, 1, 1]),
        ("release", 1, 4, [1, 1, 1, 1], [0, 1, 0, 1], [0, 1, 0, 1], [1, 1, 1, 1]),
        ("off", 1, 3, [1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1]),
        ("off", 2, 5, [1, 0, 1, 0, 1], [1, 1, 1, 1, 1], [0, 1, 0, 1, 1], [1 / 2, 1 / 2, 1 / 2, 1 / 2, 1]),
        ("off", 3, 5, [1, 0, 0, 1, 0], [1, 1, 1, 1, 1], [0, 0, 1, 0, 1], [1 / 3, 1 / 3, 1 / 3, 1 / 2, 1 / 2]),
        ("off", 8, 2, [1, 0], [1, 1], [0, 1], [1 / 2, 1 / 2]),
    ],
)
def test_which_batches_update(accumulation, accumulate, batches, starts, learns, steps, weights):
    updates = Updates(accumulation, accumulate, batches)
    assert told(updates, batches, "starts") == starts
    assert told(updates, batches, "learns") == learns
    assert told(updates, batches, "steps") == steps
    assert told(updates, batches, "weight") == weights


def test_the_order_of_batches_and_the_last_one():
    rows = np.array([7, 3, 5, 1, 9])
    in_file = recipe_of(batch_size=2, order="file")
    assert [b.tolist() for b in epoch_batches(rows, in_file, seed=3, epoch=2)] == [[7, 3], [5, 1], [9]]
    dropped = epoch_batches(rows, recipe_of(batch_size=2, drop_last=True), seed=3, epoch=2)
    whole = epoch_batches(rows, recipe_of(batch_size=2), seed=3, epoch=2)
    assert [b.tolist() for b in dropped] == [b.tolist() for b in whole[:2]]
    sums = {epoch_batches(rows, recipe_of(batch_size=4, drop_last=True), 3, epoch)[0].sum() for epoch in range(9)}
    assert len(sums) > 1  # another epoch leaves out another row
    alone = epoch_batches(rows, recipe_of(batch_size=8, drop_last=True, order="file"), 0, 0)
    assert [b.tolist() for b in alone] == [rows.tolist()]
    assert [recipe_of(batch_size=2, drop_last=drop).steps(5) for drop in (False, True)] == [3, 2]
    assert [recipe_of(batch_size=2, drop_last=drop).steps(4) for drop in (False, True)] == [2, 2]


@pytest.mark.parametrize(
    ("every", "offset", "expected"), [(1, -1, [0, 1, 2, 3, 4]), (2, -1, [1, 3, 4]), (2, 0, [0, 2, 4]), (3, 1, [1, 4])]
)
def test_epochs_that_are_evaluated(every, offset, expected):
    recipe = recipe_of(epochs=5, evaluate_every=every, evaluate_offset=offset)
    assert [epoch for epoch in range(5) if recipe.evaluates(epoch)] == expected

"""The training recipe of the release, batch by batch and epoch by epoch (fact sheet, AVE, section 5)."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from dgsct.engine import training as training_module
from dgsct.engine.training import Training
from dgsct.progress import display
from dgsct.runs.run import Run
from dgsct.settings.scales import MINI, PAPER

# `end_epoch` alone, without a batch before it, is what some tests drive.
pytestmark = pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler")

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
        made.recipe = replace(made.recipe, batch_size=5, checkpoint_every=None)
        return made

    return build


def epoch(training: Training) -> list[set[str]]:
    """Train one epoch; which entries of the state dict each batch changed."""
    changed, step = [], training._step

    def watched(rows: np.ndarray, batch: Any, learns: bool) -> dict[str, float]:
        before = {name: t.clone() for name, t in training.plain.state_dict().items()}
        terms = step(rows, batch, learns)
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
    run.recipe = PAPER.recipe("ave")
    run.task.splits["train"] = np.arange(3339)
    steps = []
    run._read = torch.from_numpy
    run._step = lambda rows, _batch, learns: steps.append((len(rows), learns)) or {}
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

    def forward(self, frames: torch.Tensor, _audio: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(frames))
        return torch.zeros(frames.shape[:2], dtype=torch.int64)

    @staticmethod
    def predict(output: torch.Tensor) -> torch.Tensor:
        return output


def test_the_real_test_split_is_evaluated_in_51_batches_of_which_the_last_holds_two_clips(training):
    run = training()
    run.recipe = PAPER.recipe("ave")
    rows = run.task.splits["test"] = np.resize(run.task.splits["test"], 402)
    run.model = Guess()
    metrics = run.evaluate("test")
    assert run.model.sizes == [8] * 50 + [2]
    right = (run.task.labels(rows) == 0).mean(axis=1)
    assert metrics["acc_exact"] == pytest.approx(100 * right.mean())
    weights = np.repeat([1 / (8 * 51), 1 / (2 * 51)], [400, 2])  # each of the last two clips weighs 1/102, together 1/51
    assert metrics["acc_batch8"] == pytest.approx(100 * (weights * right).sum())
    assert metrics["acc_batch8"] != pytest.approx(metrics["acc_exact"], abs=1e-3)


def end_epochs(training: Training, scores: list[float]) -> list[tuple[int, int, bool]]:
    """End epochs with the given accuracies: best epoch, epochs below the best, and whether that was the last."""
    told = []
    with display("", 0, show=False) as show:
        for score in scores:
            training.evaluate = lambda split, score=score: {"acc_batch8": score, "split": split}
            over = training.end_epoch(show)
            told.append((training.progress.best_epoch, training.progress.below_best, over))
    return told


def test_a_tie_is_best_again_and_patience_counts_epochs_below_the_best(training):
    run = training()
    run.recipe = replace(run.recipe, patience=2)
    told = end_epochs(run, [10.0, 20.0, 15.0, 20.0, 19.0, 20.0, 12.0, 19.9])
    assert told == [
        (1, 0, False), (2, 0, False), (2, 1, False), (4, 0, False),
        (4, 1, False), (6, 0, False), (6, 1, False), (6, 2, True),
    ]  # fmt: skip
    assert run.progress.best_metrics == {"acc_batch8": 20.0, "split": "test"}


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


def test_optimizer_and_schedule_of_the_paper(training, monkeypatch):
    monkeypatch.setattr(training_module, "get_scale", lambda _name: replace(MINI, recipes=PAPER.recipes))
    run = training()
    recipe = PAPER.recipe("ave")
    assert (recipe.epochs, recipe.patience, recipe.batch_size) == (50, 20, 8)
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
    run.plain.losses = lambda output, targets: {name: 1e4 * term for name, term in losses(output, targets).items()}
    rows = run.task.splits["train"][:5]
    frames, audio, targets = run._read(rows)
    run.model.train()
    for module in run.plain.modules():
        if isinstance(module, torch.nn.Dropout | torch.nn.MultiheadAttention):
            module.eval()
    weight = run.plain.head.relevance.weight
    terms = run.plain.losses(run.plain(frames, audio), targets)
    (gradient,) = torch.autograd.grad(sum(terms.values()), weight)
    run._step(rows, run._read(rows), True)
    assert gradient.norm() > 100
    torch.testing.assert_close(run.optimizer.state[weight]["exp_avg"], gradient / 10)

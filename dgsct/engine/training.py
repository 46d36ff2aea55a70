"""One training: the model, its optimiser and where it stands; an epoch, a checkpoint, an evaluation.

The same seed gives the same metrics on one kind of machine, in one go or stopped and resumed at any batch.
"""

import os
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from dgsct.data.batch import Arrays, Batch
from dgsct.data.features import features_folder
from dgsct.data.prepared import Prepared
from dgsct.data.units import Units
from dgsct.encoders.weights import load_encoders
from dgsct.engine.checkpoint import best_weights, newest_checkpoint, newest_state, save_best, save_checkpoint
from dgsct.engine.contract import Targets, check_predictions
from dgsct.engine.execution import HERE, Execution
from dgsct.engine.loading import batches_ahead
from dgsct.engine.recipe import DTYPES, Updates, build_optimizer, build_schedule, clip, draw_of, epoch_batches
from dgsct.engine.stopping import StopRequest
from dgsct.errors import DgsctError, MachineError, Stopped
from dgsct.methods.base import Model, StartsFromAnother
from dgsct.ops.batch_norm import share_batch_norms
from dgsct.ops.numerics import exact_numerics
from dgsct.progress import Display
from dgsct.runs.inputs import BEST, features_of, packed_folder
from dgsct.runs.run import Run
from dgsct.tasks import get_set, get_task
from dgsct.tasks.base import View


@dataclass
class Progress:
    """Where a training stands; all of it is in every checkpoint."""

    key: str
    epoch: int = 0
    batch: int = 0
    step: int = 0
    updates: int = 0
    loss: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    best: float = -1.0
    best_epoch: int = 0
    below_best: int = 0
    best_metrics: dict[str, float] = field(default_factory=dict)
    best_units: str = ""
    curve: list[dict[str, Any]] = field(default_factory=list)
    resumed: int = 0
    wall: float = 0.0


def seed_everything(seed: int) -> None:
    """Seed python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def open_view(run: Run, root: Path, scratch: str | None = None, stop: StopRequest | None = None) -> View:
    """A run's task on its prepared data and features below the results folder `root`.

    With `scratch` the packed arrays are read from a copy below that folder of this machine's own disk.
    """
    folder = root / packed_folder(run.scale, run.dataset)
    if scratch:
        from dgsct.engine.scratch import local_copy

        folder = local_copy(folder, scratch, lambda: bool(stop))
    features = {name: root / features_folder(run.scale, run.dataset, name) for name in features_of(run)}
    data = Prepared.open(folder, features)
    get_set(run.dataset).check(data.manifest, data.packed.arrays, run.sizes)
    return get_task(run.task).room("task").open_task(data, run.sizes, run.options, run.reads)


def start_model(run: Run, root: Path) -> Model:
    """The run's model as its training starts: random weights by its seed, its encoders' files, its parents' best weights."""
    seed_everything(run.seed)
    model: Any = run.build()
    # In bfloat16 frozen weights are copied anyway, and what they were copied from would stay.
    load_encoders(model, run.scale, root, mapped=run.options.precision == "fp32")
    for name, parent in run.parents.items():
        path = root / parent.folder / BEST
        try:
            cast(StartsFromAnother, model).start_from(name, best_weights(path))
        except (ValueError, RuntimeError, KeyError) as error:
            reason = " ".join(str(error).split())
            raise DgsctError(f"{path} does not fit {run.method} on {run.task} ({reason}); train that run again") from None
    return model.to(DTYPES[run.recipe.dtype])


def accelerator_of(run: Run) -> Any:
    """Accelerate's view of this machine, in the run's precision."""
    from accelerate import Accelerator, DistributedDataParallelKwargs

    mixed = {"fp32": "no", "bf16": "bf16"}[run.options.precision]
    # Some parameters exist only because the release has them: gradients must not be waited for.
    ddp = DistributedDataParallelKwargs(find_unused_parameters=True)
    return Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=mixed, kwargs_handlers=[ddp])


def in_dtype(batch: Batch, dtype: torch.dtype) -> Batch:
    """A batch for a model of that dtype; float32 models get it as it is."""
    if dtype == torch.float32:
        return batch
    parts = ({k: t.to(dtype) if t.is_floating_point() else t for k, t in part.items()} for part in batch)
    return Batch(*parts)


@torch.no_grad()
def predictions(
    model: nn.Module,
    plain: Model,
    view: View,
    rows: np.ndarray,
    run: Run,
    device: torch.device,
    before: Callable[[int], object] = lambda done: None,
    keep: Callable[[Arrays, np.ndarray], Arrays] | None = None,
) -> Arrays:
    """What `view.keep` keeps of the predictions of `model` in evaluation mode for rows `rows`, [N, ...] by name.

    In batches of the recipe's size, in their order; no more than one batch of predictions is in memory. `plain` is the model
    without accelerate's wrapper. `keep(predicted, rows)` may keep something else. `before` is called ahead of every batch
    with the number of rows that are done; what it raises ends the work.
    """
    model.eval()
    keep, size, dtype = keep or view.keep, run.recipe.batch_size, DTYPES[run.recipe.dtype]
    kept: list[Arrays] = []
    batches = [(i, rows[i : i + size]) for i in range(0, len(rows), size)]

    def read(item: tuple[int, np.ndarray]) -> Batch:
        return in_dtype(view.batch(item[1], draw_of(run.seed, -1, item[0])), dtype)

    for (i, some), batch in batches_ahead(read, batches, device):
        before(i)
        predicted = check_predictions(plain.predict(model(**batch.inputs)), run)
        kept.append(keep({name: t.cpu().numpy() for name, t in predicted.items()}, some))
    return {name: np.concatenate([part[name] for part in kept]) for name in kept[0]}


class Training:
    """The state of one training run."""

    def __init__(self, run: Run, root: Path, key: str, stop: StopRequest | None = None, execution: Execution = HERE) -> None:
        self.run, self.root, self.key, self.stop = run, root, key, stop
        self.folder = root / run.folder
        self.task, self.recipe, self.options = get_task(run.task), run.recipe, run.options
        exact_numerics(self.recipe.threads)
        self.accelerator = accelerator_of(run)
        self.view = open_view(run, root, execution.scratch, stop)
        model = start_model(run, root)
        _execute_as(model, self.options.precision, execution)
        if self.accelerator.num_processes > 1:
            share_batch_norms(model)
        self.parameters = {
            "parameters": sum(p.numel() for p in model.parameters()),
            "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        }
        optimizer = build_optimizer(model, self.recipe)
        self.schedule = build_schedule(optimizer, self.recipe, self.recipe.steps(len(self.view.splits["train"])))
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        # The model without accelerate's wrapper; found once, as that walks through all modules.
        self.plain: Any = self.accelerator.unwrap_model(self.model)
        self.accelerator.register_for_checkpointing(self.schedule)
        self.frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
        self.accelerator.register_save_state_pre_hook(lambda _m, weights, _d: _drop_frozen(weights, self.frozen))
        self.accelerator.register_load_state_pre_hook(lambda models, folder: _load_partial(models, folder, self.frozen))
        self.progress = Progress(key)

    @property
    def over(self) -> bool:
        """Whether there is nothing left to train."""
        patient = self.recipe.select == "best" and self.progress.below_best >= self.recipe.patience
        return self.progress.epoch >= self.recipe.epochs or patient

    def resume(self) -> str:
        """Continue from the newest intact checkpoint of this very run; says what was done, if anything.

        Where none is left the run begins anew.
        """
        folder, newest, notices = self.folder / "checkpoints", None, []
        if self.accelerator.is_main_process:
            newest, notices = newest_checkpoint(folder, self.key)
        self.accelerator.wait_for_everyone()
        if not self.accelerator.is_main_process:
            newest = newest_state(folder, self.key)
        prefix = "".join(f"{notice}; " for notice in notices)
        if newest is None:
            return f"{prefix}there is no other: the run begins anew" if prefix else ""
        path, state = newest
        try:
            self.accelerator.load_state(str(path))
        except Exception as error:  # it is what was written, so this process or machine cannot take it
            raise MachineError(
                f"{path} is intact and yet cannot be loaded ({type(error).__name__}: {error}); start again, or delete {folder} "
                "to begin anew"
            ) from error
        self.progress = Progress(**state)
        self.progress.resumed += 1
        # Where an epoch's steps were done before the stop, its schedule moves now; torch would warn of a wrong order.
        self.schedule.optimizer._opt_called = self.progress.step > 0
        return f"{prefix}resumed at epoch {self.progress.epoch + 1}, batch {self.progress.batch}"

    def save(self) -> None:
        """A checkpoint of the present moment."""
        self._may_write()
        save_checkpoint(self.folder / "checkpoints", self.progress.step, self.accelerator, asdict(self.progress))

    def train_epoch(self, show: Display) -> None:
        """The rest of the current epoch, from the batch at which the progress stands."""
        p = self.progress
        batches = epoch_batches(self.view.splits["train"], self.recipe, self.run.seed, p.epoch)
        updates = Updates(self.options.accumulation, self.recipe.accumulate, len(batches))
        self.model.train()
        started = time.perf_counter()
        waiting = list(enumerate(batches))[p.batch :]
        for (number, rows), batch in batches_ahead(self._read, waiting, self.accelerator.device):
            # Batches at which the release does not step only move normalisation statistics: no gradients there.
            terms = self._step(rows, batch, updates, number)
            for name, value in terms.items():
                p.loss[name] = p.loss.get(name, 0.0) + value
            p.batch += 1
            p.step += 1
            p.updates += updates.steps(number)
            p.seconds += time.perf_counter() - started
            show.at(p.step)
            every = self.recipe.checkpoint_every
            # Between two steps of one update the gradients are in no checkpoint.
            whole = updates.faulty or updates.steps(number)
            if whole and self._any(bool(self.stop)):
                self.save()
                raise self._stopped()
            if whole and every and p.step % every == 0 and p.batch < len(batches):
                self.save()
            started = time.perf_counter()

    def _may_write(self) -> None:
        if self.stop is not None:
            self.stop.may_write()

    def _stopped(self) -> Stopped:
        p = self.progress
        return Stopped(f"{self.run.folder} stopped at epoch {p.epoch + 1}, step {p.step}; start it again to go on")

    def _any(self, flag: bool) -> bool:
        """Whether any process of the run says so; a signal may reach one of them only."""
        if self.accelerator.num_processes == 1:
            return flag
        return bool(self.accelerator.reduce(torch.tensor(float(flag), device=self.accelerator.device)).item())

    def _share(self, rows: np.ndarray) -> np.ndarray:
        """This process's rows of a batch: with n processes every n-th."""
        return rows[self.accelerator.process_index :: self.accelerator.num_processes]

    def _read(self, item: tuple[int, np.ndarray]) -> Batch:
        number, rows = item
        share = self._share(rows)
        draw = draw_of(self.run.seed, self.progress.epoch, number, self.accelerator.process_index)
        return in_dtype(self.view.batch(share if len(share) else rows[:1], draw), DTYPES[self.recipe.dtype])

    def _step(self, rows: np.ndarray, batch: Batch, updates: Updates, number: int) -> dict[str, float]:
        """One step on this process's share `batch` of the rows `rows`, the epoch's batch `number`."""
        if updates.starts(number):
            self.optimizer.zero_grad()  # first, so that gradients take no room beside what the forward pass keeps
        learns = updates.learns(number)
        with torch.set_grad_enabled(learns):
            targets = Targets(batch.targets, self.run)
            terms = self.plain.losses(self.model(**batch.inputs), targets, self.progress.epoch)
        # Gradients are averaged over processes, so each loss weighs as many rows as its process holds.
        weight = len(self._share(rows)) * self.accelerator.num_processes / len(rows)
        loss = torch.stack(list(terms.values())).sum() * weight
        if self._any(not torch.isfinite(loss)):
            whole = self.accelerator.reduce(loss.detach(), "mean").item()
            raise DgsctError(f"{self.run.folder}: the loss is {whole} at step {self.progress.step}; lower the learning rate")
        if learns:
            self.accelerator.backward(loss * updates.weight(number) if updates.each > 1 else loss)
        if learns and updates.steps(number):
            clip(self.model.parameters(), self.recipe)
            self.optimizer.step()
        if self.recipe.lr_per == "iteration":
            self.schedule.step()
        values = torch.stack([value.detach() for value in terms.values()])
        if self.accelerator.num_processes > 1:
            values = self.accelerator.reduce(values * weight, "mean")
        return dict(zip(terms, values.tolist(), strict=True))

    def evaluate(self, split: str) -> Units:
        """What the metrics of one split are computed from, with the model as it is. Raises Stopped when asked to stop."""
        rows = self.view.splits[split]

        def go_on(_done: int) -> None:
            if self._any(bool(self.stop)):
                raise self._stopped()

        kept = predictions(self.model, self.plain, self.view, rows, self.run, self.accelerator.device, go_on)
        return self.view.units(kept, rows, self.recipe.batch_size)

    def end_epoch(self, show: Display) -> None:
        """Evaluate where the recipe says so, select, move the schedule."""
        p, last = self.progress, self.progress.epoch + 1 >= self.recipe.epochs
        lr = self.schedule.get_last_lr()[0]
        metrics: dict[str, dict[str, float]] = {}
        scored = ""
        if self.recipe.evaluates(p.epoch):
            metrics = self._select(last)
            score = metrics[self.options.selection][self.run.reported]
            best = f" (best {p.best:.2f} at {p.best_epoch})" if p.best_epoch else ""
            scored = f"  {self.options.selection} {score:.2f}{best}"
        batches = max(p.batch, 1)
        terms = {name: value / batches for name, value in p.loss.items()}
        entry = {"epoch": p.epoch + 1, "loss": sum(terms.values()), "loss_terms": terms, "lr": lr, "seconds": p.seconds}
        p.curve.append({**entry, "metrics": metrics})
        show.say(f"epoch {p.epoch + 1}/{self.recipe.epochs}  loss {entry['loss']:.4f}{scored}  {p.seconds:.1f} s")
        if self.recipe.lr_per == "epoch":
            self.schedule.step()
        p.epoch, p.batch, p.loss, p.seconds = p.epoch + 1, 0, {}, 0.0

    def _select(self, last: bool) -> dict[str, dict[str, float]]:
        """Measure the split that selects, and the test split where this epoch is chosen; what is chosen is kept."""
        p, split = self.progress, self.options.selection
        units = {split: self.evaluate(split)}
        metrics = {split: self.task.measure_all(units[split])}
        better = self.task.measured(self.run.reported)
        score = metrics[split][self.run.reported]
        signed, best = (score, p.best) if better.higher else (-score, -p.best)
        first = not p.best_epoch
        equal = score == p.best and self.task.keeps_last
        chosen = last if self.recipe.select == "last" else first or signed > best or equal
        if not chosen:
            p.below_best += 1
            return metrics
        p.best, p.best_epoch, p.below_best = score, p.epoch + 1, 0
        if split != "test":
            units["test"] = self.evaluate("test")
            metrics["test"] = self.task.measure_all(units["test"])
        p.best_metrics = metrics["test"]
        if self.accelerator.is_main_process:
            self._may_write()
            weights = [self.plain.state_dict()]
            _drop_frozen(weights, self.frozen)
            p.best_units = save_best(self.folder / "checkpoints", weights[0], self.key, p.best_epoch, units["test"])
        return metrics


def _execute_as(model: Any, precision: str, execution: Execution) -> None:
    """How a model is run on this machine, which changes no result beyond rounding (docs/performance.md).

    Frozen weights are kept in the precision in which they are used.
    """
    for module in model.modules():
        if precision == "bf16" and hasattr(module, "store_as"):
            module.store_as(torch.bfloat16)
        if hasattr(module, "checkpoint_stages"):
            if execution.checkpoint_stages:
                module.checkpoint_stages()
            if execution.compile:
                module.compile_stages()


def _drop_frozen(weights: list[dict[str, Tensor]], frozen: set[str]) -> None:
    """Frozen weights come from the encoders' files; statistics that drift (bn0) stay in the checkpoint."""
    for i, state in enumerate(weights):
        weights[i] = {name: t for name, t in state.items() if name.removeprefix("module.") not in frozen}


def _load_partial(models: list[nn.Module], folder: str, frozen: set[str]) -> None:
    """Everything but the frozen weights must be there; ValueError names what is not."""
    from safetensors.torch import load_file

    while models:
        result = models.pop().load_state_dict(load_file(os.path.join(folder, "model.safetensors")), strict=False)
        wrong = {name.removeprefix("module.") for name in result.missing_keys} - frozen | set(result.unexpected_keys)
        if wrong:
            raise ValueError(f"{folder} does not fit at {min(wrong)!r}")

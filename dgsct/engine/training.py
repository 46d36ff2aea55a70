"""One training: the model, its optimiser and where it stands; an epoch, a checkpoint, an evaluation.

The same seed gives the same metrics on one kind of machine, in one go or stopped and resumed at any batch.
"""

import os
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dgsct.encoders.weights import load_encoders
from dgsct.engine.checkpoint import newest_checkpoint, newest_state, save_best, save_checkpoint
from dgsct.engine.execution import HERE, Execution
from dgsct.engine.loading import batches_ahead
from dgsct.engine.stopping import StopRequest
from dgsct.errors import DgsctError, MachineError, Stopped
from dgsct.methods import get_method
from dgsct.ops.batch_norm import share_batch_norms
from dgsct.progress import Display
from dgsct.runs.resolve import resolve_options, sound_of
from dgsct.runs.run import Run
from dgsct.settings.scales import get_scale
from dgsct.tasks import get_task


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
    curve: list[dict[str, Any]] = field(default_factory=list)
    resumed: int = 0
    wall: float = 0.0


def seed_everything(seed: int) -> None:
    """Seed python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def epoch_batches(rows: np.ndarray, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """The shuffled batches of one epoch; a function of seed and epoch alone, so that a resumed run sees the same."""
    order = np.random.default_rng([seed, epoch]).permutation(len(rows))
    return [rows[order[i : i + batch_size]] for i in range(0, len(rows), batch_size)]


def open_task(run: Run, root: Path, scratch: str | None = None, stop: StopRequest | None = None) -> Any:
    """The prepared data of a run below the results folder `root`, with its targets and measures.

    With `scratch` they are read from a copy below that folder of this machine's own disk.
    """
    scale, options = get_scale(run.scale), resolve_options(run.task, run.method, run.protocol, dict(run.overrides))
    folder = root / "data" / run.scale / run.task / "packed"
    if scratch:
        from dgsct.engine.scratch import local_copy

        folder = local_copy(folder, scratch, lambda: bool(stop))
    return import_module(get_task(run.task).module).open_task(folder, scale, options, sound_of(run.method, options))


@torch.no_grad()
def predictions(
    model: torch.nn.Module,
    decode: Callable[[Any], torch.Tensor],
    task: Any,
    rows: np.ndarray,
    size: int,
    device: torch.device,
    before: Callable[[int], object] = lambda done: None,
    keep: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """What `task.measured` keeps of the predictions of `model` in evaluation mode for annotation rows `rows`, [N, ...].

    In batches of `size`, in their order; no more than one batch of predictions is in memory. `keep(predicted, rows)` may
    keep something else. `before` is called ahead of every batch with the number of clips that are done; what it raises
    ends the work.
    """
    model.eval()
    keep = keep or task.measured
    kept: list[np.ndarray] = []
    batches = (rows[i : i + size] for i in range(0, len(rows), size))
    for i, (some, (frames, audio, _targets)) in enumerate(batches_ahead(task.batch, batches, device)):
        before(i * size)
        kept.append(keep(decode(model(frames, audio)).cpu().numpy(), some))
    return np.concatenate(kept)


class Training:
    """The state of one training run."""

    def __init__(self, run: Run, root: Path, key: str, stop: StopRequest | None = None, execution: Execution = HERE) -> None:
        from accelerate import Accelerator, DistributedDataParallelKwargs

        self.run, self.root, self.key, self.stop = run, root, key, stop
        self.folder = root / run.folder
        self.scale = get_scale(run.scale)
        self.recipe = self.scale.recipe(run.task, run.method)
        self.options = resolve_options(run.task, run.method, run.protocol, dict(run.overrides))
        _exact_numerics()
        if self.recipe.threads:
            torch.set_num_threads(self.recipe.threads)
        mixed = {"fp32": "no", "bf16": "bf16"}[self.options.precision]
        # Some parameters exist only because the release has them: gradients must not be waited for.
        ddp = DistributedDataParallelKwargs(find_unused_parameters=True)
        self.accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=mixed, kwargs_handlers=[ddp])
        self.task = open_task(run, root, execution.scratch, stop)
        seed_everything(run.seed)
        model = import_module(get_method(run.method).module_for(run.task)).build(run.task, self.scale, self.options)
        load_encoders(model, run.scale, root)
        _execute_as(model, self.options.precision, execution)
        if self.accelerator.num_processes > 1:
            share_batch_norms(model)
        trainable = [p for p in model.parameters() if p.requires_grad]
        self.parameters = {
            "parameters": sum(p.numel() for p in model.parameters()),
            "trainable": sum(p.numel() for p in trainable),
        }
        optimizer = torch.optim.Adam(trainable, lr=self.recipe.lr, fused=True)
        self.schedule = torch.optim.lr_scheduler.StepLR(optimizer, self.recipe.lr_step, self.recipe.lr_gamma)
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.accelerator.register_for_checkpointing(self.schedule)
        self.frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
        self.accelerator.register_save_state_pre_hook(lambda _m, weights, _d: _drop_frozen(weights, self.frozen))
        self.accelerator.register_load_state_pre_hook(lambda models, folder: _load_partial(models, folder, self.frozen))
        self.reported = get_task(run.task).metric("reported", self.options)
        self.progress = Progress(key)

    @property
    def plain(self) -> torch.nn.Module:
        """The model without accelerate's wrapper."""
        return self.accelerator.unwrap_model(self.model)

    def resume(self) -> str:
        """Continue from the newest intact checkpoint of this very run; says what was done, if anything.

        Where none is left the run begins anew.
        """
        folder, found, notices = self.folder / "checkpoints", None, []
        if self.accelerator.is_main_process:
            found, notices = newest_checkpoint(folder, self.key)
        self.accelerator.wait_for_everyone()
        if not self.accelerator.is_main_process:
            found = newest_state(folder, self.key)
        told = "".join(f"{notice}; " for notice in notices)
        if found is None:
            return f"{told}there is no other: the run begins anew" if told else ""
        path, state = found
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
        return f"{told}resumed at epoch {self.progress.epoch + 1}, batch {self.progress.batch}"

    def save(self) -> None:
        """A checkpoint of the present moment."""
        self._may_write()
        save_checkpoint(self.folder / "checkpoints", self.progress.step, self.accelerator, asdict(self.progress))

    def train_epoch(self, show: Display) -> None:
        """The rest of the current epoch, from the batch at which the progress stands."""
        p = self.progress
        batches = epoch_batches(self.task.splits["train"], self.recipe.batch_size, self.run.seed, p.epoch)
        self.model.train()
        started = time.perf_counter()
        for rows, batch in batches_ahead(self._read, batches[p.batch :], self.accelerator.device):
            # The release zeroes gradients before every batch and steps on every second one and on the last: the other
            # batches only move normalisation statistics, so their gradients are not computed here.
            learns = self.options.accumulation == "off" or p.batch % 2 == 1 or p.batch == len(batches) - 1
            terms = self._step(rows, batch, learns)
            for name, value in terms.items():
                p.loss[name] = p.loss.get(name, 0.0) + value
            p.batch += 1
            p.step += 1
            p.updates += learns
            p.seconds += time.perf_counter() - started
            show.at(p.step)
            every = self.recipe.checkpoint_every
            if self._any(bool(self.stop)):
                self.save()
                raise self._stopped()
            if every and p.step % every == 0 and p.batch < len(batches):
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
        """This process's clips of a batch: with n processes every n-th."""
        return rows[self.accelerator.process_index :: self.accelerator.num_processes]

    def _read(self, rows: np.ndarray) -> Any:
        share = self._share(rows)
        return self.task.batch(share if len(share) else rows[:1])

    def _step(self, rows: np.ndarray, batch: Any, learns: bool) -> dict[str, float]:
        """One step on this process's share `batch` of the clips `rows`."""
        frames, audio, targets = batch
        self.optimizer.zero_grad()  # first, so that gradients take no room beside what the forward pass keeps
        with torch.set_grad_enabled(learns):
            terms = self.plain.losses(self.model(frames, audio), targets)
        # Gradients are averaged over processes, so each loss weighs as many clips as its process holds.
        weight = len(self._share(rows)) * self.accelerator.num_processes / len(rows)
        loss = torch.stack(list(terms.values())).sum() * weight
        if self._any(not torch.isfinite(loss)):
            whole = self.accelerator.reduce(loss.detach(), "mean").item()
            raise DgsctError(f"{self.run.folder}: the loss is {whole} at step {self.progress.step}; lower the learning rate")
        if learns:
            self.accelerator.backward(loss)
            self.optimizer.step()
        values = torch.stack([value.detach() for value in terms.values()])
        if self.accelerator.num_processes > 1:
            values = self.accelerator.reduce(values * weight, "mean")
        return dict(zip(terms, values.tolist(), strict=True))

    def evaluate(self, split: str) -> dict[str, float]:
        """Metrics of the model as it is, on one split, in its stored order. Raises Stopped when asked to stop."""
        rows = self.task.splits[split]

        def go_on(_done: int) -> None:
            if self._any(bool(self.stop)):
                raise self._stopped()

        size = self.recipe.batch_size
        measured = predictions(self.model, self.plain.predict, self.task, rows, size, self.accelerator.device, go_on)
        return self.task.metrics(measured, rows, size)

    def end_epoch(self, show: Display) -> bool:
        """Evaluate, select, move the schedule; True when training is over."""
        p = self.progress
        lr = self.schedule.get_last_lr()[0]
        split = self.options.selection
        metrics = {split: self.evaluate(split)}
        score = metrics[split][self.reported]
        if score > p.best or (score == p.best and self.task.last_of_equals):
            p.best, p.best_epoch, p.below_best = score, p.epoch + 1, 0
            if split != "test":
                metrics["test"] = self.evaluate("test")
            p.best_metrics = metrics["test"]
            if self.accelerator.is_main_process:
                self._may_write()
                weights = [self.plain.state_dict()]
                _drop_frozen(weights, self.frozen)
                save_best(self.folder / "checkpoints", weights[0], self.key, p.best_epoch)
        else:
            p.below_best += 1
        batches = max(p.batch, 1)
        terms = {name: value / batches for name, value in p.loss.items()}
        entry = {"epoch": p.epoch + 1, "loss": sum(terms.values()), "loss_terms": terms, "lr": lr, "seconds": p.seconds}
        p.curve.append({**entry, "metrics": metrics})
        show.say(
            f"epoch {p.epoch + 1}/{self.recipe.epochs}  loss {entry['loss']:.4f}  {split} {score:.2f} "
            f"(best {p.best:.2f} at {p.best_epoch})  {p.seconds:.1f} s"
        )
        self.schedule.step()
        p.epoch, p.batch, p.loss, p.seconds = p.epoch + 1, 0, {}, 0.0
        return p.epoch >= self.recipe.epochs or p.below_best >= self.recipe.patience


def _exact_numerics() -> None:
    """TF32 and the choice of kernels by timing are off, whatever the environment says; the ledger's `numerics`."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = False


def _execute_as(model: torch.nn.Module, precision: str, execution: Execution) -> None:
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


def _drop_frozen(weights: list[dict[str, torch.Tensor]], frozen: set[str]) -> None:
    """Frozen weights come from the encoders' files; statistics that drift (bn0) stay in the checkpoint."""
    for i, state in enumerate(weights):
        weights[i] = {name: t for name, t in state.items() if name.removeprefix("module.") not in frozen}


def _load_partial(models: list[torch.nn.Module], folder: str, frozen: set[str]) -> None:
    """Everything but the frozen weights must be there; ValueError names what is not."""
    from safetensors.torch import load_file

    while models:
        result = models.pop().load_state_dict(load_file(os.path.join(folder, "model.safetensors")), strict=False)
        wrong = {name.removeprefix("module.") for name in result.missing_keys} - frozen | set(result.unexpected_keys)
        if wrong:
            raise ValueError(f"{folder} does not fit at {min(wrong)!r}")

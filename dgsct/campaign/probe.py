"""A probe: a few training steps and evaluation batches of one run, with random weights and random clips, timed.

It needs neither data nor encoder weights, so a plan can be made before either is there. What it does not see is
reading the clips: they lie in memory.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median
from typing import Any

import numpy as np
import torch

from dgsct.campaign.step_times import Device, device_here
from dgsct.data.batch import Batch
from dgsct.data.extractors import get_extractor
from dgsct.data.features import PREFIX
from dgsct.data.prepared import Pretended
from dgsct.engine.contract import Targets, check_predictions
from dgsct.engine.recipe import DTYPES, build_optimizer, clip, draw_of
from dgsct.engine.training import in_dtype
from dgsct.errors import DgsctError
from dgsct.methods.base import Inputs
from dgsct.ops.numerics import exact_numerics
from dgsct.runs.run import Run
from dgsct.tasks import get_set, get_task
from dgsct.tasks.base import View

STEPS = 20
EVALUATIONS = 6
WARM_UP = 2  # of each kind: first calls choose kernels and fill caches


def probe(run: Run) -> tuple[Device, dict[str, Any]]:
    """Time `STEPS` training steps of `run`, half with and half without gradients, and `EVALUATIONS` evaluation batches.

    Returns the device, and medians in seconds (`learn`, `still`, `evaluation`) with parameters and peak memory.
    DgsctError if the model does not fit into the GPU's memory.
    """
    gpu, device = torch.cuda.is_available(), device_here()
    if gpu:
        device = Device(torch.cuda.get_device_name(), True)
    elif device.gpu:
        raise DgsctError(
            f"torch cannot use this machine's {device.name}; install a torch build for its driver, "
            "or set CUDA_VISIBLE_DEVICES= to plan for the processor"
        )
    place = torch.device("cuda" if gpu else "cpu")
    try:
        if gpu:
            torch.cuda.reset_peak_memory_stats()
        with torch.random.fork_rng():
            figures = _measure(run, place)
    except torch.cuda.OutOfMemoryError:
        size = run.recipe.batch_size
        raise DgsctError(f"{run.folder} with batch {size} does not fit into the memory of {device.name}") from None
    peak = torch.cuda.max_memory_allocated() if gpu else None
    return device, {**figures, "peak_memory_bytes": peak, "made": datetime.now(UTC).isoformat(timespec="seconds")}


def _measure(run: Run, place: torch.device) -> dict[str, Any]:
    """The work of `training.Training._step` and `evaluate` on one batch of pretended clips, over and over."""
    from accelerate.utils import convert_to_fp32, send_to_device

    recipe = run.recipe
    exact_numerics(recipe.threads)
    dtype = DTYPES[recipe.dtype]
    model: Any = run.build().to(place, dtype)
    optimizer = build_optimizer(model, recipe)
    batch: Batch = send_to_device(in_dtype(pretended_batch(run), dtype), place)
    targets = Targets(batch.targets, run)

    def forward() -> Any:
        with torch.autocast(place.type, torch.bfloat16, enabled=run.options.precision == "bf16"):
            return convert_to_fp32(model(**batch.inputs))

    def step(learns: bool) -> None:
        with torch.set_grad_enabled(learns):
            loss = torch.stack(list(model.losses(forward(), targets, 0).values())).sum()
        if learns:
            optimizer.zero_grad()
            loss.backward()
            clip(model.parameters(), recipe)
            optimizer.step()
        loss.item()

    model.train()
    seconds = {learns: [] for learns in (True, False)}
    for i in range(STEPS):
        seconds[i % 2 == 1].append(_timed(step, i % 2 == 1))
    model.eval()

    def evaluate() -> None:
        for tensor in check_predictions(model.predict(forward()), run).values():
            tensor.cpu()

    with torch.no_grad():
        evaluations = [_timed(evaluate) for _ in range(EVALUATIONS)]
    return {
        "learn": median(seconds[True][WARM_UP:]),
        "still": median(seconds[False][WARM_UP:]),
        "evaluation": median(evaluations[WARM_UP:]),
        "parameters": sum(p.numel() for p in model.parameters()),
        "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
    }


def pretended_batch(run: Run) -> Batch:
    """What the run's task gives for a batch of random clips."""
    return pretended_view(run, run.reads).batch(np.arange(run.recipe.batch_size), draw_of(run.seed, 0, 0))


def pretended_view(run: Run, inputs: Inputs) -> View:
    """The run's task on random clips, a batch of them: a view that gives `inputs` on arrays that its data set pretends."""
    count, sizes, rng = run.recipe.batch_size, run.sizes, np.random.default_rng(0)
    arrays = get_set(run.dataset).pretend(sizes, count, sizes.classes, rng)
    for name in (name for name in inputs if name.startswith(PREFIX)):
        extractor = get_extractor(name.removeprefix(PREFIX))
        shape = (count, arrays["frames"].shape[1], *extractor.shape(sizes))
        arrays[name] = np.abs(rng.standard_normal(shape, dtype=np.float32))
    rows = [{"id": f"clip{i}", "media": i} for i in range(count)]
    data = Pretended(arrays, {"categories": [str(i) for i in range(sizes.classes)], "rows": rows})
    return get_task(run.task).room("task").open_task(data, sizes, run.options, inputs)


def _timed(work: Callable[..., object], *arguments: Any) -> float:
    """Seconds that `work` takes; what it has sent to a GPU included."""
    started = time.perf_counter()
    work(*arguments)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started

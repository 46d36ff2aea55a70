"""A probe: a few training steps and evaluation batches of one run, with random weights and random clips, timed.

It needs neither data nor encoder weights, so a plan can be made before either is there. What it does not see is
reading the clips: they lie in memory.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from statistics import median
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from dgsct.campaign.step_times import Device, device_here
from dgsct.errors import DgsctError
from dgsct.methods import get_method
from dgsct.runs.resolve import resolve_options, sound_of
from dgsct.runs.run import Run
from dgsct.settings.options import AVS, Options
from dgsct.settings.scales import Scale, get_scale
from dgsct.tasks import get_task
from dgsct.tasks.sets import get_set

STEPS = 20
EVALUATIONS = 6
WARM_UP = 2  # of each kind: first calls choose kernels and fill caches


def probe(run: Run) -> tuple[Device, dict[str, Any]]:
    """Time `STEPS` training steps of `run`, half with and half without gradients, and `EVALUATIONS` evaluation batches.

    Returns the device, and medians in seconds (`learn`, `still`, `evaluation`) with parameters and peak memory.
    DgsctError if the model does not fit into the GPU's memory.
    """
    scale = get_scale(run.scale)
    recipe = scale.recipe(run.task, run.method)
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
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
            figures = _measure(run, scale, recipe.batch_size, place)
    except torch.cuda.OutOfMemoryError:
        raise DgsctError(f"{run.folder} with batch {recipe.batch_size} does not fit into the memory of {device.name}") from None
    peak = torch.cuda.max_memory_allocated() if gpu else None
    return device, {**figures, "peak_memory_bytes": peak, "made": datetime.now(UTC).isoformat(timespec="seconds")}


def _measure(run: Run, scale: Scale, size: int, place: torch.device) -> dict[str, Any]:
    """The work of `training.Training._step` and `evaluate` on one batch of `size` clips, over and over."""
    from accelerate.utils import convert_to_fp32

    options = resolve_options(run.task, run.method, run.protocol, dict(run.overrides))
    torch.backends.cudnn.allow_tf32 = False
    model = import_module(get_method(run.method).module_for(run.task)).build(run.task, scale, options).to(place)
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trainable, lr=scale.recipe(run.task, run.method).lr, fused=True)
    frames, audio, targets = _random_batch(run, scale, size, options)
    targets = {name: t.to(place) for name, t in targets.items()}

    def forward() -> Any:
        with torch.autocast(place.type, torch.bfloat16, enabled=options.precision == "bf16"):
            return convert_to_fp32(model(frames.to(place), audio.to(place)))

    def step(learns: bool) -> None:
        with torch.set_grad_enabled(learns):
            loss = torch.stack(list(model.losses(forward(), targets).values())).sum()
        if learns:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        loss.item()

    model.train()
    seconds = {learns: [] for learns in (True, False)}
    for i in range(STEPS):
        seconds[i % 2 == 1].append(_timed(step, i % 2 == 1))
    model.eval()
    with torch.no_grad():
        evaluations = [_timed(lambda: model.predict(forward()).cpu()) for _ in range(EVALUATIONS)]
    return {
        "learn": median(seconds[True][WARM_UP:]),
        "still": median(seconds[False][WARM_UP:]),
        "evaluation": median(evaluations[WARM_UP:]),
        "parameters": sum(p.numel() for p in model.parameters()),
        "trainable": sum(p.numel() for p in trainable),
    }


def _timed(work: Callable[..., object], *arguments: Any) -> float:
    """Seconds that `work` takes; what it has sent to a GPU included."""
    started = time.perf_counter()
    work(*arguments)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _random_batch(run: Run, scale: Scale, size: int, options: Options) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """What the run's task gives for `size` clips: frames [B, T, 3, H, W], the sound that the method reads, targets."""
    known, sound = get_set(run.task), sound_of(run.method, options)
    if sound == "logmel" and known.front_end(scale)["tile"] != options.tile:
        sound = "wave"
    shapes = {name: (size, *shape) for name, (shape, _) in known.forms(scale).items()}
    frames, audio = torch.rand(shapes["frames"]), torch.randn(shapes[sound])
    return frames, 0.1 * audio if sound == "wave" else 10 * audio - 40, _random_targets(run.task, scale, size, shapes)


def _random_targets(task: str, scale: Scale, size: int, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Targets of `size` clips as the task's own `batch` gives them."""
    if task in AVS:
        annotated = torch.ones(shapes["masks"][:2], dtype=torch.bool)
        annotated[:, 1:] = task != "avs-s4"
        return {"masks": torch.randint(2, shapes["masks"]).float(), "annotated": annotated}
    classes = scale.classes[task]
    labels = torch.randint(classes, (size, 1)).expand(-1, shapes["frames"][1])
    return import_module(get_task(task).module).Ave.targets(SimpleNamespace(background=classes), labels)

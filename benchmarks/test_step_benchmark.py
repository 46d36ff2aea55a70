"""A full-size training step of one clip of AVE, S4 and MS3: the release's order of operations against the package's.

`reference` is tests/release_model.py or tests/release_segmentation.py in float32. Each way is a process of its own, started
as the DAG starts long runs, and steps are done in turn. Ratios and peak memory are printed, and lie in `extra_info` with
`--benchmark-json FILE`; the time that pytest-benchmark prints is that of both. On two cores with 20 GiB:
`python -m pytest benchmarks/test_step_benchmark.py -s -k test_step` (`-k "test_step and s4"` for one task).
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import pytest
import torch
from torch.utils._pytree import tree_leaves, tree_map

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from release_model import ReleaseModel, tiled
from release_segmentation import RELEASES

from dgsct.encoders.frontend import log_mel_compact
from dgsct.encoders.weights import encoder_file, load_encoders, publish
from dgsct.engine.recipe import build_optimizer
from dgsct.engine.worker import HEAP
from dgsct.runs.run import Run

REFERENCES = {"ave": ReleaseModel, **RELEASES}
SEGMENTS = {"ave": 10, "avs-s4": 5, "avs-ms3": 5}
ROUNDS = {"ave": 7, "avs-s4": 3, "avs-ms3": 3}
WAYS = ("reference-fp32", "fast-fp32", "fast-bf16")
STEPS = [("ave", "train"), ("ave", "evaluate"), ("avs-s4", "train"), ("avs-ms3", "train")]


def peak_mib() -> int:
    """Highest resident size of this process, in MiB."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) >> 10


class Step:
    """Clips of a task through one of the ways; gates half open and norms alive, so that every path has a gradient."""

    def __init__(self, way: str, task: str, clips: int = 1, scale: str = "paper") -> None:
        torch.manual_seed(0)
        torch.set_num_threads(2)
        self.low = way.endswith("bf16")
        run, reference = Run.make(task, "dg-sct", scale=scale), way.startswith("reference")
        self.model = REFERENCES[task](run.sizes) if reference else run.build()
        self.inputs, self.targets = random_clips(run, clips, reference)
        with torch.no_grad():
            for name, p in self.model.named_parameters():
                if re.search(r"gate(_\w+)?$|norm[12]|tpavi.*(batch_norm|W_z\.1)\.weight", name):
                    p.fill_(0.5)
        if not reference:
            as_a_run_loads(self.model, run, mapped=not self.low)
        if self.low:
            self.model.backbone.encoders.store_as(torch.bfloat16)
        self.optimizer = build_optimizer(self.model, run.recipe)

    def forward(self):
        with torch.autocast("cpu", torch.bfloat16, enabled=self.low):
            output = self.model(**self.inputs)
        return tree_map(torch.Tensor.float, output)

    def loss(self) -> torch.Tensor:
        return sum(self.model.losses(self.forward(), self.targets).values())

    def train(self) -> float:
        self.optimizer.zero_grad()
        loss = self.loss()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    @torch.no_grad()
    def evaluate(self) -> float:
        return sum(t.sum().item() for t in tree_leaves(self.forward()))


def as_a_run_loads(model: torch.nn.Module, run: Run, mapped: bool) -> None:
    """The encoders' weights through their files, as a run's training starts."""
    with TemporaryDirectory() as folder:
        for name, encoder in model.backbone.encoders.named_children():
            publish(encoder_file(Path(folder), run.scale, name), encoder, {})
        load_encoders(model, run.scale, Path(folder), mapped)


def random_clips(run: Run, clips: int, whole_wave: bool) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Inputs and targets of a run: tiled waves, or what the package reads (the log-mel where nobody trains it)."""
    segments, sizes, tile = SEGMENTS[run.task], run.sizes, run.options.tile
    side = sizes.swin.image_size if run.task == "ave" else sizes.frame_size
    inputs = {"frames": torch.rand(clips, segments, 3, side, side)}
    wave = torch.randn(clips, segments, sizes.htsat.sample_rate) * 0.1
    if whole_wave:
        inputs["wave"] = tiled(wave, tile)
    elif "logmel" in run.reads:
        inputs["logmel"] = log_mel_compact(wave.flatten(0, 1), sizes.htsat, tile).unflatten(0, (clips, segments))
    else:
        inputs["wave"] = wave
    if run.task == "ave":
        return inputs, {"relevant": torch.ones(clips, segments), "category": torch.zeros(clips, dtype=torch.long)}
    annotated = torch.ones(clips, segments, dtype=torch.bool)
    annotated[:, 1:] = run.task == "avs-ms3"  # of an S4 training clip the first frame only
    return inputs, {"masks": (torch.rand(clips, segments, side, side) > 0.7).float(), "annotated": annotated}


AS_THE_DAG = {**os.environ, "GLIBC_TUNABLES": HEAP}


class Beside:
    """A process of its own for one way, which does a step for every line that it reads."""

    def __init__(self, way: str, task: str, kind: str) -> None:
        call = [sys.executable, __file__, way, task, kind]
        self.process = subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=AS_THE_DAG)

    def step(self) -> tuple[float, float, int]:
        """Seconds of one step, by the clock and of its processors, and the highest resident size so far, in MiB."""
        print(file=self.process.stdin, flush=True)
        seconds, processor, peak = self.process.stdout.readline().split()
        return float(seconds), float(processor), int(peak)

    def __enter__(self) -> "Beside":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.wait()


def serve(way: str, task: str, kind: str, scale: str = "paper") -> None:
    """The other side of `Beside`."""
    step = Step(way, task, scale=scale)
    step.model.train(kind == "train")
    for _ in sys.stdin:
        started, worked = time.perf_counter(), time.process_time()
        loss = getattr(step, kind)()
        seconds, processor = time.perf_counter() - started, time.process_time() - worked
        assert torch.isfinite(torch.tensor(loss))
        print(seconds, processor, peak_mib(), flush=True)


@pytest.mark.parametrize("way", WAYS[1:])
@pytest.mark.parametrize(("task", "kind"), STEPS)
def test_step(benchmark, task, kind, way):
    """In turn with the reference, as the speed of a machine drifts: each round is a ratio of its own."""
    rounds = []
    with Beside(WAYS[0], task, kind) as slow, Beside(way, task, kind) as fast:
        slow.step(), fast.step()  # the first one meets fresh memory
        benchmark.pedantic(lambda: rounds.append((*slow.step(), *fast.step())), rounds=ROUNDS[task])
    reference, reference_work, reference_peak, package, work, peak = zip(*rounds, strict=True)
    ratio = median(a / b for a, b in zip(reference, package, strict=True))
    worked = median(a / b for a, b in zip(reference_work, work, strict=True))
    share = peak[-1] / reference_peak[-1]
    benchmark.extra_info.update(rounds=rounds, ratio=ratio, processor_ratio=worked, share=share)
    print(
        f"\n{task} {kind} {way}: {median(package):.2f} s and {peak[-1]:,} MiB, reference {median(reference):.2f} s and "
        f"{reference_peak[-1]:,} MiB: {ratio:.2f} times as fast, {share:.1%} of the memory"
    )
    print("rounds:", ", ".join(f"{a:.1f} / {b:.1f} = {a / b:.2f}" for a, b in zip(reference, package, strict=True)))
    print(f"processor time, which work beside it touches less: {worked:.2f} times as fast")
    assert ratio > 1
    if kind == "train":
        assert share < 0.65


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("task", REFERENCES)
def test_kept_for_the_backward_pass(benchmark, task, way):
    """What a forward pass has allocated and not given back at its end; timing it says nothing."""
    step = Step(way, task)
    step.model.train()
    cpu = torch.profiler.ProfilerActivity.CPU
    with torch.profiler.profile(activities=[cpu], profile_memory=True, acc_events=True) as profile:
        loss = benchmark.pedantic(step.loss, rounds=1)
    kept = sum(event.self_cpu_memory_usage for event in profile.key_averages()) / 2**30
    benchmark.extra_info["kept_gib"] = kept
    print(f"\nkept {task} {way}: {kept:.2f} GiB")
    assert torch.isfinite(loss)


GROUPS = {
    "matrix products": "mm addmm bmm baddbmm mkldnn_convolution convolution_backward",
    "copies": "copy_ cat fill_ zero_ index index_select",
    "fused attention": "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention_for_cpu_backward",
    "products and sums by element": "mul mul_ add add_ addcmul addcdiv sub div sum mean gt threshold_ threshold_backward",
    "GELU": "gelu gelu_backward",
    "normalisation": "native_layer_norm native_layer_norm_backward native_batch_norm native_batch_norm_backward",
    "Adam": "_fused_adam_",
}


def print_profile(way: str, task: str, clips: str) -> None:
    """Where one training step spends its time: the second one of one clip, the first one of more."""
    step = Step(way, task, int(clips))
    step.model.train()
    if int(clips) > 1:  # the memory of two cores' machine
        step.model.backbone.checkpoint_stages()
    else:
        step.train()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], acc_events=True) as profile:
        started = time.perf_counter()
        step.train()
        seconds = time.perf_counter() - started
    group = {f"aten::{name}": title for title, names in GROUPS.items() for name in names.split()}
    spent: dict[str, float] = dict.fromkeys([*GROUPS, "rest"], 0.0)
    for event in profile.key_averages():
        spent[group.get(event.key, "rest")] += event.self_cpu_time_total / 1e6
    print(f"{task} {way}, {clips} clips: {seconds:.1f} s, peak {peak_mib():,} MiB")
    for title, part in spent.items():
        print(f"  {title:30} {part:6.2f} s {part / sum(spent.values()):6.1%}")


@pytest.mark.parametrize(
    ("way", "task", "clips"),
    [
        *[(way, task, 1) for task in REFERENCES for way in WAYS[1:]],
        ("fast-bf16", "ave", 8),
    ],
)
def test_profile(benchmark, way, task, clips):
    """Of one clip, and of a batch of eight with stages checkpointed; the time that pytest-benchmark prints says nothing."""
    call = [sys.executable, __file__, way, task, "profile", str(clips)]
    summary = benchmark.pedantic(lambda: subprocess.check_output(call, text=True, env=AS_THE_DAG), rounds=1)
    print("\n" + summary)
    assert "matrix products" in summary


if __name__ == "__main__":
    way, task, kind, *rest = sys.argv[1:]
    print_profile(way, task, *rest) if kind == "profile" else serve(way, task, kind, *rest)

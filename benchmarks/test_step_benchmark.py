"""A full-size training step and a forward pass of one clip: the release's order of operations against the package's.

`reference` is tests/release_model.py in float32. Each way is a process of its own, started as the DAG starts long runs, and
steps are done in turn. Ratios and peak memory are printed, and lie in `extra_info` with `--benchmark-json FILE`; the time that
pytest-benchmark prints is that of both. About ten minutes on two cores, 20 GiB:
`python -m pytest benchmarks/test_step_benchmark.py -s`.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from release_model import ReleaseModel, tiled

from dgsct.encoders.frontend import log_mel_compact
from dgsct.engine.worker import HEAP
from dgsct.methods.dg_sct.ave import DGSCT
from dgsct.settings import scales
from dgsct.tasks import get_task
from dgsct.tasks.ave.options import AveOptions as Options

PAPER = get_task("ave").at(scales.PAPER)
WAYS = ("reference-fp32", "fast-fp32", "fast-bf16")
TILE = 10
ROUNDS = 7


def peak_mib() -> int:
    """Highest resident size of this process, in MiB."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) >> 10


class Step:
    """Clips through one of the ways; gates half open, so that every path has a gradient."""

    def __init__(self, way: str, clips: int = 1) -> None:
        torch.manual_seed(0)
        torch.set_num_threads(2)
        self.low = way.endswith("bf16")
        self.model = ReleaseModel(PAPER) if way.startswith("reference") else DGSCT(PAPER, Options())
        head = self.model.CMBS if way.startswith("reference") else self.model.head
        side, wave = PAPER.swin.image_size, torch.randn(clips, 10, PAPER.htsat.sample_rate) * 0.1
        compact = log_mel_compact(wave.flatten(0, 1), PAPER.htsat, TILE).unflatten(0, (clips, 10))
        sound = {"wave": tiled(wave, TILE)} if way.startswith("reference") else {"logmel": compact}
        self.inputs = {"frames": torch.rand(clips, 10, 3, side, side), **sound}
        self.losses = lambda out: head.losses(out, torch.ones(clips, 10), torch.zeros(clips, dtype=torch.long))
        with torch.no_grad():
            for name, p in self.model.named_parameters():
                if name.split(".")[-1].startswith("gate") or "norm1" in name or "norm2" in name:
                    p.fill_(0.5)
        if self.low:
            self.model.backbone.encoders.store_as(torch.bfloat16)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(trained, lr=1e-5, fused=True)

    def forward(self):
        with torch.autocast("cpu", torch.bfloat16, enabled=self.low):
            output = self.model(**self.inputs)
        return type(output)(*(t.float() for t in output))

    def train(self) -> float:
        self.optimizer.zero_grad()
        loss = sum(self.losses(self.forward()).values())
        loss.backward()
        self.optimizer.step()
        return loss.item()

    @torch.no_grad()
    def evaluate(self) -> float:
        return self.forward().relevance.sum().item()


AS_THE_DAG = {**os.environ, "GLIBC_TUNABLES": HEAP}


class Beside:
    """A process of its own for one way, which does a step whenever it is told to."""

    def __init__(self, way: str, kind: str) -> None:
        call = [sys.executable, __file__, way, kind]
        self.process = subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=AS_THE_DAG)

    def step(self) -> tuple[float, int]:
        """Seconds of one step, and the highest resident size of the process so far, in MiB."""
        print(file=self.process.stdin, flush=True)
        seconds, peak = self.process.stdout.readline().split()
        return float(seconds), int(peak)

    def __enter__(self) -> "Beside":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.wait()


def serve(way: str, kind: str) -> None:
    """The other side of `Beside`."""
    step = Step(way)
    step.model.train(kind == "train")
    for _ in sys.stdin:
        started = time.perf_counter()
        loss = getattr(step, kind)()
        seconds = time.perf_counter() - started
        assert torch.isfinite(torch.tensor(loss))
        print(seconds, peak_mib(), flush=True)


@pytest.mark.parametrize("way", WAYS[1:])
@pytest.mark.parametrize("kind", ["train", "evaluate"])
def test_step(benchmark, kind, way):
    """In turn with the reference, as the speed of a machine drifts: each round is a ratio of its own."""
    rounds = []
    with Beside(WAYS[0], kind) as slow, Beside(way, kind) as fast:
        slow.step(), fast.step()  # the first one meets fresh memory
        benchmark.pedantic(lambda: rounds.append((*slow.step(), *fast.step())), rounds=ROUNDS)
    reference, reference_peak, package, peak = zip(*rounds, strict=True)
    ratio = median(a / b for a, b in zip(reference, package, strict=True))
    benchmark.extra_info.update(rounds=rounds, ratio=ratio)
    print(
        f"\n{kind} {way}: {median(package):.2f} s and {peak[-1]:,} MiB, reference {median(reference):.2f} s and "
        f"{reference_peak[-1]:,} MiB: {ratio:.2f} times as fast, {peak[-1] / reference_peak[-1]:.1%} of the memory"
    )
    print("rounds:", ", ".join(f"{a:.1f} / {b:.1f} = {a / b:.2f}" for a, b in zip(reference, package, strict=True)))
    assert ratio > 1


@pytest.mark.parametrize("way", WAYS)
def test_kept_for_the_backward_pass(benchmark, way):
    """What a forward pass has allocated and not given back at its end; timing it says nothing."""
    step = Step(way)
    step.model.train()
    cpu = torch.profiler.ProfilerActivity.CPU
    with torch.profiler.profile(activities=[cpu], profile_memory=True, acc_events=True) as profile:
        loss = benchmark.pedantic(lambda: sum(step.losses(step.forward()).values()), rounds=1)
    kept = sum(event.self_cpu_memory_usage for event in profile.key_averages()) / 2**30
    benchmark.extra_info["kept_gib"] = kept
    print(f"\nkept {way}: {kept:.2f} GiB")
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


def tell_profile(way: str, clips: str) -> None:
    """Print where one training step spends its time: the second one of one clip, the first one of more."""
    step = Step(way, int(clips))
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
    print(f"{way}, {clips} clips: {seconds:.1f} s, peak {peak_mib():,} MiB")
    for title, part in spent.items():
        print(f"  {title:30} {part:6.2f} s {part / sum(spent.values()):6.1%}")


@pytest.mark.parametrize(("way", "clips"), [("fast-fp32", 1), ("fast-bf16", 1), ("fast-bf16", 8)])
def test_profile(benchmark, way, clips):
    """Of one clip, and of a batch of eight with stages checkpointed; the time that pytest-benchmark prints says nothing."""
    call = [sys.executable, __file__, way, "profile", str(clips)]
    told = benchmark.pedantic(lambda: subprocess.check_output(call, text=True, env=AS_THE_DAG), rounds=1)
    print("\n" + told)
    assert "matrix products" in told


if __name__ == "__main__":
    way, kind, *clips = sys.argv[1:]
    tell_profile(way, *clips) if kind == "profile" else serve(way, kind)

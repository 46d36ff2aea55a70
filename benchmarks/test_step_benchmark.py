"""A full-size training step and a forward pass of one clip: the release's order of operations against the package's.

`reference` is tests/release_model.py in float32. Peak memory of each lies in `extra_info` (MiB, of the whole process, with
`--benchmark-json FILE`) and is printed. About ten minutes on two cores, 15 GiB:
`python -m pytest benchmarks/test_step_benchmark.py -s`.
"""

import ctypes
import gc
import re
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from release_model import ReleaseModel, tiled

from dgsct.encoders.frontend import log_mel_compact
from dgsct.methods.dg_sct import DGSCT
from dgsct.options import Options
from dgsct.scales import PAPER

WAYS = ("reference-fp32", "fast-fp32", "fast-bf16")
TILE = 10


def peak_mib() -> int:
    """Highest resident size since `forget_peak`, in MiB."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) >> 10


def forget_peak() -> None:
    """Give freed memory back, then let the kernel count from here."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


class Step:
    """One clip through one of the ways; gates half open, so that every path has a gradient."""

    def __init__(self, way: str) -> None:
        torch.manual_seed(0)
        torch.set_num_threads(2)
        self.low = way.endswith("bf16")
        self.model = ReleaseModel(PAPER) if way.startswith("reference") else DGSCT(PAPER, Options())
        head = self.model.CMBS if way.startswith("reference") else self.model.head
        side, wave = PAPER.swin.image_size, torch.randn(1, 10, PAPER.htsat.sample_rate) * 0.1
        compact = log_mel_compact(wave.flatten(0, 1), PAPER.htsat, TILE).unflatten(0, (1, 10))
        self.inputs = (torch.rand(1, 10, 3, side, side), tiled(wave, TILE) if way.startswith("reference") else compact)
        self.losses = lambda out: head.losses(out, torch.ones(1, 10), torch.zeros(1, dtype=torch.long))
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
            output = self.model(*self.inputs)
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


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["train", "evaluate"])
def test_step(benchmark, kind, way):
    forget_peak()
    step = Step(way)
    step.model.train(kind == "train")
    loss = benchmark.pedantic(getattr(step, kind), rounds=3, warmup_rounds=1)
    benchmark.extra_info["peak_mib"] = peak_mib()
    print(f"\n{kind} {way}: median {benchmark.stats.stats.median:.2f} s, peak {peak_mib():,} MiB")
    assert torch.isfinite(torch.tensor(loss))


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

"""One clip through the full-size model and through the release's: `python tests/full_size.py` prints how far they are apart.

Run in a process of its own, which gives its 461 million parameters back at its end. Deviations are |y - x| / |x| over all
scores of the head; `peak_mib` is the highest resident size up to and including the plain forward pass. A CPU without bf16
instructions needs minutes for the pass in bf16, and leaves it out.
"""

import json
import resource
import time
from pathlib import Path

import torch
from release_model import opened, release_twin, tiled

from dgsct.encoders.frontend import log_mel_compact
from dgsct.settings import scales
from dgsct.tasks import get_task

PAPER = get_task("ave").at(scales.PAPER)
TILE = 10


def multiplies_bf16() -> bool:
    """Whether this CPU has instructions for products in bf16 (Linux)."""
    return "bf16" in Path("/proc/cpuinfo").read_text()


@torch.no_grad()
def main() -> None:
    torch.set_num_threads(2)
    model = opened(PAPER, TILE).eval()
    side = PAPER.swin.image_size
    frames, wave = torch.rand(1, 10, 3, side, side), torch.randn(1, 10, PAPER.htsat.sample_rate) * 0.1
    compact = log_mel_compact(wave.flatten(0, 1), PAPER.htsat, TILE).unflatten(0, (1, 10))

    def scores(of: torch.nn.Module = model, **inputs: torch.Tensor) -> torch.Tensor:
        return torch.cat([t.float().flatten() for t in of(frames, **inputs)])

    started = time.perf_counter()
    plain = scores(logmel=compact)
    report = {"seconds": time.perf_counter() - started, "parameters": sum(p.numel() for p in model.parameters())}
    report["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10

    paths = {"the release's model": scores(release_twin(model, PAPER).eval(), wave=tiled(wave, TILE))}
    if multiplies_bf16():
        model.backbone.encoders.store_as(torch.bfloat16)
        with torch.autocast("cpu", torch.bfloat16):
            paths["bf16"] = scores(logmel=compact)
    report["deviation"] = {name: ((y - plain).norm() / plain.norm()).item() for name, y in paths.items()}
    print(json.dumps(report))


if __name__ == "__main__":
    main()

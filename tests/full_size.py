"""A clip through the full-size model and through the release's: `python tests/full_size.py` prints how far they are apart.

Run in a process of its own, which gives its 461 million parameters back at its end. `deviation` is |y - x| / |x| over all
scores of the head; `peak_mib` is the highest resident size up to and including the first pass.
"""

import json
import resource
import time

import torch
from release_model import opened, release_twin, tiled

from dgsct.encoders.frontend import log_mel_compact
from dgsct.settings import scales
from dgsct.tasks import get_task

PAPER = get_task("ave").at(scales.PAPER)
TILE = 10


@torch.no_grad()
def main() -> None:
    torch.set_num_threads(2)
    model = opened(PAPER, TILE).eval()
    side = PAPER.swin.image_size
    frames, wave = torch.rand(1, 10, 3, side, side), torch.randn(1, 10, PAPER.htsat.sample_rate) * 0.1
    compact = log_mel_compact(wave.flatten(0, 1), PAPER.htsat, TILE).unflatten(0, (1, 10))

    def scores(of: torch.nn.Module, **sound: torch.Tensor) -> torch.Tensor:
        return torch.cat([t.flatten() for t in of(frames, **sound)])

    started = time.perf_counter()
    plain = scores(model, logmel=compact)
    report = {"seconds": time.perf_counter() - started, "parameters": sum(p.numel() for p in model.parameters())}
    report["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    twin = scores(release_twin(model, PAPER).eval(), wave=tiled(wave, TILE))
    report["deviation"] = ((twin - plain).norm() / plain.norm()).item()
    print(json.dumps(report))


if __name__ == "__main__":
    main()

"""What the conformance suites share: declared forms of tensors, and a scale that notes which of its fields are read.

A declaration opens with a dtype and a form, `float32 [B, 5, 3, H, W]`: numbers are sizes, letters stand for any, B is the row.
"""

import re
from functools import cache
from typing import Any

from dgsct.methods import METHODS
from dgsct.runs.run import Run
from dgsct.settings.scales import Scale

YARDSTICK = "yardstick"
PAIRS = [(method.name, task) for method in METHODS.values() for task in method.parts]
MODELS = [(method, task) for method, task in PAIRS if METHODS[method].on(task).kind != YARDSTICK]


@cache
def counts(method: str, task: str, scale: str) -> list[int]:
    """Parameters, those that are trained, and entries of the state dict of a model of default options."""
    model = Run.make(task, method, scale=scale).build(meta=True)
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return [sum(n for n, _ in sizes), sum(n for n, learns in sizes if learns), len(model.state_dict())]


def declared_form(text: str) -> tuple[str, list[int | None]]:
    """dtype and sizes in a declaration, None where a letter stands."""
    found = re.match(r"(float16|float32|float64|int64|bool|uint8) \[B((?:, \w+)*)\]", text)
    assert found, f"{text!r} does not open with a dtype and a form such as float32 [B, 5, H, W]"
    sizes = [size for size in found[2].split(", ") if size]
    return found[1], [int(size) if size.isdigit() else None for size in sizes]


def assert_declared(arrays: dict[str, Any], declared: dict[str, str], rows: int) -> None:
    """Tensors or arrays [B, ...] by name are those that are declared, each in its form."""
    assert set(arrays) == set(declared)
    for name, text in declared.items():
        dtype, sizes = declared_form(text)
        batch, *shape = arrays[name].shape
        assert str(arrays[name].dtype).removeprefix("torch.") == dtype, name
        assert (batch, len(shape)) == (rows, len(sizes)), name
        assert all(size in (None, found) for size, found in zip(sizes, shape, strict=True)), (name, shape)


class Watched:
    """A scale whose fields are noted when they are read."""

    def __init__(self, scale: Scale) -> None:
        self.scale, self.read = scale, set()

    def __getattr__(self, name: str) -> Any:
        self.read.add(name)
        return getattr(self.scale, name)

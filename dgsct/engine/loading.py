"""Batches one ahead: a thread reads the next one while the device works on the present one."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import torch

Item = TypeVar("Item")


def batches_ahead(read: Callable[[Item], Any], items: Iterable[Item], device: torch.device) -> Iterator[tuple[Item, Any]]:
    """Every item with what `read(item)` gives (tensors in tuples and dictionaries), on `device`, in the given order.

    At most two batches are in memory: the one that is used, and the next. For a GPU they pass through pinned memory, so
    that the copy runs beside the computation. An error of `read` is raised where its item is due.
    """
    from accelerate.utils import recursively_apply, send_to_device

    def host(item: Item) -> Any:
        batch = read(item)
        return recursively_apply(torch.Tensor.pin_memory, batch) if device.type == "cuda" else batch

    def used(item: Item, batch: Future[Any]) -> tuple[Item, Any]:
        return item, send_to_device(batch.result(), device, non_blocking=True)

    waiting: tuple[Item, Future[Any]] | None = None
    with ThreadPoolExecutor(1, "next-batch") as reader:
        for item in items:
            following = (item, reader.submit(host, item))
            if waiting is not None:
                yield used(*waiting)
            waiting = following
        if waiting is not None:
            yield used(*waiting)

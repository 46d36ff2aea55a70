"""Batches read one ahead: the order, how far ahead, and where an error appears."""

import threading

import pytest
import torch

from dgsct.engine.loading import batches_ahead

CPU = torch.device("cpu")


def test_every_item_in_order_with_what_was_read_for_it():
    pairs = list(batches_ahead(lambda i: (torch.tensor(i), {"twice": torch.tensor(2 * i)}), range(5), CPU))
    assert [(i, a.item(), b["twice"].item()) for i, (a, b) in pairs] == [(i, i, 2 * i) for i in range(5)]
    assert list(batches_ahead(torch.tensor, [], CPU)) == []


def test_the_next_batch_is_read_while_the_present_one_is_used_and_none_beyond():
    read, seen = [], threading.Event()

    def reading(i: int) -> torch.Tensor:
        read.append(i)
        if i == 1:
            seen.set()
        return torch.tensor(i)

    batches = batches_ahead(reading, range(9), CPU)
    next(batches)
    assert seen.wait(timeout=30)
    assert read == [0, 1]
    batches.close()
    assert read == [0, 1]


def test_an_error_is_raised_at_its_item():
    def reading(i: int) -> torch.Tensor:
        if i == 2:
            raise OSError("clip 2 cannot be read")
        return torch.tensor(i)

    batches = batches_ahead(reading, range(4), CPU)
    assert [next(batches)[0], next(batches)[0]] == [0, 1]
    with pytest.raises(OSError, match="clip 2"):
        next(batches)

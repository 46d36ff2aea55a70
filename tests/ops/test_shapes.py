"""Where only shapes are wanted, what has numbers is filled all the same. That models keep their forms: conformance."""

import torch
from torch import nn

from dgsct.ops.shapes import shapes_only


def test_only_what_has_no_numbers_stays_unfilled():
    real = torch.empty(3)
    with shapes_only():
        assert real.fill_(2.0) is real
        nn.Parameter(torch.empty(2)).fill_(1.0)  # outside, torch refuses to fill what learns
        nn.init.ones_(torch.empty(2))
        nn.init.constant_(tensor=torch.empty(2), val=1.0)
        assert nn.Linear(2, 2).weight.is_meta
    assert real.tolist() == [2.0, 2.0, 2.0]


def test_behind_it_modules_are_made_as_ever():
    with shapes_only():
        nn.Linear(2, 2)
    torch.manual_seed(0)
    layer = nn.Linear(2, 2)
    assert not layer.weight.is_meta
    assert 0 < layer.weight.abs().max() <= 2**-0.5

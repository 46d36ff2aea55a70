"""The bare adapter of the segmentation settings: golden values, and what its prompt and gate do."""

import pytest
import torch
from avs_golden import assert_begins, cosines, load_filled, sines

from dgsct.methods.dg_sct.avs import FORMS
from dgsct.models.adapter import Adapter, Form
from dgsct.models.keys_avs import segmentation_adapter_keys
from dgsct.runs.resolve import options_class
from dgsct.tasks.avs.options import AvsOptions as Options

GOLDEN = {
    ("avs-s4", True): (
        "-0.140057 -0.180557 -0.176850 -0.129844", -15.32538, 183.3696, "0.062502 0.063331 0.061146 0.064178",
    ),
    ("avs-s4", False): (
        "0.101950 0.024899 -0.058248 -0.127134", -46.01614, 141.0009, "0.062480 0.063357 0.061158 0.064222",
    ),
    ("avs-ms3", True): (
        "-0.138134 -0.179301 -0.176569 -0.130607", -13.98244, 183.9845, "0.063013 0.062528 0.061703 0.063345",
    ),
    ("avs-ms3", False): (
        "0.102010 0.024970 -0.058184 -0.127092", -46.11377, 141.1286, "0.063044 0.062519 0.061706 0.063387",
    ),
}  # fmt: skip


def adapter(form: Form, gated: bool, options: Options, release_order: bool = False) -> Adapter:
    module = Adapter((16, 8), (4, 12), 3, 2, 2, options, release_order, form, gated)
    keys = {public: rule for public, rule in segmentation_adapter_keys(2).items() if gated or public != "gate"}
    return load_filled(module, keys)


def streams() -> tuple[torch.Tensor, torch.Tensor]:
    return sines((10, 16, 8), 0.3), cosines((10, 4, 12), 0.2)


@pytest.mark.parametrize("release_order", [False, True])
@pytest.mark.parametrize(("task", "gated"), GOLDEN)
def test_golden_values(task, gated, release_order):
    first, total, absolute, weights = GOLDEN[task, gated]
    # As the golden values were made: alpha and beta are literals of each setting's code.
    module = adapter(FORMS[task], gated, options_class(task, "dg-sct")(), release_order)
    assert len(module.state_dict()) == (29 if gated else 28)
    residual, pooling = module(*streams())
    assert_begins(residual, first, total, absolute)
    assert_begins(pooling[0], weights, 1.0)

"""The ledger of segmentation models: every entry names tests that exist, and every switch acts on its own setting."""

import ast
from itertools import chain
from pathlib import Path

import pytest
import torch
from avs_golden import SIDE, TINY

from dgsct.methods.dg_sct.avs import build
from dgsct.runs.resolve import resolve_options
from dgsct.tasks.avs.ledger import ENTRIES

EVIDENCE: dict[str, tuple[str, ...]] = {
    "avs-audio-encoder": (
        "methods/dg_sct/test_avs.py::test_parameters_that_receive_gradient",
        "encoders/test_frontend_trained.py::test_untrained_kernels_give_the_spectrogram_of_the_fourier_transform",
    ),
    "avs-freeze-mode": ("methods/dg_sct/test_avs.py::test_frozen_encoders_train_as_the_release_has_them",),
    "avs-mixup": ("encoders/test_frontend_trained.py::test_mixup_joins_mirrored_samples_in_training_only",),
    "avs-residual": ("runs/test_ledger_avs.py::test_a_switch_of_the_model_acts",),
    "avs-adapter-output": ("models/test_adapter_avs.py::test_golden_values",),
    "avs-latent-tokens": (
        "models/test_adapter_avs.py::test_golden_values",
        "runs/test_ledger_avs.py::test_a_switch_of_the_model_acts",
    ),
    "avs-audio-block": ("runs/test_ledger_avs.py::test_a_switch_of_the_model_acts",),
    "avs-prompt": (
        "models/test_adapter_avs.py::test_golden_values",
        "methods/dg_sct/test_avs.py::test_parameters_that_receive_gradient",
    ),
    "avs-spatial-prompt": ("runs/test_ledger_avs.py::test_a_switch_of_the_model_acts",),
    "avs-spatial-width": ("methods/dg_sct/test_avs.py::test_parameters_of_every_part",),
    "avs-pooling": ("runs/test_ledger_avs.py::test_a_switch_of_the_model_acts",),
    "avs-temporal-place": (
        "models/test_temporal_pyramid.py::test_golden_values",
        "models/test_temporal_pyramid.py::test_counts_and_entries",
    ),
    "avs-tiling": ("methods/dg_sct/test_avs.py::test_settings_and_protocols",),
    "avs-reduction": ("methods/dg_sct/test_avs.py::test_parameters_of_every_part",),
    "avs-decoder": ("methods/dg_sct/test_avs.py::test_parameters_of_every_part",),
    "avs-decoder-relu": ("models/heads/test_masks.py::test_decoder_step_golden_values",),
    "avs-loss": ("models/heads/test_masks.py::test_losses_golden_values",),
    "avs-directions": (
        "methods/dg_sct/test_avs.py::test_a_direction_that_is_off_has_no_adapters",
        "methods/dg_sct/test_avs.py::test_no_direction_leaves_each_encoder_alone",
    ),
}


def test_every_entry_is_covered_by_tests_that_exist():
    assert EVIDENCE.keys() <= {entry.id for entry in ENTRIES}
    for node in sorted(set(chain.from_iterable(EVIDENCE.values()))):
        file, name = node.split("::")
        tree = ast.parse((Path(__file__).parents[1] / file).read_text(encoding="utf-8"))
        assert name in {item.name for item in tree.body if isinstance(item, ast.FunctionDef)}, node


SWITCHES = [
    ("residual", "paper"), ("keep_tokens", False), ("audio_block", "split"), ("spatial_prompt", "map"), ("pooling", "mean"),
    ("tile", 1), ("alpha", 0.5), ("beta", 0.5), ("gamma", 0.5), ("S", False), ("C", False), ("T", False),
]  # fmt: skip


@torch.no_grad()
@pytest.mark.parametrize("task", ["avs-s4", "avs-ms3"])
def test_a_switch_of_the_model_acts(task):
    """On opened adapters (gates and tokens start at zero, TPAVI's batch norm too), in evaluation."""

    def logits(**overrides) -> torch.Tensor:
        torch.manual_seed(0)
        model = build(task, TINY, resolve_options(task, "dg-sct", "release", overrides)).eval()
        for name, p in model.named_parameters():
            draw = torch.Generator().manual_seed(len(name))
            if "gate" in name.split(".")[-1] or "latent.tokens" in name or "tpavi" in name or ".norm" in name:
                p.copy_(torch.rand(p.shape, generator=draw) + 0.5)
            elif p.requires_grad and p.dim() > 1:
                p.copy_((torch.rand(p.shape, generator=draw) - 0.5) * (4 / p.shape[-1]) ** 0.5)
        draw = torch.Generator().manual_seed(1)
        frames, wave = torch.rand(1, 5, 3, SIDE, SIDE, generator=draw), torch.randn(1, 5, 32000, generator=draw)
        return model(frames, wave).logits

    plain = logits()
    assert torch.equal(plain, logits())
    for option, value in SWITCHES:
        assert not torch.equal(plain, logits(**{option: value})), option

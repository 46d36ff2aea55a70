"""The ledger of segmentation models: every entry names tests that exist, and every switch acts on its own setting."""

import ast
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from avs_golden import SIDE, TINY

from dgsct.checkpoints.convert import run_of
from dgsct.engine.recipe import Updates, build_optimizer, build_schedule, epoch_batches
from dgsct.methods.dg_sct.avs import build
from dgsct.models.heads.masks import MaskOutput, mask_losses
from dgsct.runs.protocols import PROTOCOLS
from dgsct.runs.resolve import resolve_options
from dgsct.runs.run import Run
from dgsct.tasks import get_set, get_task
from dgsct.tasks.avs.ledger import ENTRIES

TASKS = ("avs-s4", "avs-ms3")
EVIDENCE: dict[str, tuple[str, ...]] = {
    "avs-selection": (
        "runs/test_protocols.py::test_protocols_of_segmentation",
        "engine/test_execute_avs.py::test_clean_selects_on_validation_and_reports_frames",
        "engine/test_execute_avs.py::test_of_equal_epochs_the_first_is_kept",
        "runs/test_ledger_avs.py::test_the_baseline_selects_on_validation_in_all_protocols",
    ),
    "avs-measure": (
        "tasks/avs/test_metrics.py::test_one_batch_is_the_release_s_loop",
        "tasks/avs/test_metrics.py::test_a_batch_without_objects_counts_as_zero_and_a_small_last_batch_in_full",
        "tasks/avs/test_task.py::test_measures",
    ),
    "avs-accumulation": ("runs/test_ledger_avs.py::test_every_batch_is_a_step_the_smaller_last_one_included",),
    "avs-gamma": (
        "runs/test_ledger_avs.py::test_hyper_parameters_are_the_published_ones_in_all_protocols",
        "runs/test_ledger_avs.py::test_an_evaluation_has_the_runs_own_gamma_or_the_one_that_is_set",
    ),
    "avs-hyper-parameters": (
        "runs/test_ledger_avs.py::test_hyper_parameters_are_the_published_ones_in_all_protocols",
        "runs/test_protocols.py::test_recipes_of_segmentation",
    ),
    "avs-tuning": ("runs/test_ledger_avs.py::test_hyper_parameters_are_the_published_ones_in_all_protocols",),
    "avs-recipe": (
        "runs/test_protocols.py::test_recipes_of_segmentation",
        "runs/test_ledger_avs.py::test_adam_without_decay_at_a_constant_rate",
        "runs/test_experiments.py::test_protocol_and_scale_reach_the_runs",
    ),
    "avs-early-stop": (
        "runs/test_protocols.py::test_recipes_of_segmentation",
        "runs/test_ledger_avs.py::test_adam_without_decay_at_a_constant_rate",
    ),
    "avs-input-size": (
        "tasks/avs/test_prepare.py::test_full_size_takes_frames_of_224_pixels",
        "methods/dg_sct/test_avs.py::test_output_has_the_side_of_the_frames",
    ),
    "avs-first-rows": (
        "runs/test_published.py::test_marks_agree_with_overrides",
        "methods/dg_sct/test_avs.py::test_lavish_star_has_no_attention_and_no_temporal_module",
    ),
    "avs-classes": ("tasks/avs/test_files.py::test_ms3_objects",),
    "avs-table7": ("tasks/avs/test_files.py::test_counts_of_the_real_metadata",),
    "avs-masks": ("tasks/avs/test_prepare.py::test_masks_are_binary_or_refused",),
    "avs-media": (
        "tasks/avs/test_prepare.py::test_frames_are_those_of_the_rule",
        "tasks/avs/test_prepare.py::test_notes",
        "encoders/test_vggish_frontend.py::test_examples_follow_each_other_every_96_frames",
        "data/test_media.py::test_sound_is_resampled_cut_and_padded",
    ),
    "avs-leakage": (
        "tasks/avs/test_task.py::test_38_of_the_64_test_clips_of_ms3_come_from_training_videos",
        "tasks/avs/test_task.py::test_clips_of_training_videos_are_told",
    ),
    "avs-audio-encoder": (
        "methods/dg_sct/test_avs.py::test_parameters_that_receive_gradient",
        "encoders/test_frontend_trained.py::test_untrained_kernels_give_the_spectrogram_of_the_fourier_transform",
    ),
    "avs-audio-encoder-ms3": ("methods/dg_sct/test_avs.py::test_parameters_that_receive_gradient",),
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
    "avs-loss": (
        "models/heads/test_masks.py::test_losses_golden_values",
        "models/heads/test_masks.py::test_frames_without_annotation_have_no_gradient",
    ),
    "avs-loss-term": ("models/heads/test_masks.py::test_losses_golden_values",),
    "avs-loss-term-s4": ("runs/test_ledger_avs.py::test_the_second_loss_term_is_ms3s_alone",),
    "avs-directions": (
        "methods/dg_sct/test_avs.py::test_a_direction_that_is_off_has_no_adapters",
        "methods/dg_sct/test_avs.py::test_no_direction_leaves_each_encoder_alone",
    ),
}


def test_every_entry_is_covered_by_tests_that_exist():
    assert EVIDENCE.keys() == {entry.id for entry in ENTRIES}
    for node in sorted(set(chain.from_iterable(EVIDENCE.values()))):
        file, name = node.split("::")
        tree = ast.parse((Path(__file__).parents[1] / file).read_text(encoding="utf-8"))
        assert name in {item.name for item in tree.body if isinstance(item, ast.FunctionDef)}, node


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("method", ["avs-pvt", "avs-r50"])
def test_the_baseline_selects_on_validation_in_all_protocols(method, protocol):
    for task in TASKS:
        assert Run.make(task, method, protocol=protocol).options.selection == "val"


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("task", "method", "steps", "last"),
    [("avs-s4", "dg-sct", 432, 4), ("avs-ms3", "dg-sct", 148, 2), ("avs-s4", "avs-pvt", 863, 4), ("avs-ms3", "avs-pvt", 74, 4)],
)
def test_every_batch_is_a_step_the_smaller_last_one_included(task, method, protocol, steps, last):
    """The steps of avs.md, section 5, on the published training splits."""
    run = Run.make(task, method, protocol=protocol, scale="paper")
    batches = epoch_batches(np.arange(get_set(task).published["train"]), run.recipe, seed=0, epoch=0)
    updates = Updates(run.options.accumulation, run.recipe.accumulate, len(batches))
    assert (len(batches), len(batches[-1])) == (steps, last)
    assert all(updates.steps(number) and updates.learns(number) for number in range(len(batches)))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("scale", ["paper", "mini"])
def test_hyper_parameters_are_the_published_ones_in_all_protocols(scale, protocol):
    for task, values in (("avs-s4", (0.3, 0.05, 0.05)), ("avs-ms3", (0.2, 0.1, 0.1))):
        options = Run.make(task, "dg-sct", protocol=protocol, scale=scale).options
        assert (options.alpha, options.beta, options.gamma) == values


def test_an_evaluation_has_the_runs_own_gamma_or_the_one_that_is_set(tmp_path):
    path = tmp_path / "results" / Run.make("avs-ms3", "dg-sct").folder / "checkpoints/best.safetensors"
    assert run_of(path)[0].options.gamma == 0.1
    assert run_of(path, overrides={"gamma": "0.05"})[0].options.gamma == 0.05


@pytest.mark.parametrize("task", TASKS)
def test_adam_without_decay_at_a_constant_rate(task):
    run = Run.make(task, "dg-sct", scale="paper")
    optimizer = build_optimizer(torch.nn.Linear(2, 2), run.recipe)
    schedule = build_schedule(optimizer, run.recipe, steps=1)
    assert isinstance(optimizer, torch.optim.Adam)
    rates = set()
    for _ in range(run.recipe.epochs):
        optimizer.step()
        schedule.step()
        rates |= {(group["lr"], group["weight_decay"]) for group in optimizer.param_groups}
    assert rates == {(run.recipe.lr, 0.0)}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_second_loss_term_is_ms3s_alone(protocol):
    draw = torch.Generator().manual_seed(0)
    maps = tuple(torch.rand(5, 3, side, side, generator=draw) for side in (4, 2, 2, 1))
    audio = tuple(torch.rand(1, 5, 3, generator=draw) for _ in maps)
    output = MaskOutput(torch.rand(1, 5, 4, 4, generator=draw), maps, audio)
    targets = {"masks": torch.ones(1, 5, 4, 4), "annotated": torch.ones(1, 5, dtype=torch.bool)}
    for task, terms in (("avs-s4", {"masks"}), ("avs-ms3", {"masks", "av"})):
        for method in ("dg-sct", "lavish-star", "late-fusion", "avs-pvt"):
            options = Run.make(task, method, protocol=protocol).options
            assert mask_losses(output, targets, options.av_weight).keys() == terms


SWITCHES = [
    ("residual", "paper"), ("keep_tokens", False), ("audio_block", "split"), ("spatial_prompt", "map"), ("pooling", "mean"),
    ("tile", 1), ("alpha", 0.5), ("beta", 0.5), ("gamma", 0.5), ("S", False), ("C", False), ("T", False),
]  # fmt: skip


@torch.no_grad()
@pytest.mark.parametrize("task", TASKS)
def test_a_switch_of_the_model_acts(task):
    """On opened adapters (gates and tokens start at zero, TPAVI's batch norm too), in evaluation."""

    def logits(**overrides) -> torch.Tensor:
        torch.manual_seed(0)
        model = build(task, get_task(task).at(TINY), resolve_options(task, "dg-sct", "release", overrides)).eval()
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

"""The deviation ledger, entry by entry: every switch changes exactly what its entry says, every claim has a test.

`test_ledger_values` holds what the changed values are.
"""

import ast
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
import torch
from ledger_rig import evaluated, opened, share, trained

from dgsct.runs.protocols import LEDGER as ALL
from dgsct.runs.run import Run
from dgsct.tasks.ave.options import AveOptions as Options

LEDGER = [entry for entry in ALL if entry.holds("ave")]  # those of segmentation: test_ledger_avs
SWITCHED = {e.option: e for e in LEDGER if e.option}
OTHER_TILES = (1, 3)


@dataclass(frozen=True)
class Claim:
    """What stays to the bit when a switch is thrown; everything else that passes between the parts must change.

    Patterns over the recorded values of one training batch (`kept`) and of an evaluation (`kept_in_evaluation`, if it
    differs); `moves_no_more` and `moves_too` are over the entries of the state dict that the batch changes.
    """

    kept: tuple[str, ...]
    kept_in_evaluation: tuple[str, ...] | None = None
    moves_no_more: str | None = None
    moves_too: str | None = None


EVERYTHING = ("*",)
CLAIMS: dict[str, Claim] = {
    "residual": Claim(("p1.0.v", "p1.0.a", "p1.0.pool_?")),
    "keep_tokens": Claim(("p1.0.v", "p1.0.a"), moves_no_more="backbone.p?.?.???.latent.*"),
    "audio_block": Claim(("p1.0.*", "p2.0.v")),
    "spatial_prompt": Claim(("p1.0.v", "p1.0.a")),
    "pooling": Claim(("p1.*", "p2.*")),
    "tile": Claim(("p1.0.v",)),
    "freeze_mode": Claim(("p1.0.v",), kept_in_evaluation=EVERYTHING, moves_no_more="backbone.encoders.htsat.bn0.[rn]*"),
    "head": Claim(
        ("p?.*", "features.*", "temporal.*", "head.av", "head.gate", "loss.av", "loss.gate"), moves_too="head.*_interaction.*"
    ),
    "gate_loss": Claim(("p?.*", "features.*", "temporal.*", "head.*", "loss.relevance", "loss.events", "loss.av")),
    "precision": Claim(()),
    # What these three change is not in the model: see test_ledger_values.
    "selection": Claim(EVERYTHING),
    "accuracy": Claim(EVERYTHING),
    "accumulation": Claim(EVERYTHING),
}


def others(option: str) -> list:
    """The values of an option besides the release's."""
    kind = get_type_hints(Options)[option]
    values = get_args(kind) if get_origin(kind) is Literal else (True, False) if kind is bool else OTHER_TILES
    return [v for v in values if v != SWITCHED[option].values["release"]]


PAIRS = [(option, value) for option in SWITCHED for value in others(option)]


def matching(names, patterns) -> set[str]:
    return {name for name in names if any(fnmatch(name, pattern) for pattern in patterns)}


@pytest.fixture(scope="module")
def observed(mini_world, tmp_path_factory):
    """Of a run with an option set (once each): initial state, values in evaluation, values of a batch, what moved."""
    root = share(mini_world, tmp_path_factory.mktemp("ledger") / "results")

    @cache
    def observe(option: str | None = None, value=None):
        training = opened(root, **({option: value} if option else {}))
        state = {name: t.clone() for name, t in training.plain.state_dict().items()}
        return state, evaluated(training), *trained(training), training.parameters

    return observe


def test_every_switch_has_a_claim_and_a_value_to_switch_to():
    assert CLAIMS.keys() == SWITCHED.keys()
    assert {option for option, _ in PAIRS} == SWITCHED.keys()


@pytest.mark.parametrize(("option", "value"), PAIRS)
def test_a_switch_changes_exactly_what_its_entry_says(observed, option, value):
    claim = CLAIMS[option]
    state, in_evaluation, in_training, moved, size = observed()
    switched = observed(option, value)
    assert switched[4] == size
    assert switched[0].keys() == state.keys()
    # Under bf16 frozen linear layers are kept in the precision in which they are used.
    assert all(torch.equal(t, state[name].to(t.dtype)) for name, t in switched[0].items())
    kept_in_evaluation = claim.kept if claim.kept_in_evaluation is None else claim.kept_in_evaluation
    for ours, theirs, kept in ((in_evaluation, switched[1], kept_in_evaluation), (in_training, switched[2], claim.kept)):
        assert ours.keys() == theirs.keys()
        changed = {name for name, t in ours.items() if not torch.equal(t, theirs[name])}
        assert changed == ours.keys() - matching(ours, kept)
    gone, new = moved - switched[3], switched[3] - moved
    assert gone == matching(state, [claim.moves_no_more or ""])
    assert new == matching(state, [claim.moves_too or ""])
    assert bool(gone) == bool(claim.moves_no_more)
    assert bool(new) == bool(claim.moves_too)


@pytest.mark.parametrize(("option", "value"), PAIRS)
def test_a_switch_is_the_only_difference_in_a_runs_description(option, value):
    def flat(run: Run) -> dict[str, object]:
        described = run.resolved()
        options = {f"options.{name}": v for name, v in described.pop("options").items()}
        return {**described, **options}

    plain, switched = flat(Run.make("ave", "dg-sct")), flat(Run.make("ave", "dg-sct", {option: value}))
    differing = {name for name in plain if plain[name] != switched[name]}
    follows = {"accuracy": {"reported"}, "tile": {"inputs"}}  # another tile is no prepared spectrogram, but the wave
    assert differing == {f"options.{option}"} | follows.get(option, set())


# Where the claims of an entry are tested, besides the two tests above.
EVIDENCE: dict[str, tuple[str, ...]] = {
    "residual": (
        "runs/test_ledger_values.py::test_adapters_by_hand",
        "models/test_adapter.py::test_combination_of_maps_in_every_row",
    ),
    "adapter-output": (
        "models/test_adapter.py::test_output_in_every_row",
        "models/test_interaction.py::test_fresh_adapters_leave_the_encoders_as_they_are_unless_their_gates_are_ajar",
    ),
    "latent-tokens": ("runs/test_ledger_values.py::test_adapters_by_hand",),
    "audio-block": (
        "runs/test_ledger_values.py::test_audio_block_by_hand",
        "models/test_interaction.py::test_audio_block_split_as_in_equation_1",
    ),
    "adapter-places": ("runs/test_ledger_model.py::test_places_of_the_adapters_at_paper_scale",),
    "temporal-place": (
        "runs/test_ledger_model.py::test_temporal_attention_stands_once_behind_the_pooling",
        "models/test_temporal.py::test_gated_segments",
    ),
    "spatial-prompt": (
        "runs/test_ledger_values.py::test_adapters_by_hand",
        "models/test_adapter.py::test_spatial_prompt_map_lets_the_place_of_the_prompt_through",
    ),
    "spatial-width": ("runs/test_ledger_model.py::test_only_half_the_channels_as_hidden_width_give_the_published_count",),
    "spatial-norm": (
        "runs/test_ledger_model.py::test_without_channel_attention_the_norms_epsilon_is_all_that_lets_s_through",
        "models/test_adapter.py::test_spatial_scale_alone_is_cancelled_by_the_layer_norm",
    ),
    "pooling": ("runs/test_ledger_values.py::test_pooling_by_hand",),
    "freeze-mode": (
        "runs/test_ledger_values.py::test_frozen_encoders_in_eval_mode_are_those_of_evaluation",
        "runs/test_ledger_values.py::test_frozen_encoders_in_train_mode_drop_paths_mask_stripes_and_drift",
    ),
    "tiling": (
        "runs/test_ledger_values.py::test_tile_by_hand",
        "encoders/test_frontend.py::test_periodic_shortcut_equals_the_tiled_signal",
    ),
    "attention-relu": (
        "models/test_adapter.py::test_every_step_of_the_adapter",
        "runs/test_ledger_values.py::test_adapters_by_hand",
    ),
    "final-norm": ("runs/test_ledger_values.py::test_pooling_by_hand",),
    "table6-units": (
        "engine/test_efficiency.py::test_macs_by_both_countings",
        "publish/test_tables.py::test_table_6_in_the_papers_units",
        "runs/test_published.py::test_published_numbers",
    ),
    "dead-parameters": (
        "models/test_interaction.py::test_trainable_parameters_without_a_gradient",
        "engine/test_efficiency.py::test_parameters_of_every_component",
    ),
    "table8-row1": (
        "runs/test_ledger_model.py::test_without_either_direction_it_is_lavish_star",
        "runs/test_ledger_model.py::test_without_tokens_and_directions_the_encoders_do_not_see_each_other",
        "runs/test_experiments.py::test_tables_share_runs",
    ),
    "alpha-beta-gamma": (
        "runs/test_ledger_model.py::test_alpha_beta_gamma_are_options_with_the_published_values",
        "conformance/test_training.py::test_every_option_acts",
        "runs/test_experiments.py::test_figure",
    ),
    "numerics": ("runs/test_ledger_values.py::test_bf16_keeps_spectrogram_losses_and_weights_in_fp32",),
    "selection": (
        "runs/test_ledger_values.py::test_split_and_measure_decide_the_best_epoch_and_the_test_metrics_are_that_epochs",
        "runs/test_ledger_values.py::test_the_record_holds_the_test_metrics_of_the_epoch_that_was_selected",
        "runs/test_ledger_values.py::test_selection_and_accuracy_leave_the_trained_weights_alone",
    ),
    "accuracy": (
        "runs/test_ledger_values.py::test_selection_and_accuracy_leave_the_trained_weights_alone",
        "runs/test_ledger_values.py::test_split_and_measure_decide_the_best_epoch_and_the_test_metrics_are_that_epochs",
        "engine/test_recipe.py::test_the_real_test_split_is_evaluated_in_51_batches_of_which_the_last_holds_two_clips",
        "tasks/ave/test_metrics.py::test_the_published_checkpoint_value_is_a_mean_over_batches_of_eight",
    ),
    "accumulation": (
        "runs/test_ledger_values.py::test_a_batch_that_does_not_learn_moves_statistics_as_one_that_does",
        "engine/test_recipe.py::test_under_release_every_second_batch_and_the_last_learn_the_others_move_statistics_alone",
        "engine/test_recipe.py::test_without_accumulation_every_batch_learns",
        "engine/test_recipe.py::test_batches_of_an_epoch_of_the_real_set",
    ),
    "learning-rate": ("engine/test_recipe.py::test_optimizer_and_schedule_of_the_paper",),
    "epochs-seed": (
        "runs/test_protocols.py::test_release_at_paper_scale_is_the_released_recipe",
        "engine/test_recipe.py::test_a_tie_is_best_again_and_patience_counts_epochs_below_the_best",
        "runs/test_experiments.py::test_protocol_and_scale_reach_the_runs",
    ),
    "head": (
        "runs/test_ledger_values.py::test_head_by_hand",
        "models/test_temporal.py::test_full_cmbs_head_uses_its_interactions",
    ),
    "gate-loss": (
        "runs/test_ledger_values.py::test_gate_loss_by_hand",
        "models/test_temporal.py::test_gate_loss_has_the_floor_of_a_double_sigmoid_unless_switched_off",
    ),
    "mixup": ("runs/test_ledger_model.py::test_an_epoch_draws_nothing_from_numpys_generator",),
    "lr-mlp": ("engine/test_recipe.py::test_optimizer_and_schedule_of_the_paper",),
    "resize": ("tasks/ave/test_files.py::test_frames_are_resized_as_by_torchvision_without_antialiasing",),
    "frame-position": (
        "data/test_media.py::test_sampling_rule_of_the_fact_sheet",
        "runs/test_ledger_model.py::test_frames_lie_up_to_half_a_second_from_the_middle_of_their_segment",
    ),
    "media": (
        "data/test_media.py::test_the_sampled_frames_are_read",
        "data/test_media.py::test_sound_is_resampled_cut_and_padded",
        "data/test_media.py::test_stereo_becomes_the_mean_of_both_channels",
        "runs/test_ledger_model.py::test_half_precision_of_stored_frames",
    ),
    "spec-augment": ("runs/test_ledger_model.py::test_stripes_start_a_little_less_often_at_the_far_end",),
    "leakage": (
        "tasks/ave/test_files.py::test_statistics_of_the_real_files",
        "tasks/ave/test_metrics.py::test_accuracy_without_the_videos_that_training_saw",
    ),
    "annotation-header": ("tasks/ave/test_files.py::test_the_copy_without_header_reads_the_same",),
    "lavish-v2": ("runs/test_ledger_model.py::test_lavishs_own_row_is_not_run",),
    "lavish-star": (
        "models/test_interaction.py::test_lavish_star_is_dg_sct_without_its_attention",
        "runs/test_ledger_model.py::test_lavish_star_has_dg_scts_recipe",
        "engine/test_efficiency.py::test_lavish_star",
    ),
}
NOTHING_TO_TEST = {"equation-number": "a matter of citing"}


def test_every_entry_is_covered():
    assert EVIDENCE.keys() | NOTHING_TO_TEST.keys() == {e.id for e in LEDGER}
    assert not EVIDENCE.keys() & NOTHING_TO_TEST.keys()


def test_the_named_tests_exist():
    tests = Path(__file__).parents[1]
    found = {}
    for node in sorted(set(chain.from_iterable(EVIDENCE.values()))):
        file, name = node.split("::")
        if file not in found:
            tree = ast.parse((tests / file).read_text(encoding="utf-8"))
            found[file] = {item.name for item in tree.body if isinstance(item, ast.FunctionDef)}
        assert name in found[file], node

"""The deviation ledger: complete, consistent with the options, and equal to its generated page."""

import re
from pathlib import Path

import pytest

from dgsct.errors import UsageError
from dgsct.methods import METHODS
from dgsct.runs import protocols
from dgsct.runs.protocols import LEDGER, MOST, PROTOCOLS, SUMMARIES, check_protocol, ledger_markdown, option_values
from dgsct.runs.resolve import option_names, options_class
from dgsct.runs.run import Run
from dgsct.settings.ledger import Entry, pick
from dgsct.settings.scales import SCALES
from dgsct.tasks import TASKS, get_task
from dgsct.tasks.ave.options import AveOptions

ROOT = Path(__file__).resolve().parents[2]
AVS = ("avs-s4", "avs-ms3")
# What no protocol decides, as it is what experiments vary, and why. All else that a method can be told is a deviation.
FREE = {
    **dict.fromkeys(("S", "C", "T"), "rows of Table 5"),
    **dict.fromkeys(("A2V", "V2A"), "rows of Table 8"),
    **dict.fromkeys(("alpha", "beta", "gamma"), "Figure 8; paper and release agree on each task's values"),
    "modality": "rows of our own: what one sense alone can do",
    "start": "a row of our own: both are published, and Table 3's is from scratch",
}
# The rows of the project's notes on paper and public code that each entry answers.
ROWS = {
    "residual": "core 12.1",
    "adapter-output": "core 12.2",
    "latent-tokens": "core 12.3",
    "audio-block": "core 12.4",
    "adapter-places": "core 12.5",
    "temporal-place": "core 12.6",
    "spatial-prompt": "core 12.7",
    "spatial-width": "core 12.8",
    "spatial-norm": "core 12.9",
    "pooling": "core 12.10",
    "freeze-mode": "core 12.11, ave 7.4",
    "tiling": "core 12.12, ave 7.9",
    "attention-relu": "core 12.13",
    "final-norm": "core 12.14",
    "table6-units": "core 12.15, ave 7.17",
    "dead-parameters": "core 12.16",
    "table8-row1": "core 12.17",
    "alpha-beta-gamma": "core 12.18",
    "equation-number": "core 12.19",
    "numerics": "core 12.20",
    "selection": "ave 7.1",
    "accuracy": "ave 7.2",
    "accumulation": "ave 7.3",
    "learning-rate": "ave 7.5",
    "epochs-seed": "ave 7.6",
    "head": "ave 7.7",
    "gate-loss": "ave 7.8",
    "mixup": "ave 7.10",
    "lr-mlp": "ave 7.11",
    "resize": "ave 7.12",
    "frame-position": "ave 7.13",
    "media": "ave 2",
    "spec-augment": "core 4.1",
    "leakage": "ave 7.14",
    "annotation-header": "ave 7.15",
    "lavish-v2": "ave 7.16",
    "lavish-star": "ave 5, core 9",
    "avs-selection": "avs 7.1",
    "avs-measure": "avs 7.17",
    "avs-accumulation": "avs 5",
    "avs-gamma": "avs 7.11",
    "avs-hyper-parameters": "avs 7.12",
    "avs-tuning": "avs 7.22",
    "avs-recipe": "avs 7.13, avs 7.23",
    "avs-early-stop": "avs 7.20",
    "avs-input-size": "avs 7.16",
    "avs-first-rows": "avs 7.18",
    "avs-classes": "avs 7.19",
    "avs-table7": "avs 7.21",
    "avs-masks": "avs 2.5",
    "avs-media": "avs 2.6, avs 2.7",
    "avs-leakage": "avs 1.10",
    "avs-audio-encoder": "avs 7.2",
    "avs-audio-encoder-ms3": "avs 1.2",
    "avs-freeze-mode": "avs 7.3",
    "avs-mixup": "avs 1.3",
    "avs-residual": "avs 7.4",
    "avs-adapter-output": "avs 7.5",
    "avs-latent-tokens": "avs 3.3",
    "avs-audio-block": "avs 7.6",
    "avs-prompt": "avs 7.7",
    "avs-spatial-prompt": "avs 7.8",
    "avs-spatial-width": "avs 7.9",
    "avs-pooling": "avs 3.1",
    "avs-temporal-place": "avs 7.10",
    "avs-tiling": "avs 2.6",
    "avs-reduction": "avs 7.14",
    "avs-decoder": "avs 7.15",
    "avs-decoder-relu": "avs 1.5",
    "avs-loss": "avs 4",
    "avs-loss-term": "avs 4",
    "avs-loss-term-s4": "avs 5",
    "avs-directions": "avs 10",
}
PAIRS = [(task, method) for task in TASKS for method in METHODS if task in METHODS[method].tasks]


def test_every_row_of_the_fact_sheets_has_one_entry():
    cited = [part.strip() for rows in ROWS.values() for part in rows.split(",")]
    wanted = [f"core 12.{i}" for i in range(1, 21)] + [f"ave 7.{i}" for i in range(1, 18)]
    wanted += [f"avs 7.{i}" for i in range(1, 24)]
    assert set(wanted) <= set(cited)
    assert len([row for row in cited if row in wanted]) == len(wanted)
    assert ROWS.keys() == {entry.id for entry in LEDGER}
    assert len(LEDGER) == len(ROWS)


def test_an_entry_says_where_a_reader_of_the_repository_can_look():
    for entry in LEDGER:
        assert re.search(r"paper, |code, |data set|LAVISH", entry.where), entry.id
        assert not re.search(r"\b(core|ave|avs)\.?(md)? \d|fact sheet", " ".join((entry.where, entry.note, entry.size))), (
            entry.id
        )


def test_the_page_opens_with_the_ten_that_move_a_number_most_and_their_sizes():
    sized = {entry.id: entry.size for entry in LEDGER if entry.size}
    assert len(MOST) == 10
    assert set(MOST) == set(sized)
    before, after = ledger_markdown().split("## Protocols")
    assert [line.split("](#")[1].split(")")[0] for line in before.splitlines() if line.startswith("| [")] == list(MOST)
    for name, size in sized.items():
        assert f"(#{name}) | {size} |" in before
        assert f'<a id="{name}"></a>' in after


def options_of(task: str) -> set[str]:
    """The options that any method has on a task."""
    return {name for on, method in PAIRS if on == task for name in option_names(task, method)}


@pytest.mark.parametrize("task", TASKS)
def test_one_entry_at_most_says_it_for_all_tasks_and_one_for_this_task(task):
    for said in ([e for e in LEDGER if e.tasks is None], [e for e in LEDGER if e.tasks and task in e.tasks]):
        options = [e.option for e in said if e.option]
        assert len(set(options)) == len(options)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_option_is_decided_by_somebody(task, protocol):
    decided, wanted = option_values(protocol, task), options_of(task) - FREE.keys()
    left = sorted(wanted - decided.keys())
    assert not left, f"no entry of the ledger says what {protocol} picks on {task} for: {', '.join(left)}"
    assert not decided.keys() & FREE.keys()
    for method in (method for on, method in PAIRS if on == task):
        for scale in SCALES:
            run, preset = Run.make(task, method, protocol=protocol, scale=scale), get_task(task).presets.get(scale, {})
            chosen = {name: getattr(run.options, name) for name in wanted & set(option_names(task, method))}
            expected = {**decided, **preset, **run.part.preset}
            assert chosen == {name: expected[name] for name in chosen}


def test_the_paper_scale_has_no_presets_and_a_preset_can_be_taken_back():
    assert not any("paper" in task.presets for task in TASKS.values())
    mini, back = (Run.make("avs-ms3", "dg-sct", overrides) for overrides in ({}, {"mixup": True}))
    assert (mini.options.mixup, back.options.mixup, back.setting) == (False, True, "mixup=on")
    assert Run.make("avs-ms3", "dg-sct", scale="paper").options.mixup


def test_what_nobody_need_decide_is_there():
    assert FREE.keys() <= set.union(*map(options_of, TASKS))


def test_an_entry_without_tasks_holds_for_all_and_one_that_names_a_task_wins(monkeypatch):
    """Whatever their order in the ledger."""
    entries = (
        Entry("b", "", "", "", "", "", option="tile", values=pick(2, 3, 4), tasks=("ave", "avs-s4")),
        Entry("a", "", "", "", "", "", option="tile", values=pick(5, 6, 7)),
        Entry("c", "", "", "", "", ""),
    )
    for ledger in (entries, entries[::-1]):
        monkeypatch.setattr(protocols, "LEDGER", ledger)
        for task, values in (("ave", (2, 3, 4)), ("avs-s4", (2, 3, 4)), ("avs-ms3", (5, 6, 7)), ("avqa", (5, 6, 7))):
            assert [option_values(p, task) for p in PROTOCOLS] == [{"tile": value} for value in values]
        assert Run.make("avs-ms3", "dg-sct", protocol="clean").options.tile == 7
        assert Run.make("avs-s4", "dg-sct", protocol="paper").options.tile == 3


@pytest.mark.parametrize("entry", [e for e in LEDGER if e.option], ids=lambda e: e.id)
def test_values_are_allowed_and_release_is_the_default_on_ave(entry):
    assert set(entry.values) == set(PROTOCOLS)
    if entry.tasks in (None, ("ave",)):
        assert entry.values["release"] == getattr(AveOptions(), entry.option)
    for task, method in PAIRS:
        if entry.holds(task) and entry.option in option_names(task, method):
            for value in entry.values.values():
                assert options_class(task, method).parse(entry.option, value) == value


@pytest.mark.parametrize("entry", [e for e in LEDGER if not e.option], ids=lambda e: e.id)
def test_entries_without_a_switch_say_why(entry):
    assert re.match(r"same in all protocols: \w", entry.note)
    assert set(entry.values.values()) == {None}


def test_protocols():
    assert PROTOCOLS == ("release", "paper", "clean") == tuple(SUMMARIES)
    release, paper, clean = (option_values(p, "ave") for p in PROTOCOLS)
    assert {n: v for n, v in paper.items() if v != release[n]} == {
        "residual": "paper",
        "keep_tokens": False,
        "audio_block": "split",
        "spatial_prompt": "map",
        "pooling": "mean",
        "tile": 1,
        "freeze_mode": "eval",
        "gate_loss": "probability",
        "accumulation": "off",
        "selection": "val",
        "accuracy": "exact",
    }
    assert {n: v for n, v in clean.items() if v != release[n]} == {
        "freeze_mode": "eval",
        "gate_loss": "probability",
        "accumulation": "off",
        "selection": "val",
        "accuracy": "exact",
    }
    everywhere = {e.option: e.values["paper"] for e in LEDGER if e.option and e.tasks is None}
    assert option_values("paper", "avqa") == everywhere
    assert everywhere["freeze_mode"] == "eval"


@pytest.mark.parametrize("task", AVS)
def test_protocols_of_segmentation(task):
    """Sheet AVS, section 7: 1 and 17; there is no gradient accumulation (section 5)."""
    release, paper, clean = (option_values(p, task) for p in PROTOCOLS)
    own = {"selection": "test", "f_protocol": "batch4", "accumulation": "off"}
    assert {name: release[name] for name in own} == own
    assert {name: paper[name] for name in own} == own | {"selection": "val", "f_protocol": "frame"}
    assert {name: clean[name] for name in own} == own | {"selection": "val", "f_protocol": "frame"}


@pytest.mark.parametrize(
    ("task", "method", "recipe"),
    [
        ("avs-s4", "dg-sct", (15, 8, 3e-4)),
        ("avs-ms3", "dg-sct", (30, 2, 1.5e-4)),
        ("avs-s4", "avs-pvt", (15, 4, 1e-4)),
        ("avs-ms3", "avs-r50", (30, 4, 1e-4)),
    ],
)
def test_recipes_of_segmentation(task, method, recipe):
    """Sheet AVS, section 5: a constant rate, and an early stop that never comes."""
    found = Run.make(task, method, scale="paper").recipe
    assert (found.epochs, found.batch_size, found.lr) == recipe
    assert (found.lr_gamma, found.patience) == (1.0, found.epochs)


RELEASED_OPTIONS = {
    "S": True, "C": True, "T": True, "A2V": True, "V2A": True, "alpha": 0.3, "beta": 0.05, "gamma": 0.1,
    "keep_tokens": True, "residual": "release", "audio_block": "whole", "spatial_prompt": "pooled",
    "pooling": "attention", "tile": 10, "freeze_mode": "train", "head": "release", "gate_loss": "double_sigmoid",
    "selection": "test", "accuracy": "batch8", "accumulation": "release", "precision": "fp32",
}  # fmt: skip
RELEASED_RECIPE = {"epochs": 50, "patience": 20, "batch_size": 8, "lr": 5e-4, "lr_step": 3, "lr_gamma": 0.35}
RELEASED_SIZES = {
    "swin": {
        "image_size": 192, "patch_size": 4, "embed_dim": 192, "depths": [2, 2, 18, 2], "num_heads": [6, 12, 24, 48],
        "window_size": 12, "num_classes": 21841, "drop_path": 0.1,
    },
    "htsat": {
        "sample_rate": 32000, "n_fft": 1024, "hop": 320, "mel_bins": 64, "f_min": 50.0, "f_max": 14000.0, "spec_size": 256,
        "patch_size": 4, "embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [4, 8, 16, 32], "window_size": 8,
        "num_classes": 527, "drop_path": 0.1, "time_stripe": 64, "mel_stripe": 8,
    },
    "head": {"visual_hidden": 512, "audio_hidden": 128, "width": 256, "feed_forward": 1024, "num_heads": 4},
    "num_tokens": 32, "reduction": 8, "groups": 2, "gate": 0.0, "classes": 28,
}  # fmt: skip


def test_release_at_paper_scale_is_the_released_recipe():
    """Sheet AVE, sections 5 and 7. What a run does with it, batch by batch and epoch by epoch: `test_recipe`."""
    resolved = Run.make("ave", "dg-sct", protocol="release", scale="paper").resolved()
    assert resolved["options"] == RELEASED_OPTIONS
    assert resolved["reported"] == "acc_batch8"
    assert {name: resolved["recipe"][name] for name in RELEASED_RECIPE} == RELEASED_RECIPE
    assert resolved["sizes"] == RELEASED_SIZES


def test_clean_at_paper_scale_has_none_of_its_quirks():
    release, clean = (Run.make("ave", "dg-sct", protocol=p, scale="paper").resolved() for p in ("release", "clean"))
    quirks = {
        "selection": "val", "accuracy": "exact", "accumulation": "off", "freeze_mode": "eval", "gate_loss": "probability",
    }  # fmt: skip
    assert clean["options"] == RELEASED_OPTIONS | quirks
    assert clean["reported"] == "acc_exact"
    assert (clean["recipe"], clean["sizes"]) == (release["recipe"], release["sizes"])


def test_unknown_protocol_names_the_known_ones():
    with pytest.raises(UsageError, match=r"did you mean 'release'.*release, paper, clean"):
        check_protocol("relase")
    with pytest.raises(UsageError):
        option_values("strict", "ave")


def test_the_page_is_the_generated_one():
    assert (ROOT / "docs" / "deviations.md").read_text(encoding="utf-8") == ledger_markdown()

"""The deviation ledger: complete, consistent with the options, and equal to its generated page."""

import re
from pathlib import Path

import pytest

from dgsct.errors import UsageError
from dgsct.methods import METHODS
from dgsct.runs import protocols
from dgsct.runs.protocols import LEDGER, PROTOCOLS, SUMMARIES, check_protocol, ledger_markdown, option_values
from dgsct.runs.resolve import option_names, options_class
from dgsct.runs.run import Run
from dgsct.settings.ledger import Entry, pick
from dgsct.tasks import TASKS
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
PAIRS = [(task, method) for task in TASKS for method in METHODS if task in METHODS[method].tasks]


def test_every_row_of_the_fact_sheets_is_cited_once():
    cited = [part.strip() for entry in LEDGER for part in entry.source.split(",")]
    wanted = [f"core 12.{i}" for i in range(1, 21)] + [f"ave 7.{i}" for i in range(1, 18)]
    wanted += [f"avs 7.{i}" for i in range(1, 24)]
    ours = ["ave 2", "core 4.1", "ave 5", "core 9"]  # deviations that the sheets state elsewhere
    ours += ["avs 1.10", "avs 2.5", "avs 2.6", "avs 2.7", "avs 5", "avs 5"]
    ours += ["avs 1.2", "avs 1.3", "avs 1.5", "avs 2.6", "avs 3.1", "avs 3.3", "avs 4", "avs 4", "avs 10"]
    assert sorted(cited) == sorted(wanted + ours)
    assert len({entry.id for entry in LEDGER}) == len(LEDGER) == 73


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
        run = Run.make(task, method, protocol=protocol)
        chosen = {name: getattr(run.options, name) for name in wanted & set(option_names(task, method))}
        assert chosen == {name: run.part.preset.get(name, decided[name]) for name in chosen}


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
    "num_tokens": 32, "reduction": 8, "groups": 2, "classes": 28,
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

"""The deviation ledger: complete, consistent with the options, and equal to its generated page."""

import re
from pathlib import Path

import pytest

from dgsct.errors import UsageError
from dgsct.options import OPTION_NAMES, Options
from dgsct.protocols import LEDGER, PROTOCOLS, SUMMARIES, check_protocol, ledger_markdown, option_values

ROOT = Path(__file__).resolve().parent.parent
MODEL_CHOICES = {"S", "C", "T", "A2V", "V2A", "alpha", "beta", "gamma", "modality"}


def test_every_row_of_the_fact_sheets_is_cited_once():
    cited = [part.strip() for entry in LEDGER for part in entry.source.split(",")]
    wanted = [f"core 12.{i}" for i in range(1, 21)] + [f"ave 7.{i}" for i in range(1, 18)]
    ours = ["ave 2", "core 4.1", "ave 5", "core 9"]  # deviations that the sheets state elsewhere
    assert sorted(cited) == sorted(wanted + ours)
    assert len({entry.id for entry in LEDGER}) == len(LEDGER) == 37


def test_switches_are_the_options_that_are_no_choice_of_model():
    assert {e.option for e in LEDGER if e.option} == set(OPTION_NAMES) - MODEL_CHOICES


@pytest.mark.parametrize("entry", [e for e in LEDGER if e.option], ids=lambda e: e.id)
def test_values_are_allowed_and_release_is_the_default(entry):
    assert set(entry.values) == set(PROTOCOLS)
    assert entry.values["release"] == getattr(Options(), entry.option)
    for value in entry.values.values():
        Options().replace(**{entry.option: value})


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
    assert option_values("paper", "avqa") == {}


def test_unknown_protocol_names_the_known_ones():
    with pytest.raises(UsageError, match=r"did you mean 'release'.*release, paper, clean"):
        check_protocol("relase")
    with pytest.raises(UsageError):
        option_values("strict", "ave")


def test_the_page_is_the_generated_one():
    assert (ROOT / "docs" / "deviations.md").read_text(encoding="utf-8") == ledger_markdown()

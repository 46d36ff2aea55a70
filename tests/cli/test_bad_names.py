"""Every command with bad names for its files, folders and words: one sentence, no traceback, nothing left behind.

A command that is added later is walked by itself; it fails here until it stands in `GOOD`.
"""

from functools import cache
from pathlib import Path

import pytest
import typer
from bad_input_rig import MASKED, PLACES, RUN, WORDS, fault, fault_of_report

from dgsct.cli import app

# Good values of what a command needs beside the one that is walked. Paths are relative to the world's folder.
SMALL = {"--experiments": "experiments"}
CHECKPOINT = "missing.pt"
RAW = "results/data/mini/ave/raw"
GOOD: dict[str, dict[str, str]] = {
    "ls": {},
    "run": {"task": "ave", "method": "majority-class"},
    "bundle": {"folders": "bad/text"},
    "prepare": {"dataset": "ave", "root": RAW, "out": "bad/text/packed", "--scale": "mini", "--jobs": "1"},
    "features": {"dataset": "avs-s4", "extractor": "vggish", "--scale": "mini"},
    "weights": {},
    "convert": {"kind": "release-to-ours", "file": CHECKPOINT, "out": "out.safetensors"},
    "evaluate": {"task": "ave", "--checkpoint": CHECKPOINT},
    "efficiency": {"method": "dg-sct"},
    "tables": SMALL,
    "figures": {**SMALL, "names": "fig4"},
    "coverage": SMALL,
    "cells": SMALL,
    "trace": {**SMALL, "experiment": "table6", "row": "dg-sct"},
    "report": {},
    "status": SMALL,
    "plan": {**SMALL, "--probe": "--no-probe", "--write": "--no-write"},
    "ledger": {},
    "doctor": SMALL,
    "masks": {"folder": str("results" / MASKED.folder)},
    "remeasure": {},
    "retry": {},
    "soak": {},
}
# Where the walked value is looked at later than usual.
LATER: dict[tuple[str, str], dict[str, str]] = {
    ("convert", "out"): {"kind": "swin", "file": "swin.pt", "--scale": "mini"},
}
# Names of files and folders that are declared as text.
PATHS_AS_TEXT = ("scratch", "profile")
NEW_FOLDER = ("a missing name", "a folder", "a wrongly encoded name", "a line break")
FILES = ("a text file", "an empty file", "binary garbage", "a text in latin-1", "a text in UTF-16", "a wrongly encoded file")
NEW_FILE = ("a missing name", "a wrongly encoded name", "a line break", "a circle of links", *FILES)
ABSENT = (*NEW_FOLDER, "an unwritable place")
EMPTY = ("an empty word",)
# What is good in itself: the call goes on, to its end or to what else is missing. A results folder may be empty, an output
# folder new, and no filter is none.
FINE: dict[tuple[str, str], tuple[str, ...]] = {
    **{
        (name, "results"): ABSENT
        for name in ("tables", "figures", "coverage", "cells", "trace", "status", "remeasure", "retry", "plan")
    },
    **{(name, word): EMPTY for name in ("plan", "doctor") for word in ("tasks", "methods")},
    ("tables", "out"): NEW_FOLDER,
    ("figures", "out"): NEW_FOLDER,
    **{(name, "results"): ABSENT for name in ("doctor", "run", "evaluate")},
    ("evaluate", "out"): ABSENT,
    ("run", "scratch"): ABSENT,
    ("bundle", "jobs"): ("a large number",),
    ("bundle", "time_budget"): ("a large number",),
    ("status", "interval"): ("a large number",),
    ("soak", "minutes"): ("a large number",),
    ("weights", "fetch"): EMPTY,
    ("weights", "keys"): EMPTY,
    ("prepare", "out"): NEW_FOLDER,
    ("convert", "out"): NEW_FILE,
    ("efficiency", "out"): NEW_FILE,
    ("soak", "seed"): ("a large number", "a digit of another kind"),
    ("convert", "results"): tuple(PLACES),  # a run's best weights alone need it
    ("features", "raw"): tuple(PLACES),  # VGGish reads the prepared sound
    **{(name, "profile"): ("an empty name",) for name in ("doctor", "plan")},
    ("plan", "gpu_tflops"): ("a large number",),
}


@cache
def commands() -> dict[str, list]:
    """Every command and what can be said to it, but for switches."""
    found = typer.main.get_command(app).commands
    return {name: [p for p in one.params if not getattr(p, "is_flag", False)] for name, one in found.items()}


def is_path(parameter) -> bool:
    kind = parameter.type_descriptor.annotation
    return kind in (Path, list[Path]) or parameter.name in PATHS_AS_TEXT


def line_of(command: str, walked, value: str) -> list[str]:
    """The command line with `value` for the parameter `walked`, and good values for the rest."""
    said, beside = [], {**GOOD[command], **LATER.get((command, walked.name), {})}
    for name, good in beside.items():
        if name.startswith("--") and name not in walked.opts:
            said += [good] if good.startswith("--") else [name, good]
    if walked.opts[0].startswith("-"):
        said += [walked.opts[0], value]
    arguments = [p for p in commands()[command] if not p.opts[0].startswith("-")]
    values = [value if p is walked or p.name == walked.name else beside.get(p.name) for p in arguments]
    return [command, *said, "--", *(v for v in values if v is not None)]


def named_of(value: str) -> str:
    """What a sentence must repeat of a bad value: its end, as it is printed; of an over-long one a piece."""
    if not value:
        return ""
    name = value[:10] if value.startswith("/proc") else Path(value).name
    return name.replace("\n", "\\n").encode("utf-8", "backslashreplace").decode()[:60]


def test_every_command_is_walked():
    assert set(GOOD) == set(commands())
    for command, parameters in commands().items():
        needed = {p.name if p.param_type_name == "argument" else p.opts[0] for p in parameters if p.required}
        assert needed <= set(GOOD[command]), command


WALKS = [(command, p.name) for command, parameters in commands().items() for p in parameters]


@pytest.mark.parametrize(("command", "name"), WALKS, ids=[f"{command}-{name}" for command, name in WALKS])
def test_a_bad_name_is_one_sentence(world, monkeypatch, command, name):
    if (command, name) == ("efficiency", "out"):  # counting takes seconds
        monkeypatch.setattr("dgsct.engine.efficiency.efficiency", lambda *_: {})
    parameter = next(p for p in commands()[command] if p.name == name)
    values = {kind: place(world.bad) for kind, place in PLACES.items()} if is_path(parameter) else WORDS
    faults = {}
    for kind, value in values.items():
        before = world.listed()
        said = world.call(*line_of(command, parameter, value))
        fine = kind in FINE.get((command, name), ())
        number = kind == "an over-long number" and parameter.type_descriptor.annotation is float
        problem = fault(said, "inf" if number else named_of(value))
        if fine:
            problem = fault(said) if said.code and command != "doctor" else fault_of_report(said)
        elif said.code == 0:
            problem = f"exit code 0: {said.err[-200:] or said.out[-200:]!r}"
        elif not problem and (new := world.listed().keys() ^ before.keys()):
            problem = f"left behind: {sorted(new)}"
        if problem:
            faults[kind] = problem
    assert not faults, "\n".join(f"{kind}: {problem[:400]}" for kind, problem in faults.items())


DEEP = ("an over-long path", "a circle of links", "a place below a file", "a forbidden place", "an unwritable place")


@pytest.mark.parametrize("command", ["bundle", "masks", "remeasure", "retry"])
def test_a_run_folder_in_a_bad_place_is_one_sentence(world, command):
    run = MASKED if command == "masks" else RUN
    for kind in DEEP:
        place = PLACES[kind](world.bad)
        said = world.call(command, Path(place) / run.folder)
        assert said.code, kind
        assert not (problem := fault(said, named_of(place))), (kind, problem)

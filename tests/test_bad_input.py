"""No input of a user ends in a bare traceback: every command and every name that it takes, and every file that users write.

A command that is added later is walked by itself; it fails here until it stands in `GOOD`.
"""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import typer
from bad_input_rig import CONTENTS, MASKED, NO_TEXT, PLACES, RUN, WORDS, World, fault, fault_of_report, make_sets

from dgsct.campaign import doctor
from dgsct.cli import app
from dgsct.errors import DgsctError, exit_code

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
# Faults that are known and not mended yet.
OPEN: dict[tuple[str, str], tuple[str, ...]] = {}
# What doctor looks at here: none of these starts a program.
CHECKS = ("settings", "data", "weights", "disk")
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
        (name, "results"): ABSENT for name in ("tables", "figures", "coverage", "cells", "status", "remeasure", "retry", "plan")
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
    ("doctor", "profile"): ("an empty name",),
}


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


@pytest.fixture(scope="session")
def sets(tmp_path_factory):
    return make_sets(tmp_path_factory.mktemp("sets"))


@pytest.fixture
def world(tmp_path, sets, monkeypatch):
    """A world, where no real work begins: whoever comes so far has not looked at the input."""

    def forbidden(*_args, **_kwargs):
        raise DgsctError("real work has begun")

    for place in ("dgsct.engine.soak.soak", "dgsct.campaign.probe.probe", "dgsct.engine.worker.fork_run"):
        monkeypatch.setattr(place, forbidden)
    monkeypatch.setattr("dgsct.engine.worker.preload", lambda: None)
    monkeypatch.setattr(doctor, "examine", lambda checks, all_=doctor.examine: all_([c for c in checks if c.area in CHECKS]))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield World(tmp_path, sets)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)  # a bundle that fails leaves some blocked


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
        if kind in OPEN.get((command, name), ()):
            problem = "" if problem else "it is mended; take it from OPEN"
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


# Files that users write or that lie in a results folder, and the commands that read them.
MINE = "results" / RUN.folder
BEST = str(MINE / "checkpoints" / "best.safetensors")
HERE = ("--experiments", "mine")
LOOKS = (
    ["cells", *HERE],
    ["coverage", *HERE],
    ["status", *HERE],
    ["plan", "--no-probe", "--no-write", *HERE],
    ["doctor", *HERE],
)
TABLE = ["tables", "table1", "--out", "out", *HERE]
RERUN = ["run", "ave", "majority-class"]
FEATURES = ["features", "avs-s4", "vggish", "--scale", "mini"]
PACKED = "results/data/mini/ave/packed"
FILES_READ: dict[str, tuple[list[str], ...]] = {
    "site.yaml": tuple([*line, "--site", "site.yaml"] for line in (*LOOKS[3:], ["weights"])),
    "mine/table1.yaml": LOOKS,
    "profile/config.yaml": ([*LOOKS[4], "--profile", "profile"],),
    str(MINE / "record.json"): (*LOOKS, TABLE, RERUN, ["remeasure"], ["remeasure", "--stale", str(MINE)], ["retry", str(MINE)]),
    str(MINE / "failed.json"): (*LOOKS[2:4], TABLE, RERUN, ["retry", str(MINE)]),
    str(MINE / "units.npz"): (["remeasure"], ["remeasure", "--stale", str(MINE)], RERUN),
    str(MINE / "lock.json"): (LOOKS[2], RERUN),
    f"{PACKED}/manifest.json": (*LOOKS, TABLE, RERUN),
    f"{PACKED}/wave.npy": (LOOKS[4], RERUN),
    "results/encoders/mini/vggish.json": (FEATURES, LOOKS[4]),
    "results/encoders/mini/vggish.safetensors": (FEATURES, LOOKS[4]),
    "results/data/mini/avs-s4/packed/manifest.json": (FEATURES,),
    "results/features/mini/avs-s4/vggish/features.json": (FEATURES, ["cells", "table2"]),
    "results/efficiency/dg-sct.json": (
        ["tables", "table6", "--out", "out", "--experiments", "experiments"],
        ["status", "--experiments", "experiments"],
    ),
    "checkpoint.pt": (
        ["evaluate", "ave", "--checkpoint", "checkpoint.pt"],
        ["convert", "swin", "checkpoint.pt", "o.safetensors"],
    ),
    "checkpoint.safetensors": (["evaluate", "ave", "--checkpoint", "checkpoint.safetensors"],),
    BEST: (["evaluate", "ave", "--checkpoint", BEST],),
}


# What every command is given; of the rest each kind is given to one command.
BY_ALL = ("cut off", "a list", "latin-1", "nested too deep")


@pytest.mark.parametrize("file", FILES_READ)
def test_a_bad_file_is_no_traceback(world, file):
    """The file is named where the command fails; tables and status show what it spoils, and go on."""
    world.unshare()
    path, faults = world.root / file, {}
    path.parent.mkdir(parents=True, exist_ok=True)
    for i, (kind, content) in enumerate(CONTENTS.items()):
        lines = FILES_READ[file]
        for line in lines if kind in BY_ALL else lines[i % len(lines) :][:1]:
            world.fresh(path, content)
            said = world.call(*line)
            problem = fault_of_report(said) if line[0] == "doctor" or not said.code else fault(said)
            if problem:
                faults[f"{' '.join(line)}, {kind}"] = problem
    assert not faults, "\n".join(f"{what}: {problem[:300]}" for what, problem in faults.items())


# A data set's own files, as `dgsct prepare` reads them.
BELL = "Church bell&{}&good&0&10\n"
NAMES = {
    "an over-long id": "i" * 300,
    "an id with a slash": "a/b",
    "an id above": "..",
    "an id with a NUL": "a\x00b",
    "an id with a line separator": "a\u2028b",
    "an id with a return": "a\rb",
    "an id with a tab": "a\tb",
    "an empty id": "",
    "an id of blanks": "  ",
    "an id that no text holds": "caf\ufffd",
}


def spoilt(text: str) -> dict[str, bytes]:
    """A good text in encodings that it must not have, and what is no such text at all."""
    wrong = {"with a byte of latin-1": text.encode() + b"caf\xe9\n", "as UTF-16": text.encode("utf-16")}
    return {**CONTENTS, **wrong, "with a NUL": text.encode() + b"\x00\n", "an endless line": text.encode() + b"x" * 300_000}


def prepared_set_fault(world, name: str) -> str:
    before = world.listed()
    said = world.call("prepare", name, "own", "packed", "--scale", "mini", "--jobs", "1")
    problem = fault(said) if said.code else "exit code 0"
    left = {path for path in world.listed().keys() - before.keys() if "/packed" in path}
    return problem or (f"left behind: {left}" if left else "")


@pytest.mark.parametrize("file", ["Annotations.txt", "trainSet.txt", "train_order.h5"])
def test_a_bad_file_of_ave_is_one_sentence(world, file):
    own, faults = world.root / "own", {}
    own.mkdir()
    for name in ("Annotations", "trainSet", "valSet", "testSet"):
        (own / f"{name}.txt").write_text(BELL.format("clip"), encoding="utf-8")
    for kind, content in spoilt(BELL.format("clip")).items():
        (own / file).write_bytes(content)
        if problem := prepared_set_fault(world, "ave"):
            faults[kind] = problem
    (own / file).unlink()
    (own / file).mkdir()
    if problem := prepared_set_fault(world, "ave"):
        faults["a folder"] = problem
    assert not faults, "\n".join(f"{kind}: {problem[:300]}" for kind, problem in faults.items())


@pytest.mark.parametrize("kind", ["group", "text", "fractions", "table", "outside", "nothing", "object"])
def test_a_bad_order_of_ave_is_one_sentence(world, kind):
    own = world.root / "own"
    own.mkdir()
    (own / "Annotations.txt").write_text(BELL.format("clip"), encoding="utf-8")
    with h5py.File(own / "train_order.h5", "w") as file:
        match kind:
            case "group":
                file.create_group("order")
            case "text":
                file["order"] = ["a", "b"]
            case "fractions":
                file["order"] = np.array([0.5, np.nan])
            case "table":
                file["order"] = np.zeros((2, 2), dtype=np.int64)
            case "outside":
                file["order"] = np.array([2**63 - 1])
            case "nothing":
                file["order"] = np.zeros(0, dtype=np.int64)
            case "object":
                file["order"] = np.zeros(2, dtype=[("a", "i4")])
    assert not prepared_set_fault(world, "ave")


@pytest.mark.parametrize("kind", NAMES)
def test_a_bad_id_is_one_sentence(world, kind):
    own, name = world.root / "own", NAMES[kind]
    (own / "AVE").mkdir(parents=True)
    (own / "Single-source" / "s4_data" / "visual_frames").mkdir(parents=True)
    (own / "Single-source" / "s4_data" / "raw_videos").mkdir()
    for file in ("Annotations", "trainSet", "valSet", "testSet"):
        (own / f"{file}.txt").write_text(BELL.format(name), encoding="utf-8", newline="")
    rows = [f"{name}{i},0,dog_barking,{split}" for i, split in enumerate(("train", "val", "test"))]
    table = "\n".join(("name,start,category,split", *rows))
    (own / "Single-source" / "s4_meta_data.csv").write_text(table, encoding="utf-8", newline="")
    assert not {one: problem for one in ("ave", "avs-s4") if (problem := prepared_set_fault(world, one))}


def test_bad_metadata_is_one_sentence(world):
    folder, faults = world.root / "own" / "Single-source", {}
    (folder / "s4_data" / "raw_videos").mkdir(parents=True)
    good = "name,start,category,split\n"
    for kind, content in {**spoilt(good), "an open quote": f'{good}"clip,0,dog_barking,train\n'.encode()}.items():
        (folder / "s4_meta_data.csv").write_bytes(content)
        if problem := prepared_set_fault(world, "avs-s4"):
            faults[kind] = problem
    assert not faults, "\n".join(f"{kind}: {problem[:300]}" for kind, problem in faults.items())


@pytest.mark.parametrize("kind", ["wrongly encoded", "a folder", "garbage", "a circle"])
def test_a_bad_video_is_one_sentence(world, kind):
    own = world.root / "own"
    (own / "AVE").mkdir(parents=True)
    for file in ("Annotations", "trainSet", "valSet", "testSet"):
        (own / f"{file}.txt").write_text(BELL.format("clip"), encoding="utf-8")
    video = own / "AVE" / "clip.mp4"
    match kind:
        case "wrongly encoded":
            (own / "AVE" / f"{NO_TEXT}.mp4").write_bytes(b"x")
        case "a folder":
            video.mkdir()
        case "garbage":
            video.write_bytes(bytes(range(256)) * 64)
        case "a circle":
            video.symlink_to("clip.mp4")
    said = world.call("prepare", "ave", "own", "packed", "--scale", "mini", "--jobs", "1")
    assert said.code, said.out
    assert not fault(said)


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def dgsct(*arguments: str, shell: str = "", **env: str) -> subprocess.CompletedProcess:
    command = shlex.join([sys.executable, "-m", "dgsct.cli", *arguments]) + shell
    full = {**os.environ, **env}
    return subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], env=full, capture_output=True, timeout=100)


@pytest.mark.parametrize("env", [{}, ASCII, {"PYTHONIOENCODING": "ascii"}], ids=["as it is", "no locale", "ascii"])
def test_any_name_can_be_printed(env):
    said = dgsct("tables", f"{NO_TEXT}é", **env)
    assert (said.returncode, said.stdout) == (2, b"")
    assert said.stderr.startswith(b"dgsct: unknown experiment 'caf\\udce9")
    assert dgsct("ls", **env).returncode == 0


@pytest.mark.parametrize("command", ["ls", "ledger"])
def test_a_reader_that_goes_away_is_told_nothing(command):
    said = dgsct(command, shell=" | head -n 1")
    assert (said.returncode in (0, 1), said.stderr) == (True, b"")


def test_an_output_that_takes_nothing_is_one_sentence():
    said = dgsct("ledger", shell=" > /dev/full")
    assert said.returncode == 1
    assert (
        said.stderr == b"dgsct: the output: No space left on device; free space on that disk and run the same command again\n"
    )


def test_ctrl_c_ends_quietly():
    code = "import signal, sys; from dgsct.errors import exit_code; "
    code += "signal.signal(signal.SIGINT, signal.default_int_handler); "  # whoever started this may ignore it
    code += "sys.exit(exit_code(lambda: signal.raise_signal(signal.SIGINT)))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=100)
    assert (said.returncode, said.stdout, said.stderr) == (130, b"", b"")


def test_a_fault_of_the_program_keeps_its_traceback():
    for fault_of_ours in (KeyError("x"), TypeError("x"), AssertionError("x"), ValueError("x"), RecursionError("x")):
        with pytest.raises(type(fault_of_ours)):
            exit_code(lambda error=fault_of_ours: (_ for _ in ()).throw(error))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_a_folder_of_somebody_else_is_one_sentence(tmp_path):
    theirs = tmp_path / "theirs"  # and so is the folder above it
    theirs.mkdir(mode=0o700)
    code = "import os, sys; from dgsct.errors import exit_code; os.setgid(65534); os.setuid(65534); "
    code += "sys.exit(exit_code(lambda: open(sys.argv[1])))"
    said = subprocess.run([sys.executable, "-c", code, theirs / "file"], capture_output=True, text=True, timeout=100)
    assert said.returncode == 1
    assert said.stderr == f"dgsct: {theirs / 'file'}: Permission denied; check its permissions\n"

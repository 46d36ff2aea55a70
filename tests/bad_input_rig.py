"""What users give by mistake, and a small world to give it in."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from call_rig import Said, call
from public_rig import encoder_entries
from results_rig import place, place_efficiency

from dgsct.data.prepare import prepare_set
from dgsct.data.units import NAME, Units, write_units
from dgsct.encoders.vggish import Vggish
from dgsct.encoders.weights import encoder_file, publish
from dgsct.runs.experiments import EXPERIMENTS
from dgsct.runs.run import Run
from dgsct.settings.scales import MINI
from dgsct.tasks import get_set
from dgsct.tasks.generate import write_mini

RUN = Run.make("ave", "majority-class")
MASKED = Run.make("avs-s4", "dg-sct")
NO_TEXT = os.fsdecode(b"caf\xe9")

# Names, and what lies there. `PLACES` are for paths, `WORDS` for everything else.
PLACES: dict[str, Callable[[Path], str]] = {
    "an empty name": lambda folder: "",
    "a missing name": lambda folder: str(folder / "missing"),
    "a folder": lambda folder: str(folder / "folder"),
    "a text file": lambda folder: str(folder / "text"),
    "an empty file": lambda folder: str(folder / "empty"),
    "binary garbage": lambda folder: str(folder / "garbage"),
    "a text in latin-1": lambda folder: str(folder / "latin"),
    "a text in UTF-16": lambda folder: str(folder / "utf16"),
    "an over-long name": lambda folder: str(folder / ("n" * 300)),
    "an over-long path": lambda folder: str(folder / ("p/" * 2500) / "p"),
    "a wrongly encoded name": lambda folder: str(folder / "folder" / NO_TEXT),
    "a wrongly encoded file": lambda folder: str(folder / NO_TEXT),
    "a line break": lambda folder: str(folder / "line\nbreak"),
    "a circle of links": lambda folder: str(folder / "circle"),
    "a place below a file": lambda folder: str(folder / "text" / "below"),
    "a forbidden place": lambda folder: "/proc/version/below",
    "an unwritable place": lambda folder: "/proc/nowhere/below",
}
WORDS: dict[str, str] = {
    "an empty word": "",
    "an unknown word": "no-such-thing",
    "an over-long word": "w" * 5000,
    "a wrongly encoded word": NO_TEXT,
    "a line break": "line\nbreak",
    "an over-long number": "9" * 5000,
    "a large number": "9" * 30,
    "a digit of another kind": "²",
    "not a number": "nan",
    "an endless number": "inf",
}
CONTENTS: dict[str, bytes] = {
    "empty": b"",
    "cut off": b'{"run": {"task": "ave", "meth',
    "binary": bytes(range(256)) * 4,
    "a list": b"[]",
    "an object": b"{}",
    "a number": b"7",
    "null": b"null",
    "text": b'"text"',
    "latin-1": '{"name": "caf\xe9"}'.encode("latin-1"),
    "UTF-16": '{"name": "text"}'.encode("utf-16"),
    "a NUL": b'name: "a\x00b"\n',
    "nested too deep": b"[" * 20_000,
    "lists in lists": b'{"run": [], "rows": [[]], "columns": [7], "key": [], "key_parts": [], "metrics": [], "schema": "x"}',
}


def make_sets(root: Path) -> Path:
    """What is good and takes seconds to make: both kinds of data sets, VGGish, and a public encoder file."""
    for name, train in (("ave", 6), ("avs-s4", 2)):
        raw = root / "data/mini" / name / "raw"
        write_mini(name, raw, splits={"train": train, "val": 1, "test": 1}, jobs=1, progress=False)
        prepare_set(get_set(name), raw, raw.with_name("packed"), MINI, jobs=1, progress=False)
    publish(encoder_file(root, "mini", "vggish"), Vggish(MINI.vggish), {"encoder": "vggish"})
    torch.save(encoder_entries("swin", MINI), root / "swin.pt")
    return root


class World:
    """A folder in which a user stands: bad things in `bad`, good ones beside. `sets` is of `make_sets`."""

    def __init__(self, root: Path, sets: Path) -> None:
        self.root, self.bad, self.sets = root, root / "bad", sets
        (self.bad / "folder").mkdir(parents=True)
        for name, content in {
            "text": b"text\n",
            "empty": b"",
            "garbage": bytes(range(256)) * 16,
            "latin": "caf\xe9\n".encode("latin-1"),
            "utf16": "text\n".encode("utf-16"),
            NO_TEXT: b"\x00\xff",
        }.items():
            (self.bad / name).write_bytes(content)
        (self.bad / "circle").symlink_to("circle")
        for folder, names in {"experiments": ("table6", "fig4"), "mine": ("table1",)}.items():
            (root / folder).mkdir()
            for name in names:
                shutil.copy(EXPERIMENTS / f"{name}.yaml", root / folder)
        self.results = root / "results"
        self.results.mkdir()
        for name in ("data", "encoders"):
            (self.results / name).symlink_to(sets / name)
        (root / "swin.pt").symlink_to(sets / "swin.pt")
        units = Units({}, ())
        sha256 = write_units(self.results / RUN.folder / NAME, units)
        self.record = place(self.results, RUN, units={"sha256": sha256})
        place_efficiency(self.results)
        self.run = root / "run"
        shutil.copytree(self.results / RUN.folder, self.run)
        (root / "site.yaml").write_text("run: {cpus: 2}\n", encoding="utf-8")
        (root / "profile").mkdir()
        (root / "profile" / "config.yaml").write_text("executor: local\n", encoding="utf-8")

    def unshare(self) -> None:
        """A copy of the sets for who spoils them."""
        for name in ("data", "encoders"):
            (self.results / name).unlink()
            shutil.copytree(self.sets / name, self.results / name)

    def fresh(self, path: Path, content: bytes) -> None:
        """`content` in the file, whatever the last call has left of it."""
        shutil.rmtree(self.results / RUN.folder)
        shutil.copytree(self.run, self.results / RUN.folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def listed(self) -> dict[str, int]:
        """Every file and folder with its size."""
        found = self.root.rglob("*")
        return {os.fsencode(path).decode("latin-1"): 0 if path.is_dir() else path.lstat().st_size for path in found}

    def call(self, *arguments: object) -> Said:
        """`dgsct ARGUMENTS` with this folder as the working directory."""
        return call(self.root, *arguments)


def fault(said: Said, named: str = "") -> str:
    """What is wrong with how a call has failed; empty where it is one sentence that names the thing."""
    if "Traceback" in said.out + said.err:
        return "a traceback: " + said.err.strip().splitlines()[-1]
    lines = said.err.rstrip("\n").split("\n")
    if lines[0].startswith("Usage: "):
        return "" if said.code == 2 else f"exit code {said.code} for a usage error"
    if not lines[-1].startswith("dgsct: "):
        return f"the last line is no sentence: {lines[-1]!r}"
    if named not in lines[-1]:
        return f"{named!r} is not named: {lines[-1]!r}"
    return ""


def fault_of_report(said: Said) -> str:
    """What is wrong with a call that may well end with 0, or with 1 and a report on what it has found."""
    if said.code not in (0, 1):
        return fault(said)
    return "a traceback" if "Traceback" in said.out + said.err else ""

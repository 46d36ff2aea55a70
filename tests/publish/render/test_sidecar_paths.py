"""Every path in a side-car leads from the repository's root to a file; sentences name files so that commands in them work."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from call_rig import call
from results_rig import place, place_corrupt, place_given_up, small_experiment

from dgsct.publish import cells
from dgsct.publish.cells import cells_of
from dgsct.publish.render.json_sidecar import render as sidecar
from dgsct.publish.tables import build_table
from dgsct.runs.experiments import Settings
from dgsct.runs.run import Run

RUN = Run.make("ave", "dg-sct")


def sources(value: Any, missing: bool = False) -> Iterator[dict]:
    """Every entry of a side-car that names a record; only where it is there, or also where it (or its masks) is `missing`."""
    if isinstance(value, dict):
        if value.get("record") and (missing or value["state"] != "missing"):
            yield value
        value = list(value.values())
    for item in value if isinstance(value, list) else ():
        yield from sources(item, missing)


def test_paths_of_the_committed_records_lead_from_the_root_to_them(repository, tmp_path):
    """Tables and figures typeset from the real records of the repository, as a user calls it."""
    for command, names in (("tables", ["table1", "table3", "table6"]), ("figures", ["fig8", "fig9"])):
        done = call(repository, command, *names, "--results", "results/reference", "--out", tmp_path)
        assert done.code == 0, done.err
    seen = {}
    for path in tmp_path.glob("*.json"):
        # The records of fig9's runs are kept in the repository, their masks are not.
        named = [entry["record"] for entry in sources(json.loads(path.read_text(encoding="utf-8")), path.stem == "fig9")]
        assert all(not os.path.isabs(name) and (repository / name).is_file() for name in named), path
        seen[path.stem] = len(named)
    assert len(seen) == 5
    assert min(seen.values()) > 0


def test_they_do_whatever_the_folder_that_one_stands_in(repository, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for root in (repository / "results/reference", Path(os.path.relpath(repository / "results/reference"))):
        table = json.loads(sidecar(build_table(small_experiment(), Settings(), root)))
        named = [entry["record"] for entry in sources(table)]
        assert named
        assert all((repository / name).is_file() for name in named)


def test_records_outside_the_repository_are_named_whole(tmp_path, monkeypatch):
    place(tmp_path / "results", RUN)
    monkeypatch.chdir(tmp_path)
    (entry,) = sources(json.loads(sidecar(build_table(small_experiment(), Settings(seeds=1), Path("results")))))
    assert entry["record"] == f"{tmp_path}/results/{RUN.folder}/record.json"


@pytest.mark.parametrize(
    ("put", "words"),
    [
        (place_given_up, "`dgsct retry` clears it"),
        (place_corrupt, f"results/{RUN.folder}/record.json is not a readable record"),
        (lambda root, run: place(root, run, float("nan")), f"results/{RUN.folder}/record.json has no finite metric"),
    ],
)
@pytest.mark.parametrize("given", ["results", "whole"])
def test_sentences_name_files_from_the_root(tmp_path, monkeypatch, given, put, words):
    monkeypatch.setattr(cells, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "results", RUN)
    root = Path("results") if given == "results" else tmp_path / "results"
    cell = next(cell for cell in cells_of(small_experiment(), Settings(seeds=1), root) if cell.row == "full")
    assert words in cell.reasons[0]
    assert str(tmp_path) not in cell.reasons[0]

"""The code that CONTRIBUTING shows, as it stands there: trained for a step on random arrays, measured, run by the engine."""

import re
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from avs_rig import write_world

import dgsct.methods
from dgsct.campaign.probe import pretended_view
from dgsct.cli import main
from dgsct.engine.recipe import build_optimizer, draw_of
from dgsct.methods import METHODS
from dgsct.records.results import read_record
from dgsct.runs.run import Run
from dgsct.runs.schema import Row
from dgsct.tasks import TASKS, get_task


@pytest.fixture(scope="module")
def page(repository) -> str:
    return (repository / "CONTRIBUTING.md").read_text(encoding="utf-8")


def examples(page: str) -> list[str]:
    """The page's Python blocks; each begins with the path of its file."""
    return re.findall(r"```python\n(.*?)```", page, re.S)


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Writes the examples, some words of them exchanged, and lists their method as the package would."""

    def install(page: str, *exchanged: tuple[str, str]) -> None:
        for code in examples(page):
            path = tmp_path / code.split(":")[0].split()[1]
            for old, new in exchanged:
                code = code.replace(old, new)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(code, encoding="utf-8")
        monkeypatch.setattr(dgsct.methods, "__path__", [*dgsct.methods.__path__, str(tmp_path / "dgsct/methods")])
        for name in ("", ".ave", ".avs"):
            monkeypatch.delitem(sys.modules, f"dgsct.methods.pooled{name}", raising=False)
        for method in import_module("dgsct.methods.pooled").METHODS:
            monkeypatch.setitem(METHODS, method.name, method)

    return install


def test_an_example_for_each_family_is_short(page):
    models = [code for code in examples(page) if "def predict" in code]
    assert len(models) == 2
    assert all(len([line for line in code.splitlines() if line.strip()]) <= 25 for code in models)


@pytest.mark.parametrize("task", ["ave", "avs-ms3"])
def test_the_examples_learn_from_random_arrays_and_are_measured(page, installed, task):
    installed(page)
    run = Run.make(task, "pooled")
    view, rows = pretended_view(run, run.reads), np.arange(run.recipe.batch_size)
    torch.manual_seed(0)
    model, batch = run.build(), view.batch(rows, draw_of(0, 0, 0))
    optimizer, before = build_optimizer(model, run.recipe), [p.detach().clone() for p in model.parameters()]
    assert sum(p.numel() for p in before) == METHODS["pooled"].on(task).trainable["mini"]
    sum(model.losses(model(**batch.inputs), batch.targets).values()).backward()
    optimizer.step()
    assert all(not torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True))
    with torch.no_grad():
        predicted = model.predict(model(**batch.inputs))
    kept = view.keep({name: tensor.numpy() for name, tensor in predicted.items()}, rows)
    metrics = get_task(task).measure_all(view.units(kept, rows, len(rows)))
    assert 0 <= metrics[run.reported] <= 100
    full = Run.make(task, "pooled", scale="paper").build(meta=True)
    assert sum(p.numel() for p in full.parameters()) == METHODS["pooled"].on(task).trainable["paper"]


def test_the_engine_trains_the_segmenter(page, installed, tmp_path, monkeypatch, capsys):
    installed(page)
    root = write_world(tmp_path / "results")
    assert cli(monkeypatch, "run", "avs-s4", "pooled", "--results", str(root)) == 0
    record = read_record(Path(capsys.readouterr().out.splitlines()[-1]))
    losses = [entry["loss"] for entry in record["curve"]]
    assert losses[-1] < losses[0]
    assert record["metrics"]["miou"] > 0


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            'targets["masks"]',
            'targets["mask"]',
            "method pooled reads target 'mask', which task avs-s4 does not give; it gives: masks, annotated",
        ),
        (
            '{"masks": output',
            '{"mask": output',
            "method pooled does not predict 'masks', which task avs-s4 measures; it predicts: mask",
        ),
        (
            '{"masks": output.sigmoid()}',
            "output.sigmoid()",
            "method pooled predicts a Tensor, and task avs-s4 measures tensors by name; return a dictionary with: masks",
        ),
    ],
)
def test_a_key_that_the_task_does_not_know_is_a_sentence(page, installed, tmp_path, monkeypatch, capfd, old, new, sentence):
    assert old in page
    installed(page, (old, new))
    root = write_world(tmp_path / "results")
    assert cli(monkeypatch, "run", "avs-s4", "pooled", "--results", str(root)) == 1
    told = capfd.readouterr().err
    assert sentence in told
    assert "Traceback" not in told


def cli(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["dgsct", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_the_row_of_the_example_is_one_that_a_table_takes(page, installed):
    installed(page)
    (text,) = re.findall(r"```yaml\n(.*?)```", page, re.S)
    (row,) = yaml.safe_load(text)
    assert Row.model_validate(row).method == "pooled"


def test_the_table_of_keys_is_what_the_tasks_declare(page):
    lines = [line for line in page.splitlines() if line.startswith(("| `ave`", "| `avs-s4`"))]
    for task, line in zip(("ave", "avs-s4"), lines, strict=True):
        _, _, inputs, targets, predictions, _ = line.split("|")
        for cell, declared in (
            (inputs, TASKS[task].inputs),
            (targets, TASKS[task].targets),
            (predictions, TASKS[task].predictions),
        ):
            shown = dict(re.findall(r"`([\w/]+)` (\w+)", cell))
            assert set(re.findall(r"`([\w/]+)`", cell)) == set(declared)
            assert all(declared[name].startswith(dtype) for name, dtype in shown.items() if "as above" not in cell)

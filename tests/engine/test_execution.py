"""How a run is carried out: options there and back, when it must be over, and that the model is run as asked."""

import subprocess
import sys
import time

import pytest
import torch

from dgsct.engine.execution import Execution, execution_of
from dgsct.engine.recipe import Updates
from dgsct.engine.stopping import DEADLINE_MARGIN, StopRequest, deadline
from dgsct.engine.training import Training
from dgsct.runs.run import Run


@pytest.mark.parametrize(
    "execution",
    [
        Execution(),
        Execution(True, True, "/disk/a b", 1764283451.123456, True, 2, "record"),
        Execution(compile=True),
        Execution(keep="record"),
    ],
)
def test_options_say_the_same_when_read_again(monkeypatch, execution):
    monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)
    assert execution_of(execution.arguments()) == execution


def test_a_run_must_be_over_with_its_budget_or_its_allocation(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)
    assert deadline(None) is None
    assert deadline(10) == pytest.approx(time.time() + 600, abs=5)
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 300))  # a run that starts late in its allocation
    assert deadline(10) == pytest.approx(time.time() + 300, abs=5)
    assert deadline(2) == pytest.approx(time.time() + 120, abs=5)
    assert deadline(None) == pytest.approx(time.time() + 300, abs=5)
    monkeypatch.setenv("SLURM_JOB_END_TIME", "Unknown")
    assert deadline(None) is None


def test_a_margin_before_that_it_stops():
    assert StopRequest(time.time() + DEADLINE_MARGIN - 1)
    assert not StopRequest(time.time() + DEADLINE_MARGIN + 60)
    assert not StopRequest()


def test_stages_are_walked_as_asked_with_the_same_loss(mini_world):
    """Compiled stages are told by their wrapper: compiling takes minutes."""
    losses = []
    for execution in (Execution(), Execution(checkpoint_stages=True)):
        training = Training(Run.make("ave", "dg-sct"), mini_world, "key", execution=execution)
        rows = training.view.splits["train"][:2]
        training.model.train()
        torch.manual_seed(0)
        losses.append(training._step(rows, training._read((0, rows)), Updates("off", 1, 1), 0))
        walks = getattr(training.plain.backbone.walk, "func", None)
        assert (walks is not None) == execution.checkpoint_stages
    assert losses[0] == losses[1]
    compiled = Training(Run.make("ave", "dg-sct"), mini_world, "key", execution=Execution(compile=True))
    assert hasattr(compiled.plain.backbone.walk, "_torchdynamo_orig_callable")


def test_a_long_run_takes_the_place_of_the_process_that_starts_it(tmp_path):
    folder = tmp_path / Run.make("ave", "dg-sct", scale="paper").folder
    command = [sys.executable, "-m", "dgsct.engine.worker", "train", str(folder)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    _, said = process.communicate(timeout=120)
    assert (process.returncode, said.count("\n")) == (1, 1)
    assert "packed/manifest.json is missing" in said

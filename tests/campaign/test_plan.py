"""What a plan says: runs, what is left of them, hours and wall time by hand, and never a number without its source."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from call_rig import call
from fork_rig import Forked
from hypothesis import given
from hypothesis import strategies as st
from results_rig import place, place_corrupt, place_failure, place_given_up, place_stale, small_experiment, times
from workflow_rig import blocked

from dgsct.campaign.plan import Plan, choose_runs, judge, make_plan, makespan, note_runtimes, to_probe
from dgsct.campaign.plan_report import plain_plan, plan_json, print_plan, size, span, total_line
from dgsct.campaign.probe import STEPS, probe
from dgsct.campaign.runtimes import read_runtimes
from dgsct.campaign.step_times import device_here, probe_file, probes, write_probe
from dgsct.checksum import sha256_json
from dgsct.engine.execute import main
from dgsct.errors import UsageError
from dgsct.records.provenance import processor
from dgsct.runs.experiments import Settings, load_experiments
from dgsct.runs.inputs import checksums
from dgsct.runs.run import Run

PAPER = Settings(scale="paper", seeds=1)


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture
def root(mini_world, tmp_path):
    """A results folder with data (24, 8 and 12 clips: 3, 1 and 2 batches) and encoders, and no runs."""
    for name in ("data", "encoders"):
        (tmp_path / name).symlink_to(mini_world / name)
    return tmp_path


@pytest.fixture
def ten_epochs(trained_by):
    """DG-SCT on AVE is trained for ten epochs, every second of which is evaluated."""
    trained_by("ave", "dg-sct", epochs=10, patience=10, evaluate_every=2)


def planned(root, targets=(), settings=Settings(seeds=1), count=1, experiments=None) -> Plan:  # noqa: B008
    items = judge(choose_runs(targets, experiments or {"table0": small_experiment()}, settings), root)
    return make_plan(items, settings, root, count)


def valid(root, run, **fields):
    return place(root, run, sums=checksums(run, root), **fields)


def full(seed=0, scale="mini", **overrides) -> Run:
    return Run.make("ave", "dg-sct", overrides, scale=scale, seed=seed)


@pytest.mark.usefixtures("ten_epochs")
def test_hours_and_wall_time_by_hand(root):
    """10 epochs of 3 steps of 2 s, every second with 2 evaluation batches of 0.5 s, are 65 s a run."""
    valid(root, full(0), **times(10, 2.0, beside=20 * 0.5))
    plan = planned(root, ["table0"], Settings(seeds=4, methods=("dg-sct",)), count=2)
    assert [item.state for item in plan.items] == ["ok", *["missing"] * 7]
    assert (plan.to_train[0].work.steps, plan.to_train[0].work.evaluations) == (30, 10)
    assert [item.seconds for item in plan.to_train] == pytest.approx([65.0] * 7)
    assert (plan.seconds(), plan.wall()) == pytest.approx((455.0, 260.0))  # seven runs on two devices: four and three
    words = total_line(plan)
    assert words.startswith("7 runs to train, 1 done: about 8 CPU-minutes, 4 min on 2 CPUs, ")
    text = plain_plan(plan).splitlines()
    assert text[-1] == words
    assert f"[1] history of 1 record of dg-sct on {processor()} (10 epochs in the median)" in text
    assert any(
        line.startswith("epoch of ave: 3 training steps of 8 clips and 2 evaluation batches (the prepared data)")
        for line in text
    )


def test_every_state_is_counted(tmp_path):
    place(tmp_path, full(0))
    place_failure(tmp_path, full(1))
    place_stale(tmp_path, full(2))
    place_corrupt(tmp_path, full(3))
    plan = planned(tmp_path, ["table0"], Settings(seeds=5))
    (group,) = [g for g in plan_json(plan)["groups"] if (g["method"], g["setting"]) == ("dg-sct", "default")]
    assert (group["done"], group["to_do"]) == (1, 4)
    assert group["states"] == {"missing": 1, "stale": 1, "failed": 1, "corrupt": 1}
    assert total_line(plan).startswith(
        "9 runs to train, 1 without training to compute, 1 done: CPU-hours and wall time unknown"
    )


def test_a_run_that_is_given_up_is_no_work(tmp_path):
    place_given_up(tmp_path, full(0))
    plan = planned(tmp_path, [str(full(0).folder), str(full(1).folder)])
    assert [item.run for item in plan.to_train] == [full(1)]
    assert total_line(plan).startswith("1 run to train, 0 done, 1 given up (`dgsct retry` brings them back): ")
    (group,) = plan_json(plan)["groups"]
    assert (group["to_do"], group["states"]) == (1, {"missing": 1, "failed": 1})


@pytest.mark.usefixtures("ten_epochs")
def test_an_epoch_that_selects_on_validation_is_evaluated_twice_at_most(root):
    (item,) = planned(root, ["runs/mini/clean/ave/dg-sct/default/s0"]).items
    assert item.work.evaluations == 5 * (1 + 2)  # every second of ten epochs


def write_state(folder, state):
    content = {"files": {}, "state": state}
    (folder / "state.json").write_text(json.dumps({**content, "sha256": sha256_json(content)}))


@pytest.mark.usefixtures("ten_epochs")
@pytest.mark.parametrize(("epoch", "batch", "steps", "evaluations"), [(4, 2, 16, 6), (4, 3, 15, 6), (9, 0, 3, 2)])
def test_of_a_stopped_run_only_the_rest_counts(root, epoch, batch, steps, evaluations):
    run = full()
    key = run.key(checksums(run, root))
    folder = root / run.folder / "checkpoints" / f"step-{epoch * 3 + batch:08d}"
    folder.mkdir(parents=True)
    write_state(folder, {"key": key, "epoch": epoch, "batch": batch, "below_best": 1})
    valid(root, full(1), **times(10, 2.0, beside=10.0))
    (item,) = planned(root, [str(run.folder)]).items
    assert (item.work.steps, item.work.evaluations, item.work.done) == (steps, evaluations, epoch)
    assert item.seconds == pytest.approx(2.0 * steps + 0.5 * evaluations)
    assert f"1 (epochs done: {epoch})" in plain_plan(planned(root, [str(run.folder)]))
    write_state(folder, {"key": "0" * 64, "epoch": epoch, "batch": batch})
    (item,) = planned(root, [str(run.folder)]).items
    assert (item.work.steps, item.work.done) == (30, 0)


def test_a_real_run_that_was_stopped_and_then_one_that_is_over(root):
    run = Run.make("ave", "late-fusion")
    folder = root / run.folder

    def start() -> Forked:
        return Forked(lambda: main([str(folder)]), root / "said")

    process = start()
    while process.poll() is None and not list(folder.glob("checkpoints/step-*")):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 75
    state = json.loads(max(folder.glob("checkpoints/step-*/state.json")).read_text())["state"]
    (item,) = planned(root, [str(run.folder)]).items
    assert item.work.steps == 3 * run.recipe.epochs - state["step"]
    assert item.work.half_way
    assert start().wait() == 0
    (folder / "record.json").unlink()  # as if it had been killed between its end and its record
    (item,) = planned(root, [str(run.folder)]).items
    assert (item.state, item.work.steps, item.work.evaluations) == ("missing", 0, 0)
    assert start().wait() == 0
    assert planned(root, [str(run.folder)]).to_train == []


def paper_history(root, epochs=(23, 27, 40)):
    for seed, n in enumerate(epochs):
        place(root, full(seed, scale="paper"), **times(n, 1.5, n * 51 * 0.4, train=3339, test=402, gpu="GPU A"))


def test_at_full_size_the_published_splits_and_what_earlier_runs_took(tmp_path):
    """418 steps of 1.5 s and 51 batches of 0.4 s are 647.4 s an epoch; 50 epochs at most, 27 in the median."""
    paper_history(tmp_path)
    plan = planned(tmp_path, ["table0"], replace(PAPER, seeds=5, methods=("dg-sct",)), count=4)
    assert plan.device.name == "GPU A"
    left = [item for item in plan.to_train if item.run.setting == "default"]
    assert [(i.work.steps, i.work.evaluations) for i in left] == [(20_900, 2_550)] * 2
    assert [i.seconds for i in left] == pytest.approx([50 * 647.4] * 2)
    assert [i.typical_seconds for i in left] == pytest.approx([27 * 647.4] * 2)
    # Seven runs (two of this setting, five without S) in two rounds on four GPUs.
    assert plan.seconds() == pytest.approx(7 * 50 * 647.4)
    assert plan.wall(typical=True) == pytest.approx(2 * 27 * 647.4)
    words = total_line(plan)
    assert words.startswith(
        "7 runs to train, 3 done: about 34 GPU-hours (at most 63 GPU-hours), 9.7 h (at most 18 h) on 4 GPUs, "
    )
    text = plain_plan(plan)
    assert "[1] history of 3 records of dg-sct on GPU A (27 epochs in the median)\n" in text
    assert "[2] history of 3 records of dg-sct on GPU A (27 epochs in the median), of other settings (default)" in text
    assert "(the published splits); at most 50 epochs, less where 20 in a row stay below the best" in text


@pytest.mark.parametrize(
    ("done", "below", "typical"),
    [
        (10, 0, 20),  # patience lasts for 20 epochs more, though 17 would make 27
        (10, 15, 17),
        (35, 15, 5),  # past the typical number: what patience leaves
        (35, 0, 15),  # not beyond the last epoch
    ],
)
def test_patience_bounds_what_is_typical(root, tmp_path, done, below, typical):
    paper_history(tmp_path)
    (item,) = planned(tmp_path, ["runs/paper/release/ave/dg-sct/default/s9"], PAPER).items
    work = replace(item.work, done=done, epochs=50 - done, at_least=min(50 - done, 20 - below))
    item = replace(item, work=replace(work, steps=(50 - done) * 418, evaluations=(50 - done) * 51))
    assert item.typical_seconds == pytest.approx(typical * 647.4)


def test_without_a_source_there_is_no_number(tmp_path):
    plan = planned(tmp_path, ["table1"], PAPER, experiments=load_experiments())
    assert total_line(plan).startswith(
        "6 runs to train, 3 without training to compute, 0 done: GPU-hours and wall time unknown, "
    )
    told = plan_json(plan)
    assert {g["source"] for g in told["groups"] if g["trains"]} == {"unknown"}
    assert {g["seconds"] for g in told["groups"]} == {None}
    assert (told["totals"]["seconds"], told["totals"]["wall_seconds"], told["totals"]["unknown_time"]) == (None, None, 6)
    text = plain_plan(plan)
    assert "20,900" in text
    steps = "not measured: how long a step of lavish-star, dg-sct, late-fusion, linear-probe takes"
    assert f"{steps}; `dgsct plan --scale paper" in text
    assert "--probe` on a machine with the GPU" in text


def test_what_is_known_of_some_is_not_taken_for_all(tmp_path):
    paper_history(tmp_path)
    plan = planned(tmp_path, ["table1"], replace(PAPER, seeds=4), experiments=load_experiments())
    assert len(plan.timed) == 1
    assert "without 20 runs of unknown time" in total_line(plan)


def test_nothing_left_to_do(root):
    valid(root, full(), **times(10, 2.0, 10.0))
    assert total_line(planned(root, [str(full().folder)])) == "0 runs to train, 1 done: no CPU-hours, no disk"


def test_targets_are_those_of_snakemake_and_run_folders():
    known, settings = load_experiments(), Settings(seeds=1)
    everything = choose_runs([], known, settings)
    assert choose_runs(["all_tables"], known, settings) == everything == choose_runs(["report"], known, settings)
    assert {run.setting for run in choose_runs(["all_figures"], known, settings)} >= {"alpha=0.1", "gamma=0.3", "default"}
    assert choose_runs(["table6"], known, settings) == []
    both = choose_runs(["table8", "results/runs/mini/release/ave/dg-sct/default/s0/record.json"], known, settings)
    assert both == choose_runs(["table8"], known, settings)  # a run named twice counts once
    child = Run.make("avs-ms3", "avs-pvt", {"start": "s4"}, seed=7)
    assert choose_runs([str(child.folder)], known, settings) == [child.parents["s4"], child]


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("tabel1", r"unknown target 'tabel1'; known: all_tables, all_figures, report, table0, or a run's folder"),
        ("runs/mini/x", r"runs/mini/x is no run folder; it should end in runs/SCALE"),
        ("runs/paper/clean/ave/dg-sct/default/s0", r"is of scale 'paper'; plan it with --scale paper"),
    ],
)
def test_an_unknown_target_is_a_sentence(target, sentence):
    with pytest.raises(UsageError, match=sentence):
        choose_runs([target], {"table0": small_experiment()}, Settings())


def best_possible(seconds, count):
    """The earliest end over all ways to share out the runs."""
    shares = itertools.product(range(count), repeat=len(seconds))
    return min(max(sum(s for s, d in zip(seconds, share, strict=True) if d == k) for k in range(count)) for share in shares)


@given(st.lists(st.integers(1, 100), min_size=1, max_size=6), st.integers(1, 3))
def test_wall_time_lies_between_the_best_and_a_third_more(seconds, count):
    wall = makespan(seconds, count)
    best = best_possible(seconds, count)
    assert max(sum(seconds) / count, max(seconds)) <= best <= wall <= best * (4 / 3 - 1 / (3 * count)) + 1e-9


@given(st.lists(st.integers(1, 10**6), max_size=40), st.integers(1, 8))
def test_more_devices_never_take_longer_than_one_and_no_longer_than_all_runs(seconds, count):
    assert makespan(seconds, 1) == sum(seconds)
    wall = makespan(seconds, count)
    assert wall <= sum(seconds)
    if seconds:
        assert wall <= sum(seconds) / count + (1 - 1 / count) * max(seconds) + 1e-6
    if len(seconds) <= count:
        assert wall == max(seconds, default=0)


@pytest.mark.usefixtures("ten_epochs")
def test_a_real_probe_fills_the_plan(root):
    """Twenty steps and a few batches on this processor; the plan reckons with the medians that were written."""
    items = judge(choose_runs(["table0"], {"table0": small_experiment()}, Settings(seeds=2)), root)
    wanted = to_probe(items, root, "mini", exact=False)
    assert [run.setting for run in wanted] == ["default", "S=off"]
    for run in wanted:
        write_probe(root, run, *probe(run))
    noted = json.loads(probe_file(root, "mini").read_text())["probes"][0]
    assert noted["device"] == {"name": device_here().name, "gpu": False}
    assert noted["learn"] > noted["still"] > 0
    assert noted["evaluation"] > 0
    assert noted["trainable"] == full().part.trainable["mini"]
    plan = planned(root, ["table0"], Settings(seeds=2))
    step = (noted["learn"] + noted["still"]) / 2
    assert plan.to_train[0].seconds == pytest.approx(30 * step + 10 * noted["evaluation"])
    assert f"[1] probe of dg-sct on {processor()}" in plain_plan(plan)
    assert to_probe(items, root, "mini", exact=True) == []


def test_what_a_probe_has_to_measure(root):
    runs = [full(), full(seed=1), full(beta=0.3), full(S="off")]
    items = judge(runs, root)
    assert to_probe(items, root, "mini", exact=False) == [full(), full(S="off")]
    valid(root, full(5, C="off"), **times(10, 2.0, 10.0))  # a record of the method, of other settings
    assert to_probe(items, root, "mini", exact=False) == []
    assert to_probe(items, root, "mini", exact=True) == [full(), full(S="off")]
    valid(root, full(5), **times(10, 2.0, 10.0))
    assert to_probe(items, root, "mini", exact=True) == [full(S="off")]


def test_a_probe_runs_in_bf16_and_for_other_methods(monkeypatch):
    assert STEPS == 20
    monkeypatch.setattr("dgsct.campaign.probe.STEPS", 6)
    for run in (full(precision="bf16"), Run.make("ave", "late-fusion", {"modality": "audio", "tile": 3}, "clean")):
        _, figures = probe(run)
        assert figures["learn"] > 0


@pytest.mark.usefixtures("ten_epochs")
def test_run_times_are_noted_for_snakemake(root):
    valid(root, full(0), **times(10, 2.0, beside=10.0))
    path, count = note_runtimes(planned(root, ["table0"], Settings(seeds=2)), root)
    assert count == 3
    folders = [full(1).folder, full(0, S="off").folder, full(1, S="off").folder]
    assert read_runtimes(root) == {folder.as_posix(): 65.0 for folder in folders}
    assert "history of 1 record" in path.read_text()


def cli(root, *arguments):
    return call(root, "plan", *arguments, "--results", root)


def test_several_tasks_have_their_own_clips_rows_and_epochs(tmp_path):
    plan = planned(tmp_path, ["table3"], PAPER, experiments=load_experiments())
    told = plan_json(plan)
    assert told["clips"] == {
        "avs-s4": {"train": 3452, "val": 740, "test": 740, "source": "the published splits"},
        "avs-ms3": {"train": 296, "val": 64, "test": 64, "source": "the published splits"},
    }
    steps = {g["task"]: g["steps_per_run"] for g in told["groups"] if (g["method"], g["setting"]) == ("dg-sct", "default")}
    assert steps == {"avs-s4": 15 * 432, "avs-ms3": 30 * 148}
    lines = [line for line in plain_plan(plan).splitlines() if line.startswith("epoch of")]
    assert len(lines) == 4
    assert lines[0].startswith("epoch of avs-s4 (avs-pvt, avs-r50): 863 training steps of 4 clips and 370 evaluation batches")
    assert any(
        line.startswith("epoch of avs-ms3 (lavish-star, dg-sct, late-fusion): 148 training steps of 2 clips and 32 evaluation")
        for line in lines
    )


def test_the_command_plans_without_torch_and_notes_what_it_found(root):
    around = {**os.environ, **{name: f"{value}:{':'.join(sys.path)}" for name, value in blocked(root / "blocker").items()}}

    def without_torch(*words: str) -> str:
        command = [sys.executable, "-m", "dgsct.cli", "plan", *words, "--results", str(root)]
        said = subprocess.run(command, cwd=root, env=around, capture_output=True, text=True, timeout=120, check=False)
        assert said.returncode == 0, said.stderr
        return said.stdout

    valid(root, full(0), **times(full().recipe.epochs, 2.0, beside=full().recipe.epochs * 2 * 0.5))
    asked = ("table8", "--methods", "dg-sct", "--tasks", "ave", "--seeds", "1", "--gpus", "2", "--json")
    told = json.loads(without_torch(*asked))
    # One seed of both directions, A2V and V2A off; one is done. Each of the rest is as long: it ends with 2 evaluation batches.
    assert told["totals"]["to_train"] == 2
    recipe = full().recipe
    assert recipe.epochs == recipe.evaluate_every
    assert told["totals"]["wall_seconds"] == pytest.approx(3 * recipe.epochs * 2.0 + 2 * 0.5)
    assert len(read_runtimes(root)) == 2
    lines = without_torch("fig8", "--no-write", "--tasks", "ave").splitlines()
    assert len(read_runtimes(root)) == 2
    assert lines[0].split()[:4] == ["task", "method", "setting", "done"]
    assert lines[-1].startswith("6 runs to train, 1 done: about 6 CPU-minutes")


def test_the_command_probes_once_at_mini_scale(root):
    first = cli(root, str(Run.make("ave", "late-fusion").folder))
    assert first.code == 0, first.err
    assert "probe 1 of 1: ave late-fusion default" in first.err
    assert first.out.splitlines()[-1].startswith("1 run to train, 0 done: about ")
    second = cli(root, str(Run.make("ave", "late-fusion").folder))
    assert second.out.splitlines()[-1] == first.out.splitlines()[-1]
    assert "probe 1" not in second.err
    assert len(probes(root, "mini")) == 1


def test_at_full_size_without_a_gpu_nothing_is_probed_by_itself(tmp_path):
    said = cli(tmp_path, "runs/paper/release/ave/late-fusion/default/s0", "--scale", "paper")
    assert said.code == 0
    assert "not measured: how long a step of" in said.out
    assert [path.name for path in tmp_path.rglob("*.*")] == ["macs-paper.json"]  # counts, no times


@pytest.mark.parametrize("width", ["70", "200"])
def test_in_a_terminal_the_totals_and_sources_are_the_same(root, capsys, monkeypatch, width):
    valid(root, full(0), **times(10, 2.0, beside=10.0))
    plan = planned(root, ["table0"], Settings(seeds=2))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", width)
    print_plan(plan)
    out = capsys.readouterr().out
    assert "\x1b[" in out
    for line in (total_line(plan), f"[1] history of 1 record of dg-sct on {processor()} (10 epochs in the median)"):
        assert line in out


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59, "59 s"), (90, "2 min"), (3600, "1.0 h"), (35_000, "9.7 h"), (36_000, "10 h"), (4_000_000, "1,111 h")],
)
def test_durations_in_words(seconds, words):
    assert span(seconds) == words


def test_device_time_and_bytes_in_words():
    assert (span(147_600, "GPU"), span(720, "CPU")) == ("41 GPU-hours", "12 CPU-minutes")
    assert [size(n) for n in (10, 12_345, 1_200_000, 96e9)] == ["10 bytes", "12 kB", "1.2 MB", "96 GB"]

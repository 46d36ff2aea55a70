"""Lower bounds: what is counted on the meta device, what follows from it by hand, and that a measured time still wins."""

import json
from dataclasses import replace

import pytest
import torch
from call_rig import call
from results_rig import place, times

from dgsct.campaign.bounds import GPUS, Counts, StepMacs, kind_of_step, rates
from dgsct.campaign.macs import count_all, step_macs
from dgsct.campaign.plan import choose_runs, judge, make_plan, to_count
from dgsct.campaign.plan_report import plain_plan, plan_json, total_line
from dgsct.campaign.probe import pretended_batch
from dgsct.engine.efficiency import counting
from dgsct.errors import UsageError
from dgsct.methods import METHODS
from dgsct.ops import recompute
from dgsct.runs.experiments import Settings, load_experiments
from dgsct.runs.run import Run

PAPER = Settings(scale="paper", seeds=1)
MACS = StepMacs(learn=30 * 10**12, still=10 * 10**12, evaluation=8 * 10**12, trainable=1_000_000)
PAIRS = [(task, name) for name, m in METHODS.items() for task in m.tasks if m.on(task).kind != "yardstick"]


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def run_of(method="dg-sct", task="ave", protocol="release", seed=0, scale="paper", **overrides) -> Run:
    return Run.make(task, method, overrides, protocol, scale, seed)


def planned(root, runs, macs: StepMacs | str = MACS, gpu="A100", tflops=None, count=1):
    counts = Counts(rates(gpu, tflops, ""), {kind_of_step(run): macs for run in runs})
    return make_plan(judge(runs, root), PAPER, root, count, counts=counts)


def test_the_bound_by_hand(tmp_path):
    """At 19.5 TFLOP/s: every second step has gradients, 2 * 20 T / 19.5 T/s a step and 2 * 8 T / 19.5 T/s a batch; 418 steps
    and 51 batches an epoch, of which patience spares at most 30 of 50."""
    plan = planned(tmp_path, [run_of(), run_of(seed=1)], count=2)
    epoch = 418 * 40 / 19.5 + 51 * 16 / 19.5
    (item, _) = plan.to_train
    assert item.seconds is None
    assert item.least_seconds() == pytest.approx(20 * epoch)
    assert item.least_seconds(every_epoch=True) == pytest.approx(50 * epoch)
    assert (plan.least_seconds(), plan.least_wall()) == pytest.approx((40 * epoch, 20 * epoch))
    # 20 epochs are 4.999 h: a bound is never rounded up.
    assert "at least 9.9 GPU-hours (every epoch: 24 GPU-hours), at least 4.9 h (every epoch: 12 h) on 2 GPUs" in total_line(
        plan
    )
    assert ": LOWER BOUND, as nothing is measured: " in total_line(plan)
    text = plain_plan(plan)
    assert (
        "[1] LOWER BOUND, not measured: counted multiply-accumulates at 19.5 TFLOP/s, the peak in float32 without TF32" in text
    )
    group, totals = plan_json(plan)["groups"][0], plan_json(plan)["totals"]
    assert (group["seconds"], totals["seconds"], totals["unknown_time"]) == (None, None, 2)
    assert group["lower_bound"]["macs_per_step_with_gradients"] == MACS.learn
    assert totals["lower_bound"]["seconds"] == pytest.approx(40 * epoch)


def test_only_what_is_sure_counts(tmp_path):
    """Under `clean` every step has gradients, and an epoch is sure to be evaluated on the split that selects alone."""
    (item,) = planned(tmp_path, [run_of(protocol="clean")]).items
    assert item.work.evaluations_an_epoch == 51 + 51
    assert item.least_seconds() == pytest.approx(20 * (418 * 60 + 51 * 16) / 19.5)
    over = replace(item, work=replace(item.work, epochs=0, at_least=0, steps=0))
    assert over.least_seconds() == over.least_seconds(every_epoch=True) == 0


def test_of_a_run_that_was_stopped_the_rest_counts(tmp_path):
    (item,) = planned(tmp_path, [run_of()]).items
    work = replace(item.work, epochs=10, at_least=5, done=40, steps=10 * 418 - 18)
    assert replace(item, work=work).least_seconds() == pytest.approx((5 * 418 - 18) * 40 / 19.5 + 5 * 51 * 16 / 19.5)


@pytest.mark.parametrize(
    ("gpu", "tflops", "device", "fp32", "bf16"),
    [
        (None, None, "some processor", GPUS["H100"].float32, GPUS["H100"].bf16),
        (None, None, "NVIDIA A100-SXM4-80GB", 19.5, 312.0),
        ("H200", None, "NVIDIA A100-SXM4-80GB", 67.0, 989.5),
        (None, 125.0, "NVIDIA A100-SXM4-80GB", 125.0, 125.0),
    ],
)
def test_which_rates_count(gpu, tflops, device, fp32, bf16):
    chosen = rates(gpu, tflops, device)
    assert (chosen.of("fp32"), chosen.of("bf16")) == (1e12 * fp32, 1e12 * bf16)


@pytest.mark.parametrize(
    ("gpu", "tflops", "sentence"),
    [
        (None, 0.0, r"--gpu-tflops 0 must be a number above 0"),
        (None, -3.0, r"--gpu-tflops -3 must be a number above 0"),
        ("H100", 10.0, r"--gpu and --gpu-tflops both say how fast the GPU is; give one of them"),
        ("B100", None, r"unknown GPU 'B100'; known: A100, H100, H200, or give its peak with --gpu-tflops"),
    ],
)
def test_a_wrong_rate_is_a_sentence(gpu, tflops, sentence):
    with pytest.raises(UsageError, match=sentence):
        rates(gpu, tflops, "")


def test_bf16_is_reckoned_at_its_own_rate(tmp_path):
    float32, half = planned(tmp_path, [run_of(), run_of(precision="bf16")]).items
    assert float32.bound.training / half.bound.training == pytest.approx(312 / 19.5)
    assert "the peak in bf16 (NVIDIA A100 SXM, by its data sheet)" in half.bound.source


def test_a_measured_time_wins_and_the_others_are_named(tmp_path):
    place(tmp_path, run_of(), **times(27, 1.5, 27 * 51 * 0.4, train=3339, test=402, gpu="GPU A"))
    runs = [run_of(seed=1), run_of("late-fusion")]
    assert to_count(judge(runs, tmp_path), tmp_path, "paper") == [runs[1]]
    measured, counted = planned(tmp_path, runs).items
    assert (measured.bound, measured.seconds) == (None, pytest.approx(50 * 647.4))
    assert counted.seconds is None
    assert "without 1 run that nobody has measured (LOWER BOUND: at least " in total_line(planned(tmp_path, runs))


def test_what_cannot_be_counted_is_unknown_for_itself_alone(tmp_path):
    runs = [run_of(), run_of("late-fusion")]
    by_kind = {kind_of_step(runs[0]): MACS, kind_of_step(runs[1]): "RuntimeError: no values on meta"}
    plan = make_plan(judge(runs, tmp_path), PAPER, tmp_path, 1, counts=Counts(rates(None, None, ""), by_kind))
    assert [group["source"][:11] for group in plan_json(plan)["groups"]] == ["LOWER BOUND", "unknown"]
    assert "unknown: steps of late-fusion cannot be counted (RuntimeError: no values on meta)" in plain_plan(plan)
    assert ", without 1 run of unknown time, " in total_line(plan)


def test_a_model_that_fails_on_meta_does_not_hide_the_others(monkeypatch):
    fails = Run.make("ave", "late-fusion", {"modality": "audio"})
    build = Run.build

    def broken(run, **options):
        if run == fails:
            raise RuntimeError("needs a number")
        return build(run, **options)

    monkeypatch.setattr(Run, "build", broken)
    first, second = count_all([fails, Run.make("ave", "late-fusion")], False, cores=1)
    assert first == "RuntimeError: needs a number"
    assert second.learn > 0


@pytest.mark.parametrize(("task", "method"), PAIRS)
def test_every_method_is_counted_as_it_computes(task, method):
    """At mini scale on the processor, where the model really runs, and on the meta device."""
    run = Run.make(task, method)
    counted = step_macs(run)
    model, batch = run.build().train(), pretended_batch(run)
    # Torch does not count what oneDNN's fused LSTM computes.
    with torch.random.fork_rng(), torch.backends.mkldnn.flags(enabled=False), counting() as macs:
        output = model(**batch.inputs)
        still = macs()
        torch.stack(list(model.losses(output, batch.targets, 0).values())).sum().backward()
    # Only convolutions count otherwise: no more than in their direct form, without which nothing is left out.
    assert 0 < counted.still <= still
    assert counted.still < counted.learn
    if task == "ave" and method in ("dg-sct", "lavish-star", "late-fusion", "linear-probe"):
        assert (counted.still, counted.learn) == (still, macs())
    assert counted.trainable == sum(p.numel() for p in model.parameters() if p.requires_grad)


class Small(torch.nn.Module):
    """Two frozen layers around a trained one, and a convolution in groups."""

    def __init__(self):
        super().__init__()
        self.first, self.trained, self.last = (torch.nn.Linear(8, 8, bias=False) for _ in range(3))
        self.first.requires_grad_(False)
        self.last.requires_grad_(False)


def test_only_needed_gradients_count():
    from dgsct.campaign.macs import RULES

    with torch.device("meta"):
        model, x = Small(), torch.empty(5, 8)
    with counting(RULES) as macs:
        out = model.last(model.trained(model.first(x)))
        assert macs() == 3 * 5 * 8 * 8
        out.sum().backward()
    # Backward: the input gradient of the last layer and the weight gradient of the trained one; nothing before it.
    assert macs() == (3 + 2) * 5 * 8 * 8


@pytest.mark.parametrize(
    ("side", "stride", "groups", "share"), [(1, 1, 1, 1), (3, 1, 1, 4), (3, 2, 1, 1), (3, 1, 8, 4), (4, 4, 1, 1)]
)
def test_convolutions_by_hand(side, stride, groups, share):
    """Forward, and twice as much for both gradients; a quarter where Winograd's form would do, groups counted as groups."""
    from dgsct.campaign.macs import RULES

    with torch.device("meta"):
        layer = torch.nn.Conv2d(8, 16, side, stride=stride, padding=side // 2 if stride == 1 else 0, groups=groups)
        x = torch.empty(2, 8, 12, 12, requires_grad=True)
    with counting(RULES) as macs:
        out = layer(x)
        direct = out.numel() * side * side * 8 // groups
        assert macs() == direct // share
        out.sum().backward()
    assert macs() == 3 * (direct // share)


def test_what_is_computed_again_counts(monkeypatch):
    monkeypatch.setattr(recompute, "LARGE", 1 << 18)  # at mini scale no stage's input is large
    run = Run.make("ave", "dg-sct")
    plain, again = step_macs(run), step_macs(run, checkpoint_stages=True)
    assert (again.still, again.evaluation) == (plain.still, plain.evaluation)
    assert plain.learn < again.learn <= plain.learn + plain.still


def plan_cli(root, *arguments):
    return call(root, "plan", *arguments, "--scale", "paper", "--seeds", "1", "--no-write", "--results", root)


def test_the_command_counts_once(tmp_path):
    target = [str(run_of("late-fusion").folder), "--gpu", "A100", "--json"]
    first = plan_cli(tmp_path, *target)
    assert first.code == 0, first.err
    assert "counting the steps of 1 setting, some seconds each, once" in first.err
    again = plan_cli(tmp_path, *target)
    assert "counting" not in again.err
    answer = json.loads(again.out)
    assert answer["groups"] == json.loads(first.out)["groups"]
    assert answer["groups"][0]["lower_bound"]["seconds"] > 0
    kept = tmp_path / "plan" / "macs-paper.json"
    kept.write_text("[1]")
    assert json.loads(plan_cli(tmp_path, *target).out)["groups"] == answer["groups"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--gpu-tflops", "0"], "dgsct: --gpu-tflops 0 must be a number above 0"),
        (["--gpu", "H100", "--gpu-tflops", "9"], "dgsct: --gpu and --gpu-tflops both say"),
    ],
)
def test_the_command_refuses_a_wrong_rate(tmp_path, options, sentence):
    done = plan_cli(tmp_path, "table1", *options)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(sentence)
    assert done.err.count("\n") == 1


def test_every_run_of_the_harness_has_a_kind_that_is_counted(tmp_path):
    """Each run to be trained of every experiment gets its bound by its kind."""
    runs = choose_runs([], load_experiments(), PAPER)
    items = judge(runs, tmp_path)
    counts = Counts(rates(None, None, ""), {kind_of_step(run): MACS for run in to_count(items, tmp_path, "paper")})
    plan = make_plan(items, PAPER, tmp_path, 1, counts=counts)
    assert plan.bounded == plan.to_train
    assert len(counts.by_kind) < len(plan.to_train)

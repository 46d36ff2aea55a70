"""What the ledger's switches change, by hand: formulas of the fact sheets against the values of a run of the small world."""

from dataclasses import replace

import pytest
import torch
from ledger_rig import CLIPS, LAST, evaluated, first_batch, omega, opened, share, trained
from torch.nn import functional as F

from dgsct.data.units import Units
from dgsct.encoders.frontend import LogMel
from dgsct.models.interaction import stage_shapes
from dgsct.progress import display
from dgsct.settings.scales import MINI
from dgsct.tasks.ave.measures import MEASURES

pytestmark = pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler")


@pytest.fixture(scope="module")
def root(mini_world, tmp_path_factory):
    return share(mini_world, tmp_path_factory.mktemp("values") / "results")


def deviation(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Relative to the size of the values."""
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


# In float64, where rounding leaves room between what a formula gives and what its alternative would give.
EXACT, DIFFERENT = 1e-10, 1e-6


@pytest.mark.parametrize(("option", "values"), [
    ("residual", ("release", "paper")), ("keep_tokens", (True, False)), ("spatial_prompt", ("pooled", "map")),
])  # fmt: skip
def test_adapters_by_hand(root, option, values):
    """Every adapter at every place follows the formula with the run's value, and not the one with the other value."""
    for value, other in (values, values[::-1]):
        run = opened(root, **{option: value})
        passed = evaluated(run, torch.float64)
        for name in ("p1", "p2"):
            for k, pair in enumerate(getattr(run.plain.backbone, name)):
                v, a = passed[f"{name}.{k}.v"], passed[f"{name}.{k}.a"]
                for side, adapter, x, y in (("v", pair.a2v, v, a), ("a", pair.v2a, a, v)):
                    residual, weights = omega(adapter, x, y, run.options)
                    assert deviation(passed[f"{name}.{k}.to_{side}"], residual) < EXACT
                    assert deviation(passed[f"{name}.{k}.pool_{side}"], weights) < EXACT
                    wrong, _ = omega(adapter, x, y, run.options.replace(**{option: other}))
                    assert deviation(passed[f"{name}.{k}.to_{side}"], wrong) > DIFFERENT


def last_tokens(run, values: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Both streams behind the last pair: the visual one normed, the audio one raw (ledger: final-norm)."""
    swin, place = run.plain.backbone.encoders.swin, f"p2.{LAST}"
    v, a = values[f"{place}.v"], values[f"{place}.a"]
    with torch.no_grad():
        v = v + swin.mlp_branch(swin.stages()[-1].blocks[-1], v) + values[f"{place}.to_v"]
    weight, bias = (run.plain.state_dict()[f"backbone.encoders.swin.swin.norm.{leaf}"] for leaf in ("weight", "bias"))
    return F.layer_norm(v, v.shape[-1:], weight, bias), a + values[f"{place}.to_a"]


@pytest.mark.parametrize("pooling", ["attention", "mean"])
def test_pooling_by_hand(root, pooling):
    run = opened(root, pooling=pooling)
    values = evaluated(run, torch.float64)
    for side, tokens in zip("va", last_tokens(run, values), strict=True):
        weights = values[f"p2.{LAST}.pool_{side}"].transpose(1, 2)
        torch.testing.assert_close(weights.sum(dim=1), torch.ones(CLIPS * 10, 1, dtype=torch.float64))
        by = {"attention": (weights * tokens).sum(dim=1), "mean": tokens.mean(dim=1)}
        features = values[f"features.{side}"].flatten(0, 1)
        assert deviation(features, by.pop(pooling)) < EXACT
        assert deviation(features, by.popitem()[1]) > DIFFERENT


@pytest.mark.parametrize("audio_block", ["whole", "split"])
def test_audio_block_by_hand(root, audio_block):
    run = opened(root, audio_block=audio_block)
    values, htsat = evaluated(run, torch.float64), run.plain.backbone.encoders.htsat
    for k, stage in enumerate(htsat.stages()):
        (block,) = stage.blocks
        a, r1 = values[f"p1.{k}.a"], values[f"p1.{k}.to_a"]
        with torch.no_grad():
            attended = a + htsat.attention_branch(block, a)
            whole = attended + htsat.mlp_branch(block, attended)
            between = {"whole": whole + r1, "split": attended + r1}
            assert deviation(values[f"p2.{k}.a"], between.pop(audio_block)) < EXACT
            assert deviation(values[f"p2.{k}.a"], between.popitem()[1]) > DIFFERENT
            if k < LAST:
                a = values[f"p2.{k}.a"]
                after = a + values[f"p2.{k}.to_a"] + (htsat.mlp_branch(block, a) if audio_block == "split" else 0)
                side, width = MINI.htsat.spec_size // MINI.htsat.patch_size >> k, after.shape[-1]
                merged = htsat.stages()[k + 1].downsample(after.view(-1, side, side, width)).flatten(1, 2)
                assert deviation(values[f"p1.{k + 1}.a"], merged) < EXACT


def heard(run) -> torch.Tensor:
    """The sound of the first batch, as the model reads it: the wave or its prepared spectrogram."""
    (name,) = run.run.reads[1:]
    return first_batch(run).inputs[name]


@pytest.mark.parametrize("tile", [10, 1, 3])
def test_tile_by_hand(root, tile):
    """The spectrogram that the encoder sees is that of the second, repeated; the number of patches stays."""
    run = opened(root, tile=tile)
    rows = run.view.splits["train"][:2]
    audio = heard(run)[:2]
    wave = torch.from_numpy(run.view.data.take("wave", rows)).flatten(0, 1)
    seen = run.plain.backbone.encoders.htsat.log_mel(audio.flatten(0, 1), run.options.tile)
    with torch.no_grad():
        by_hand = LogMel(MINI.htsat)(torch.cat([wave] * tile, dim=1))
    assert seen.shape == by_hand.shape == (20, tile * 25 + 1, 16)
    torch.testing.assert_close(seen, by_hand, rtol=1e-5, atol=2e-3)
    tokens = run.plain.backbone.encoders.audio_tokens(audio)
    assert tokens.shape[1:] == stage_shapes(8, 24, 3)[0]


def test_frozen_encoders_in_eval_mode_are_those_of_evaluation(root):
    run = opened(root, freeze_mode="eval")
    encoders = run.plain.backbone.encoders
    before = {name: t.clone() for name, t in encoders.state_dict().items()}
    trained(run, clips=12)
    after = encoders.state_dict()
    assert all(torch.equal(after[name], t) for name, t in before.items())
    frames, audio = first_batch(run).inputs["frames"], heard(run)
    with torch.no_grad():
        run.model.train()
        training = encoders.pooled(frames, audio)
        run.model.eval()
        evaluation = encoders.pooled(frames, audio)
    assert torch.equal(training.visual, evaluation.visual)
    assert torch.equal(training.audio, evaluation.audio)


def test_frozen_encoders_in_train_mode_drop_paths_mask_stripes_and_drift(root):
    run = opened(root)
    encoders, htsat = run.plain.backbone.encoders, run.plain.backbone.encoders.htsat
    frames, audio = first_batch(run).inputs["frames"], heard(run)
    log_mel = htsat.log_mel(audio.flatten(0, 1), 10)
    torch.manual_seed(0)
    run.model.train()
    image, still = htsat.image(log_mel), frames[:1, :1].expand(8, 10, -1, -1, -1)
    drawn = encoders.swin(encoders_input(encoders, still))
    # bn0 saw the batch: momentum 0.1 from a fresh mean of 0 and variance of 1.
    seen = log_mel.flatten(0, 1)
    torch.testing.assert_close(htsat.bn0.running_mean, 0.1 * seen.mean(dim=0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(htsat.bn0.running_var, 0.9 + 0.1 * seen.var(dim=0), rtol=1e-4, atol=1e-4)
    # Back to [seconds, time, mel]: whole rows (times) and columns (mel bins) are zero, per second, within their widths.
    spectrogram = image.view(-1, 4, 16, 64).transpose(2, 3).reshape(-1, 256, 16)
    times, bins = (spectrogram == 0).all(dim=2).sum(dim=1), (spectrogram == 0).all(dim=1).sum(dim=1)
    assert 0 < times.max() <= 2 * (MINI.htsat.time_stripe - 1) * 256 / 251
    assert bins.unique().tolist() == [0, 1, 2] == list(range(2 * MINI.htsat.mel_stripe - 1))
    # One frame eighty times: every sample drew its own paths.
    assert 1 < len(drawn.flatten(1).unique(dim=0)) < 80
    run.model.eval()
    assert not (htsat.image(log_mel) == 0).any()
    assert len(encoders.swin(encoders_input(encoders, still)).flatten(1).unique(dim=0)) == 1


def encoders_input(encoders, frames: torch.Tensor) -> torch.Tensor:
    """Frames [B, T, 3, H, W] as the visual encoder takes them."""
    return (frames.flatten(0, 1).float() - encoders.mean) / encoders.std


@pytest.mark.parametrize("head", ["release", "cmbs_full"])
def test_head_by_hand(root, head):
    run = opened(root, head=head)
    values, part = evaluated(run, torch.float64), run.plain.head
    visual, audio = values["temporal.visual"], values["temporal.audio"]

    def best(scores: torch.Tensor) -> torch.Tensor:
        return scores.sort(dim=0, descending=True).values[:4].mean(dim=0)

    with torch.no_grad():
        av = (best(part.visual_cas(visual)) + best(part.audio_cas(audio))) / 2
        if head == "cmbs_full":
            visual = interaction(part.visual_interaction, visual, audio)
            audio = interaction(part.audio_interaction, audio, visual)
        fused = (visual + audio) / 2
        expected = {
            "relevance": part.relevance(fused)[..., 0].T,
            "events": part.event(fused.amax(dim=0)) + 0.3 * av,
            "av": av,
            "gate": values["temporal.gate"][..., 0].T,
        }
    for name, value in expected.items():
        assert deviation(values[f"head.{name}"], value) < EXACT


def interaction(part, stream: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """CMBS's AudioVideoInter in evaluation: the product of the streams reads both, concatenated over time."""
    joint, memory = stream * other, torch.cat((other, stream))
    return part.norm(joint + part.attention(joint, memory, memory)[0])


@pytest.mark.parametrize("gate_loss", ["double_sigmoid", "probability"])
def test_gate_loss_by_hand(root, gate_loss):
    run = opened(root, gate_loss=gate_loss)
    b = first_batch(run).targets["relevant"].double()
    values = evaluated(run, torch.float64)
    probability = values["head.gate"]
    if gate_loss == "double_sigmoid":
        probability = probability.sigmoid()
    term = -(b * probability.log() + (1 - b) * (1 - probability).log()).mean()
    torch.testing.assert_close(values["loss.gate"], term)
    floor = (0.3133 * b + 0.6931 * (1 - b)).mean()
    assert gate_loss == "probability" or values["loss.gate"] > floor - 1e-4


def test_bf16_keeps_spectrogram_losses_and_weights_in_fp32(root):
    """At tile 3 the spectrogram is computed in the run; at the release's it is stored."""
    seen = {}
    for precision in ("fp32", "bf16"):
        run = opened(root, precision=precision, tile=3)
        frontend = run.plain.backbone.encoders.htsat.frontend
        spectrogram = []
        hook = frontend.register_forward_hook(lambda _m, _i, output, kept=spectrogram: kept.append(output))
        values, _ = trained(run)
        hook.remove()
        assert not torch.backends.cudnn.allow_tf32
        assert not torch.backends.cuda.matmul.allow_tf32
        assert not torch.backends.cudnn.benchmark
        assert {p.dtype for p in run.plain.parameters() if p.requires_grad} == {torch.float32}
        assert {p.grad.dtype for p in run.plain.parameters() if p.grad is not None} == {torch.float32}
        seen[precision] = {name: t for name, t in values.items() if name.startswith(("p1.0.to", "loss."))}
        seen[precision]["spectrogram"] = spectrogram[-1]
    single, half = seen.values()
    assert torch.equal(half["spectrogram"], single["spectrogram"])
    assert {half[name].dtype for name in single if name != "p1.0.to_v" and name != "p1.0.to_a"} == {torch.float32}
    for name in ("p1.0.to_v", "p1.0.to_a"):
        assert 0 < deviation(half[name].float(), single[name]) < 0.1
    for name in ("loss.relevance", "loss.gate", "loss.events", "loss.av"):
        assert half[name].item() == pytest.approx(single[name].item(), rel=0.05)


def epochs(root, count: int = 4, seed: int = 7, **overrides):
    """A few whole epochs with a high learning rate, so that accuracies move."""
    run = opened(root, batch_size=5, **overrides)
    run.recipe = replace(run.recipe, epochs=count, patience=count)
    run.folder.joinpath("checkpoints").mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    with display("", 0, show=False) as show:
        while not run.over:
            run.train_epoch(show)
            run.end_epoch(show)
    return run


@pytest.fixture(scope="module")
def selected(root):
    """Three runs that differ in what selects and what is reported."""
    settings = {"release": {}, "val": {"selection": "val"}, "exact": {"accuracy": "exact"}}
    return {name: epochs(root, **overrides) for name, overrides in settings.items()}


def test_selection_and_accuracy_leave_the_trained_weights_alone(selected):
    first, *rest = selected.values()
    state = first.plain.state_dict()
    for run in rest:
        assert all(torch.equal(t, state[name]) for name, t in run.plain.state_dict().items())
        for ours, theirs in zip(run.progress.curve, first.progress.curve, strict=True):
            assert (ours["loss_terms"], ours["lr"]) == (theirs["loss_terms"], theirs["lr"])
            assert all(
                ours["metrics"][split] == found for split, found in theirs["metrics"].items() if split in ours["metrics"]
            )
    for ours, theirs in zip(selected["exact"].progress.curve, first.progress.curve, strict=True):
        assert ours["metrics"] == theirs["metrics"]


def test_the_record_holds_the_test_metrics_of_the_epoch_that_was_selected(selected):
    every = [entry["metrics"]["test"] for entry in selected["release"].progress.curve]
    for run in selected.values():
        split = run.options.selection
        scores = [entry["metrics"][split][run.run.reported] for entry in run.progress.curve]
        best = max(i for i, score in enumerate(scores) if score == max(scores))
        assert run.progress.best_epoch == best + 1
        assert run.progress.best_metrics == every[best]


def ended(root, split_scores: dict[str, list[float]], **overrides):
    """A run whose epochs end with the given accuracies, by split."""
    run = opened(root, **overrides)
    run.folder.joinpath("checkpoints").mkdir(parents=True, exist_ok=True)
    with display("", 0, show=False) as show:
        for epoch in range(3):
            run.evaluate = lambda split, epoch=epoch: Units(
                {}, (), {"acc_batch8": split_scores[split][epoch], "acc_exact": split_scores[f"{split} exact"][epoch]}
            )
            run.end_epoch(show)
    return run.progress


SCORES = {
    "test": [50.0, 60.0, 70.0], "test exact": [53.0, 62.0, 61.0],
    "val": [30.0, 20.0, 10.0], "val exact": [11.0, 12.0, 13.0],
}  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "best"),
    [
        ({}, 3),
        ({"accuracy": "exact"}, 2),
        ({"selection": "val"}, 1),
        ({"selection": "val", "accuracy": "exact"}, 3),
    ],
)
def test_split_and_measure_decide_the_best_epoch_and_the_test_metrics_are_that_epochs(root, monkeypatch, overrides, best):
    for name in MEASURES:
        monkeypatch.setitem(MEASURES, name, lambda units, name=name: units.facts.get(name))
    progress = ended(root, SCORES, **overrides)
    assert progress.best_epoch == best
    assert progress.best_metrics == {"acc_batch8": SCORES["test"][best - 1], "acc_exact": SCORES["test exact"][best - 1]}
    assert all(set(entry["metrics"]) <= {"test", overrides.get("selection", "test")} for entry in progress.curve)


def test_a_batch_that_does_not_learn_moves_statistics_as_one_that_does(root):
    """Three batches: under release the first only moves statistics, and its losses are those of a batch that learns."""
    state, steps = {}, {}
    for accumulation in ("release", "off"):
        run = opened(root, accumulation=accumulation)
        before = {name: t.clone() for name, t in run.plain.state_dict().items()}
        step, kept = run._step, []

        def watched(rows, batch, updates, number, step=step, kept=kept, run=run):
            terms = step(rows, batch, updates, number)
            kept.append((updates.learns(number), terms, {name: t.clone() for name, t in run.plain.state_dict().items()}))
            return terms

        run._step = watched
        trained(run, clips=12)
        state[accumulation], steps[accumulation] = before, kept
    assert [learns for learns, *_ in steps["release"]] == [False, True, True]
    assert [learns for learns, *_ in steps["off"]] == [True, True, True]
    (_, terms, lost), (_, same_terms, learned) = steps["release"][0], steps["off"][0]
    assert terms == same_terms
    statistics = {name for name in lost if name.endswith(("running_mean", "running_var", "num_batches_tracked"))}
    moved = {name for name, t in lost.items() if not torch.equal(t, state["release"][name])}
    assert moved == statistics
    assert all(torch.equal(lost[name], learned[name]) for name in statistics)
    # The second batch meets the untouched weights, and takes one whole step from its own gradient alone.
    weights = {name for name, t in steps["release"][1][2].items() if not torch.equal(t, lost[name])} - statistics
    assert weights == {name for name, t in learned.items() if not torch.equal(t, state["off"][name])} - statistics

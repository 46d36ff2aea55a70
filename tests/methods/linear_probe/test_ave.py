"""The linear probe on AVE: one linear layer on what both frozen encoders tell of a segment, its loss and its prediction."""

import pytest
import torch
from torch.nn import functional as F

import dgsct
from dgsct.methods.linear_probe.ave import LinearProbe

BACKGROUND = 6


def probe(**overrides) -> LinearProbe:
    torch.manual_seed(0)
    return dgsct.build("ave", "linear-probe", scale="mini", freeze_mode="eval", **overrides)


@pytest.fixture(scope="module")
def clips() -> dict[str, torch.Tensor]:
    """Two clips of noise."""
    draw = torch.Generator().manual_seed(0)
    return {
        "frames": torch.rand(2, 10, 3, 32, 32, generator=draw),
        "wave": torch.rand(2, 10, 32000, generator=draw) - 0.5,
    }


def test_scores_are_a_linear_map_of_the_pooled_tokens_and_nothing_else_learns(clips):
    model = probe().train()  # under freeze_mode=eval the encoders stay as they are
    scores = model(**clips)
    assert scores.shape == (2, 10, BACKGROUND + 1)
    with torch.no_grad():
        visual, audio = model.encoders.pooled(clips["frames"], clips["wave"])
    by_hand = torch.cat((visual, audio), dim=-1) @ model.classify.weight.T + model.classify.bias
    torch.testing.assert_close(scores, by_hand)
    scores.sum().backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == {"classify.weight", "classify.bias"}
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {"classify.weight", "classify.bias"}


def test_a_segment_is_judged_by_itself(clips):
    model = probe().eval()
    order = torch.tensor([3, 1, 4, 0, 5, 9, 2, 6, 8, 7])
    shuffled = {name: tensor[:, order] for name, tensor in clips.items()}
    torch.testing.assert_close(model(**shuffled), model(**clips)[:, order])


@pytest.mark.parametrize(("modality", "other"), [("visual", "wave"), ("audio", "frames")])
def test_one_sense_alone(clips, modality, other):
    model = probe(modality=modality).eval()
    changed = {**clips, other: clips[other].flip(0)}
    assert torch.equal(model(**changed), model(**clips))
    same = ({*clips} - {other}).pop()
    assert not torch.equal(model(**{**clips, same: clips[same].flip(0)}), model(**clips))


def test_the_loss_is_the_mean_cross_entropy_of_each_segments_class():
    scores = torch.randn(2, 10, BACKGROUND + 1, generator=torch.Generator().manual_seed(1))
    relevant = torch.zeros(2, 10)
    relevant[0, 2:5] = 1
    relevant[1] = 1
    classes = torch.full((2, 10), BACKGROUND)
    classes[0, 2:5] = 4
    classes[1] = 1
    terms = probe().losses(scores, {"relevant": relevant, "category": torch.tensor([4, 1])})
    assert set(terms) == {"segments"}
    by_hand = [-F.log_softmax(scores[b, t], dim=-1)[classes[b, t]] for b in range(2) for t in range(10)]
    torch.testing.assert_close(terms["segments"], torch.stack(by_hand).mean())


def test_the_prediction_is_the_class_with_the_highest_score():
    scores = torch.zeros(1, 10, BACKGROUND + 1)
    expected = torch.arange(10) % (BACKGROUND + 1)
    scores[0, torch.arange(10), expected] = 1.0
    predicted = LinearProbe.predict(scores)
    assert set(predicted) == {"segments"}
    assert torch.equal(predicted["segments"], expected[None])

"""The AVE head of the release (the localisation part of CMBS), its loss and its decoding.

Input are the gated segments of the temporal module; output one event score a class and clip, one relevance a segment.
"""

from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dgsct.models.temporal import Gated
from dgsct.settings.scales import HeadSizes

AV_WEIGHT = 0.3
TOP_SEGMENTS = 4


class EventOptions(Protocol):
    """The switches that the head reads."""

    head: Literal["release", "cmbs_full"]
    gate_loss: Literal["double_sigmoid", "probability"]


class EventOutput(NamedTuple):
    """Scores of a batch of clips.

    relevance: logits that a segment holds an event, [B, T]; events: class scores of the clip, [B, K];
    av: class scores from the best segments of both modalities, [B, K]; gate: product of the temporal gates, [B, T].
    """

    relevance: Tensor
    events: Tensor
    av: Tensor
    gate: Tensor


class Interaction(nn.Module):
    """CMBS's audio-video interaction: the product of both streams attends to both, concatenated over time."""

    def __init__(self, sizes: HeadSizes) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(sizes.width, sizes.num_heads, dropout=0.2)
        self.norm = nn.LayerNorm(sizes.width)
        self.dropout = nn.Dropout(0.1)

    def forward(self, stream: Tensor, other: Tensor) -> Tensor:
        """Streams [T, B, width] -> [T, B, width]."""
        joint, memory = stream * other, torch.cat((other, stream))
        return self.norm(joint + self.dropout(self.attention(joint, memory, memory, need_weights=False)[0]))


class EventHead(nn.Module):
    """Relevance of segments and event scores of the clip.

    With `head=release` the two interactions are created and saved but their result is discarded, so they are not
    computed; with `head=cmbs_full` they feed the localisation, as in public CMBS (without its spatial attention, which
    needs unpooled features).
    """

    def __init__(self, sizes: HeadSizes, options: EventOptions, classes: int) -> None:
        super().__init__()
        self.interact = options.head == "cmbs_full"
        self.gate_loss = options.gate_loss
        self.visual_interaction = Interaction(sizes)
        self.audio_interaction = Interaction(sizes)
        self.relevance = nn.Linear(sizes.width, 1)
        self.event = nn.Linear(sizes.width, classes)
        self.visual_norm = nn.LayerNorm(sizes.width)  # never called by the release; kept for counts and checkpoints
        self.audio_norm = nn.LayerNorm(sizes.width)  # likewise
        self.audio_cas = nn.Linear(sizes.width, classes)
        self.visual_cas = nn.Linear(sizes.width, classes)

    def forward(self, gated: Gated) -> EventOutput:
        """Gated segments [T, B, width] -> scores, batch first."""
        visual, audio = gated.visual, gated.audio
        av = (_best_segments(self.visual_cas(visual)) + _best_segments(self.audio_cas(audio))) / 2
        if self.interact:
            visual = self.visual_interaction(visual, audio)
            audio = self.audio_interaction(audio, visual)
        fused = (visual + audio) / 2
        events = self.event(fused.amax(dim=0)) + AV_WEIGHT * av
        return EventOutput(self.relevance(fused).squeeze(-1).t(), events, av, gated.gate.squeeze(-1).t())

    def losses(self, output: EventOutput, relevant: Tensor, category: Tensor) -> dict[str, Tensor]:
        """Four terms of weight one. `relevant` [B, T] in {0, 1}; `category` [B] int64.

        The release feeds the gate, a probability, to a loss that expects logits (`gate_loss=double_sigmoid`): the term
        cannot fall below 0.3133 where an event is and 0.6931 where none is.
        """
        criterion = F.binary_cross_entropy_with_logits if self.gate_loss == "double_sigmoid" else F.binary_cross_entropy
        return {
            "relevance": F.binary_cross_entropy_with_logits(output.relevance, relevant),
            "gate": criterion(output.gate, relevant),
            "events": F.cross_entropy(output.events, category),
            "av": F.cross_entropy(output.av, category),
        }


def _best_segments(scores: Tensor) -> Tensor:
    """Per class the mean of the four largest of the clip's segment scores, [T, B, K] -> [B, K]."""
    return scores.topk(TOP_SEGMENTS, dim=0).values.mean(dim=0)


def decode(output: EventOutput) -> Tensor:
    """Segment classes [B, T] int64: the clip's best class where sigmoid(relevance) > 0.5 strictly, else background."""
    classes = output.events.shape[1]
    best = output.events.argmax(dim=1, keepdim=True)
    return torch.where(output.relevance.sigmoid() > 0.5, best, torch.full_like(best, classes))

"""Temporal attention, once, after pooling (eq. 7 as the release builds it): gates between the two modalities' segments.

A BiLSTM and a small transformer encoder summarise each modality over time; a decoder lets each modality read the other;
the gate of one modality scales the decoded segments of the other.
"""

from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dgsct.models.attention import TemporalGate
from dgsct.settings.options import Options
from dgsct.settings.scales import HeadSizes


class Gated(NamedTuple):
    """Gated segments o_v, o_a [T, B, width] and the product of both gates [T, B, 1]."""

    visual: Tensor
    audio: Tensor
    gate: Tensor


class Encoder(nn.Module):
    """Affine map and post-norm transformer encoder layers without positions; sequence first."""

    def __init__(self, dim: int, sizes: HeadSizes, layers: int = 2) -> None:
        super().__init__()
        self.affine = nn.Linear(dim, sizes.width)
        # Copies of one template, as in CMBS: both layers start with equal weights (inferred for DG-SCT).
        template = nn.TransformerEncoderLayer(sizes.width, sizes.num_heads, sizes.feed_forward)
        self.layers = nn.ModuleList(deepcopy(template) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        """`x` [T, B, dim] -> [T, B, width]."""
        x = self.affine(x)
        for layer in self.layers:
            x = layer(x)
        return x


class DecoderLayer(nn.Module):
    """Post-norm cross-attention to memory and query together; the release executes no self-attention here."""

    def __init__(self, sizes: HeadSizes, dropout: float = 0.1) -> None:
        super().__init__()
        self.cross = nn.MultiheadAttention(sizes.width, sizes.num_heads, dropout=dropout)
        self.linear1 = nn.Linear(sizes.width, sizes.feed_forward)
        self.linear2 = nn.Linear(sizes.feed_forward, sizes.width)
        self.norm1 = nn.LayerNorm(sizes.width)
        self.norm2 = nn.LayerNorm(sizes.width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        """Query and memory [T, B, width] -> [T, B, width]; keys are both along time (2 T of them)."""
        keys = torch.cat((memory, query))
        query = self.norm1(query + self.dropout(self.cross(query, keys, keys, need_weights=False)[0]))
        return self.norm2(query + self.dropout(self.linear2(self.dropout(self.linear1(query).relu()))))


class Decoder(nn.Module):
    """Affine map of the query, then one `DecoderLayer`."""

    def __init__(self, dim: int, sizes: HeadSizes) -> None:
        super().__init__()
        self.affine = nn.Linear(dim, sizes.width)
        self.layer = DecoderLayer(sizes)

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        """Query [T, B, dim], memory [T, B, width] -> [T, B, width]."""
        return self.layer(self.affine(query), memory)


def unused_parameters(sizes: HeadSizes) -> nn.ModuleDict:
    """What the release creates, counts as trainable and saves, and never calls: layer templates and self-attentions."""
    parts = nn.ModuleDict()
    for modality in ("video", "audio"):
        parts[f"{modality}_encoder_layer"] = nn.TransformerEncoderLayer(sizes.width, sizes.num_heads, sizes.feed_forward)
        parts[f"{modality}_decoder_layer"] = DecoderLayer(sizes)
        parts[f"{modality}_decoder_layer_self"] = nn.MultiheadAttention(sizes.width, sizes.num_heads)
        parts[f"{modality}_decoder_self"] = nn.MultiheadAttention(sizes.width, sizes.num_heads)
    return parts


class TemporalAttention(nn.Module):
    """Temporal attention between the pooled features of both encoders.

    gamma scales the gates; an absent direction (A2V or V2A off) or T off leaves its stream ungated. The gates are
    always computed, since the auxiliary loss reads their product.
    """

    def __init__(self, visual_dim: int, audio_dim: int, sizes: HeadSizes, options: Options) -> None:
        super().__init__()
        gamma = options.gamma if options.T else 0.0
        self.gamma_visual = gamma if options.A2V else 0.0
        self.gamma_audio = gamma if options.V2A else 0.0
        self.visual_fc = nn.Linear(visual_dim, sizes.visual_hidden)
        self.audio_fc = nn.Linear(audio_dim, sizes.audio_hidden)
        self.dropout = nn.Dropout(0.2)
        self.visual_rnn = nn.LSTM(sizes.visual_hidden, sizes.visual_hidden // 2, batch_first=True, bidirectional=True)
        self.audio_rnn = nn.LSTM(sizes.audio_hidden, sizes.width // 2, batch_first=True, bidirectional=True)
        self.visual_encoder = Encoder(sizes.visual_hidden, sizes)
        self.audio_encoder = Encoder(sizes.width, sizes)
        self.visual_decoder = Decoder(sizes.visual_hidden, sizes)
        self.audio_decoder = Decoder(sizes.width, sizes)
        self.audio_gate = TemporalGate(sizes.width)
        self.visual_gate = TemporalGate(sizes.width)
        self.unused = unused_parameters(sizes)

    def forward(self, visual: Tensor, audio: Tensor) -> Gated:
        """Pooled features f_v [B, T, C_v], f_a [B, T, C_a] -> gated segments and the gates' product."""
        sound = self.audio_fc(audio)
        sight = self.dropout(self.visual_fc(visual).relu())
        sound = self.audio_rnn(sound)[0].transpose(0, 1)
        sight = self.visual_rnn(sight)[0].transpose(0, 1)
        encoded_visual, encoded_audio = self.visual_encoder(sight), self.audio_encoder(sound)
        decoded_audio = self.audio_decoder(sound, encoded_visual)
        decoded_visual = self.visual_decoder(sight, encoded_audio)
        gate_audio, gate_visual = self.audio_gate(encoded_audio), self.visual_gate(encoded_visual)
        return Gated(
            decoded_visual * (1 + self.gamma_visual * gate_audio),
            decoded_audio * (1 + self.gamma_audio * gate_visual),
            gate_audio * gate_visual,
        )

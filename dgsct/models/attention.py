"""Dual-guided attention: how one modality's prompt modulates the other's tokens (paper, section 3.2, eq. 3-7).

Notation of the paper, with x the stream that is modulated and y the stream that guides it:

    M_c = sigmoid(E relu(D mean_n[relu(A1 p) * relu(V1 x_n)]))          channel map, eq. 3      [B, 1, C]
    M_s = sigmoid(w [relu(V2 x^c_n) * relu(A2 p)])                      spatial map, eq. 4      [B, N, 1]
    x^cs = (alpha M_c + beta M_s + 1 [- alpha in the release]) * x      combination, eq. 6      [B, N, C]
    v^cst = v^cs + gamma G * v^cs                                       temporal gate, eq. 7    [T, B, C]

where p is the guide's prompt brought to x's shape and averaged over its tokens, and x^c = x * (1 + M_c). For the audio
stream "spatial" means frequency-time patches (eq. 5). Every class is direction-free: audio-to-visual (A2V) and
visual-to-audio (V2A) attention are two instances.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from dgsct.ops.fused import relu_mean, scaled_linear_relu
from dgsct.settings.options import Options


class ChannelAttention(nn.Module):
    """Eq. 3: which channels of x matter, given the prompt. Hidden width C/2; ReLU after both affine maps (release)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.guide = nn.Linear(dim, dim)
        self.stream = nn.Linear(dim, dim)
        self.squeeze = nn.Linear(dim, dim // 2)
        self.excite = nn.Linear(dim // 2, dim)

    def forward(self, x: Tensor, pooled: Tensor) -> Tensor:
        """Tokens `x` [B, N, C], pooled prompt [B, 1, C] -> channel map M_c [B, 1, C] in (0, 1)."""
        # The guide is one vector a sample: it leaves the mean over tokens, and N * C products are saved.
        joint = self.guide(pooled).relu() * relu_mean(self.stream(x))
        return self.excite(self.squeeze(joint).relu()).sigmoid()


class SpatialAttention(nn.Module):
    """Eq. 4 (visual) and 5 (audio): which tokens of x matter, given the prompt. Hidden width C/2."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.guide = nn.Linear(dim, dim // 2)
        self.stream = nn.Linear(dim, dim // 2)
        self.score = nn.Linear(dim // 2, 1)

    def forward(self, x: Tensor, prompt: Tensor, channel_map: Tensor | None = None) -> Tensor:
        """Tokens `x` [B, N, C] and a prompt, pooled [B, 1, C] or a map [B, N, C] -> scores s [B, N, 1].

        With a channel map M_c [B, 1, C] the tokens are x^c = x * (1 + M_c). M_s = sigmoid(s); the release also pools
        with softmax(tanh(s)) over the tokens (`pooling_map`).
        """
        plain = channel_map is None
        stream = self.stream(x).relu_() if plain else scaled_linear_relu(x, 1 + channel_map, self.stream)
        guide = self.guide(prompt).relu()
        if guide.shape[1] > 1:
            return self.score(stream * guide)
        # One guide for all tokens: it joins the weight, and N * d products are saved.
        return torch.bmm(stream, (self.score.weight * guide).transpose(1, 2)) + self.score.bias


def pooling_map(scores: Tensor) -> Tensor:
    """Spatial scores [B, N, 1] -> weights A [B, 1, N] that sum to one (release; absent from the paper)."""
    return scores.tanh().transpose(1, 2).softmax(dim=-1)


class Guidance(NamedTuple):
    """What the prompt says of x: the channel map M_c [B, 1, C] and the spatial scores s [B, N, 1]; None without C or S."""

    channel_map: Tensor | None
    scores: Tensor | None


class DualGuidedAttention(nn.Module):
    """Eq. 3-6 for one direction: channel and spatial attention and their combination.

    Each part can be absent (Table 5's rows): without C the factor loses alpha * M_c and the release's - alpha, and the
    spatial part sees x itself; without S the factor loses beta * M_s and there is no pooling map.
    """

    def __init__(self, dim: int, options: Options) -> None:
        super().__init__()
        self.alpha, self.beta = options.alpha, options.beta
        self.residual = options.residual
        self.channel = ChannelAttention(dim) if options.C else None
        self.spatial = SpatialAttention(dim) if options.S else None

    def forward(self, x: Tensor, prompt: Tensor) -> Guidance:
        """Tokens `x` [B, N, C]; the prompt pooled [B, 1, C], or as a map [B, N, C] where `spatial_prompt` asks for it."""
        if self.channel is None and self.spatial is None:
            return Guidance(None, None)
        channel_map = scores = None
        if self.channel is not None:
            channel_map = self.channel(x, prompt.mean(dim=1, keepdim=True))
        if self.spatial is not None:
            scores = self.spatial(x, prompt, channel_map)
        return Guidance(channel_map, scores)

    def modulate(self, x: Tensor, channel_map: Tensor | None, scores: Tensor | None) -> Tensor:
        """Eq. 6: tokens `x` [B, N, C] times (alpha M_c + beta M_s + 1 [- alpha]), with the parts that there are."""
        if channel_map is None and scores is None:
            return x
        scale = 1.0
        if channel_map is not None:
            scale = self.alpha * channel_map + (1 - self.alpha if self.residual == "release" else 1)
        if scores is not None:
            scale = scale + self.beta * scores.sigmoid()
        return x * scale


class TemporalGate(nn.Module):
    """Eq. 7: one gate a segment from one modality, applied to the other: x + gamma * sigmoid(Theta(e)) * x."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.theta = nn.Linear(width, 1)

    def forward(self, encoded: Tensor) -> Tensor:
        """Encoded segments [T, B, width] -> gate G [T, B, 1] in (0, 1)."""
        return torch.sigmoid(self.theta(encoded))

"""The adapter between the encoders: Omega(x, y) of eq. 1-2, one class for both directions.

Stream x [B, N_x, C] is adapted under the guidance of stream y [B, N_y, C_y]:

    prompt      P = (K y + b) W^T + w           brought to x's tokens and channels
    tokens      x1 = x + g_av attend(x, T1),  T1 = T0 + attend(T0, P)      latent tokens (LAVisH's, kept by the release)
    attention   x2, A = DualGuidedAttention(x1, P)                         eq. 3-6
    bottleneck  Omega = g LN(BN(U relu(BN(D LN(x2)))))                     grouped, reduction 8, gate g = 0 at the start

The gates start at zero, so a fresh adapter is silent and leaves the frozen encoders as they are.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dgsct.attention import DualGuidedAttention
from dgsct.options import Options


class Adapted(NamedTuple):
    """What an adapter returns: the residual Omega [B, N_x, C], and the pooling map A [B, 1, N_x] (None without S)."""

    residual: Tensor
    pooling: Tensor | None


class Prompt(nn.Module):
    """Brings y to x's shape: a token projection K [N_x, N_y] and a channel projection W [C, C_y].

    The two are linear on different axes, so they commute; the cheaper association order is taken unless
    `release_order` asks for K first.
    """

    def __init__(self, tokens: int, guide_tokens: int, dim: int, guide_dim: int, release_order: bool = False) -> None:
        super().__init__()
        # A 1x1 convolution over the token axis has the initialisation of a Linear layer.
        self.token = nn.Linear(guide_tokens, tokens)
        self.channel = nn.Linear(guide_dim, dim)
        token_first = tokens * guide_tokens * guide_dim + tokens * guide_dim * dim
        channel_first = guide_tokens * guide_dim * dim + tokens * guide_tokens * dim
        self.token_first = release_order or token_first <= channel_first

    def forward(self, y: Tensor) -> Tensor:
        """`y` [B, N_y, C_y] -> prompt P [B, N_x, C]."""
        token, channel = self.token, self.channel
        if self.token_first:
            mixed = torch.matmul(token.weight, y) + token.bias.unsqueeze(-1)
            return channel(mixed)
        mixed = torch.matmul(token.weight, F.linear(y, channel.weight))
        # (K y + b 1^T) W^T + 1 w^T = K (y W^T) + b (W 1)^T + 1 w^T
        return mixed + torch.addr(channel.bias.expand_as(mixed[0]), token.bias, channel.weight.sum(dim=1))


class LatentTokens(nn.Module):
    """A few learned tokens that read the prompt and are read by x: cross-attention without scale or projections."""

    def __init__(self, count: int, dim: int) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.rand(count, dim))
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, prompt: Tensor) -> Tensor:
        """`x` [B, N, C], prompt [B, N, C] -> x plus the gated read-out of the tokens [B, N, C]."""
        start = self.tokens.expand(len(x), -1, -1)
        tokens = start + _attend(start, prompt)
        return x + self.gate * _attend(x, tokens)


def _attend(query: Tensor, memory: Tensor) -> Tensor:
    """softmax(query memory^T) memory, [B, Q, C] and [B, M, C] -> [B, Q, C]; a single head of width C, no scaling."""
    q, m = query.unsqueeze(1), memory.unsqueeze(1)
    return F.scaled_dot_product_attention(q, m, m, scale=1.0).squeeze(1)


class GroupedLinear(nn.Module):
    """Linear map without bias in `groups` blocks along the channels, as a 1x1 convolution with groups would be."""

    def __init__(self, dim_in: int, dim_out: int, groups: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(groups, dim_out // groups, dim_in // groups))
        bound = (dim_in // groups) ** -0.5
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """`x` [M, dim_in] -> [M, dim_out]; block g maps slice g of the channels."""
        groups = len(self.weight)
        blocks = x.view(len(x), groups, -1).transpose(0, 1)
        return torch.bmm(blocks, self.weight.transpose(1, 2)).transpose(0, 1).reshape(len(x), -1)


class Bottleneck(nn.Module):
    """LayerNorm, grouped down- and up-projection with batch normalisation over samples and tokens, LayerNorm, gate."""

    def __init__(self, dim: int, reduction: int, groups: int) -> None:
        super().__init__()
        hidden = dim // reduction
        self.norm_before = nn.LayerNorm(dim)
        self.down = GroupedLinear(dim, hidden, groups)
        self.bn_down = nn.BatchNorm1d(hidden)
        self.up = GroupedLinear(hidden, dim, groups)
        self.bn_up = nn.BatchNorm1d(dim)
        self.norm_after = nn.LayerNorm(dim)
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """`x` [B, N, C] -> Omega [B, N, C]."""
        z = self.norm_before(x).flatten(0, 1)
        z = self.bn_down(self.down(z)).relu()
        z = self.norm_after(self.bn_up(self.up(z)))
        return self.gate * z.view_as(x)


class Adapter(nn.Module):
    """Omega for one direction at one place of the walk.

    `spare_gate` is created, counted and saved by the release and used by nobody; it keeps counts and checkpoints exact.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        guide: tuple[int, int],
        num_tokens: int,
        reduction: int,
        groups: int,
        options: Options,
        release_order: bool = False,
    ) -> None:
        """`shape` = (N_x, C) of the adapted stream, `guide` = (N_y, C_y) of the guiding one."""
        super().__init__()
        (tokens, dim), (guide_tokens, guide_dim) = shape, guide
        self.keep_tokens = options.keep_tokens
        self.prompt = Prompt(tokens, guide_tokens, dim, guide_dim, release_order)
        self.latent = LatentTokens(num_tokens, dim)
        self.attention = DualGuidedAttention(dim, options)
        self.bottleneck = Bottleneck(dim, reduction, groups)
        self.spare_gate = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor, y: Tensor) -> Adapted:
        """Streams `x` [B, N_x, C] and `y` [B, N_y, C_y] -> residual and pooling map."""
        prompt = self.prompt(y)
        attended, pooling = self.attention(self.latent(x, prompt) if self.keep_tokens else x, prompt)
        return Adapted(self.bottleneck(attended), pooling)

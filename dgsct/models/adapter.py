"""The adapter between the encoders: Omega(x, y) of eq. 1-2, one class for both directions.

Stream x [B, N_x, C] is adapted under the guidance of stream y [B, N_y, C_y]:

    prompt      P = (K y + b 1^T) W^T + 1 w^T                              brought to x's tokens and channels
    tokens      x1 = x + g_av attend(x, T1),  T1 = T0 + attend(T0, P)      latent tokens (LAVisH's, kept by the release)
    attention   x2, A = DualGuidedAttention(x1, mean of P)                 eq. 3-6
    bottleneck  Omega = g LN(BN(U relu(BN(D LN(x2)))))                     grouped, reduction 8, gate g = 0 at the start

The gates start at zero in the release, so that a fresh adapter is silent and leaves the frozen encoders as they are
(`Scale.gate` and `inner_gate` may say otherwise). That is the form for AVE;
the release of another task builds the prompt or the bottleneck in another way (`Form`).
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dgsct.models.attention import DualGuidedAttention, pooling_map
from dgsct.ops.batch_norm import BatchNorm
from dgsct.ops.fused import read_through, softmax
from dgsct.ops.precision import at_least_float32, full_precision, lowered
from dgsct.ops.recompute import Unkept, recompute
from dgsct.settings.options import Options


@dataclass(frozen=True)
class Form:
    """How a task's release builds its adapters.

    prompt: the guide's tokens are brought to x's by a learned map (`tokens`) or by resizing their grid (`resize`);
    bottleneck: with batch normalisation and the gate outside, or bare with the gate inside the last norm and on the visual
    side only; off: an adapter whose direction is off lacks S and C (`plain`), or is `absent`. frugal: how the encoders around
    them treat memory (`SwinV2`).
    """

    prompt: Literal["tokens", "resize"] = "tokens"
    bottleneck: Literal["normed", "bare"] = "normed"
    off: Literal["plain", "absent"] = "plain"
    frugal: bool = False


NORMED = Form()


class Adapted(NamedTuple):
    """What an adapter returns: the residual Omega [B, N_x, C], and the pooling map A [B, 1, N_x] (None without S)."""

    residual: Tensor
    pooling: Tensor | None


class NoAdapter(nn.Module):
    """A direction that is absent: nothing is added to the stream."""

    def forward(self, x: Tensor, _y: Tensor) -> Adapted:
        """A zero for any streams."""
        return Adapted(x.new_zeros(()), None)


class Prompt(nn.Module):
    """The guide y brought to x's shape: P = (K y + b 1^T) W^T + 1 w^T, K [N_x, N_y] over tokens, W [C, C_y] over channels.

    P is read by a few latent tokens and averaged, and both can be done from the factors: the products with K then have
    as many columns as there are latent tokens (32), not channels (up to 1536), and P itself is never stored.
    """

    def __init__(self, tokens: int, guide_tokens: int, dim: int, guide_dim: int) -> None:
        super().__init__()
        # A 1x1 convolution over the token axis has the initialisation of a Linear layer.
        self.token = nn.Linear(guide_tokens, tokens)
        self.channel = nn.Linear(guide_dim, dim)

    def forward(self, y: Tensor) -> Tensor:
        """`y` [B, N_y, C_y] -> P [B, N_x, C] itself, in the release's order of operations."""
        return self.channel(torch.matmul(self.token.weight, y) + self.token.bias.unsqueeze(-1))

    def read(self, query: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """`query` [K, C], `y` [B, N_y, C_y] -> softmax(query P^T) P [B, K, C], and the mean of P over tokens [B, 1, C]."""
        token, bias = self.token.weight, self.token.bias
        asked = query @ self.channel.weight
        # A term that is equal for all tokens of P (query w^T) leaves the softmax as it is.
        offset = torch.outer(asked.sum(dim=-1), bias)
        seen, weights = read_through(F.linear(y, asked).transpose(1, 2), offset, token)
        mixed = torch.bmm(seen, y) + torch.matmul(weights, bias).unsqueeze(-1)
        return self.channel(mixed).split((len(query), 1), dim=1)


class ResizedPrompt(Prompt):
    """The guide's tokens as a grid, W y + w, resized to the grid of x: P = (R x R) (y W^T + 1 w^T), bicubic R [n_x, n_y].

    n = sqrt(N); both grids are square. The map over tokens of `Prompt` exists and nobody uses it (81,156,432 parameters in
    setting S4). Resizing is the same along both sides, so the few readers see through two small products for each, not
    through P.
    """

    def __init__(self, tokens: int, guide_tokens: int, dim: int, guide_dim: int) -> None:
        super().__init__(tokens, guide_tokens, dim, guide_dim)
        self.side, guide_side = round(tokens**0.5), round(guide_tokens**0.5)
        with torch.device("cpu"):  # a few numbers, wanted even where the parameters are shapes only
            grid = torch.eye(guide_side)[None, None]
            resize = F.interpolate(grid, size=(self.side, guide_side), mode="bicubic", align_corners=False)[0, 0]
        self.register_buffer("resize", resize.to(self.token.weight.device), persistent=False)

    def forward(self, y: Tensor) -> Tensor:
        """`y` [B, N_y, C_y] -> P [B, N_x, C] itself, in the release's order of operations."""
        guide_side = self.resize.shape[1]
        grid = self.channel(y).transpose(1, 2).unflatten(2, (guide_side, guide_side))
        return F.interpolate(grid, size=(self.side, self.side), mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)

    def read(self, query: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """`query` [K, C], `y` [B, N_y, C_y] -> softmax(query P^T) P [B, K, C], and the mean of P over tokens [B, 1, C]."""
        guide_side = self.resize.shape[1]
        keys = F.linear(y, query @ self.channel.weight).transpose(1, 2)
        with full_precision(y):
            resize = self.resize.to(torch.promote_types(keys.dtype, torch.float32))
            grid = keys.to(resize.dtype).unflatten(2, (guide_side, guide_side))
            weights = (resize @ grid @ resize.t()).flatten(2).softmax(dim=-1)
            even = weights.new_full((len(y), 1, self.side**2), self.side**-2)
            weights = torch.cat((weights, even), dim=1).unflatten(2, (self.side, self.side))
            seen = (resize.t() @ weights @ resize).flatten(2)
        # The rows of R add up to one, and so do the weights: the bias w comes through as it is.
        return self.channel(torch.bmm(lowered(seen), lowered(y))).split((len(query), 1), dim=1)


class LatentTokens(nn.Module):
    """A few learned tokens that read the prompt and are read by x: cross-attention without scale or projections."""

    def __init__(self, count: int, dim: int, gate: float = 0.0) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.rand(count, dim))
        self.gate = nn.Parameter(torch.full((1,), gate))

    def forward(self, x: Tensor, read: Tensor) -> Tensor:
        """`x` [B, N, C] and what the tokens read from the prompt [B, K, C] -> x plus the gated read-out [B, N, C].

        Unscaled scores over C channels are large, so half precision is not for them.
        """
        with full_precision(x):
            tokens = self.tokens + at_least_float32(read)
            weights = softmax(torch.bmm(x, tokens.transpose(1, 2)))
            return torch.baddbmm(x, weights, self.gate * tokens)


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

    def __init__(self, dim: int, reduction: int, groups: int, gate: float = 0.0) -> None:
        super().__init__()
        hidden = dim // reduction
        self.norm_before = nn.LayerNorm(dim)
        self.down = GroupedLinear(dim, hidden, groups)
        self.bn_down = BatchNorm(hidden)
        self.up = GroupedLinear(hidden, dim, groups)
        self.bn_up = BatchNorm(dim)
        self.norm_after = nn.LayerNorm(dim)
        self.gate = nn.Parameter(torch.full((1,), gate))

    def forward(self, x: Tensor) -> Tensor:
        """`x` [B, N, C] -> Omega [B, N, C]."""
        z = self.norm_before(x).flatten(0, 1)
        z = self.bn_down(self.down(z)).relu()
        z = self.norm_after(self.bn_up(self.up(z)))
        return self.gate * z.view_as(x)


class BareBottleneck(nn.Module):
    """Grouped down- and up-projection, gate (visual side), LayerNorm. The norm leaves little of the gate but its sign.

    So a `gate` that is not zero is where the norm's own scale starts, and the gate itself starts at one.
    """

    def __init__(self, dim: int, reduction: int, groups: int, gated: bool, gate: float = 0.0) -> None:
        super().__init__()
        self.down = GroupedLinear(dim, dim // reduction, groups)
        self.up = GroupedLinear(dim // reduction, dim, groups)
        self.norm_after = nn.LayerNorm(dim)
        self.gate = nn.Parameter(torch.full((1,), float(gate != 0))) if gated else None
        if gate:
            nn.init.constant_(self.norm_after.weight, gate)

    def forward(self, x: Tensor) -> Tensor:
        """`x` [B, N, C] -> Omega [B, N, C]."""
        z = self.up(self.down(x.flatten(0, 1)).relu()).view_as(x)
        return self.norm_after(z if self.gate is None else self.gate * z)


class Adapter(nn.Module):
    """Omega for one direction at one place of the walk.

    `spare_gate` and `unused` are created, counted and saved by the release and used by nobody; they keep counts and
    checkpoints exact.
    With `release_order`, or where the spatial attention looks at the prompt as a map, the prompt is computed as such.
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
        form: Form = NORMED,
        gated: bool = True,
        gate: float = 0.0,
    ) -> None:
        """`shape` = (N_x, C) of the adapted stream, `guide` = (N_y, C_y) of the guiding one; a bare bottleneck may be without
        gate. `gate`: how much is added to the stream as training starts."""
        super().__init__()
        (tokens, dim), (guide_tokens, guide_dim) = shape, guide
        self.keep_tokens = options.keep_tokens
        self.spatial_map = options.spatial_prompt == "map" and options.S
        self.whole_prompt = release_order or self.spatial_map
        self.prompt = (ResizedPrompt if form.prompt == "resize" else Prompt)(tokens, guide_tokens, dim, guide_dim)
        self.latent = LatentTokens(num_tokens, dim, gate)
        self.attention = DualGuidedAttention(dim, options)
        if form.bottleneck == "normed":
            self.bottleneck = Bottleneck(dim, reduction, groups, gate)
            self.spare_gate = nn.Parameter(torch.ones(1))
        else:
            self.latent.tokens.data.zero_()
            self.bottleneck = BareBottleneck(dim, reduction, groups, gated, gate)
            self.unused = nn.ModuleDict({"norm_before": nn.LayerNorm(dim), "temporal_gate": nn.Linear(dim, 1)})

    def forward(self, x: Tensor, y: Tensor) -> Adapted:
        """Streams `x` [B, N_x, C] and `y` [B, N_y, C_y] -> residual and pooling map."""
        read, guide = self._prompted(y)
        with Unkept(self._with_tokens, x, read) as x1:
            with x1.saved_by():
                guidance = self.attention(x1.values(), guide)
            pooling = None if guidance.scores is None else pooling_map(guidance.scores)
            return Adapted(recompute(self._express, x1, *guidance), pooling)

    def _with_tokens(self, x: Tensor, read: Tensor) -> Tensor:
        """x1 [B, N_x, C], in the precision in which it is multiplied."""
        return lowered(self.latent(x, read) if self.keep_tokens else x)

    def _prompted(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """What the latent tokens read from the prompt [B, K, C], and what the attention sees of it: its mean [B, 1, C], or
        all of it [B, N_x, C]."""
        query = self.latent.tokens if self.keep_tokens else self.latent.tokens[:0]
        if not self.whole_prompt:
            return self.prompt.read(query, y)
        prompt = self.prompt(y)
        read = torch.matmul(torch.matmul(query, prompt.transpose(1, 2)).softmax(dim=-1), prompt)
        return read, prompt if self.spatial_map else prompt.mean(dim=1, keepdim=True)

    def _express(self, x: Tensor, channel_map: Tensor | None, scores: Tensor | None) -> Tensor:
        """Modulation and bottleneck: cheap beside the projections before them, so done again in the backward pass."""
        return self.bottleneck(self.attention.modulate(x, channel_map, scores))

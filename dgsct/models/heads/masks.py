"""Segmentation heads: TPAVI and decoder as in AVSBench, what DG-SCT puts before them, and the losses of both settings.

maps of several scales + an audio vector a segment -> TPAVI at each scale -> decoder from coarse to fine -> mask logits
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dgsct.models.interaction import Pyramid
from dgsct.models.temporal_pyramid import PyramidTemporalAttention
from dgsct.ops.batch_norm import BatchNorm
from dgsct.ops.precision import full_precision
from dgsct.ops.recompute import recompute, recompute_needed_rows
from dgsct.settings.options import Options
from dgsct.settings.scales import HeadSizes

PATCH = 4  # pixels of a frame along a side of the finest map's cell


TrainedOn = Literal["first", "all"]


def trained_on(task: str, av_weight: float) -> TrainedOn:
    """Whose masks the training loss sees: those of all frames, or in setting S4, without `audio_visual_loss`, of the first."""
    return "first" if task == "avs-s4" and not av_weight else "all"


class MaskOutput(NamedTuple):
    """What a batch of B clips of T frames gives.

    logits: of the masks, [B, T, H, W], or [B, 1, H, W] of the first frames where training needs no more;
    maps: features behind TPAVI and ReLU, finest scale first, each [B T, C, k, k];
    audio: TPAVI's projection of the audio vector at each scale, [B, T, C].
    """

    logits: Tensor
    maps: tuple[Tensor, ...]
    audio: tuple[Tensor, ...]


class TPAVI(nn.Module):
    """Temporal pixel-wise audio-visual interaction: every pixel of every frame looks at the sound of all frames.

    z = LN(BN(W_z y) + x), y = (theta(x) phi(A)^T / N) g(x), A = align(a), N = T H W positions and no softmax. The keys
    phi(A) are the same all over a frame, so that y = theta(x) [sum_t phi(A_t) (mean g(x_t))^T] / T exactly: the N x N matrix
    (1 GB a clip at the finest scale) is never made.
    """

    def __init__(self, dim: int, audio_dim: int) -> None:
        super().__init__()
        self.align = nn.Linear(audio_dim, dim)
        self.query = nn.Linear(dim, dim // 2)
        self.key = nn.Linear(dim, dim // 2)
        self.value = nn.Linear(dim, dim // 2)
        self.out = nn.Linear(dim // 2, dim)
        self.batch_norm = BatchNorm(dim)
        self.norm = nn.LayerNorm(dim)
        nn.init.zeros_(self.batch_norm.weight)  # z = LN(x) at the start

    def forward(self, x: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """`x` [B T, C, k, k], `audio` [B, T, D] -> z like x, A [B, T, C]."""
        aligned = self.align(audio)
        return recompute(self._interact, x, aligned), aligned

    def _interact(self, x: Tensor, aligned: Tensor) -> Tensor:
        """z: products with few columns and elementwise work, so done again in the backward pass."""
        batch, segments = aligned.shape[:2]
        tokens = x.flatten(2).transpose(1, 2)
        with full_precision(x):
            tokens = tokens.to(torch.promote_types(x.dtype, torch.float32))
            value = self.value(tokens.mean(dim=1)).view(batch, segments, -1)
            seen = torch.bmm(self.key(aligned.to(value.dtype)).transpose(1, 2), value) / segments
            seen = torch.matmul(seen, self.out.weight.t())
        query = self.query(tokens).view(batch, -1, seen.shape[1])
        y = torch.bmm(query, seen.to(query.dtype)).flatten(0, 1) + self.out.bias
        z = self.norm(self.batch_norm(y).view_as(tokens) + tokens)
        return z.transpose(1, 2).reshape(x.shape)


class ResidualUnit(nn.Module):
    """conv(relu(conv(x))) + x for an x that is relu-ed already: the release's first ReLU works in place, so that the sum
    meets relu(x), not x."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(dim, dim, 3, padding=1)
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """`x` [M, C, k, k], not negative -> same shape."""
        return self.conv2(self.conv1(x).relu()) + x


class Fusion(nn.Module):
    """One step of the decoder: joins a finer map, refines, and doubles the side."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.joining = ResidualUnit(dim)  # unused where there is nothing to join, at the coarsest scale
        self.refining = ResidualUnit(dim)

    def forward(self, x: Tensor, coarser: Tensor | None = None) -> Tensor:
        """`x` [M, C, k, k], not negative, and what came from the coarser scale, like x -> [M, C, 2k, 2k]."""
        if coarser is not None:
            x = (coarser + self.joining(x)).relu()
        return F.interpolate(self.refining(x), scale_factor=2, mode="bilinear", align_corners=True)


class Decoder(nn.Module):
    """Maps from coarse to fine, then a small convolutional head at half and at full size."""

    def __init__(self, levels: int, dim: int) -> None:
        super().__init__()
        self.fusions = nn.ModuleList(Fusion(dim) for _ in range(levels))
        self.at_half = nn.Conv2d(dim, dim // 2, 3, padding=1)
        self.at_full = nn.Conv2d(dim // 2, dim // 8, 3, padding=1)
        self.score = nn.Conv2d(dim // 8, 1, 1)

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        """Maps [M, C, k, k], not negative, finest first, each side twice the next -> logits [M, 4k, 4k]."""
        x = None
        for fusion, finer in zip(reversed(self.fusions), reversed(maps), strict=True):
            x = fusion(finer, x)
        x = F.interpolate(self.at_half(x), scale_factor=2, mode="bilinear", align_corners=False)
        return self.score(self.at_full(x).relu()).squeeze(1)


class ASPP(nn.Module):
    """AVSBench's bridge from a backbone's channels to the decoder's: the sum of four dilated convolutions."""

    def __init__(self, dim_in: int, dim_out: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(dim_in, dim_out, 3, padding=d, dilation=d) for d in (3, 6, 12, 18))
        for conv in self.convs:
            nn.init.normal_(conv.weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """[M, dim_in, k, k] -> [M, dim_out, k, k].

        Where a dilation reaches beyond the map, all taps but the middle one read padding: what is left are 1x1 convolutions,
        and their sum is one.
        """
        within, beyond = [], []
        for conv in self.convs:
            (within if conv.dilation[0] < max(x.shape[-2:]) else beyond).append(conv)
        parts = [conv(x) for conv in within]
        if beyond:
            middle, bias = sum(conv.weight[:, :, 1:2, 1:2] for conv in beyond), sum(conv.bias for conv in beyond)
            parts.append(F.conv2d(x, middle, bias))
        return sum(parts[1:], parts[0])


class Segmenter(nn.Module):
    """TPAVI at every scale, then the decoder; with `trained_on="first"` training decodes the first frame of a clip only."""

    def __init__(self, levels: int, dim: int, audio_dim: int, trained_on: TrainedOn) -> None:
        super().__init__()
        self.trained_on = trained_on
        self.tpavi = nn.ModuleList(TPAVI(dim, audio_dim) for _ in range(levels))
        self.decoder = Decoder(levels, dim)

    def forward(self, maps: list[Tensor], audio: Tensor) -> MaskOutput:
        """Maps [B T, C, k, k], finest first, and the audio vector [B, T, D] -> masks."""
        pairs = [tpavi(x, audio) for tpavi, x in zip(self.tpavi, maps, strict=True)]
        positive = tuple(z.relu() for z, _ in pairs)
        decoded = positive
        if self.training and self.trained_on == "first":
            decoded = tuple(x[:: audio.shape[1]] for x in positive)
        logits = recompute_needed_rows(self.decoder, decoded)
        return MaskOutput(logits.view(len(audio), -1, *logits.shape[1:]), positive, tuple(a for _, a in pairs))


class PyramidHead(nn.Module):
    """Two transformers' outputs as DG-SCT brings them to the segmenter: projections, resized maps, temporal attention."""

    def __init__(
        self, visual_dims: list[int], audio_dim: int, sizes: HeadSizes, options: Options, trained_on: TrainedOn
    ) -> None:
        super().__init__()
        self.visual = nn.ModuleList(nn.Linear(dim, sizes.width) for dim in visual_dims)
        self.audio = nn.Linear(audio_dim, sizes.audio_hidden)
        self.temporal = PyramidTemporalAttention(len(visual_dims), sizes, options) if options.T else None
        self.segmenter = Segmenter(len(visual_dims), sizes.width, sizes.audio_hidden, trained_on)

    def forward(self, pyramid: Pyramid, side: int) -> MaskOutput:
        """Tokens [B T, N_i, C_i] and audio [B, T, C_a] of frames with `side` pixels -> masks of that side.

        Map i gets side / 4 / 2^i cells along a side, bicubic; the scales of the encoder need not fit the frames.
        """
        maps = []
        for i, (tokens, project) in enumerate(zip(pyramid.visual, self.visual, strict=True)):
            cells, wanted = round(tokens.shape[1] ** 0.5), side // PATCH >> i
            x = project(tokens).transpose(1, 2).unflatten(2, (cells, cells))
            if cells != wanted:  # else the same values, at a price
                x = F.interpolate(x, size=(wanted, wanted), mode="bicubic", align_corners=False)
            maps.append(x)
        audio = self.audio(pyramid.audio)
        if self.temporal is not None:
            maps, audio = self.temporal(maps, audio)
        return self.segmenter(maps, audio)


def unused_bridges(visual_dims: list[int], bridge_dims: tuple[int, ...], width: int) -> nn.ModuleDict:
    """What the release builds of AVSBench's way from backbone to decoder and never calls: other projections, ASPP."""
    return nn.ModuleDict(
        {
            "projections": nn.ModuleList(nn.Linear(a, b) for a, b in zip(visual_dims, bridge_dims, strict=False)),
            "aspp": nn.ModuleList(ASPP(dim, width) for dim in bridge_dims),
        }
    )


def mask_losses(output: MaskOutput, targets: Mapping[str, Tensor], av_weight: float) -> dict[str, Tensor]:
    """Loss terms of weight one for targets `masks` [B, T, H, W] in {0, 1} and `annotated` [B, T].

    masks: binary cross-entropy of probabilities over the annotated frames (in setting S4 the first of each clip);
    av: `av_weight` times `audio_visual_loss`, where that is not zero (0.5 in setting MS3).
    """
    with full_precision(output.logits):
        probability = output.logits.to(torch.promote_types(output.logits.dtype, torch.float32)).sigmoid()
        masks = targets["masks"][:, : probability.shape[1]].to(probability.dtype)
        frames = F.binary_cross_entropy(probability, masks, reduction="none").mean(dim=(-2, -1))
        counted = targets["annotated"][:, : probability.shape[1]].to(frames.dtype)
        terms = {"masks": (frames * counted).sum() / counted.sum()}
        if av_weight:
            terms["av"] = av_weight * audio_visual_loss(output)
    return terms


def audio_visual_loss(output: MaskOutput) -> Tensor:
    """Mean over scales of KL(softmax A || softmax v), v = mean of the map under the predicted mask (AVSBench, L_AVM).

    Summed over frames and channels, so that it grows with the batch; the mask is the sigmoid of the pooled logits.
    """
    logits = output.logits.flatten(0, 1).unsqueeze(1)
    total = logits.new_zeros(())
    for x, audio in zip(output.maps, output.audio, strict=True):
        mask = F.adaptive_avg_pool2d(logits, x.shape[-2:]).sigmoid()
        seen = (x * mask).mean(dim=(2, 3))
        total = total + F.kl_div(seen.log_softmax(-1), audio.flatten(0, 1).softmax(-1), reduction="sum")
    return total / len(output.maps)


def mask_probabilities(output: MaskOutput) -> Tensor:
    """Probabilities [B, T, H, W] float32 that a pixel belongs to a sounding object."""
    return output.logits.float().sigmoid()

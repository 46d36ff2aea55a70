"""Two frozen encoders walked block by block, with adapters between them (paper, eq. 1-2; fact: order of the release).

Stages run in step. In a stage with d_a audio and d_v = r * d_a visual blocks, audio block m pairs with visual block
r * m + r - 1; the other visual blocks run plain. A pair applies two rounds of adapters, p1 around attention and p2
around the MLP; in the release the audio block runs whole between them.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dgsct.encoders.htsat import HTSAT
from dgsct.encoders.imagenet import IMAGENET_MEAN, IMAGENET_STD
from dgsct.encoders.merging import merge
from dgsct.encoders.swin import SwinV2
from dgsct.models.adapter import NORMED, Adapted, Adapter, Form, NoAdapter
from dgsct.ops.precision import at_least_float32, full_precision, lowered
from dgsct.ops.recompute import recompute
from dgsct.settings.options import Options
from dgsct.settings.scales import Scale


class Features(NamedTuple):
    """Pooled features of every segment: visual [B, T, C_v] and audio [B, T, C_a]."""

    visual: Tensor
    audio: Tensor


class Pyramid(NamedTuple):
    """What segmentation sees: visual tokens of every stage, each [B T, N_i, C_i], and the audio vector [B, T, C_a]."""

    visual: tuple[Tensor, ...]
    audio: Tensor


class Streams(NamedTuple):
    """Both streams behind a stage, tokens [B T, N, C] each, and the pooling maps of its last adapters (or None)."""

    visual: Tensor
    audio: Tensor
    visual_map: Tensor | None
    audio_map: Tensor | None


class AdapterPair(nn.Module):
    """Both directions of one round at one place: `a2v` adapts the visual stream, `v2a` the audio stream."""

    def __init__(
        self, visual: tuple[int, int], audio: tuple[int, int], scale: Scale, options: Options, order: bool, form: Form = NORMED
    ) -> None:
        super().__init__()
        sizes = (scale.num_tokens, scale.reduction, scale.groups)
        gate = scale.gate if form.bottleneck == "normed" else scale.inner_gate

        def adapter(own: tuple[int, int], other: tuple[int, int], there: bool, gated: bool) -> nn.Module:
            if not there and form.off == "absent":
                return NoAdapter()
            own_options = options if there else replace(options, S=False, C=False)
            return Adapter(own, other, *sizes, own_options, order, form, gated, gate)

        self.a2v = adapter(visual, audio, options.A2V, gated=True)
        self.v2a = adapter(audio, visual, options.V2A, gated=False)

    def forward(self, v: Tensor, a: Tensor) -> tuple[Adapted, Adapted]:
        """Streams `v` [B', N_v, C_v], `a` [B', N_a, C_a] -> what each adapts to, both from the same inputs."""
        return self.a2v(v, lowered(a)), self.v2a(a, lowered(v))


class FrozenEncoders(nn.Module):
    """The two encoders without gradients, and the input conventions that every method on them shares.

    With `audio_encoder=trained` HTS-AT is trained whole, its spectrogram's kernels and mel matrix included (setting S4).
    """

    def __init__(self, scale: Scale, options: Options, release_order: bool = False, frugal: bool = False) -> None:
        super().__init__()
        self.freeze_mode = options.freeze_mode
        self.tile = options.tile
        self.swin = SwinV2(scale.swin, frugal)
        self.htsat = HTSAT(scale.htsat, as_convolution=release_order, mixup=options.mixup, frugal=frugal)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)
        if options.audio_encoder == "trained":
            self.htsat.requires_grad_(True)

    def train(self, mode: bool = True) -> "FrozenEncoders":
        """In the release frozen encoders follow the training mode (stochastic depth, SpecAugment, bn0 statistics)."""
        return super().train(mode and self.freeze_mode == "train")

    def store_as(self, dtype: torch.dtype) -> None:
        """Keep the weights of the frozen linear layers as `dtype`, to which autocast would bring them at every use.

        Norms, position biases and the spectrogram stay in float32.
        """
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear) and "cpb_mlp" not in name and not module.weight.requires_grad:
                module.to(dtype)

    def normalised(self, frames: Tensor) -> Tensor:
        """Frames [B, T, 3, H, W] in [0, 1] -> [B T, 3, S, S], colours normalised, and resized (bicubic) where S is not H."""
        images = (frames.flatten(0, 1).to(self.mean.dtype) - self.mean) / self.std
        side = self.swin.sizes.image_size
        if images.shape[-2:] != (side, side):
            images = F.interpolate(images, size=(side, side), mode="bicubic", align_corners=False)
        return images

    def visual_tokens(self, frames: Tensor) -> Tensor:
        """Frames [B, T, 3, H, W] in [0, 1] -> patch tokens [B T, N_v, C_v]."""
        return at_least_float32(self.swin.embed(self.normalised(frames)))

    def audio_tokens(self, audio: Tensor) -> Tensor:
        """Waves [B, T, samples] or compact log-mel [B, T, F, mel] -> patch tokens [B T, N_a, C_a]."""
        return at_least_float32(self.htsat.embed(self.htsat.image(self.htsat.log_mel(audio.flatten(0, 1), self.tile))))

    def pooled(self, frames: Tensor, audio: Tensor) -> Features:
        """Each encoder alone, tokens averaged: what late fusion sees."""
        batch, segments = frames.shape[:2]
        visual = self.swin(self.normalised(frames))
        sound = self.htsat(audio.flatten(0, 1), self.tile)
        return Features(visual.mean(dim=1).view(batch, segments, -1), sound.mean(dim=1).view(batch, segments, -1))

    def pyramid(self, frames: Tensor, audio: Tensor) -> Pyramid:
        """Each encoder alone: visual tokens of every stage, audio tokens averaged."""
        visual = self.swin.pyramid(self.normalised(frames))
        sound = self.htsat(audio.flatten(0, 1), self.tile)
        return Pyramid(visual, sound.mean(dim=1).view(*frames.shape[:2], -1))


def stage_shapes(side: int, embed_dim: int, stages: int) -> list[tuple[int, int]]:
    """(tokens, channels) of every stage: tokens shrink by four, channels double."""
    return [((side >> i) ** 2, embed_dim << i) for i in range(stages)]


class DualBackbone(nn.Module):
    """Frozen encoders and the adapters between them; returns pooled features of every segment, or a pyramid."""

    def __init__(self, scale: Scale, options: Options, release_order: bool = False, form: Form = NORMED) -> None:
        super().__init__()
        self.split_audio = options.audio_block == "split"
        self.attention_pooling = options.pooling == "attention"
        self.encoders = FrozenEncoders(scale, options, release_order, form.frugal)
        swin, htsat = self.encoders.swin, self.encoders.htsat
        visual = stage_shapes(swin.side, scale.swin.embed_dim, len(scale.swin.depths))
        audio = stage_shapes(htsat.side, scale.htsat.embed_dim, len(scale.htsat.depths))
        self.depths = scale.htsat.depths
        self.walk = self._stage
        places = [(visual[i], audio[i]) for i, depth in enumerate(scale.htsat.depths) for _ in range(depth)]
        self.p1 = nn.ModuleList(AdapterPair(*place, scale, options, release_order, form) for place in places)
        self.p2 = nn.ModuleList(AdapterPair(*place, scale, options, release_order, form) for place in places)

    def forward(self, frames: Tensor, audio: Tensor) -> Features:
        """Frames [B, T, 3, H, W] in [0, 1]; audio as waves [B, T, samples] or compact log-mel [B, T, F, mel].

        Under autocast both streams stay in float32: only the branches that are added to them are computed in less.
        """
        batch, segments = frames.shape[:2]
        last = deque(self._stages(frames, audio), maxlen=1).pop()
        return Features(
            self._pool(self.encoders.swin.norm(last.visual), last.visual_map).view(batch, segments, -1),
            self._pool(last.audio, last.audio_map).view(batch, segments, -1),
        )

    def pyramid(self, frames: Tensor, audio: Tensor) -> Pyramid:
        """Inputs as of `forward` -> the visual stream behind the last block of every stage, and the pooled audio stream."""
        stages = list(self._stages(frames, audio))
        visual = [stage.visual for stage in stages[:-1]] + [self.encoders.swin.norm(stages[-1].visual)]
        sound = self._pool(stages[-1].audio, stages[-1].audio_map)
        return Pyramid(tuple(visual), sound.view(*frames.shape[:2], -1))

    def _stages(self, frames: Tensor, audio: Tensor) -> Iterator[Streams]:
        """Both streams behind every stage."""
        v = self.encoders.visual_tokens(frames)
        a = self.encoders.audio_tokens(audio)
        for stage in range(len(self.encoders.htsat.stages())):
            streams = Streams(*self.walk(stage, v, a))
            v, a = streams.visual, streams.audio
            yield streams

    def checkpoint_stages(self) -> None:
        """Remember only the stages' inputs for the backward pass, which then walks every stage a second time."""
        self.walk = partial(recompute, self._stage, random=True)

    def compile_stages(self, **options: Any) -> None:
        """Let torch.compile fuse what a stage does; `options` go to it."""
        self.walk = torch.compile(self._stage, **options)

    def _stage(self, stage: int, v: Tensor, a: Tensor) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Stage `stage` of both encoders: streams in and out, and the pooling maps of its last adapters."""
        swin, depths = self.encoders.swin, self.depths
        visual_stage, audio_stage = swin.stages()[stage], self.encoders.htsat.stages()[stage]
        v, a = at_least_float32(merge(visual_stage, v)), at_least_float32(merge(audio_stage, a))
        ratio = len(visual_stage.blocks) // depths[stage]
        place, last = sum(depths[:stage]), None
        for j, block in enumerate(visual_stage.blocks):
            if j % ratio != ratio - 1:
                v = v + swin.attention_branch(block, v)
                v = v + swin.mlp_branch(block, v)
                continue
            v, a, last = self._pair(place, block, audio_stage.blocks[j // ratio], v, a)
            place += 1
        return v, a, last[0].pooling, last[1].pooling

    def _pair(
        self, place: int, visual_block: nn.Module, audio_block: nn.Module, v: Tensor, a: Tensor
    ) -> tuple[Tensor, Tensor, tuple[Adapted, Adapted]]:
        """One pair of blocks: round p1, attention (and in the release the whole audio block), round p2, MLP."""
        swin, htsat = self.encoders.swin, self.encoders.htsat
        to_v, to_a = self.p1[place](v, a)
        v = v + swin.attention_branch(visual_block, v) + to_v.residual
        if self.split_audio:
            a = a + htsat.attention_branch(audio_block, a) + to_a.residual
        else:
            after = a + htsat.attention_branch(audio_block, a)
            a = after + htsat.mlp_branch(audio_block, after) + to_a.residual
        to_v, to_a = self.p2[place](v, a)
        v = v + swin.mlp_branch(visual_block, v) + to_v.residual
        if self.split_audio:
            a = a + htsat.mlp_branch(audio_block, a)
        return v, a + to_a.residual, (to_v, to_a)

    def _pool(self, tokens: Tensor, weights: Tensor | None) -> Tensor:
        """Tokens [B', N, C] -> [B', C]: by the last adapter's pooling map, or their mean."""
        if weights is None or not self.attention_pooling:
            return tokens.mean(dim=1)
        with full_precision(tokens):
            return torch.bmm(weights.to(tokens.dtype), tokens).squeeze(1)

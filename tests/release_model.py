"""The release's model as a yardstick: plain eager float32 in exactly the release's order of operations (core.md, 4-7).

Nothing here is shared with the package but timm's own modules and, after pooling, the temporal module and the head
(0.02 % of the work). Parameter names are the public checkpoint's, in timm's >= 1.0 order of patch merging.
`ReleaseWalk` is the walk through both encoders, `ReleaseModel` the model for AVE; `release_segmentation` has those for S4
and MS3.
"""

from collections.abc import Iterator, Mapping

import torch
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2
from torch import Tensor, nn
from torch.nn import functional as F

from dgsct.encoders.frontend import LogMel
from dgsct.encoders.imagenet import IMAGENET_MEAN, IMAGENET_STD
from dgsct.methods.dg_sct.ave import DGSCT
from dgsct.models.heads.events import EventHead, EventOutput
from dgsct.models.keys import to_public
from dgsct.models.temporal import TemporalAttention
from dgsct.settings.scales import Scale
from dgsct.tasks.ave.options import AveOptions as Options


class Adapter(nn.Module):
    """The release's adapter: tensors (B', C, N, 1) in and out, the prompt as a convolution over the token axis.

    Here as for AVE; other tasks differ in `alpha`, `beta`, the prompt and the bottleneck.
    """

    alpha, beta = 0.3, 0.05

    def __init__(
        self, own: tuple[int, int], other: tuple[int, int], tokens: int, reduction: int, groups: int, gated: bool = True
    ) -> None:
        super().__init__()
        (n, c), (n_y, c_y) = own, other
        d, r = c // 2, c // reduction
        if gated:
            self.gate = nn.Parameter(torch.zeros(1))
        self.gate_av = nn.Parameter(torch.zeros(1))
        self.my_tokens = nn.Parameter(torch.rand(tokens, c))
        self.conv_adapter = nn.Conv2d(n_y, n, 1)
        self.fc = nn.Linear(c_y, c)
        self.fc_affine_audio_1, self.fc_affine_video_1 = nn.Linear(c, c), nn.Linear(c, c)
        self.fc_affine_bottleneck, self.fc_affine_v_c_att = nn.Linear(c, d), nn.Linear(d, c)
        self.fc_affine_video_2, self.fc_affine_audio_2 = nn.Linear(c, d), nn.Linear(c, d)
        self.fc_affine_v_s_att = nn.Linear(d, 1)
        self.down_sampler = nn.Conv2d(c, r, 1, groups=groups, bias=False)
        self.up_sampler = nn.Conv2d(r, c, 1, groups=groups, bias=False)
        self.ln_before, self.ln_post = nn.LayerNorm(c), nn.LayerNorm(c)
        self._add_own(c, r)

    def _add_own(self, c: int, r: int) -> None:
        """Parameters that only this task's adapter has."""
        self.gate_tk = nn.Parameter(torch.zeros(1))
        self.bn1, self.bn2 = nn.BatchNorm1d(r), nn.BatchNorm1d(c)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """x (B', C, N, 1), y (B', C_y, N_y, 1) -> residual like x, pooling map (B', 1, N)."""
        prompt = self._prompt(y)
        tokens = self.my_tokens.unsqueeze(0).repeat(len(x), 1, 1)
        tokens = tokens + torch.bmm(torch.bmm(tokens, prompt.transpose(1, 2)).softmax(-1), prompt)
        stream = x.squeeze(-1).transpose(1, 2)
        read = torch.bmm(torch.bmm(stream, tokens.transpose(1, 2)).softmax(-1), tokens)
        stream = stream + self.gate_av * read

        pooled = prompt.mean(dim=1, keepdim=True)
        guide, video = F.relu(self.fc_affine_audio_1(pooled)), F.relu(self.fc_affine_video_1(stream))
        joint = (guide * video).mean(dim=1)
        channel = self.fc_affine_v_c_att(F.relu(self.fc_affine_bottleneck(joint))).sigmoid().unsqueeze(1)
        attended = stream * (channel + 1)
        video, guide = F.relu(self.fc_affine_video_2(attended)), F.relu(self.fc_affine_audio_2(pooled))
        scores = self.fc_affine_v_s_att(video * guide)
        pooling = scores.tanh().transpose(1, 2).softmax(-1)
        torch.bmm(pooling, attended)  # computed and discarded
        return self._bottleneck(self._scaled(stream, channel, scores)), pooling

    def _prompt(self, y: Tensor) -> Tensor:
        """y (B', C_y, N_y, 1) -> P (B', N, C)."""
        return self.fc(self.conv_adapter(y.transpose(2, 1)).squeeze(-1))

    def _scaled(self, stream: Tensor, channel: Tensor, scores: Tensor) -> Tensor:
        """Both maps applied to (B', N, C)."""
        return self.alpha * channel * stream + self.beta * scores.sigmoid() * stream + stream * (1 - self.alpha)

    def _bottleneck(self, stream: Tensor) -> Tensor:
        """(B', N, C) -> (B', C, N, 1)."""
        z = self.ln_before(stream).transpose(1, 2).unsqueeze(-1)
        z = self._normalised(self.bn2, self.up_sampler(F.relu(self._normalised(self.bn1, self.down_sampler(z)))))
        z = self.ln_post(z.squeeze(-1).transpose(1, 2)).transpose(1, 2).unsqueeze(-1)
        return self.gate * z

    @staticmethod
    def _normalised(norm: nn.Module, z: Tensor) -> Tensor:
        """Batch normalisation of (B', C, N, 1), as (B' N, C): on a CPU torch 2.11 gives the four-dimensional form a wrong
        gradient where the gradient that arrives has another memory layout, as it has behind a transposed LayerNorm."""
        rows = z.squeeze(-1).transpose(1, 2)
        return norm(rows.reshape(-1, rows.shape[-1])).view_as(rows).transpose(1, 2).unsqueeze(-1)


def flat(stream: Tensor) -> Tensor:
    """(B', N, C) -> (B', C, N, 1), as the adapters take it."""
    return stream.transpose(1, 2).unsqueeze(-1)


def back(residual: Tensor) -> Tensor:
    """(B', C, N, 1) -> (B', N, C)."""
    return residual.squeeze(-1).transpose(1, 2)


class ReleaseWalk(nn.Module):
    """Both encoders and the adapters between them, walked as released."""

    adapter: type[Adapter] = Adapter
    audio_gated = True

    def __init__(self, scale: Scale) -> None:
        super().__init__()
        self.scale = scale
        s, h = scale.swin, scale.htsat
        common = {"patch_size": s.patch_size, "drop_path_rate": s.drop_path}
        self.swin = SwinTransformerV2(
            s.image_size, num_classes=s.num_classes, embed_dim=s.embed_dim, depths=s.depths, num_heads=s.num_heads,
            window_size=s.window_size, **common,
        )  # fmt: skip
        self.htsat = SwinTransformer(
            h.spec_size, h.patch_size, 1, 0, embed_dim=h.embed_dim, depths=h.depths, num_heads=h.num_heads,
            window_size=h.window_size, drop_path_rate=h.drop_path,
        )  # fmt: skip
        for module in self.htsat.modules():
            if hasattr(module, "fused_attn"):
                module.fused_attn = False
        self.front, self.bn0 = LogMel(h, as_convolution=True), nn.BatchNorm2d(h.mel_bins)
        self.visual = [((s.image_size // s.patch_size >> i) ** 2, s.embed_dim << i) for i in range(len(s.depths))]
        self.audio = [((h.spec_size // h.patch_size >> i) ** 2, h.embed_dim << i) for i in range(len(h.depths))]
        places = [(self.visual[i], self.audio[i]) for i, n in enumerate(h.depths) for _ in range(n)]
        sizes = (scale.num_tokens, scale.reduction, scale.groups)
        for place in ("p1", "p2"):
            sides = {
                "vis": [self.adapter(v, a, *sizes) for v, a in places],
                "audio": [self.adapter(a, v, *sizes, gated=self.audio_gated) for v, a in places],
            }
            for side, adapters in sides.items():
                setattr(self, f"{side}_adapter_blocks_{place}", nn.ModuleList(adapters))

    def image(self, wave: Tensor) -> Tensor:
        """Tiled seconds (B', samples) -> (B', 1, S, S)."""
        x = self.front(wave).unsqueeze(1)
        x = self.bn0(x.transpose(1, 3)).transpose(1, 3)
        size, mel = self.scale.htsat.spec_size, self.scale.htsat.mel_bins
        chunks = size // mel
        if x.shape[2] < size * chunks:
            x = F.interpolate(x, (size * chunks, mel), mode="bicubic", align_corners=True)
        x = x.permute(0, 1, 3, 2).contiguous().reshape(len(x), 1, mel, chunks, size)
        return x.permute(0, 1, 3, 2, 4).contiguous().reshape(len(x), 1, size, size)

    def images(self, frames: Tensor) -> Tensor:
        """Frames (B, T, 3, H, W) in [0, 1] -> (B', 3, H, W), colours normalised."""
        mean, std = (torch.tensor(v, device=frames.device).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
        return (frames.flatten(0, 1) - mean) / std

    def stages(self, images: Tensor, wave: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Behind every stage: both streams (B', N, C) and the pooling maps (B', 1, N) of its last adapters."""
        v = self.swin.patch_embed(images).flatten(1, 2)
        a = self.htsat.patch_embed(self.image(wave.flatten(0, 1))).flatten(1, 2)
        k = 0
        for vis, aud in zip(self.swin.layers, self.htsat.layers, strict=True):
            v, a = (self._merge(layer, x) for layer, x in ((vis, v), (aud, a)))
            ratio = len(vis.blocks) // len(aud.blocks)
            for j, block in enumerate(vis.blocks):
                if j % ratio < ratio - 1:
                    v = v + block.drop_path1(block.norm1(self._window(block, v)))
                    v = v + block.drop_path2(block.norm2(block.mlp(v)))
                    continue
                v, a, pool_v, pool_a = self._pair(k, block, aud.blocks[j // ratio], v, a)
                k += 1
            yield v, a, pool_v, pool_a

    def _pair(
        self, k: int, block: nn.Module, audio_block: nn.Module, v: Tensor, a: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One pair of blocks and the adapters of both rounds."""
        to_a, _ = self.audio_adapter_blocks_p1[k](flat(a), flat(v))
        to_v, _ = self.vis_adapter_blocks_p1[k](flat(v), flat(a))
        v = v + block.drop_path1(block.norm1(self._window(block, v)))
        v = v + back(to_v)
        side = round(a.shape[1] ** 0.5)
        a = audio_block(a.view(len(a), side, side, -1)).flatten(1, 2)
        a = a + back(to_a)
        to_a, pool_a = self.audio_adapter_blocks_p2[k](flat(a), flat(v))
        to_v, pool_v = self.vis_adapter_blocks_p2[k](flat(v), flat(a))
        v = v + block.drop_path2(block.norm2(block.mlp(v)))
        v = v + back(to_v)
        return v, a + back(to_a), pool_v, pool_a

    @staticmethod
    def _merge(layer: nn.Module, x: Tensor) -> Tensor:
        if isinstance(layer.downsample, nn.Identity):
            return x
        side = round(x.shape[1] ** 0.5)
        return layer.downsample(x.view(len(x), side, side, -1)).flatten(1, 2)

    @staticmethod
    def _window(block: nn.Module, x: Tensor) -> Tensor:
        return block._attn(x.view(len(x), *block.input_resolution, -1)).flatten(1, 2)


class ReleaseModel(ReleaseWalk):
    """DG-SCT for AVE as released."""

    def __init__(self, scale: Scale) -> None:
        super().__init__(scale)
        self.temporal_attn = TemporalAttention(self.visual[-1][1], self.audio[-1][1], scale.head, Options())
        self.CMBS = EventHead(scale.head, Options(), scale.classes)
        self.requires_grad_(False)
        for name, part in self.named_children():
            part.requires_grad_(name.startswith(("vis_", "audio_", "temporal", "CMBS")))

    def forward(self, frames: Tensor, wave: Tensor) -> EventOutput:
        """Frames (B, T, 3, H, W) in [0, 1] and tiled seconds (B, T, samples) -> scores."""
        for v, a, pool_v, pool_a in self.stages(self.images(frames), wave):  # noqa: B007
            pass
        visual = torch.bmm(pool_v, self.swin.norm(v)).view(len(frames), -1, v.shape[-1])
        audio = torch.bmm(pool_a, a).view(len(frames), -1, a.shape[-1])
        gated = self.temporal_attn(visual, audio)
        self.CMBS.audio_interaction(gated.audio, self.CMBS.visual_interaction(gated.visual, gated.audio))  # discarded
        return self.CMBS(gated)

    def losses(self, output: EventOutput, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Loss terms of weight one."""
        return self.CMBS.losses(output, targets["relevant"], targets["category"])


def opened(scale: Scale, tile: int = 1) -> DGSCT:
    """A model for AVE with every gate open and every norm of Swin-V2 alive, so that all paths carry numbers."""
    torch.manual_seed(0)
    return with_open_gates(DGSCT(scale, Options(tile=tile)))


def with_open_gates(model: nn.Module) -> nn.Module:
    """`model` of the package, its gates open and every norm of Swin-V2 alive."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "gate" in name.split(".")[-1] or ("swin.swin" in name and ".norm" in name and name.endswith("weight")):
                p.copy_(0.3 + 0.2 * torch.rand_like(p))
    return model


def encoder_state(own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The entries of both encoders in a state of the package's model, by the yardstick's names."""
    htsat = "backbone.encoders.htsat."
    state = {f"swin.{k.split('.swin.swin.')[1]}": v for k, v in own.items() if ".encoders.swin.swin." in k}
    state |= {f"htsat.{k.removeprefix(htsat + 'swin.')}": v for k, v in own.items() if k.startswith(htsat + "swin.")}
    state |= {k.removeprefix(htsat): v for k, v in own.items() if k.startswith(htsat + "bn0.")}
    return state | {f"front.{name}": own[f"{htsat}frontend.{name}"] for name in ("conv_real", "conv_imag", "mel")}


def release_twin(model: DGSCT, scale: Scale) -> ReleaseModel:
    """The yardstick with the weights and statistics of `model`."""
    twin = ReleaseModel(scale)
    own = model.state_dict()
    state = {f"temporal_attn.{k.removeprefix('temporal.')}": v for k, v in own.items() if k.startswith("temporal.")}
    state |= {f"CMBS.{k.removeprefix('head.')}": v for k, v in own.items() if k.startswith("head.")}
    state |= encoder_state(own)
    state |= {k: v for k, v in to_public(own, scale.groups).items() if "_adapter_blocks_" in k}
    twin.load_state_dict(state)
    return twin


def tiled(wave: Tensor, tile: int) -> Tensor:
    """Seconds (B, T, samples) repeated, as the release's loader hands them over."""
    return wave.repeat(1, 1, tile)

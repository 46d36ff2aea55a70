"""The releases' models for segmentation as a yardstick: plain eager float32 in the releases' order of operations.

Section numbers are avs.md's. What costs next to nothing is the package's (gates over time, 3.4) or left out (masking and
mixing of spectrograms, 1). Parameter names are the public checkpoints', in timm's >= 1.0 order of patch merging.
"""

from collections.abc import Mapping

import torch
from release_model import Adapter, ReleaseWalk, encoder_state
from torch import Tensor, nn
from torch.nn import functional as F

from dgsct.encoders.pvt import Pvt
from dgsct.methods.dg_sct.avs import DGSCTSegmentation
from dgsct.models.heads.masks import MaskOutput, mask_losses, unused_bridges
from dgsct.models.keys import to_public
from dgsct.models.keys_avs import segmentation_rules
from dgsct.models.temporal_pyramid import ScaleGates
from dgsct.settings.scales import HeadSizes, Scale


class Ms3Adapter(Adapter):
    """3.3: as for AVE, but a bare bottleneck, with the gate (visual side only) inside the last norm."""

    alpha, beta = 0.2, 0.1

    def _add_own(self, c: int, r: int) -> None:
        self.temporal_gated = nn.ModuleList([nn.Linear(c, 1)])

    def _bottleneck(self, stream: Tensor) -> Tensor:
        z = self.up_sampler(F.relu(self.down_sampler(stream.transpose(1, 2).unsqueeze(-1))))
        z = self.gate * z if hasattr(self, "gate") else z
        return self.ln_post(z.squeeze(-1).transpose(1, 2)).transpose(1, 2).unsqueeze(-1)


class S4Adapter(Ms3Adapter):
    """3.3: the prompt is the guide's grid, resized; the convolution over tokens exists and is not called."""

    alpha, beta = 0.3, 0.05

    def _prompt(self, y: Tensor) -> Tensor:
        side, own = (round(n**0.5) for n in (y.shape[2], self.conv_adapter.out_channels))
        grid = self.fc(y.squeeze(-1).transpose(1, 2)).transpose(1, 2).unflatten(2, (side, side))
        return F.interpolate(grid, size=(own, own), mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)


class Gates(ScaleGates):
    """3.4: both decoders are run, and their outputs discarded."""

    def forward(self, pooled: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        sight = self.visual_rnn(self.dropout(self.visual_fc(pooled).relu()))[0].transpose(0, 1)
        sound = self.audio_rnn(audio)[0].transpose(0, 1)
        seen, heard = self.visual_encoder(sight), self.audio_encoder(sound)
        self.audio_decoder(sound, seen), self.visual_decoder(sight, heard)
        return self.audio_gate(heard).transpose(0, 1), self.visual_gate(seen).transpose(0, 1)


class Tpavi(nn.Module):
    """3.5: the matrix between all positions of all frames, without softmax."""

    def __init__(self, dim: int, audio_dim: int) -> None:
        super().__init__()
        self.align_channel, self.norm_layer = nn.Linear(audio_dim, dim), nn.LayerNorm(dim)
        self.g, self.theta, self.phi = (nn.Conv3d(dim, dim // 2, 1) for _ in range(3))
        self.W_z = nn.Sequential(nn.Conv3d(dim // 2, dim, 1), nn.BatchNorm3d(dim))
        nn.init.zeros_(self.W_z[1].weight)

    def forward(self, x: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, C, T, k, k), audio (B, T, D) -> z like x, A (B, T, C)."""
        aligned = self.align_channel(audio)
        sound = aligned.transpose(1, 2)[..., None, None].repeat(1, 1, 1, *x.shape[-2:])
        g, theta, phi = (conv(t).flatten(2) for conv, t in ((self.g, x), (self.theta, x), (self.phi, sound)))
        matrix = torch.matmul(theta.transpose(1, 2), phi)
        matrix_mean = matrix / matrix.shape[-1]
        y = torch.matmul(matrix_mean, g.transpose(1, 2)).transpose(1, 2).contiguous()
        z = self.W_z(y.view(len(x), -1, *x.shape[2:])) + x
        return self.norm_layer(z.permute(0, 2, 3, 4, 1)).permute(0, 4, 1, 2, 3), aligned


class ResidualUnit(nn.Module):
    """3.6: the first ReLU works in place, on the map that the sum meets and that the loss of MS3 is given."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(dim, dim, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """x (B', C, k, k), changed in place -> same shape."""
        return self.conv2(F.relu_(self.conv1(F.relu_(x)))) + x


class Path(nn.Module):
    """3.6: one step of the decoder."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.resConfUnit1, self.resConfUnit2 = ResidualUnit(dim), ResidualUnit(dim)

    def forward(self, x: Tensor, finer: Tensor | None = None) -> Tensor:
        """x (B', C, k, k) and a finer map -> (B', C, 2k, 2k)."""
        if finer is not None:
            x += self.resConfUnit1(finer)
        return F.interpolate(self.resConfUnit2(x), scale_factor=2, mode="bilinear", align_corners=True)


class ReleaseSegmentation(ReleaseWalk):
    """DG-SCT for MS3 as released: both encoders frozen."""

    adapter = Ms3Adapter
    audio_gated = False
    frozen: tuple[str, ...] = ("swin", "htsat", "front", "bn0")
    gamma, av_weight = 0.1, 0.5

    def __init__(self, scale: Scale) -> None:
        super().__init__(scale)
        sizes, dims = scale.head, [c for _, c in self.visual]
        for i, dim in enumerate(dims, 1):
            self.add_module(f"x{i}_linear_", nn.Linear(dim, sizes.width))
            self.add_module(f"tpavi_b{i}", Tpavi(sizes.width, sizes.audio_hidden))
            self.add_module(f"path{i}", Path(sizes.width))
        self.audio_linear = nn.Linear(self.audio[-1][1], sizes.audio_hidden)
        self.temporal_attn = nn.ModuleList(Gates(sizes) for _ in dims)
        self.output_conv = self._output(sizes)
        # 3.7: built, counted as trainable, never called.
        self.unused = unused_bridges(dims, scale.pvt.dims, sizes.width)
        self.unused["pvt"] = Pvt(scale.pvt)
        for name, part in self.named_children():
            part.requires_grad_(name not in self.frozen)

    @staticmethod
    def _output(sizes: HeadSizes) -> nn.Sequential:
        dim = sizes.width
        return nn.Sequential(
            nn.Conv2d(dim, dim // 2, 3, padding=1),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
            nn.Conv2d(dim // 2, dim // 8, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(dim // 8, 1, 1),
        )

    def forward(self, frames: Tensor, wave: Tensor) -> MaskOutput:
        """Frames (B, T, 3, H, H) in [0, 1] and tiled seconds (B, T, samples) -> logits (B, T, H, H), maps, audio."""
        batch, segments, side = *frames.shape[:2], frames.shape[-1]
        images = F.interpolate(self.images(frames), [self.scale.swin.image_size] * 2, mode="bicubic", align_corners=False)
        pyramid = []
        for v, a, _, pool_a in self.stages(images, wave):  # noqa: B007
            pyramid.append(v)
        pyramid[-1] = self.swin.norm(pyramid[-1])
        audio = self.audio_linear(torch.bmm(pool_a, a).view(batch, segments, -1))
        maps = []
        for i, tokens in enumerate(pyramid):
            cells = round(tokens.shape[1] ** 0.5)
            x = self.get_submodule(f"x{i + 1}_linear_")(tokens).transpose(1, 2).unflatten(2, (cells, cells))
            maps.append(F.interpolate(x, [side // 4 >> i] * 2, mode="bicubic", align_corners=False))
        maps, audio = self._gated(maps, audio)
        seen, sounds = [], []
        for i, x in enumerate(maps):
            z, aligned = self.get_submodule(f"tpavi_b{i + 1}")(x.unflatten(0, (batch, segments)).transpose(1, 2), audio)
            seen.append(z.transpose(1, 2).flatten(0, 1))
            sounds.append(aligned)
        x = None
        for i in reversed(range(len(seen))):
            path = self.get_submodule(f"path{i + 1}")
            x = path(seen[i]) if x is None else path(x, seen[i])
        return MaskOutput(self.output_conv(x).view(batch, segments, side, side), tuple(seen), tuple(sounds))

    def _gated(self, maps: list[Tensor], audio: Tensor) -> tuple[list[Tensor], Tensor]:
        """3.4: maps (B', C, k, k) and the audio vector (B, T, D), gated."""
        gated, gates = [], []
        for scale, x in zip(self.temporal_attn, maps, strict=True):
            audio_gate, visual_gate = scale(F.adaptive_avg_pool2d(x, 1).view(*audio.shape[:2], -1), audio)
            gated.append(x + x * audio_gate.reshape(-1, 1, 1, 1) * self.gamma)
            gates.append(visual_gate)
        return gated, audio + audio * torch.stack(gates).mean(dim=0) * self.gamma

    def losses(self, output: MaskOutput, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Loss terms of weight one."""
        return mask_losses(output, targets, self.av_weight)


class ReleaseS4(ReleaseSegmentation):
    """DG-SCT for S4 as released: HTS-AT is trained whole, kernels and mel matrix of its spectrogram included (1, item 2)."""

    adapter = S4Adapter
    frozen = ("swin",)
    gamma, av_weight = 0.05, 0.0


RELEASES: dict[str, type[ReleaseSegmentation]] = {"avs-s4": ReleaseS4, "avs-ms3": ReleaseSegmentation}


def segmentation_twin(task: str, model: DGSCTSegmentation, scale: Scale) -> ReleaseSegmentation:
    """The yardstick of setting `task` with the weights and statistics of `model`."""
    twin = RELEASES[task](scale)
    twin.load_state_dict(release_names(model.state_dict(), scale))
    return twin


def release_names(own: Mapping[str, Tensor], scale: Scale) -> dict[str, Tensor]:
    """A state of the package's model, or the gradients of all its entries, by the yardstick's names."""
    public = to_public(dict(own), scale.groups, segmentation_rules)
    heads = ("tpavi_b", "path", "output_conv.", "audio_linear.", *(f"x{i}_linear_." for i in range(1, 5)))
    state = {k: v for k, v in public.items() if "_adapter_blocks_" in k or k.startswith(heads)}
    temporal = "head.temporal.scales."
    state |= {f"temporal_attn.{k.removeprefix(temporal)}": v for k, v in own.items() if k.startswith(temporal)}
    return state | encoder_state(own) | {k: v for k, v in own.items() if k.startswith("unused.")}

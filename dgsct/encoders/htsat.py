"""HTS-AT, the audio encoder: log-mel image and timm's Swin V1 (AudioSet configuration at paper scale).

The transformer's tokens are [B', N, C] in row-major order of the image's patches; B' counts seconds.
"""

import torch
from timm.models.swin_transformer import SwinTransformer, SwinTransformerBlock
from torch import Tensor, nn
from torch.nn import functional as F

from dgsct.encoders.frontend import LogMel, expand_index
from dgsct.encoders.merging import merge
from dgsct.encoders.windows import attend, gather_bias, partition, unpartition
from dgsct.ops.fused import mlp
from dgsct.ops.recompute import recompute_narrow
from dgsct.settings.scales import HtsatSizes


class HTSAT(nn.Module):
    """Audio encoder. The walk of `interaction` calls its pieces; `forward` runs it alone.

    `unused` holds what the public checkpoint stores and DG-SCT never calls: the token-semantic convolution and the head.
    `mixup` mixes the spectrograms of a training batch with each other. `frugal` as of `SwinV2`.
    """

    def __init__(self, sizes: HtsatSizes, as_convolution: bool = False, mixup: bool = False, frugal: bool = False) -> None:
        super().__init__()
        self.frugal = frugal
        self.sizes = sizes
        self.mixup = mixup
        self.frontend = LogMel(sizes, as_convolution)
        self.bn0 = nn.BatchNorm1d(sizes.mel_bins)
        self.swin = SwinTransformer(
            img_size=sizes.spec_size,
            patch_size=sizes.patch_size,
            in_chans=1,
            num_classes=0,
            embed_dim=sizes.embed_dim,
            depths=sizes.depths,
            num_heads=sizes.num_heads,
            window_size=sizes.window_size,
            drop_path_rate=sizes.drop_path,
        )
        width = sizes.embed_dim * 2 ** (len(sizes.depths) - 1)
        ratio = sizes.spec_size // sizes.mel_bins
        side = sizes.spec_size // sizes.patch_size // 2 ** (len(sizes.depths) - 1)
        self.unused = nn.ModuleDict(
            {
                "tscam_conv": nn.Conv2d(width, sizes.num_classes, (max(side // ratio, 1), 3), padding=(0, 1)),
                "head": nn.Linear(sizes.num_classes, sizes.num_classes),
            }
        )

    @property
    def side(self) -> int:
        """Patches along one side of the image, before any merging."""
        return self.sizes.spec_size // self.sizes.patch_size

    def log_mel(self, audio: Tensor, tile: int) -> Tensor:
        """Seconds [B', sample_rate] or compact log-mel [B', F, mel] -> full log-mel [B', frames, mel] in dB."""
        if audio.dim() == 3:
            if self.frontend.trained:
                raise ValueError("a spectrogram whose weights are trained is made from the wave, not from a prepared log-mel")
            return audio[:, expand_index(self.sizes, tile).to(audio.device)]
        return self.frontend.tiled(audio, tile)

    def image(self, log_mel: Tensor) -> Tensor:
        """Log-mel [B', frames, mel] -> normalised, (in train mode) masked and mixed image [B', 1, spec_size, spec_size].

        Rows are chunk-major frequency, columns time: image[mel * c + f, t] = S[spec_size * c + t, f].
        """
        count, frames, bins = log_mel.shape
        x = self.bn0(log_mel.reshape(-1, bins)).view(count, 1, frames, bins)
        if self.training:
            x = self._spec_augment(x)
            if self.mixup:
                x = _mixed(x)
        size = self.sizes.spec_size
        chunks = size // bins
        if frames > size * chunks:
            raise ValueError(f"{frames} spectrogram frames do not fit the {size * chunks} columns of the image")
        if frames < size * chunks:
            x = F.interpolate(x, (size * chunks, bins), mode="bicubic", align_corners=True)
        return x.view(count, chunks, size, bins).transpose(2, 3).reshape(count, 1, size, size)

    def _spec_augment(self, x: Tensor) -> Tensor:
        from torchaudio.functional import mask_along_axis_iid

        for axis, width in ((2, self.sizes.time_stripe), (2, self.sizes.time_stripe)):
            x = mask_along_axis_iid(x, width, 0.0, axis)
        for axis, width in ((3, self.sizes.mel_stripe), (3, self.sizes.mel_stripe)):
            x = mask_along_axis_iid(x, width, 0.0, axis)
        return x

    def embed(self, image: Tensor) -> Tensor:
        """Image [B', 1, S, S] -> patch tokens [B', N, C]."""
        return self.swin.patch_embed(image).flatten(1, 2)

    def stages(self) -> list[nn.Module]:
        """The stages; stage i > 0 carries the patch merging that precedes it."""
        return list(self.swin.layers)

    def attention_branch(self, block: SwinTransformerBlock, x: Tensor) -> Tensor:
        """DP(WMSA(LN1 a)) of one pre-norm block, tokens [B', N, C] in and out."""
        return block.drop_path1(recompute_narrow(_attention_of_normed, x, block, wide=self.frugal))

    def mlp_branch(self, block: SwinTransformerBlock, x: Tensor) -> Tensor:
        """DP(MLP(LN2 a)) of one pre-norm block."""
        return block.drop_path2(mlp(block.norm2(x), block.mlp.fc1, block.mlp.fc2, self.frugal))

    def forward(self, audio: Tensor, tile: int) -> Tensor:
        """Seconds or compact log-mel -> tokens [B', N, C] of the last block (no final norm)."""
        x = self.embed(self.image(self.log_mel(audio, tile)))
        for stage in self.stages():
            x = merge(stage, x)
            for block in stage.blocks:
                x = x + self.attention_branch(block, x)
                x = x + self.mlp_branch(block, x)
        return x


def _mixed(x: Tensor) -> Tensor:
    """Sample i of a batch [N, ...] with its mirror image N - 1 - i: l x_i + (1 - l) x_(N-1-i), l ~ Beta(0.5, 0.5) a sample."""
    half = torch.full((len(x),), 0.5, device=x.device)
    weight = torch.distributions.Beta(half, half).sample().to(x.dtype).view(-1, *[1] * (x.dim() - 1))
    return weight * x + (1 - weight) * x.flip(0)


def _attention_of_normed(x: Tensor, block: SwinTransformerBlock) -> Tensor:
    """WMSA(LN1 a), tokens [B', N, C] in and out."""
    place = (block.input_resolution[0], block.window_size[0], block.shift_size[0])
    return unpartition(_scaled_attention(block.attn, partition(block.norm1(x), *place), block.attn_mask), *place)


def _scaled_attention(attn: nn.Module, x: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(q k^T / sqrt(d) + relative position bias + mask) v, windows [B' W, n, C] in and out."""
    qkv = attn.qkv(x).unflatten(-1, (3, attn.num_heads, -1))
    q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    position = gather_bias(attn.relative_position_bias_table, attn.relative_position_index)
    return attn.proj(attend(q, k, v, position, mask, attn.scale))

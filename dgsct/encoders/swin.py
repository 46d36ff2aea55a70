"""Swin-V2, the visual encoder: timm's model, called piece by piece. Tokens are [B', N, C]; B' counts frames."""

import math

import torch
from timm.models.swin_transformer_v2 import SwinTransformerV2, SwinTransformerV2Block
from torch import Tensor, nn
from torch.nn import functional as F

from dgsct.encoders.merging import merge
from dgsct.encoders.windows import attend, for_kernel, gather_bias, partition, unpartition
from dgsct.ops.fused import mlp, unit
from dgsct.ops.precision import full_precision, lowered
from dgsct.ops.recompute import recompute_narrow
from dgsct.settings.scales import SwinSizes


class SwinV2(nn.Module):
    """Visual encoder. Its classification head is part of the public weights and never called.

    With `frugal` the backward pass does attention and MLP again in all stages, not only where that costs little.
    """

    def __init__(self, sizes: SwinSizes, frugal: bool = False) -> None:
        super().__init__()
        self.frugal = frugal
        self.sizes = sizes
        self.swin = SwinTransformerV2(
            img_size=sizes.image_size,
            patch_size=sizes.patch_size,
            num_classes=sizes.num_classes,
            embed_dim=sizes.embed_dim,
            depths=sizes.depths,
            num_heads=sizes.num_heads,
            window_size=sizes.window_size,
            drop_path_rate=sizes.drop_path,
        )

    @property
    def side(self) -> int:
        """Patches along one side of the frame, before any merging."""
        return self.sizes.image_size // self.sizes.patch_size

    def embed(self, frames: Tensor) -> Tensor:
        """Normalised frames [B', 3, H, W] -> patch tokens [B', N, C]."""
        return self.swin.patch_embed(frames).flatten(1, 2)

    def stages(self) -> list[nn.Module]:
        """The stages; stage i > 0 carries the patch merging that precedes it."""
        return list(self.swin.layers)

    def attention_branch(self, block: SwinTransformerV2Block, x: Tensor) -> Tensor:
        """DP1(LN1(WMSA(v))) of one res-post-norm block, tokens [B', N, C] in and out."""
        return block.drop_path1(recompute_narrow(_normed_attention, x, block, wide=self.frugal))

    def mlp_branch(self, block: SwinTransformerV2Block, x: Tensor) -> Tensor:
        """DP2(LN2(MLP(v))) of one res-post-norm block."""
        return block.drop_path2(block.norm2(mlp(x, block.mlp.fc1, block.mlp.fc2, self.frugal)))

    def norm(self, x: Tensor) -> Tensor:
        """The final LayerNorm."""
        return self.swin.norm(x)

    def forward(self, frames: Tensor) -> Tensor:
        """Normalised frames [B', 3, H, W] -> normed tokens [B', N, C] of the last block."""
        return self.pyramid(frames)[-1]

    def pyramid(self, frames: Tensor) -> tuple[Tensor, ...]:
        """Normalised frames [B', 3, H, W] -> tokens [B', N_i, C_i] behind every stage's last block; the last normed."""
        x, outputs = self.embed(frames), []
        for stage in self.stages():
            x = merge(stage, x)
            for block in stage.blocks:
                x = x + self.attention_branch(block, x)
                x = x + self.mlp_branch(block, x)
            outputs.append(x)
        return (*outputs[:-1], self.norm(x))


def _normed_attention(x: Tensor, block: SwinTransformerV2Block) -> Tensor:
    """LN1(WMSA(v)), tokens [B', N, C] in and out."""
    place = (block.input_resolution[0], block.window_size[0], block.shift_size[0])
    windows = _cosine_attention(block.attn, partition(lowered(x), *place), block.attn_mask)
    return unpartition(block.norm1(windows), *place)


def _cosine_attention(attn: nn.Module, x: Tensor, mask: Tensor | None) -> Tensor:
    """Cosine attention with continuous position bias, windows [B' W, n, C] in and out.

    softmax(e^s q k^T / (|q| |k|) + 16 sigmoid(CPB) + mask) v, the temperature e^s at most 100: rows of q are scaled to
    length e^s and those of k to length one, so that the fused kernel sees plain scores.
    """
    # Two products: v alone is kept for the backward pass, not the unscaled rows beside it.
    dim = attn.dim
    qk = F.linear(x, attn.qkv.weight[: 2 * dim], torch.cat((attn.q_bias, attn.k_bias)))
    q, k = for_kernel(qk).unflatten(-1, (2, attn.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
    v = F.linear(x, attn.qkv.weight[2 * dim :], attn.v_bias).unflatten(-1, (attn.num_heads, -1)).transpose(1, 2)
    temperature = attn.logit_scale.clamp(max=math.log(100.0)).exp()
    with full_precision(x):
        table = attn.cpb_mlp(attn.relative_coords_table).view(-1, attn.num_heads)
        position = 16 * gather_bias(table.sigmoid(), attn.relative_position_index)
    # While the encoder itself is trained, the temperature has a gradient too.
    q = unit(q) * temperature if temperature.requires_grad else unit(q, temperature)
    return attn.proj(attend(q, unit(k), v, position, mask, 1.0))

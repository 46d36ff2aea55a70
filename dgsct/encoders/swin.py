"""Swin-V2, the visual encoder: timm's model, called piece by piece. Tokens are [B', N, C]; B' counts frames."""

from timm.models.swin_transformer_v2 import SwinTransformerV2, SwinTransformerV2Block
from torch import Tensor, nn

from dgsct.encoders.merging import merge
from dgsct.scales import SwinSizes

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class SwinV2(nn.Module):
    """Visual encoder. Its classification head is part of the public weights and never called."""

    def __init__(self, sizes: SwinSizes) -> None:
        super().__init__()
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

    @staticmethod
    def attention_branch(block: SwinTransformerV2Block, x: Tensor) -> Tensor:
        """DP1(LN1(WMSA(v))) of one res-post-norm block, tokens [B', N, C] in and out."""
        grid = x.view(-1, *block.input_resolution, x.shape[-1])
        return block.drop_path1(block.norm1(block._attn(grid))).flatten(1, 2)

    @staticmethod
    def mlp_branch(block: SwinTransformerV2Block, x: Tensor) -> Tensor:
        """DP2(LN2(MLP(v))) of one res-post-norm block."""
        return block.drop_path2(block.norm2(block.mlp(x)))

    def norm(self, x: Tensor) -> Tensor:
        """The final LayerNorm."""
        return self.swin.norm(x)

    def forward(self, frames: Tensor) -> Tensor:
        """Normalised frames [B', 3, H, W] -> normed tokens [B', N, C] of the last block."""
        x = self.embed(frames)
        for stage in self.stages():
            x = merge(stage, x)
            for block in stage.blocks:
                x = x + self.attention_branch(block, x)
                x = x + self.mlp_branch(block, x)
        return self.norm(x)

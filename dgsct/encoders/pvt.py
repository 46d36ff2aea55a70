"""PVT-v2, the AVSBench baseline's image encoder: timm's model as a pyramid of maps."""

from timm.models.pvt_v2 import PyramidVisionTransformerV2
from torch import Tensor, nn

from dgsct.settings.scales import PvtSizes


class Pvt(nn.Module):
    """Overlapping patches and four stages of attention with spatially reduced keys; parameter names are timm's."""

    def __init__(self, sizes: PvtSizes) -> None:
        super().__init__()
        self.pvt = PyramidVisionTransformerV2(
            num_classes=0,
            depths=sizes.depths,
            embed_dims=sizes.dims,
            num_heads=sizes.num_heads,
            sr_ratios=sizes.sr_ratios,
            mlp_ratios=(4,) * len(sizes.depths),
            drop_path_rate=sizes.drop_path,
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Normalised images [M, 3, H, W] -> normed maps of the stages, [M, C_i, H / 2^(2 + i), W / 2^(2 + i)]."""
        x, maps = self.pvt.patch_embed(images), []
        for stage in self.pvt.stages:
            x = stage(x)
            maps.append(x)
        return maps

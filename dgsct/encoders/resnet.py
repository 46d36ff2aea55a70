"""ResNet-50, the AVSBench baseline's other image encoder: torchvision's model as a pyramid of maps."""

from copy import deepcopy

from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet

from dgsct.settings.scales import ResnetSizes


class Resnet(nn.Module):
    """Bottleneck ResNet without its classifier; batch normalisation follows the training mode.

    `unused` is the release's second branch: copies of the last two stages that are loaded, trained by nobody and saved.
    """

    def __init__(self, sizes: ResnetSizes) -> None:
        super().__init__()
        block = type("Bottleneck", (Bottleneck,), {"expansion": sizes.expansion})
        self.resnet = ResNet(block, list(sizes.depths), width_per_group=sizes.width_per_group)
        self.resnet.fc = nn.Identity()
        self.unused = nn.ModuleDict({name: deepcopy(getattr(self.resnet, name)) for name in ("layer3", "layer4")})

    def forward(self, images: Tensor) -> list[Tensor]:
        """Normalised images [M, 3, H, W] -> maps of the stages, [M, C_i, H / 2^(2 + i), W / 2^(2 + i)]."""
        net = self.resnet
        x, maps = net.maxpool(net.relu(net.bn1(net.conv1(images)))), []
        for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
            x = stage(x)
            maps.append(x)
        return maps

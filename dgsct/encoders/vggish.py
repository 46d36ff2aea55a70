"""VGGish, the AVSBench baseline's audio encoder. Parameter names are those of the public weights."""

from itertools import pairwise

from torch import Tensor, nn

from dgsct.settings.scales import VggishSizes

EXAMPLE = (96, 64)  # frames and mel bands of one example (0.96 s)


class Vggish(nn.Module):
    """Six convolutions in four pooled groups, three linear layers, each with ReLU, the last one too; no PCA."""

    def __init__(self, sizes: VggishSizes) -> None:
        super().__init__()
        a, b, c, d = sizes.channels
        layers: list[nn.Module] = []
        for dims in ((1, a), (a, b), (b, c, c), (c, d, d)):
            for dim_in, dim_out in pairwise(dims):
                layers += [nn.Conv2d(dim_in, dim_out, 3, padding=1), nn.ReLU(inplace=True)]
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        flat = d * (EXAMPLE[0] // 16) * (EXAMPLE[1] // 16)
        linear = ((flat, sizes.hidden), (sizes.hidden, sizes.hidden), (sizes.hidden, sizes.embed_dim))
        self.embeddings = nn.Sequential(*(m for pair in linear for m in (nn.Linear(*pair), nn.ReLU(inplace=True))))

    def forward(self, examples: Tensor) -> Tensor:
        """Log-mel examples [M, 1, 96, 64] -> embeddings [M, embed_dim], not negative."""
        # Flattened in the order height, width, channel, as the weights have it.
        return self.embeddings(self.features(examples).permute(0, 2, 3, 1).flatten(1))

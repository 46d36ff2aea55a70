"""ResNet-50's public files, torchvision's first weights and those that came later with counters."""

from dgsct.encoders.public_file import PublicFile
from dgsct.encoders.resnet import Resnet

FILE = PublicFile(
    title="ResNet-50",
    encoder=Resnet,
    marks=("layer1.0.conv1.",),
    namings={"ResNet-50": lambda key: key.partition(".")[2]},  # both branches start from the same weights
    classifier=("fc.weight", "fc.bias"),
    counters=True,
)

"""VGGish's public file, whose names are ours."""

from dgsct.encoders.public_file import PublicFile
from dgsct.encoders.vggish import Vggish

FILE = PublicFile(
    title="VGGish",
    encoder=Vggish,
    marks=("embeddings.0.",),
    namings={"VGGish": lambda key: key},
)

"""What a file of encoder weights depends on besides its data, as one hash: its own encoder's code and sizes, no other's."""

from dgsct.checksum import sha256_json
from dgsct.closure import code_hash
from dgsct.settings.keys import described
from dgsct.settings.scales import get_scale


def encoder_key(encoder: str) -> str:
    """Of a mini encoder: its recipe, what all pre-training shares, and its sizes."""
    code = code_hash("dgsct.encoders.pretrain", f"dgsct.encoders.mini.{encoder}")
    return sha256_json([code, described(getattr(get_scale("mini"), encoder))])


def converted_key(encoder: str) -> str:
    """Of a converted public encoder: how its file is laid out, how such files are read, and its sizes."""
    code = code_hash("dgsct.encoders.public", f"dgsct.encoders.layouts.{encoder}")
    return sha256_json([code, described(getattr(get_scale("paper"), encoder))])

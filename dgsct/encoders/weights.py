"""Files of frozen encoders' weights: written with a checksum, loaded strictly."""

import hashlib
import json
from pathlib import Path
from typing import Any

from torch import nn

from dgsct.atomic import write_bytes_atomic, write_json_atomic
from dgsct.errors import DgsctError

ENCODERS = ("swin", "htsat")


def encoder_file(root: Path, scale: str, encoder: str) -> Path:
    """Where the weights of an encoder lie below the results folder."""
    return root / "encoders" / scale / f"{encoder}.safetensors"


def load_encoders(model: nn.Module, scale: str, root: Path) -> None:
    """Load both encoders of `model` (every module named `encoders` with `swin` and `htsat`).

    DgsctError if a file is missing or does not fit to the key.
    """
    from safetensors.torch import load

    holders = [module for name, module in model.named_modules() if name.split(".")[-1] == "encoders"]
    for holder in holders:
        for encoder in ENCODERS:
            path = encoder_file(root, scale, encoder)
            if not path.exists():
                raise DgsctError(f"encoder weights {path} are missing; run `snakemake {path}` or put the converted file there")
            content = path.read_bytes()
            facts = path.with_suffix(".json")
            if facts.exists() and json.loads(facts.read_text()).get("sha256") != hashlib.sha256(content).hexdigest():
                raise DgsctError(f"encoder weights {path} are not those that {facts.name} describes; make both again")
            result = getattr(holder, encoder).load_state_dict(load(content), strict=False)
            if result.missing_keys or result.unexpected_keys:
                wrong = (result.missing_keys + result.unexpected_keys)[0]
                raise DgsctError(f"encoder weights {path} do not fit at key {wrong!r}; delete the file and make it again")


def publish(path: Path, encoder: nn.Module, info: dict[str, Any]) -> None:
    """Write an encoder's weights to `path` and, beside it, `info` with their checksum; each appears whole or not at all."""
    from safetensors.torch import save

    content = save({name: tensor.contiguous() for name, tensor in encoder.state_dict().items()})
    write_json_atomic(path.with_suffix(".json"), {**info, "sha256": hashlib.sha256(content).hexdigest()})
    write_bytes_atomic(path, content)

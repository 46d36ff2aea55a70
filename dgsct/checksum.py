"""Checksums of JSON values, by which runs, data and counts are told apart."""

import hashlib
import json
from typing import Any


def sha256_json(value: Any) -> str:
    """sha256 of a JSON value in canonical form, whatever its layout in a file."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

"""Checksums of JSON values, by which runs, data and counts are told apart."""

import hashlib
import json
from pathlib import Path
from typing import Any


def sha256_json(value: Any) -> str:
    """sha256 of a JSON value in canonical form, whatever its layout in a file."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """sha256 of a file's bytes, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

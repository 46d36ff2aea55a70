"""Snakemake profiles: where they are looked for, and what stands in them."""

import os
from pathlib import Path
from typing import Any

from dgsct.campaign.dry_run import BASE
from dgsct.errors import UsageError

# Where there is no home, `~` stays as it is, and nothing is found there.
OWN_PROFILES = Path(os.path.expanduser("~/.config/snakemake"))
PROFILE_FOLDERS = (Path(), BASE / "workflow" / "profiles", OWN_PROFILES, Path("/etc/xdg/snakemake"))


def read_profile(path: Path) -> dict[str, Any]:
    """The content of a profile's file; UsageError says what is wrong with it."""
    import yaml

    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, RecursionError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: the profile cannot be read ({' '.join(str(error).split())})") from None
    if not isinstance(value, dict):
        raise UsageError(f"{path}: the profile must hold `name: value` lines")
    return value


def find_profile(name: str) -> Path:
    """The file of a Snakemake profile given by name or folder; UsageError says where it was looked for."""
    for folder in PROFILE_FOLDERS:
        for file in sorted((folder / name).glob("config*.yaml"), reverse=True):
            return file
    places = ", ".join(str(folder / name) for folder in PROFILE_FOLDERS)
    raise UsageError(f"no profile {name!r}: no config.yaml in {places}")

"""What a site or a container leaves in the environment, or out of it, made harmless for this process and all that it starts.

Called once, when the package is imported: before torch, accelerate or Snakemake look.
"""

import getpass
import os

# Of several processes there is talk only under torch's own launcher, which sets this one too.
LAUNCHER = "TORCHELASTIC_RUN_ID"
RANKS = (
    "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT",
    "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE",
)  # fmt: skip


def user_name() -> str | None:
    """The name of who runs this; None where neither the environment nor the system knows one, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return None


def settle() -> None:
    """Give a user without a name one, as torch and Snakemake ask for it; forget ranks and settings of other launchers."""
    if user_name() is None:
        os.environ["USER"] = f"uid{os.getuid()}"
    if LAUNCHER not in os.environ:
        for name in [n for n in os.environ if n in RANKS or n.startswith("ACCELERATE_")]:
            del os.environ[name]

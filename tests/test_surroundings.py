"""What a site leaves in the environment, or a container out of it, changes nothing: tried in new processes."""

import os
import subprocess
import sys

import pytest

NOBODY = """
import pwd
def unknown(number):
    raise KeyError(f"getpwuid(): uid not found: {number}")
pwd.getpwuid = unknown
"""
NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME")


def python(code: str, **env: str) -> str:
    """What Python prints as a user without a name, with `env` added."""
    bare = {name: value for name, value in os.environ.items() if name not in NAMES}
    done = subprocess.run([sys.executable, "-c", NOBODY + code], env=bare | env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_torch_finds_a_user_where_there_is_none():
    """What an optimizer imports at its first step asks for a name; Snakemake does, too."""
    told = python("import dgsct, getpass, os; import torch._dynamo.config; print(getpass.getuser(), os.getuid())")
    assert told.split()[0] == f"uid{told.split()[1]}"


def test_a_user_with_a_name_keeps_it():
    assert python("import dgsct, os; print(os.environ['USER'], 'LOGNAME' in os.environ)", USER="me") == "me False"


def test_without_a_home_the_doctor_can_be_asked():
    code = "import os; del os.environ['HOME']; from dgsct.campaign import profiles; print(profiles.find_profile('slurm').name)"
    assert python(code).startswith("config")


@pytest.mark.parametrize(
    ("env", "left"),
    [
        ({"RANK": "3", "WORLD_SIZE": "8"}, set()),
        ({"LOCAL_RANK": "1", "OMPI_COMM_WORLD_SIZE": "4", "PMI_SIZE": "4"}, set()),
        ({"MASTER_ADDR": "node1", "ACCELERATE_USE_CPU": "1", "ACCELERATE_MIXED_PRECISION": "fp8"}, set()),
        ({"RANK": "1", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "run"}, {"RANK", "WORLD_SIZE"}),
    ],
)
def test_ranks_hold_under_torchs_launcher_only(env, left):
    """A run that took itself for the fourth of eight would wait for the others, and never write its record."""
    code = f"import dgsct, os; print(sorted(set({sorted(env)}) & set(os.environ) - {{'TORCHELASTIC_RUN_ID'}}))"
    assert python(code, **env) == str(sorted(left))

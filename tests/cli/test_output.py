"""What is printed, whatever the terminal, the reader and the end; faults of the program keep their traceback."""

import os
import shlex
import subprocess
import sys

import pytest
from bad_input_rig import NO_TEXT

from dgsct.errors import exit_code

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def dgsct(*arguments: str, shell: str = "", **env: str) -> subprocess.CompletedProcess:
    command = shlex.join([sys.executable, "-m", "dgsct.cli", *arguments]) + shell
    full = {**os.environ, **env}
    return subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], env=full, capture_output=True, timeout=100)


@pytest.mark.parametrize("env", [{}, ASCII, {"PYTHONIOENCODING": "ascii"}], ids=["as it is", "no locale", "ascii"])
def test_any_name_can_be_printed(env):
    said = dgsct("tables", f"{NO_TEXT}é", **env)
    assert (said.returncode, said.stdout) == (2, b"")
    assert said.stderr.startswith(b"dgsct: unknown experiment 'caf\\udce9")
    assert dgsct("ls", **env).returncode == 0


@pytest.mark.parametrize("command", ["ls", "ledger"])
def test_a_reader_that_goes_away_is_told_nothing(command):
    said = dgsct(command, shell=" | head -n 1")
    assert (said.returncode in (0, 1), said.stderr) == (True, b"")


def test_an_output_that_takes_nothing_is_one_sentence():
    said = dgsct("ledger", shell=" > /dev/full")
    assert said.returncode == 1
    assert (
        said.stderr == b"dgsct: the output: No space left on device; free space on that disk and run the same command again\n"
    )


def test_ctrl_c_ends_quietly():
    code = "import signal, sys; from dgsct.errors import exit_code; "
    code += "signal.signal(signal.SIGINT, signal.default_int_handler); "  # whoever started this may ignore it
    code += "sys.exit(exit_code(lambda: signal.raise_signal(signal.SIGINT)))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=100)
    assert (said.returncode, said.stdout, said.stderr) == (130, b"", b"")


def test_a_fault_of_the_program_keeps_its_traceback():
    for fault_of_ours in (KeyError("x"), TypeError("x"), AssertionError("x"), ValueError("x"), RecursionError("x")):
        with pytest.raises(type(fault_of_ours)):
            exit_code(lambda error=fault_of_ours: (_ for _ in ()).throw(error))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_a_folder_of_somebody_else_is_one_sentence(tmp_path):
    theirs = tmp_path / "theirs"  # and so is the folder above it
    theirs.mkdir(mode=0o700)
    code = "import os, sys; from dgsct.errors import exit_code; os.setgid(65534); os.setuid(65534); "
    code += "sys.exit(exit_code(lambda: open(sys.argv[1])))"
    said = subprocess.run([sys.executable, "-c", code, theirs / "file"], capture_output=True, text=True, timeout=100)
    assert said.returncode == 1
    assert said.stderr == f"dgsct: {theirs / 'file'}: Permission denied; check its permissions\n"

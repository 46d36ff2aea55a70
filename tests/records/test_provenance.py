"""Where a result was made: the commit is marked only where the code differs from it."""

import os
import shutil
import subprocess
import sys

ASK = (
    "import time; from dgsct.records.provenance import describe_environment; print(describe_environment(time.time(), 0)['git'])"
)


def test_only_a_change_of_code_marks_the_commit(tmp_path, repository):
    shutil.copytree(repository / "dgsct", tmp_path / "dgsct", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "table.md").write_text("old")
    (tmp_path / ".gitignore").write_text("__pycache__\n")

    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    def told(**env: str) -> str:
        command = [sys.executable, "-c", ASK]
        done = subprocess.run(command, cwd=tmp_path, env=os.environ | env, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    assert told() == "None"
    git("init")
    git("add", "-A")
    git("commit", "-m", "all")
    head = git("rev-parse", "HEAD")
    (tmp_path / "table.md").write_text("new")
    assert told() == head
    assert told(GIT_DIR=str(repository / ".git"), GIT_WORK_TREE=str(repository)) == head  # as a hook of another one has it
    (tmp_path / "dgsct/models/attention.py").write_text("x = 1\n")
    assert told() == f"{head}-dirty"

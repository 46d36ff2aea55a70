"""A folder in which the real Snakefile runs with stubs in place of the commands, and what it said."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fork_rig import Forked

ROOT = Path(__file__).resolve().parent.parent

STUBS = {
    "__init__.py": "",
    "tasks/__init__.py": "",
    "encoders/__init__.py": "",
    "engine/__init__.py": "",
    "stub.py": """
from pathlib import Path
import sys
def write(*paths):
    for path in map(Path, paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
def out():
    return sys.argv[sys.argv.index("--out") + 1]
""",
    "tasks/generate.py": """
from dgsct.stub import *
index = {"ave": "Annotations.txt", "avs-s4": "Single-source/s4_meta_data.csv", "avs-ms3": "Multi-sources/ms3_meta_data.csv"}
write(sys.argv[2] + "/" + index[sys.argv[1]])
""",
    "encoders/pretrain.py": "from dgsct.stub import *; write(sys.argv[2], sys.argv[2].replace('safetensors', 'json'))",
    "engine/worker.py": "from dgsct.stub import *; write(sys.argv[2] + '/record.json')",
    "cli.py": """
from dgsct.stub import *
verb, what = sys.argv[1:3]
ends = {"tables": ["tex", "md", "csv", "html", "json"], "figures": ["pdf", "png", "json"]}
if verb == "prepare":
    write(sys.argv[4] + "/manifest.json")
elif verb == "features":
    write(f"results/features/{sys.argv[sys.argv.index('--scale') + 1]}/{what}/{sys.argv[3]}/features.json")
elif verb == "efficiency":
    write(out())
elif verb == "masks":
    write(what.replace("results/runs", "results/masks") + ".npz")
elif verb == "report":
    write(out() + "/report.pdf")
else:
    write(*(f"{out()}/{what}.{end}" for end in ends[verb]))
""",
}

BLOCKER = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision", "timm"):
            raise ImportError(f"{name} must not be imported while the DAG is planned")
sys.meta_path.insert(0, Block())
"""


@dataclass(frozen=True)
class Said:
    """Exit code, text and job counts of one Snakemake call."""

    code: int
    text: str
    jobs: dict[str, int]


def stub_world(folder: Path) -> Path:
    """Write the stubs below `folder`; jobs started there find them before the real package."""
    for name, text in STUBS.items():
        path = folder / "dgsct" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def blocked(folder: Path) -> dict[str, str]:
    """An environment in which torch, torchvision and timm cannot be imported."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(BLOCKER)
    return {"PYTHONPATH": str(folder)}


def snakemake(folder: Path, *arguments: str, env: dict[str, str] | None = None, timeout: float = 600) -> Said:
    """Run Snakemake in `folder` on the repository's Snakefile.

    In a fork of this process, which has imported it once; with a PYTHONPATH of its own in `env` in a fresh process.
    """
    if "PYTHONPATH" in (env or {}):
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), *arguments]
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, timeout=timeout, check=False
        )
        code, text = done.returncode, done.stdout + done.stderr
    else:
        with tempfile.TemporaryDirectory() as place:
            fork = started(folder, *arguments, said=Path(place, "said"), **(env or {}))
            code, text = fork.wait(timeout), fork.said()
    stats = text.split("Job stats:")[1].split("total")[0] if "Job stats:" in text else ""
    return Said(code, text, {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", stats, re.M)})


def started(folder: Path, *arguments: str, said: Path, first: Callable[[], object] = lambda: None, **env: str) -> Forked:
    """Snakemake at work in `folder` on the repository's Snakefile, in a fork that begins with `first`; it writes to `said`."""
    import snakemake.cli

    def work() -> None:
        first()
        os.chdir(folder)
        sys.argv = ["snakemake", "--snakefile", str(ROOT / "Snakefile"), *arguments]
        snakemake.cli.main()

    return Forked(work, said, **env)

"""This machine: packages and their versions, torch's build against the GPU's driver, LaTeX."""

import re
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from dgsct.campaign.commands import ask
from dgsct.campaign.doctor import Campaign, Finding
from dgsct.records.provenance import installed

TESTED = {"torch": "2.11", "torchvision": "0.26", "torchaudio": "2.11"}
EXTRAS = ("", "harness")
SECONDS = 10.0


def software() -> Iterator[Finding]:
    """Whether every package that the benchmark needs is there in a version that fits, and those of torch to each other."""
    try:
        wanted = [Requirement(line) for line in requires("dgsct") or []]
    except PackageNotFoundError:
        yield Finding("error", "dgsct is not installed here", "pip install -e '.[harness]' in the repository")
        return
    needed = [one for one in wanted if one.marker is None or any(one.marker.evaluate({"extra": name}) for name in EXTRAS)]
    bad = 0
    for one in needed:
        version = installed(one.name)
        if version is None or not one.specifier.contains(version, prereleases=True):
            bad += 1
            state = "is not installed" if version is None else f"{version} is installed"
            yield Finding("error", f"{one.name} {state}, {one.specifier} is needed", f"pip install '{one.name}{one.specifier}'")
    if not bad:
        named = ("snakemake", "snakemake-executor-plugin-slurm", "snakemake-executor-plugin-slurm-jobstep")
        shown = ", ".join(f"{name} {installed(name)}" for name in named)
        yield Finding("ok", f"all {len(needed)} packages fit; {shown}")
    yield from torch_family({name: installed(name) for name in TESTED})
    if shutil.which("pdflatex"):
        yield Finding("ok", "pdflatex is installed")
    else:
        yield Finding("warning", "pdflatex is not installed: all_tables leaves out report.pdf", "texlive-latex-recommended")


def torch_family(versions: dict[str, str | None]) -> Iterator[Finding]:
    """Whether torch, torchvision and torchaudio are of one release and one build; `versions` are their versions."""
    if not (torch := versions["torch"]):
        return  # among the packages that are missing
    series, build = Version(torch).release[:2], Version(torch).local
    fitting = {"torchvision": (0, series[1] + 15), "torchaudio": series}
    pip = "pip install " + " ".join(f"'{name}=={number}.*'" for name, number in TESTED.items())
    bad = False
    for name, release in fitting.items():
        if not (other := versions[name]):
            continue
        number = Version(other)
        if number.release[:2] != release:
            bad = True
            wanted = ".".join(map(str, release))
            yield Finding("error", f"{name} {other} is not made for torch {torch}, which goes with {wanted}", pip)
        elif build and number.local and number.local != build:
            bad = True
            yield Finding("error", f"{name} {other} is of another build than torch {torch}", pip)
    if not bad:
        together = ", ".join(f"{name} {number}" for name, number in versions.items() if number)
        tested = ".".join(map(str, series)) == TESTED["torch"]
        level, remedy = ("ok", "") if tested else ("warning", f"the tests ran with torch {TESTED['torch']}: {pip}")
        yield Finding(level, together, remedy)


def cuda_build() -> str | None:
    """The CUDA version that torch is built for, read without importing it; None for a build for processors."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    match = re.search(r"^cuda\b[^=]*=\s*['\"]([\d.]+)['\"]", text, re.M)
    return match.group(1) if match else None


def gpu(campaign: Campaign) -> Iterator[Finding]:
    """GPU, driver and torch's build; on a machine without GPU this cannot be judged, which is no error."""
    wanted, build = campaign.gpus, cuda_build()
    if wanted and build is None:
        yield Finding("error", "torch is built without CUDA: full size would take months", "install a CUDA build of torch")
    answer = ask("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader", seconds=SECONDS)
    cards = [line.strip() for line in answer.out.splitlines() if line.count(",") == 2]
    if answer.problem.endswith("is not installed"):
        if not wanted:
            yield Finding("ok", f"no GPU here; scale {campaign.settings.scale} needs none")
        elif campaign.on_slurm:
            remedy = "on a node: srun --gres=gpu:1 nvidia-smi"
            yield Finding("warning", "no GPU on this machine, so that the driver of the nodes is not known here", remedy)
        else:
            remedy = "train where a GPU is, or use a profile of a cluster"
            yield Finding("warning", "no GPU on this machine: a run at full size would take months", remedy)
        return
    if answer.problem or not cards:
        level = "warning" if campaign.on_slurm or not wanted else "error"
        problem = answer.problem or "nvidia-smi lists no GPU"
        yield Finding(level, problem, "look at the driver: nvidia-smi must list the GPUs")
        return
    for card in dict.fromkeys(cards):
        yield Finding("ok", f"{cards.count(card)} x {card}")
    if wanted > len(cards) and not campaign.on_slurm:
        yield Finding("error", f"a run asks for {wanted} GPUs, here are {len(cards)}", f"less `gpus` in {campaign.own_site}")
    yield from _driver(ask("nvidia-smi", seconds=SECONDS).out, build)


def _driver(text: str, build: str | None) -> Iterator[Finding]:
    match = re.search(r"CUDA Version:\s*(\d+)\.(\d+)", text)
    if build is None:
        return
    if match is None:
        yield Finding("warning", "nvidia-smi does not say which CUDA its driver serves", f"it must be {build} or newer")
        return
    serves = f"{match.group(1)}.{match.group(2)}"
    if int(match.group(1)) < int(build.split(".")[0]):
        remedy = f"a newer driver, or a torch built for CUDA {match.group(1)}"
        yield Finding("error", f"the driver serves CUDA {serves} at most, torch is built for {build}", remedy)
    else:
        yield Finding("ok", f"the driver serves CUDA {serves}, torch is built for {build}")

"""Slurm: whether it answers, and whether it would take the jobs that profile and site file describe.

`sinfo`, `squeue` and `scontrol` are read; whether the account and the limits behind it let a job pass, Slurm itself says
(`sbatch --test-only`). What Snakemake's plugin does with all that: docs/cluster.md.
"""

import contextlib
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import humanfriendly

from dgsct.campaign.commands import ask
from dgsct.campaign.doctor import Campaign, Finding
from dgsct.campaign.queued import FORMAT, parse_squeue
from dgsct.runs.run import Run
from dgsct.runs.site import Site
from dgsct.settings.resources import Resources
from dgsct.settings.scales import get_scale

PROGRAMS = ("sinfo", "squeue", "scontrol", "sbatch", "scancel", "srun")
SECONDS = 10.0
SUBMIT_SECONDS = 30.0
IMPORT_SECONDS = 120.0  # a container's first start
LONGEST_POLL = 180.0  # seconds between two questions of the plugin, at most
KINDS = {"trained": "a training", "frozen": "an evaluation", "yardstick": "a yardstick"}
UNUSABLE = re.compile(r"down|drain|fail|maint|unknown|reboot|inval|\*$", re.I)  # a star: the node does not respond


@dataclass(frozen=True)
class Nodes:
    """Equal nodes of a partition: how many, CPUs, memory (MB), generic resources as Slurm writes them, state."""

    count: int
    cpus: int
    mem_mb: int
    gres: str
    state: str


@dataclass(frozen=True)
class Request:
    """What one job asks for; `minutes` and `mem_mb` 0: the cluster's default.

    `keys` says of each where the site file says so, else the profile does.
    """

    what: str
    partition: str | None
    cpus: int
    mem_mb: int
    minutes: int
    gpus: int
    gres: str | None
    flags: tuple[str, ...]
    keys: Mapping[str, str] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """The request in a few words."""
        gpus = f", {self.gpus} GPU{'s' * (self.gpus != 1)}" if self.gpus else ""
        return f"{self.what} ({self.cpus} CPU{'s' * (self.cpus != 1)}, {self.mem_mb} MB, {self.minutes} min{gpus})"

    def sbatch(self) -> list[str]:
        """The question to Slurm whether it would take this job."""
        options = {"-p": self.partition, "-t": self.minutes, "--mem": self.mem_mb, "--cpus-per-task": self.cpus, "-n": 1}
        words = [word for name, value in options.items() if value for word in (name, str(value))]
        if self.gpus:
            words.append(f"--gres={self.gres}:{self.gpus}" if self.gres else f"--gpus={self.gpus}")
        return ["sbatch", "--test-only", *words, *self.flags, "--wrap", "true"]


def cluster(campaign: Campaign) -> Iterator[Finding]:
    """Everything about Slurm, as far as it answers."""
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing:
        remedy = "run dgsct on the cluster's login node, or leave out --profile"
        yield Finding("error", f"Slurm is not reachable: {', '.join(missing)} not installed", remedy)
        return
    answers = {
        "sinfo": ask("sinfo", "-h", "-o", "%P", seconds=SECONDS),
        "squeue": ask("squeue", "-h", "-u", str(os.getuid()), "-o", FORMAT, seconds=SECONDS),
        "scontrol": ask("scontrol", "show", "config", seconds=SECONDS),
    }
    problems: dict[str, list[str]] = {}
    for name, answer in answers.items():
        if answer.problem:
            problems.setdefault(answer.problem.removeprefix(f"{name} "), []).append(name)
    if problems:
        text = "; ".join(f"{', '.join(names)} {problem}" for problem, names in problems.items())
        remedy = (
            "ask the site"
            if list(problems.values()) == [["squeue"]]
            else "the controller must answer: scontrol ping, SLURM_CONF"
        )
        yield Finding("error", f"Slurm is not reachable: {text}", remedy)
        return
    config = dict(re.findall(r"^(\w+)\s*=\s*(.*?)\s*$", answers["scontrol"].out, re.M))
    seconds = max(answer.seconds for answer in answers.values())
    name, version = config.get("ClusterName", "?"), config.get("SLURM_VERSION", "?")
    yield Finding("ok", f"cluster {name}, Slurm {version}, answers within {seconds:.1f} s")
    jobs = parse_squeue(answers["squeue"].out)
    if jobs is None:
        yield Finding("error", "squeue answers in a form that is not known here", "is another squeue first on PATH?")
    yield from _status(campaign.profile, config)
    yield from _inside(campaign)
    partitions = _partitions(ask("scontrol", "show", "partition", "-o", seconds=SECONDS).out)
    for request in requests(campaign):
        yield from _would_run(request, partitions, campaign)
    yield from commands_of_jobs(campaign)


def requests(campaign: Campaign) -> list[Request]:
    """What the jobs ask for: runs, each kind of request once, and one of the others as the profile has it."""
    site, profile = campaign.site.slurm, campaign.profile
    flags = tuple(f"--{name}={site.given[name]}" for name in ("account", "qos", "constraint") if name in site.given)
    other, train = _resources(profile.get("default-resources")), (profile.get("set-resources") or {}).get("train") or {}
    extra = tuple(str(train["slurm_extra"]).split()) if train.get("slurm_extra") else ()
    alike: dict[Resources, list[Run]] = {}
    for run in campaign.runs:
        alike.setdefault(campaign.site.resources(run), []).append(run)
    several = sum(any(run.kind == "trained" for run in runs) for runs in alike.values()) > 1
    of_runs = []
    for asked, runs in alike.items():
        gpus = int(train.get("gpu", asked.gpus))
        of_runs.append(
            Request(
                _what(runs, several),
                (site.gpu_partition if gpus else None) or site.partition,
                int((profile.get("set-threads") or {}).get("train", asked.cpus)),
                _megabytes(train.get("mem_mb", asked.mem_mb)),
                _minutes(train.get("runtime", asked.minutes)),
                gpus,
                site.gres,
                (*flags, *extra),
                _keys(runs[0], campaign.site),
            )
        )
    rest = Request(
        "another job", site.partition, 1, _megabytes(other.get("mem_mb")), _minutes(other.get("runtime")), 0, None, flags
    )
    return [*of_runs, rest]


def _what(runs: list[Run], several: bool) -> str:
    """Such as `a training`; where trainings ask for different things: `a training of dg-sct on avs-s4 and 3 others`."""
    by_kind: dict[str, dict[str, None]] = {}
    for run in runs:
        by_kind.setdefault(run.kind, {})[f"{run.method} on {run.task}"] = None
    kind = next(kind for kind in KINDS if kind in by_kind)
    first, *others = by_kind[kind]
    if not several or kind != "trained":
        return KINDS[kind]
    more = f" and {len(others)} other{'s' * (len(others) > 1)}" if others else ""
    return f"{KINDS[kind]} of {first}{more}"


def _keys(run: Run, site: Site) -> dict[str, str]:
    """Where the site file says what `run` asks for; it says nothing of short runs."""
    if get_scale(run.scale).short_runs:
        return {}
    return {name: site.key(run, name) for name in ("cpus", "mem_mb", "minutes", "gpus")}


def _number(value: Any, parse: Callable[[str], float], unit: float) -> int:
    """A whole number of units, also of `4h` or `2GB` as Snakemake takes them; 0 for what is not known before a job is made."""
    if isinstance(value, int):
        return value
    with contextlib.suppress(humanfriendly.InvalidTimespan, humanfriendly.InvalidSize):
        return ceil(parse(str(value)) / unit)
    return 0


def _minutes(value: Any) -> int:
    return _number(value, humanfriendly.parse_timespan, 60)


def _megabytes(value: Any) -> int:
    return _number(value, humanfriendly.parse_size, 1e6)


def _resources(value: Any) -> dict[str, Any]:
    """Resources of a profile: a mapping, or a list of `name=value`."""
    return dict(item.split("=", 1) for item in value) if isinstance(value, list) else value or {}


def _status(profile: dict[str, Any], config: dict[str, str]) -> Iterator[Finding]:
    """Whether the driver learns that jobs end, and starts again what was stopped."""
    command = profile.get("slurm-status-command")
    accounts = config.get("AccountingStorageType", "").removeprefix("accounting_storage/") not in ("none", "(null)", "")
    age = re.match(r"\d+", config.get("MinJobAge", ""))
    first = float(profile.get("slurm-init-seconds-before-status-checks", 40))
    remedy = "set slurm-status-command: squeue in the profile"
    if command != "squeue" and not accounts:
        yield Finding(
            "error", "without accounting sacct never tells that a job has ended: Snakemake would wait for ever", remedy
        )
    elif command != "squeue":
        yield Finding("warning", "with sacct Snakemake waits for ever for a job that scancel ended", remedy)
    elif age and int(age.group()) < first + LONGEST_POLL:
        text = f"squeue forgets jobs after {age.group()} s (MinJobAge), Snakemake asks every {LONGEST_POLL:g} s at times"
        yield Finding("warning", text, "jobs that end between two questions may be taken for lost; retries make up for it")
    else:
        yield Finding("ok", f"Snakemake asks squeue, which remembers jobs for {age.group() if age else '?'} s")
    if not accounts:
        yield Finding("warning", "no accounting: sacct tells nothing of past jobs", "fine with squeue as status command")
    if not profile.get("retries"):
        yield Finding("warning", "no retries: a run stopped by its time limit stays so", "retries: 3 in the profile")


def _inside(campaign: Campaign) -> Iterator[Finding]:
    """Whether Slurm is found inside jobs, where Snakemake drops SLURM_CONF before it calls srun."""
    if "SLURM_CONF" not in os.environ:
        return
    bare = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    partition = campaign.site.slurm.partition
    where = ["-p", partition] if partition else []
    answer = ask("srun", "--test-only", "-n", "1", *where, "true", seconds=SUBMIT_SECONDS, env=bare)
    if "configuration source" in answer.err or "configuration source" in answer.problem:
        text = "SLURM_CONF is set, and srun finds no cluster without it; Snakemake drops it inside jobs, which would all fail"
        yield Finding("error", text, "put a script `srun` that sets it first on PATH (docs/cluster.md)")
    else:
        yield Finding("ok", "srun finds the cluster without SLURM_CONF, as inside jobs")


def commands_of_jobs(campaign: Campaign) -> Iterator[Finding]:
    """Whether what the site file puts before a job's command, and in place of Python, works here; as Snakemake runs it."""
    site = campaign.site.slurm.given
    if not ("before" in site or "python" in site):
        return
    python = site.get("python", shlex.quote(sys.executable))
    before = f"{site['before']}; " if "before" in site else ""
    script = "import dgsct, torch; print(torch.__version__)"
    answer = ask("bash", "-c", f"set -euo pipefail; {before}{python} -c {shlex.quote(script)}", seconds=IMPORT_SECONDS)
    names = " and ".join(f"slurm.{name}" for name in ("before", "python") if name in site)
    version = answer.out.split()[-1:]
    if answer.problem or not version:
        reason = answer.problem.removeprefix("bash failed ").strip("()") or "they say nothing"
        remedy = f"{names} in {campaign.own_site}; nothing to do if that works on the nodes alone"
        yield Finding("warning", f"jobs' commands, tried here, do not import dgsct and torch: {reason}", remedy)
    else:
        yield Finding("ok", f"with {names} jobs import dgsct and torch {version[0]}, as tried here")


def _partitions(text: str) -> dict[str, dict[str, str]]:
    """`scontrol show partition -o` by name; {} if it says nothing that is understood."""
    entries = [dict(re.findall(r"(\w+)=(\S*)", line)) for line in text.splitlines()]
    return {one["PartitionName"]: one for one in entries if "PartitionName" in one}


def _would_run(request: Request, partitions: dict[str, dict[str, str]], campaign: Campaign) -> Iterator[Finding]:
    """Whether partition, time and nodes suit a request, and what Slurm itself says to it."""
    file = campaign.own_site
    name = request.partition or next((n for n, one in partitions.items() if one.get("Default") == "YES"), None)
    if name is None:
        yield Finding("error", f"{request.words}: the cluster has no default partition", f"slurm.partition in {file}")
        return
    if name not in partitions:
        known = ", ".join(partitions) or "none"
        yield Finding("error", f"{request.words}: no partition {name!r}; there are: {known}", f"slurm.partition in {file}")
        return
    problems = list(_limits(request, name, partitions[name], file))
    yield from problems
    if problems:
        return
    answer = ask(*request.sbatch(), seconds=SUBMIT_SECONDS)
    if answer.problem.endswith(f"in {SUBMIT_SECONDS:g} s"):
        yield Finding("warning", f"{request.words}: {answer.problem} whether it would take it", "try again later")
    elif answer.problem:
        reason = (answer.err.strip() or answer.problem).splitlines()[-1].removeprefix("allocation failure: ")
        remedy = f"slurm.account, partition, qos in {file}; sacctmgr show assoc user=$USER"
        yield Finding("error", f"{request.words}: Slurm would refuse it: {reason}", remedy)
    else:
        yield Finding("ok", f"{request.words}: partition {name} would take it")


def _limits(request: Request, name: str, partition: dict[str, str], file: Any) -> Iterator[Finding]:
    if partition.get("State") != "UP":
        yield Finding("error", f"partition {name} is {partition.get('State', '?')}", "another partition, or ask the site")
    most = minutes_of(partition.get("MaxTime", ""))
    if most is not None and request.minutes > most:
        text = f"{request.words}: partition {name} allows {most} min"
        remedy = f"{request.keys['minutes']}: {most} in {file}; a run goes on in the next job" if request.keys else None
        yield Finding("error", text, remedy or "runtime in the profile")
    for key, value, what in (("MaxMemPerNode", request.mem_mb, "MB"), ("MaxCPUsPerNode", request.cpus, "CPUs")):
        if partition.get(key, "").isdigit() and value > int(partition[key]) > 0:
            yield Finding("error", f"{request.words}: {name} allows {partition[key]} {what} a node", f"less in {file}")
    nodes = _nodes(ask("sinfo", "-h", "-e", "-p", name, "-o", "%D|%c|%m|%G|%T", seconds=SECONDS).out)
    fitting = [one for one in nodes if _fits(request, one)]
    if not fitting:
        yield Finding("error", f"{request.words}: no node of partition {name} has that much", _most(request, nodes, file))
    elif all(UNUSABLE.search(one.state) for one in fitting):
        states = ", ".join(sorted({one.state.replace("*", " (no answer)") for one in fitting}))
        yield Finding("warning", f"{request.words}: all nodes of {name} that suit are {states}", "jobs wait till then")


def minutes_of(text: str) -> int | None:
    """Slurm's time (`1-12:00:00`, `30:00`, `90`) in whole minutes; None for no limit or what is no time."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if match is None:
        return None
    days, *rest = match.groups()
    parts = [int(part) for part in rest if part is not None]
    if days is not None:
        hours, minutes = (*parts, 0)[:2]
        return int(days) * 1440 + hours * 60 + minutes
    return parts[0] * 60 + parts[1] if len(parts) == 3 else parts[0]


def _nodes(text: str) -> list[Nodes]:
    lines = [line.split("|") for line in text.splitlines()]
    return [
        Nodes(int(count), int(cpus), int(mem), gres, state)
        for count, cpus, mem, gres, state in (line for line in lines if len(line) == 5)
        if count.isdigit() and cpus.isdigit() and mem.isdigit()
    ]


def gpus_of(gres: str, wanted: str | None) -> int:
    """GPUs in a node's generic resources (`gpu:a100:4(S:0-1),lscratch:1`), of the name or `name:type` that is wanted."""
    name, _, kind = (wanted or "gpu").partition(":")
    entries = re.findall(r"(\w+)(?::([\w.-]*[A-Za-z][\w.-]*))?:(\d+)(?:\([^)]*\))?(?:,|$)", gres)
    return sum(int(count) for its, its_kind, count in entries if its == name and (not kind or its_kind == kind))


def _fits(request: Request, nodes: Nodes) -> bool:
    gpus = gpus_of(nodes.gres, request.gres)
    return request.cpus <= nodes.cpus and request.mem_mb <= nodes.mem_mb and request.gpus <= gpus


def _most(request: Request, nodes: list[Nodes], file: Any) -> str:
    """What a request must be cut to."""
    if not nodes:
        return "the partition has no nodes; choose another one"
    if not any(request.gpus <= gpus_of(one.gres, request.gres) for one in nodes):
        if request.keys and (most := max(gpus_of(one.gres, request.gres) for one in nodes)):
            return f"at most {request.keys['gpus']}: {most} in {file}"
        there = ", ".join(sorted({one.gres for one in nodes}))
        return f"its nodes have: {there}; slurm.gpu_partition or slurm.gres in {file}"
    cpus, mem = max(one.cpus for one in nodes), max(one.mem_mb for one in nodes)
    if request.keys:
        return f"at most {request.keys['cpus']}: {cpus}, {request.keys['mem_mb']}: {mem} in {file}"
    return f"at most {cpus} CPUs and {mem} MB, in the profile"

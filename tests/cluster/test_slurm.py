"""The DAG on a real Slurm: what a cluster does to jobs changes no result, and nothing trains twice.

All campaigns run at the same time on one node; each has its own results folder, and its test waits for it.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from slurm_rig import Cluster, missing
from workflow_rig import ROOT

from dgsct.publish.render import write_table
from dgsct.publish.tables import build_table
from dgsct.runs.experiments import Settings, load_experiments
from dgsct.runs.run import Run

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "-")

TIMES = ("seconds", "seconds_per_update", "provenance", "peak_memory_bytes")
DG_SCT = Run.make("ave", "dg-sct")
SECONDS = 600.0


def wait_for(there: Callable[[], object], what: str, seconds: float = SECONDS) -> object:
    deadline = time.monotonic() + seconds
    while not (found := there()):
        assert time.monotonic() < deadline, f"no {what} after {seconds:.0f} s"
        time.sleep(0.1)
    return found


def without_times(value):
    """A record without what the clock decides."""
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if k not in TIMES}
    return [without_times(v) for v in value] if isinstance(value, list) else value


def asked_to_stop(pid: int) -> bool:
    """Whether SIGTERM has ended a process, or waits for it, as it is held."""
    try:
        waiting = re.search(r"^ShdPnd:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.M)
    except FileNotFoundError:
        return True
    return waiting is None or bool(int(waiting[1], 16) & 1 << signal.SIGTERM - 1)


class Campaign:
    """A results folder, and the Snakemake call that fills it."""

    def __init__(self, folder: Path, world: Path, env: dict[str, str], methods: str) -> None:
        self.folder, self.env = folder, env
        self.settings = ["--config", "seeds=1", "tasks=ave", f"methods={methods}"]
        self.driver: subprocess.Popen | None = None
        (folder / "results").mkdir(parents=True)
        for name in ("data", "encoders"):
            (folder / "results" / name).symlink_to(world / name)

    def start(self, *options: str) -> None:
        command = [sys.executable, "-m", "snakemake", "table1", "--snakefile", str(ROOT / "Snakefile")]
        command += [*options, *self.settings]
        with open(self.folder / "driver.log", "a") as log:
            self.driver = subprocess.Popen(command, cwd=self.folder, env=self.env, stdout=log, stderr=log)

    def finish(self) -> None:
        """Wait for the end of the call, which must be a good one."""
        assert self.driver.wait(SECONDS) == 0, self.said()

    def said(self) -> str:
        return (self.folder / "driver.log").read_text()

    def path(self, run: Run) -> Path:
        return self.folder / "results" / run.folder

    def record(self, run: Run) -> dict:
        return json.loads((self.path(run) / "record.json").read_text())

    def runs(self) -> list[Run]:
        return [Run.from_folder(path.parent) for path in sorted(self.folder.glob("results/runs/**/record.json"))]

    def table(self, folder: Path) -> dict[str, str]:
        """The files of the table as the call has written them."""
        return {path.name: path.read_text() for path in sorted(folder.glob("table1.*")) if path.suffix != ".json"}

    def stop(self) -> None:
        if self.driver and self.driver.poll() is None:
            self.driver.kill()
            self.driver.wait()


class OnSlurm(Campaign):
    """A campaign with the profile `slurm`; its jobs are known by their names."""

    def __init__(self, cluster: Cluster, folder: Path, world: Path, methods: str) -> None:
        super().__init__(folder, world, cluster.env, methods)
        self.cluster = cluster

    def start(self, *options: str) -> None:
        profile = ["--profile", str(ROOT / "workflow/profiles/slurm"), "--slurm-jobname-prefix", self.folder.name]
        super().start(*profile, "--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "10", *options)

    def jobs(self) -> dict[int, str]:
        return self.cluster.jobs(f"{self.folder.name}_")

    def training(self) -> int:
        """The job that trains; waits until it has left a checkpoint."""
        wait_for(lambda: list(self.folder.glob("results/runs/**/checkpoints/step-*")) or self.driver.poll(), "checkpoint")
        assert self.driver.poll() is None, self.said()
        return max(self.jobs())

    def trainer(self) -> int:
        """The process that trains."""
        return json.loads((self.path(DG_SCT) / "lock.json").read_text())["pid"]

    def resumed(self) -> int:
        return sum(self.record(run)["provenance"]["resumed"] for run in self.runs())


def plain(campaign: OnSlurm) -> None:
    campaign.start()
    campaign.finish()
    assert list(campaign.jobs().values()) == ["COMPLETED"]  # five runs, one job


def fails_once(campaign: OnSlurm) -> None:
    """The first start of a run ends with an error of the site's own."""
    site = (ROOT / "workflow/config/site.yaml").read_text()
    assert "before: null" in site
    once = f"test -e {campaign.folder}/once || {{ touch {campaign.folder}/once; exit 3; }}"
    (campaign.folder / "site.yaml").write_text(site.replace("before: null", f'before: "{once}"'))
    campaign.settings.append("site=site.yaml")
    campaign.start()
    campaign.finish()
    assert list(campaign.jobs().values()) == ["FAILED", "COMPLETED"]


def cancelled(campaign: OnSlurm) -> None:
    campaign.start()
    job = campaign.training()
    campaign.cluster.call("scancel", str(job))
    campaign.finish()
    assert list(campaign.jobs().values()) == ["CANCELLED", "COMPLETED"]
    assert campaign.resumed() == 1


def out_of_time(campaign: OnSlurm) -> None:
    """The limit comes nearer than the two minutes before which the profile asks for a signal; Slurm looks every 30 s."""
    campaign.start()
    job = campaign.training()
    trainer = campaign.trainer()
    os.kill(trainer, signal.SIGSTOP)  # so that it is not done before
    *_, minutes, _ = ["0", *campaign.cluster.call("squeue", "-h", "-o", "%M", "-j", str(job)).split(":")]
    campaign.cluster.call("scontrol", "update", f"JobId={job}", f"TimeLimit={int(minutes) + 2}")
    try:
        wait_for(lambda: asked_to_stop(trainer), "signal", 90)
    finally:
        with suppress(ProcessLookupError):  # Slurm may have let it go on itself
            os.kill(trainer, signal.SIGCONT)
    campaign.finish()
    assert list(campaign.jobs().values()) == ["FAILED", "COMPLETED"]
    assert campaign.resumed() == 1


def requeued(campaign: OnSlurm) -> None:
    campaign.start()
    job = campaign.training()
    campaign.cluster.call("scontrol", "requeue", str(job))
    campaign.finish()
    assert campaign.jobs() == {job: "COMPLETED"}
    assert campaign.resumed() == 1


def preempted(campaign: OnSlurm) -> None:
    """A job of a partition that goes first wants what the node has once."""
    campaign.start("--set-resources", "train:slurm_partition=low", "train:gres=slot:1")
    job = campaign.training()
    campaign.cluster.call("sbatch", "--partition=work", "--gres=slot:1", "--output=/dev/null", "--wrap=sleep 3")
    campaign.finish()
    states = campaign.jobs()
    assert states.pop(max(states)) == "COMPLETED"
    # The next job of the run may start, and be sent away, before the one that wants its place.
    assert not states or (job in states and len(states) <= 2)
    assert campaign.resumed() >= 1


def killed_trainer(campaign: OnSlurm) -> None:
    campaign.start()
    campaign.training()
    os.kill(campaign.trainer(), signal.SIGKILL)
    campaign.finish()
    assert list(campaign.jobs().values()) == ["FAILED", "COMPLETED"]
    assert campaign.resumed() == 1


def killed_driver(campaign: OnSlurm) -> None:
    """The job goes on; the next call submits another, which must not train beside it."""
    campaign.start()
    first = campaign.training()
    campaign.driver.kill()
    campaign.driver.wait()
    campaign.start("--unlock")
    campaign.finish()
    assert campaign.jobs() == {first: "RUNNING"}
    campaign.start()
    campaign.finish()
    assert campaign.jobs()[first] == "COMPLETED"
    assert len(campaign.jobs()) > 1
    assert campaign.resumed() == 0


def drained(campaign: OnSlurm) -> None:
    """The job is put back while its node takes no jobs, and starts when it takes them again."""
    node = f"NodeName={campaign.cluster.node}"
    campaign.start()
    job = campaign.training()
    campaign.cluster.call("scontrol", "update", node, "State=DRAIN", "Reason=test")
    try:
        time.sleep(1)
        assert campaign.jobs() == {job: "RUNNING"}
        campaign.cluster.call("scontrol", "requeue", str(job))
        wait_for(lambda: campaign.jobs() == {job: "PENDING"}, "job that was put back")
        time.sleep(12)  # longer than a job that was put back is held anyway
        assert campaign.jobs() == {job: "PENDING"}
    finally:
        campaign.cluster.call("scontrol", "update", node, "State=RESUME")
    campaign.finish()
    assert campaign.jobs() == {job: "COMPLETED"}
    assert campaign.resumed() == 1


ALL_METHODS = "dg-sct,late-fusion,majority-class"
# The methods of each scenario, and how many runs they are.
SCENARIOS: dict[Callable[[OnSlurm], None], tuple[str, int]] = {
    out_of_time: ("dg-sct", 1),
    drained: ("dg-sct", 1),
    killed_driver: ("dg-sct", 1),
    preempted: ("dg-sct", 1),
    requeued: ("dg-sct", 1),
    cancelled: ("dg-sct", 1),
    killed_trainer: ("dg-sct", 1),
    fails_once: ("late-fusion", 3),
    plain: (ALL_METHODS, 5),
}


@pytest.fixture(scope="module")
def campaigns(mini_world, tmp_path_factory):
    """Every scenario with its campaign, started; and an undisturbed campaign on this machine alone."""
    folder = tmp_path_factory.mktemp("slurm")
    here = Campaign(folder / "here", mini_world, dict(os.environ), ALL_METHODS)
    here.start("--cores", "1")
    with Cluster(cpus=len(SCENARIOS)) as cluster, ThreadPoolExecutor(len(SCENARIOS)) as pool:
        started: dict[str, tuple[OnSlurm, Future]] = {}
        for scenario, (methods, _) in SCENARIOS.items():
            campaign = OnSlurm(cluster, folder / scenario.__name__, mini_world, methods)
            started[scenario.__name__] = (campaign, pool.submit(timed, scenario, campaign))
        try:
            yield here, started
        finally:
            for campaign in (here, *(campaign for campaign, _ in started.values())):
                campaign.stop()


def timed(scenario: Callable[[OnSlurm], None], campaign: OnSlurm) -> float:
    """Seconds that a scenario takes beside all others."""
    begin = time.monotonic()
    scenario(campaign)
    return time.monotonic() - begin


@pytest.fixture(scope="module")
def undisturbed(campaigns):
    here, _ = campaigns
    here.finish()
    return here


def expected_table(undisturbed: Campaign, runs: list[Run], folder: Path) -> dict[str, str]:
    """Table 1 from these undisturbed records alone."""
    for run in runs:
        (folder / run.folder).mkdir(parents=True)
        (folder / run.folder / "record.json").symlink_to(undisturbed.path(run) / "record.json")
    for name in ("data", "encoders"):
        (folder / name).symlink_to((undisturbed.folder / "results" / name).resolve())
    write_table(build_table(load_experiments()["table1"], Settings(seeds=1), folder), folder / "tables")
    return undisturbed.table(folder / "tables")


@pytest.mark.parametrize(
    ("name", "number"), [(scenario.__name__, number) for scenario, (_, number) in reversed(SCENARIOS.items())]
)
def test_records_and_table_are_those_of_an_undisturbed_run(campaigns, undisturbed, name, number, tmp_path):
    campaign, outcome = campaigns[1][name]
    print(f"{name}: {outcome.result(SECONDS):.0f} s beside the others")  # pytest -rP shows it
    runs = campaign.runs()
    assert len(runs) == number
    for run in runs:
        assert without_times(campaign.record(run)) == without_times(undisturbed.record(run))
        assert not (campaign.path(run) / "lock.json").exists()
    made = campaign.table(campaign.folder / "paper_tables/mini/release")
    expected = expected_table(undisturbed, runs, tmp_path)
    assert sorted(made) == ["table1.csv", "table1.html", "table1.md", "table1.tex"]
    for file, text in made.items():
        assert text == expected[file]

"""The DAG on a real Slurm: what a cluster does to jobs changes no result, and nothing trains twice.

All campaigns run at the same time on one node; each has its own results folder, and its test waits for it.
"""

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from campaign_rig import LEAVING, SECONDS, Campaign, OnSlurm, asked_to_stop, wait_for, without_times
from slurm_rig import Cluster, missing
from workflow_rig import ROOT

from dgsct.publish.render import write_table
from dgsct.publish.tables import build_table
from dgsct.runs.experiments import Settings, load_experiments
from dgsct.runs.run import Run

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "-")

DG_SCT = Run.make("ave", "dg-sct")


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
    with campaign.held(DG_SCT) as trainer:  # so that it is not done before
        *_, minutes, _ = ["0", *campaign.cluster.call("squeue", "-h", "-o", "%M", "-j", str(job)).split(":")]
        campaign.cluster.call("scontrol", "update", f"JobId={job}", f"TimeLimit={int(minutes) + 2}")
        wait_for(lambda: asked_to_stop(trainer), "signal")
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
    campaign.start(*LEAVING)
    job = campaign.training()
    campaign.send_away(DG_SCT)
    campaign.finish()
    states = campaign.jobs()
    assert states.pop(max(states)) == "COMPLETED"
    # The next job of the run may start, and be sent away, before the one that wants its place.
    assert not states or (job in states and len(states) <= 2)
    assert campaign.resumed() >= 1


def killed_trainer(campaign: OnSlurm) -> None:
    campaign.start()
    campaign.training()
    os.kill(campaign.trainer(DG_SCT), signal.SIGKILL)
    campaign.finish()
    assert list(campaign.jobs().values()) == ["FAILED", "COMPLETED"]
    assert campaign.resumed() == 1


def killed_driver(campaign: OnSlurm) -> None:
    """The job goes on; the next call submits another, which must not train beside it."""
    campaign.start()
    first = campaign.training()
    with campaign.held(DG_SCT):  # so that it is not done before
        campaign.driver.kill()
        campaign.driver.wait()
        campaign.start("--unlock")
        campaign.finish()
        assert campaign.jobs() == {first: "RUNNING"}
        campaign.start()
        wait_for(lambda: len(campaign.jobs()) > 1, "second job")
    campaign.finish()
    assert campaign.jobs()[first] == "COMPLETED"
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
    here = Campaign(folder / "here", mini_world, dict(os.environ), "table1", "tasks=ave", f"methods={ALL_METHODS}")
    here.start("--cores", "1")
    with Cluster(cpus=len(SCENARIOS)) as cluster, ThreadPoolExecutor(len(SCENARIOS)) as pool:
        started: dict[str, tuple[OnSlurm, Future]] = {}
        for scenario, (methods, _) in SCENARIOS.items():
            place = folder / scenario.__name__
            campaign = OnSlurm(cluster, place, mini_world, "table1", "tasks=ave", f"methods={methods}")
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

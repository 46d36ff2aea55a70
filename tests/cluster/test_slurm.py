"""The DAG on a real Slurm: what a cluster does to jobs changes no result, and nothing trains twice.

All campaigns run at the same time on one node; each has its own results folder, and its test waits for it. Their runs are of
the toy method, which trains as slowly as is needed for what happens to them.
"""

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from campaign_rig import LEAVING, SECONDS, Campaign, OnSlurm, asked_to_stop
from family_rig import CHILD, PARENT
from pixels import PACE
from slurm_rig import Cluster, missing
from toy_rig import EXPERIMENTS, known_everywhere, wait_for, without_times
from workflow_rig import ROOT

from dgsct.engine.checkpoint import check_best
from dgsct.publish.render import write_table
from dgsct.publish.tables import build_table
from dgsct.runs.experiments import Settings, load_experiments
from dgsct.runs.inputs import BEST
from dgsct.runs.run import Run

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "-")

TOY = Run("ave", "pixels")
SEEDS = 3
SLOWLY = {PACE: "0.3"}  # seconds of a step: some seconds are left of a training that has left a checkpoint


def plain(campaign: OnSlurm) -> None:
    campaign.start()
    campaign.finish()
    assert list(campaign.jobs().values()) == ["COMPLETED"]  # six runs, one job


def failed_killed_and_cancelled(campaign: OnSlurm) -> None:
    """The first job ends with an error of the site's own, the trainer of the second is killed, the third is cancelled."""
    site = (ROOT / "workflow/config/site.yaml").read_text()
    assert "before: null" in site
    once = f"test -e {campaign.folder}/once || {{ touch {campaign.folder}/once; exit 3; }}"
    (campaign.folder / "site.yaml").write_text(site.replace("before: null", f'before: "{once}"'))
    campaign.settings.append("site=site.yaml")
    campaign.start()
    killed = campaign.training()
    first = campaign.trainer(TOY)
    os.kill(first, signal.SIGKILL)
    campaign.another_trainer(TOY, first)
    cancelled = max(campaign.jobs())
    assert cancelled > killed
    campaign.cluster.call("scancel", str(cancelled))
    campaign.finish()
    assert list(campaign.jobs().values()) == ["FAILED", "FAILED", "CANCELLED", "COMPLETED"]
    assert campaign.resumed() == 2


def drained_and_out_of_time(campaign: OnSlurm) -> None:
    """A job is put back while its node takes no jobs, and starts when it takes them again. Then its limit comes nearer than
    the two minutes before which the profile asks for a signal; Slurm looks every 30 s.
    """
    node = f"NodeName={campaign.cluster.node}"
    campaign.start()
    job = campaign.training()
    first = campaign.trainer(TOY)
    campaign.cluster.call("scontrol", "update", node, "State=DRAIN", "Reason=test")
    try:
        time.sleep(1)
        assert campaign.jobs() == {job: "RUNNING"}
        campaign.cluster.call("scontrol", "requeue", str(job))
        wait_for(lambda: campaign.jobs() == {job: "PENDING"}, "job that was put back", SECONDS)
        time.sleep(12)  # longer than a job that was put back is held anyway
        assert campaign.jobs() == {job: "PENDING"}
    finally:
        campaign.cluster.call("scontrol", "update", node, "State=RESUME")
    campaign.another_trainer(TOY, first)
    assert campaign.jobs() == {job: "RUNNING"}
    with campaign.held(TOY) as trainer:  # so that it is not done before
        *_, minutes, _ = ["0", *campaign.cluster.call("squeue", "-h", "-o", "%M", "-j", str(job)).split(":")]
        campaign.cluster.call("scontrol", "update", f"JobId={job}", f"TimeLimit={int(minutes) + 2}")
        wait_for(lambda: asked_to_stop(trainer), "signal", SECONDS)
    campaign.finish()
    assert list(campaign.jobs().values()) == ["FAILED", "COMPLETED"]
    assert campaign.resumed() == 2


def killed_driver(campaign: OnSlurm) -> None:
    """The job goes on; the next call submits another, which must not train beside it."""
    campaign.start()
    first = campaign.training()
    with campaign.held(TOY):  # so that it is not done before
        campaign.driver.kill()
        campaign.driver.wait()
        campaign.start("--unlock")
        campaign.finish()
        assert campaign.jobs() == {first: "RUNNING"}
        campaign.start()
        wait_for(lambda: len(campaign.jobs()) > 1, "second job", SECONDS)
    campaign.finish()
    assert campaign.jobs()[first] == "COMPLETED"
    assert campaign.resumed() == 0


def sent_away(campaign: OnSlurm) -> None:
    """A parent and its child, both by jobs that go first."""
    campaign.start(*LEAVING)
    for run in (PARENT, CHILD):
        campaign.checkpoint(run.folder)
        campaign.send_away(run)  # at once: these runs take seconds
    campaign.finish()
    assert campaign.jobs()[max(campaign.jobs())] == "COMPLETED"
    assert all(campaign.record(run)["provenance"]["resumed"] >= 1 for run in (PARENT, CHILD))


YARDSTICKS = 3
# The methods of each scenario on AVE, and how many runs they are.
SCENARIOS: dict[Callable[[OnSlurm], None], tuple[str, int]] = {
    drained_and_out_of_time: ("pixels", 1),
    failed_killed_and_cancelled: ("pixels", 1),
    killed_driver: ("pixels", 1),
    plain: ("", SEEDS + YARDSTICKS),
}
FAMILY = f"results/{CHILD.folder}/record.json"


def settings(methods: str) -> list[str]:
    return [f"experiments={EXPERIMENTS}", *([f"methods={methods}", "seeds=1"] if methods else [f"seeds={SEEDS}"])]


@pytest.fixture(scope="module")
def campaigns(mini_world, family, once, tmp_path_factory):
    """Every scenario with its campaign, started; and undisturbed campaigns on this machine alone."""
    folder, scenarios = tmp_path_factory.mktemp("slurm"), dict(SCENARIOS)
    with known_everywhere(once) as env, ThreadPoolExecutor(len(scenarios) + 1) as pool, Cluster(len(scenarios) + 1) as cluster:
        here = Campaign(folder / "here", mini_world, env, "toys", *settings(""))
        family_here = Campaign(folder / "family_here", family, env, FAMILY)
        started: dict[str, tuple[OnSlurm, Future]] = {}

        def start(scenario: Callable[[OnSlurm], None], world: Path, target: str, *more: str) -> None:
            slowly = {} if scenario is plain else SLOWLY
            campaign = OnSlurm(cluster, folder / scenario.__name__, world, target, *more, **slowly)
            started[scenario.__name__] = (campaign, pool.submit(timed, scenario, campaign))

        try:
            start(sent_away, family, FAMILY)
            for scenario, (methods, _) in scenarios.items():
                start(scenario, mini_world, "toys", *settings(methods))
            for campaign in (here, family_here):
                campaign.start("--cores", "1")
            yield here, family_here, started
        finally:
            for campaign in (here, family_here, *(campaign for campaign, _ in started.values())):
                campaign.stop()


def timed(scenario: Callable[[OnSlurm], None], campaign: OnSlurm) -> float:
    """Seconds that a scenario takes beside all others."""
    begin = time.monotonic()
    scenario(campaign)
    return time.monotonic() - begin


def ended(campaigns, name: str) -> OnSlurm:
    """The campaign of a scenario, which has gone as it should."""
    campaign, outcome = campaigns[2][name]
    print(f"{name}: {outcome.result(SECONDS):.0f} s beside the others")  # pytest -rP shows it
    return campaign


def expected_table(undisturbed: Campaign, runs: list[Run], folder: Path) -> dict[str, str]:
    """The table from these undisturbed records alone."""
    for run in runs:
        (folder / run.folder).mkdir(parents=True)
        (folder / run.folder / "record.json").symlink_to(undisturbed.path(run) / "record.json")
    for name in ("data", "encoders"):
        (folder / name).symlink_to((undisturbed.folder / "results" / name).resolve())
    seeds = len({run.seed for run in runs})
    write_table(build_table(load_experiments(EXPERIMENTS)["toys"], Settings(seeds=seeds), folder), folder / "tables")
    return undisturbed.table(folder / "tables")


def without_place(text: str, results: Path) -> str:
    """The text of a table, whose HTML names the records that it shows by their paths."""
    return text.replace(f"{results}/", "")


@pytest.mark.parametrize(
    ("name", "number"), [(scenario.__name__, number) for scenario, (_, number) in reversed(SCENARIOS.items())]
)
def test_records_and_table_are_those_of_an_undisturbed_run(campaigns, name, number, tmp_path):
    campaign, undisturbed = ended(campaigns, name), campaigns[0]
    undisturbed.finish()
    runs = campaign.runs()
    assert len(runs) == number
    for run in runs:
        assert without_times(campaign.record(run)) == without_times(undisturbed.record(run))
        assert not (campaign.path(run) / "lock.json").exists()
    made = campaign.table(campaign.folder / "paper_tables/mini/release")
    expected = expected_table(undisturbed, runs, tmp_path)
    assert sorted(made) == ["toys.csv", "toys.html", "toys.md", "toys.tex"]
    for file, text in made.items():
        assert without_place(text, campaign.folder / "results") == without_place(expected[file], tmp_path)


def test_a_parent_and_its_child_are_sent_away_and_end_as_if_nothing_had_happened(campaigns):
    campaign, undisturbed = ended(campaigns, "sent_away"), campaigns[1]
    undisturbed.finish()
    for run in (PARENT, CHILD):
        assert undisturbed.record(run)["provenance"]["resumed"] == 0
        assert without_times(campaign.record(run)) == without_times(undisturbed.record(run))
        assert check_best(campaign.path(run) / BEST) == check_best(undisturbed.path(run) / BEST)
        assert not (campaign.path(run) / "lock.json").exists()

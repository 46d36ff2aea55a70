"""A parent and its child on a real Slurm that sends both away: their records are those of an undisturbed call."""

import os

import pytest
from campaign_rig import LEAVING, Campaign, OnSlurm, without_times
from family_rig import CHILD, PARENT
from slurm_rig import Cluster, missing

from dgsct.engine.checkpoint import check_best
from dgsct.runs.inputs import BEST

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "-")
TARGET = f"results/{CHILD.folder}/record.json"


@pytest.fixture(scope="module")
def undisturbed(family, tmp_path_factory):
    """Both runs on this machine."""
    here = Campaign(tmp_path_factory.mktemp("family") / "here", family, dict(os.environ), TARGET)
    here.start("--cores", "1")
    yield here
    here.stop()


def test_both_are_sent_away_and_end_as_if_nothing_had_happened(family, undisturbed, tmp_path):
    with Cluster(cpus=2) as cluster:
        campaign = OnSlurm(cluster, tmp_path / "sent_away", family, TARGET)
        try:
            campaign.start(*LEAVING)
            for run in (PARENT, CHILD):
                campaign.checkpoint(run.folder)
                campaign.send_away(run)  # at once: these runs take seconds
            campaign.finish()
        finally:
            campaign.stop()
    undisturbed.finish()
    for run in (PARENT, CHILD):
        assert campaign.record(run)["provenance"]["resumed"] >= 1
        assert undisturbed.record(run)["provenance"]["resumed"] == 0
        assert without_times(campaign.record(run)) == without_times(undisturbed.record(run))
        assert check_best(campaign.path(run) / BEST) == check_best(undisturbed.path(run) / BEST)
        assert not (campaign.path(run) / "lock.json").exists()

"""What a plan takes from the site file: several GPUs for a run, and how much disk stays taken."""

import json

from call_rig import Said, call

from dgsct.campaign.plan import judge, make_plan
from dgsct.campaign.plan_report import plain_plan, plan_json
from dgsct.runs.experiments import Settings
from dgsct.runs.run import Run
from dgsct.runs.site import Site

RUNS = [Run.make("ave", name, scale="paper") for name in ("dg-sct", "late-fusion", "majority-class")]


def planned(root, site: dict, needed=()):
    settings = Settings(scale="paper", seeds=1)
    return make_plan(judge(RUNS, root), settings, root, 1, Site.model_validate(site), needed)


def test_runs_on_several_gpus_are_named(tmp_path):
    plan = planned(tmp_path, {"runs": {"*/dg-sct": {"gpus": 4}}})
    assert {run["run"].split("/")[4]: run["gpus"] for run in plan_json(plan)["runs"]} == {
        "dg-sct": 4, "late-fusion": 1, "majority-class": 0
    }  # fmt: skip
    assert "1 run trains on 4 GPUs each, by the site file" in plain_plan(plan)
    assert "GPUs each" not in plain_plan(planned(tmp_path, {}))


def test_weights_that_go_are_not_among_the_results(tmp_path):
    weights = {site: planned(tmp_path, {"run": {"keep": site}}).disk.results for site in ("weights", "record")}
    dg_sct, late_fusion = (4 * run.part.trainable["paper"] for run in RUNS[:2])
    assert weights["weights"] - weights["record"] == dg_sct + late_fusion
    spared = planned(tmp_path, {"run": {"keep": "record"}}, needed={RUNS[1]}).disk
    assert spared.results - weights["record"] == late_fusion


def test_the_command_reads_the_site_file(tmp_path):
    (tmp_path / "good.yaml").write_text('runs: {"*/linear-probe": {gpus: 2}}')
    (tmp_path / "bad.yaml").write_text('runs: {"*/linear-prob": {gpus: 2}}')

    def plan(site: str) -> Said:
        words = [
            "table1",
            "--scale",
            "paper",
            "--methods",
            "linear-probe,majority-class",
            "--seeds",
            "1",
            "--no-probe",
            "--no-write",
        ]
        return call(tmp_path, "plan", *words, "--json", "--site", site)

    told = json.loads(plan("good.yaml").out)
    assert {run["run"].split("/")[4]: run["gpus"] for run in told["runs"]} == {"linear-probe": 2, "majority-class": 0}
    done = plan("bad.yaml")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(
        "dgsct: bad.yaml: runs.*/linear-prob: no method is called 'linear-prob'; did you mean 'linear-probe'?"
    )

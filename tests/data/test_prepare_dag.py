"""The DAG's rule: what a killed or failed job has prepared outlives Snakemake's cleaning, and is taken up."""

import os
import signal
import time
from pathlib import Path

from workflow_rig import ROOT, blocked, snakemake, started, stub_world

MANIFEST = "results/data/mini/ave/packed/manifest.json"


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def journal(folder: Path) -> int:
    path = folder / "results/data/mini/ave/.packed.partial/journal.jsonl"
    return path.read_text().count("\n") - 1 if path.exists() else 0


def preparation(pid: int) -> int:
    """The process id of `dgsct prepare` among the descendants of `pid`."""
    arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    if b"dgsct.cli" in arguments and arguments[0].endswith(b"python"):
        return pid
    below = [c for task in Path(f"/proc/{pid}/task").iterdir() for c in (task / "children").read_text().split()]
    return next((found for child in below if (found := preparation(int(child)))), 0)


def wait_for(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_killed_job_and_a_stopped_one_are_gone_on_with(forty, forty_undisturbed, tmp_path):
    (tmp_path / "results/data/mini/ave").mkdir(parents=True)
    (tmp_path / "results/data/mini/ave/raw").symlink_to(forty)
    log = tmp_path / "results/data/mini/ave/prepare.log"
    reached = 0
    for number, everything, goal in ((signal.SIGKILL, True, 6), (signal.SIGTERM, False, 14)):
        work = started(tmp_path, MANIFEST, "--nolock", "--cores", "2", said=tmp_path / "said", first=os.setsid)
        wait_for(lambda goal=goal: journal(tmp_path) >= goal)
        if everything:
            os.killpg(work.pid, number)
        else:
            os.kill(preparation(work.pid), number)
        assert work.wait(120) != 0
        assert not (tmp_path / MANIFEST).exists()
        assert (f"{reached} of 40 clips are taken up" in log.read_text()) == bool(reached)
        reached = journal(tmp_path)
        assert reached >= goal
    assert f"dgsct: stopped after {reached} of 40 clips; start it again to go on" in log.read_text()
    said = snakemake(tmp_path, MANIFEST, "--nolock")
    assert said.code == 0, said.text
    assert f"{reached} of 40 clips are taken up from an earlier call" in log.read_text()
    packed = (tmp_path / MANIFEST).parent
    assert content(packed) == content(forty_undisturbed)

    # Asked to make it again, Snakemake deletes the manifest; the sources are the same, so nothing is decoded.
    said = snakemake(tmp_path, MANIFEST, "--forcerun", "prepare")
    assert said.jobs == {"prepare": 1}
    assert said.code == 0, said.text
    assert "is already prepared from these sources" in log.read_text()
    assert content(packed) == content(forty_undisturbed)


def test_the_sets_of_segmentation_go_the_same_way(tmp_path):
    """Generated where nothing is, prepared from the site's folder at full size; planned without torch."""
    folder = stub_world(tmp_path)
    for task, index in (("avs-s4", "Single-source/s4_meta_data.csv"), ("avs-ms3", "Multi-sources/ms3_meta_data.csv")):
        said = snakemake(folder, f"results/data/mini/{task}/packed/manifest.json", env=None)
        assert said.code == 0, said.text
        assert said.jobs == {"mini_world": 1, "prepare": 1}
        assert (folder / f"results/data/mini/{task}/raw/{index}").exists()
        (tmp_path / "AVSBench_data" / index).parent.mkdir(parents=True)
        (tmp_path / "AVSBench_data" / index).write_text("name,split\n")
        site = (ROOT / "workflow/config/site.yaml").read_text().replace(f"{task}: null", f"{task}: {tmp_path}/AVSBench_data")
        (tmp_path / "site.yaml").write_text(site)
        manifest = f"results/data/paper/{task}/packed/manifest.json"
        env = blocked(tmp_path / "blocker")
        said = snakemake(folder, manifest, "-n", "--config", f"site={tmp_path}/site.yaml", env=env)
        assert said.jobs == {"prepare": 1}, said.text
        said = snakemake(folder, manifest, "-n")
        assert said.code == 1
        assert f"scale paper needs data.{task}: give its path in" in said.text

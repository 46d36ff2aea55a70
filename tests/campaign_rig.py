"""Campaigns: a results folder with the Snakemake call that fills it, on this machine or on a test cluster (`slurm_rig`)."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from slurm_rig import Cluster
from toy_rig import wait_for
from workflow_rig import ROOT

from dgsct.runs.run import Run

SECONDS = 1800.0  # on a machine that is busy with other tests


def asked_to_stop(pid: int) -> bool:
    """Whether SIGTERM has ended a process, or waits for it, as it is held."""
    try:
        waiting = re.search(r"^ShdPnd:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.M)
    except FileNotFoundError:
        return True
    return waiting is None or bool(int(waiting[1], 16) & 1 << signal.SIGTERM - 1)


class Campaign:
    """A results folder, and the Snakemake call that fills it."""

    def __init__(self, folder: Path, world: Path, env: dict[str, str], target: str, *settings: str) -> None:
        self.folder, self.env, self.target = folder, env, target
        self.settings = ["--config", *(settings or ["seeds=1"])]
        self.driver: subprocess.Popen | None = None
        (folder / "results").mkdir(parents=True)
        for path in world.iterdir():
            (folder / "results" / path.name).symlink_to(path)

    def start(self, *options: str) -> None:
        command = [sys.executable, "-m", "snakemake", self.target, "--snakefile", str(ROOT / "Snakefile")]
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
        return {path.name: path.read_text() for path in sorted(folder.glob(f"{self.target}.*")) if path.suffix != ".json"}

    def stop(self) -> None:
        if self.driver and self.driver.poll() is None:
            self.driver.kill()
            self.driver.wait()


class OnSlurm(Campaign):
    """A campaign with the profile `slurm`; its jobs are known by their names."""

    def __init__(self, cluster: Cluster, folder: Path, world: Path, target: str, *settings: str, **env: str) -> None:
        super().__init__(folder, world, {**cluster.env, **env}, target, *settings)
        self.cluster = cluster

    def start(self, *options: str) -> None:
        profile = ["--profile", str(ROOT / "workflow/profiles/slurm"), "--slurm-jobname-prefix", self.folder.name]
        super().start(*profile, "--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "10", *options)

    def jobs(self) -> dict[int, str]:
        return self.cluster.jobs(f"{self.folder.name}_")

    def checkpoint(self, where: Path | str = "runs/**") -> None:
        """Wait until the run in the folder `where`, or any, has left a checkpoint."""
        steps = f"results/{where}/checkpoints/step-*"
        wait_for(lambda: list(self.folder.glob(steps)) or self.driver.poll() is not None, "checkpoint", SECONDS)
        assert self.driver.poll() is None, self.said()

    def training(self) -> int:
        """The job that trains; waits until it has left a checkpoint."""
        self.checkpoint()
        return max(self.jobs())

    def trainer(self, run: Run) -> int:
        """The process that trains `run`."""
        return json.loads((self.path(run) / "lock.json").read_text())["pid"]

    def another_trainer(self, run: Run, before: int) -> None:
        """Wait until another process than `before` trains `run`, and has gone on from its checkpoint."""

        def there() -> bool:
            with suppress(FileNotFoundError, ValueError):
                log = (self.path(run) / "job.log").read_text()
                return self.trainer(run) != before and "resumed at epoch" in log and "\nepoch" in log
            return self.driver.poll() is not None

        wait_for(there, "other trainer", SECONDS)
        assert self.driver.poll() is None, self.said()

    @contextmanager
    def held(self, run: Run) -> Iterator[int]:
        """The process that trains `run`, stopped meanwhile."""
        pid = self.trainer(run)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield pid
        finally:
            with suppress(ProcessLookupError):  # Slurm may have let it go on itself
                os.kill(pid, signal.SIGCONT)

    def send_away(self, run: Run) -> None:
        """A job of a partition that goes first wants what the node has once, which the job that trains `run` has asked for."""
        with self.held(run) as trainer:  # so that it is not done before
            self.cluster.call("sbatch", "--partition=work", "--gres=slot:1", "--output=/dev/null", "--wrap=sleep 3")
            wait_for(lambda: asked_to_stop(trainer), "signal", SECONDS)

    def resumed(self) -> int:
        return sum(self.record(run)["provenance"]["resumed"] for run in self.runs())


LEAVING = ("--set-resources", "train:slurm_partition=low", "train:gres=slot:1")  # a campaign that `send_away` reaches

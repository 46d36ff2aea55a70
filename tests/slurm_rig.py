"""A real Slurm on this machine for tests and benchmarks: one node, no systemd, nothing outside its own folder.

Needs root and Debian's packages munge, slurmctld, slurmd and slurm-client. What is particular here, and why:

- no cgroups: processes are followed by their parents, memory is not enforced, and the node may claim more than there is;
- `cred_expire=5`: a requeued job is held back for 10 s, not for two minutes;
- `MinJobAge`: finished jobs stay visible to squeue, so no accounting database is needed;
- `srun` is wrapped, as Snakemake drops SLURM_CONF before it calls srun inside a job;
- partitions: `work` (the default), and `low`, whose jobs leave for those of `work`. `slot` is a thing that the node has
  once, so that two jobs that ask for it cannot run side by side. GPUs are links to /dev/null.
"""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "setpriv")
SYSTEM_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])

CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={run}/munge,cred_expire=5
StateSaveLocation={run}/state
SlurmdSpoolDir={run}/spool
SlurmctldPidFile={run}/slurmctld.pid
SlurmdPidFile={run}/slurmd.pid
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
MpiDefault=none
SwitchType=switch/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2,max_rpc_cnt=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=5
ReturnToService=2
MinJobAge=3600
GresTypes=gpu,slot
NodeName={host} NodeAddr=127.0.0.1 Sockets=1 CoresPerSocket={cpus} ThreadsPerCore=1 RealMemory={memory} Gres=gpu:{gpus},slot:1
PartitionName=work Nodes={host} Default=YES MaxTime=1-0 DefaultTime=60 DefMemPerCPU=500 PriorityTier=10 PreemptMode=OFF
PartitionName=low Nodes={host} MaxTime=1-0 DefaultTime=60 DefMemPerCPU=500 PriorityTier=1 PreemptMode=REQUEUE GraceTime=5
"""


def missing() -> str:
    """Why no Slurm can be started here; empty where one can."""
    absent = [name for name in PROGRAMS if not shutil.which(name, path=SYSTEM_PATH)]
    if absent:
        return f"Slurm is not installed ({', '.join(absent)}); on Debian: munge slurmctld slurmd slurm-client"
    return "" if os.geteuid() == 0 else "a Slurm of one's own needs root"


class Cluster:
    """The daemons, as a context. They are children of this process, and end with it even if it is killed."""

    def __init__(self, cpus: int = 4, gpus: int = 2, memory: int = 64_000) -> None:
        self.size = {"cpus": cpus, "gpus": gpus, "memory": memory}  # MiB
        self.node = socket.gethostname().partition(".")[0]
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # short: the path of a socket has a limit
        self.daemons: list[subprocess.Popen] = []
        self.env = {
            **os.environ,
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "PATH": os.pathsep.join([str(self.folder / "bin"), SYSTEM_PATH]),
            "TMPDIR": str(self.folder),
        }

    def __enter__(self) -> "Cluster":
        try:
            self._write()
            run = self.folder
            places = {"key-file": "key", "socket": "munge", "pid-file": "munge.pid", "seed-file": "munge.seed"}
            self._start("munged", "--foreground", "--force", *(f"--{name}={run / file}" for name, file in places.items()))
            self._until(lambda: not self._call("munge", "-S", str(run / "munge"), "-n").returncode, "munged")
            self._start("slurmctld", "-D", "-f", self.env["SLURM_CONF"])
            self._start("slurmd", "-D", "-f", self.env["SLURM_CONF"])
            self._until(lambda: "idle" in self._call("sinfo", "-h", "-o", "%T").stdout, "an idle node")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for daemon in reversed(self.daemons):  # nobody needs their state any more
            daemon.kill()
            daemon.wait()
        for process in psutil.process_iter():  # what jobs have left: without cgroups nobody else would end it
            with suppress(psutil.Error):
                if process.environ().get("TMPDIR") == self.env["TMPDIR"] and process.pid != os.getpid():
                    process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def call(self, *command: str) -> str:
        """Output of a Slurm command."""
        done = self._call(*command)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
        return done.stdout

    def jobs(self, prefix: str = "") -> dict[int, str]:
        """Numbers and states of all jobs there have been whose names begin with `prefix`, in their order."""
        lines = self.call("squeue", "-h", "-o", "%i %T %j", "--states=all", "--sort=i").splitlines()
        lines = [line.split() for line in lines]
        return {int(number): state for number, state, name in lines if name.startswith(prefix)}

    def log(self) -> str:
        """The end of what the daemons said."""
        return "\n".join(
            f"{path.name}:\n" + "\n".join(path.read_text(errors="replace").splitlines()[-15:])
            for path in sorted(self.folder.glob("*.log"))
        )

    def _call(self, *command: str) -> subprocess.CompletedProcess:
        return subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60, check=False)

    def _start(self, program: str, *arguments: str) -> None:
        log = open(self.folder / f"{program}.log", "w")  # noqa: SIM115 - the daemon keeps it
        command = ["setpriv", "--pdeathsig", "TERM", program, *arguments]
        self.daemons.append(subprocess.Popen(command, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def _until(self, there, what: str, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not there():
            if time.monotonic() > deadline:
                raise RuntimeError(f"Slurm: no {what} after {seconds:.0f} s\n{self.log()}")
            time.sleep(0.1)

    def _write(self) -> None:
        run = self.folder
        for name in ("state", "spool", "bin"):
            (run / name).mkdir()
        run.chmod(0o755)
        (run / "key").touch(mode=0o600)
        (run / "key").write_bytes(secrets.token_bytes(1024))
        controller, daemon = _free_ports(2)
        text = CONFIG.format(host=self.node, run=run, controller=controller, daemon=daemon, **self.size)
        (run / "slurm.conf").write_text(text)
        devices = [run / f"gpu{i}" for i in range(self.size["gpus"])]
        for device in devices:
            device.symlink_to("/dev/null")
        lines = [f"NodeName={self.node} Name=gpu File={device}" for device in devices]
        (run / "gres.conf").write_text("\n".join([*lines, f"NodeName={self.node} Name=slot Count=1", ""]))
        (run / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nConstrainDevices=no\n")
        srun = run / "bin" / "srun"
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={self.env["SLURM_CONF"]} exec {shutil.which("srun", path=SYSTEM_PATH)} "$@"\n')
        srun.chmod(0o755)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports

"""Many runs in one process tree: torch and timm are imported once, every run is a fork of that process.

`train RUN_FOLDER` is what the DAG calls. For scales with short runs it hands the run to a small server on this machine
(started on first use, gone after a minute of idleness), which forks; for long runs it trains in its own process.
`bundle` does the same for a list of runs without a server. A fork costs a few hundredths of a second; a fresh
interpreter with torch and timm costs seconds.
"""

import argparse
import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from dgsct.engine.execution import HERE, Execution, execution_of, execution_parser
from dgsct.engine.rendezvous import for_temporary_files, name_of, own_folder
from dgsct.errors import DgsctError, Stopped, exit_code
from dgsct.methods import METHODS
from dgsct.tasks import TASKS

IDLE_SECONDS = 60.0
START_SECONDS = 180.0
STARTED = b"s"
FORWARDED = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
PR_SET_PDEATHSIG = 1
# Without the first two glibc before 2.38 does not use a tensor's freed memory again for an equal one, as crumbs beside it
# lie in small caches; the third asks for huge pages, of which fewer are to be cleared (docs/performance.md). Read when a
# process starts.
HEAP = "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0:glibc.malloc.hugetlb=1"


def preload() -> None:
    """Import everything that a run needs, and hash it for the keys of all forks.

    No tensor is touched, so no thread or device exists that a fork would break.
    """
    from dgsct.runs.run import Run

    for name in ("accelerate", "timm", "torchaudio.functional", "dgsct.engine.execute"):
        import_module(name)
    for task in TASKS.values():
        import_module(task.module)
    for run in (Run.make(task, method.name) for method in METHODS.values() for task in method.parts):
        import_module(run.part.module)
        run.code()


def fork_run(argv: Sequence[str], stdout: int, stderr: int, cwd: str, env: dict[str, str]) -> int:
    """Fork; the child becomes the run `argv` (see `engine.main`) with its output on the given descriptors. Returns its pid.

    The child keeps nothing else open: a socket that it held would outlive the server. It is told to stop when this process
    is killed.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        for name in (*FORWARDED, signal.SIGCHLD):
            signal.signal(name, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
        signal.set_wakeup_fd(-1)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        # Streams of its own: the server's belong to its log. They last as long as the run.
        sys.stdout, sys.stderr = (open(fd, "w", 1, errors="backslashreplace", closefd=False) for fd in (1, 2))  # noqa: SIM115
        os.closerange(3, 1024)
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(Stopped.exit_code)
        from dgsct.engine.execute import main

        code = main(list(argv))
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):  # else the child would go on as the server
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _socket_path() -> Path:
    """One server for this user, interpreter and state of the code: edited code is never served by an old process."""
    package = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256(os.fsencode(f"{sys.executable} {package}"))
    for path in sorted(package.rglob("*.py")):
        stat = path.stat()
        digest.update(os.fsencode(f"{path} {stat.st_mtime_ns} {stat.st_size}"))
    job = os.environ.get("SLURM_JOB_ID", "")  # a server dies with its allocation, so each allocation has its own
    return own_folder() / f"{job}-{digest.hexdigest()[:16]}.sock"


class Server:
    """Accepts runs on a unix socket, forks each, reports its exit code; a client that vanishes stops its run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.children: dict[int, socket.socket] = {}
        self.selector = selectors.DefaultSelector()
        self.idle = IDLE_SECONDS
        self.used = time.monotonic()

    def serve(self) -> None:
        """Run until idle for a minute, or until the last run has ended after a signal, which all runs are told."""
        preload()
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        os.set_blocking(wake_read, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for name in FORWARDED:
            signal.signal(name, self._leave)
        signal.set_wakeup_fd(wake_write)
        with socket.socket(socket.AF_UNIX) as listener:
            self.path.unlink(missing_ok=True)
            with name_of(self.path) as name:
                listener.bind(name)
            os.chmod(self.path, 0o600)
            listener.listen(64)
            self.selector.register(listener, selectors.EVENT_READ, self._accept)
            self.selector.register(wake_read, selectors.EVENT_READ, self._drain)
            self._until_idle()
            # From here on clients start a server of their own; one that got in before is still served.
            self.path.unlink(missing_ok=True)
            self.idle = 0.0
            self._until_idle()

    def _leave(self, number: int, _frame: object) -> None:
        """Slurm tells every process of a job when it is to end; runs whose server is gone would be killed while they save."""
        self.idle = 0.0
        for pid in self.children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _until_idle(self) -> None:
        waiting = True
        while waiting or self.children or time.monotonic() - self.used < self.idle:
            ready = self.selector.select(timeout=1.0 if self.children or self.idle else 0.0)
            for key, _ in ready:
                key.data(key.fileobj)
            self._reap()
            waiting = bool(ready)

    def _drain(self, pipe: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(pipe, 4096)

    def _accept(self, listener: socket.socket) -> None:
        """Take a request; a client that is gone before it has made one leaves nothing behind."""
        connection, _ = listener.accept()
        connection.settimeout(10.0)
        fds: list[int] = []
        try:
            message, fds, _, _ = socket.recv_fds(connection, 1 << 20, 2)
            while message and not message.endswith(b"\n"):
                more = connection.recv(1 << 20)
                message = message + more if more else b""
            request = json.loads(message)
            connection.sendall(STARTED)
            pid = fork_run(request["argv"], fds[0], fds[1], request["cwd"], request["env"])
        except (OSError, ValueError, IndexError):
            connection.close()
            return
        finally:
            for fd in fds:
                os.close(fd)
        self.children[pid] = connection
        self.selector.register(connection, selectors.EVENT_READ, lambda c, pid=pid: self._hear(c, pid))
        self.used = time.monotonic()

    def _hear(self, connection: socket.socket, pid: int) -> None:
        """A byte is a signal to pass on; the end of the stream means that the client is gone."""
        try:
            number = connection.recv(1)
        except OSError:
            number = b""
        if not number:
            self.selector.unregister(connection)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number[0] if number else signal.SIGTERM)

    def _reap(self) -> None:
        for pid in list(self.children):
            done, status = os.waitpid(pid, os.WNOHANG)
            if not done:
                continue
            connection = self.children.pop(pid)
            code = os.waitstatus_to_exitcode(status)
            with contextlib.suppress(OSError):
                connection.sendall(bytes([code if code >= 0 else 128 - code]))
            with contextlib.suppress(KeyError):
                self.selector.unregister(connection)
            connection.close()
            self.used = time.monotonic()


def _connect(path: Path) -> socket.socket:
    """A connection to the server, which is started if it is not there."""
    deadline, started = time.monotonic() + START_SECONDS, None
    with for_temporary_files(), open(path.with_suffix(".lock"), "w") as lock, name_of(path) as name:
        fcntl.flock(lock, fcntl.LOCK_EX)
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(name)
                return connection
            except OSError:
                connection.close()
            if started is None or started.poll() is not None:
                if started is not None:
                    raise DgsctError(f"the run server did not start; see {path.with_suffix('.log')}")
                log = open(path.with_suffix(".log"), "w")  # noqa: SIM115 - the server keeps it
                command = [sys.executable, "-m", "dgsct.engine.worker", "serve", str(path)]
                started = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, pass_fds=()
                )
            if time.monotonic() > deadline:
                raise DgsctError(f"the run server did not answer in {START_SECONDS:.0f} s; see {path.with_suffix('.log')}")
            time.sleep(0.05)


def submit(argv: Sequence[str]) -> int:
    """Run `argv` (see `engine.main`) in a fork of the server; signals are passed on. Returns the run's exit code."""
    request = {"argv": list(argv), "cwd": os.getcwd(), "env": dict(os.environ)}
    connection = _ask(request) or _ask(request)  # a server that was just going away is followed by another
    if connection is None:
        raise DgsctError(f"the run server does not take runs; see {_socket_path().with_suffix('.log')}")
    for name in FORWARDED:
        signal.signal(name, lambda number, _frame: connection.sendall(bytes([number])))
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        answer = connection.recv(1)
    if not answer:
        raise Stopped("the run server was killed; its runs have been told to save and stop: start them again to go on")
    return answer[0]


def _ask(request: dict[str, object]) -> socket.socket | None:
    """A connection on which the run has been started; None if the server went away before."""
    connection = _connect(_socket_path())
    content = json.dumps(request).encode() + b"\n"
    with contextlib.suppress(OSError):
        sent = socket.send_fds(connection, [content], [1, 2])
        connection.sendall(content[sent:])
        if connection.recv(1) == STARTED:
            return connection
    connection.close()
    return None


def bundle(folders: Sequence[Path], jobs: int, say=print, execution: Execution = HERE) -> dict[Path, int]:
    """Train the runs of `folders`, `jobs` at a time, each a fork of this process; output goes to each run's `log.txt`.

    Returns the exit code of every run. SIGTERM and SIGUSR1 are passed on, so that the runs save and end with 75.
    """
    preload()
    waiting, running, codes = list(folders), {}, {}
    forbidden: OSError | None = None
    options = execution.arguments()

    def forward(number: int, _frame: object) -> None:
        waiting.clear()
        for pid in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    previous = {name: signal.signal(name, forward) for name in FORWARDED}
    try:
        while waiting or running:
            # No signal between a fork and its entry in the list: it would not reach that run.
            signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
            while waiting and len(running) < jobs:
                folder = waiting.pop(0)
                try:
                    folder.mkdir(parents=True, exist_ok=True)
                    log = open(folder / "log.txt", "a")  # noqa: SIM115 - closed below
                except OSError as error:  # those that are running end first
                    forbidden = error
                    waiting.clear()
                    break
                with log:
                    pid = fork_run([str(folder), *options], log.fileno(), log.fileno(), os.getcwd(), dict(os.environ))
                running[pid] = folder
            signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
            if not running:
                break
            pid, status = os.wait()
            code = os.waitstatus_to_exitcode(status)
            folder = running.pop(pid)
            codes[folder] = code if code >= 0 else 128 - code
            say(f"{len(codes)}/{len(folders)}  {folder}  {'done' if code == 0 else f'exit code {codes[folder]}'}")
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
        for name, handler in previous.items():
            signal.signal(name, handler)
    if forbidden is not None:
        raise forbidden
    # What a signal kept from starting can be started again, as a stopped run can.
    return {folder: codes.get(folder, Stopped.exit_code) for folder in folders}


def main(argv: list[str] | None = None) -> int:
    """Command line of the trainer that the DAG starts; argparse, so that it needs torch and timm only."""
    parser = argparse.ArgumentParser(prog="python -m dgsct.engine.worker", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="one run, by its folder", parents=[execution_parser()])
    train.add_argument("folder", type=Path)
    serve = commands.add_parser("serve", help="the server behind `train` (started by it)")
    serve.add_argument("socket", type=Path)
    args = parser.parse_args(argv)
    if args.command == "serve":
        Server(args.socket).serve()
        return 0
    # Another copy, which a driver that was killed has left behind, is waited for: its record is as good.
    execution = replace(execution_of(args), waits=True)
    return exit_code(lambda: _train(args.folder, execution))


def _train(folder: Path, execution: Execution) -> int:
    """The run of that folder: by the server where runs are short, in a process for each GPU, or in place of this one."""
    from dgsct.runs.run import Run
    from dgsct.settings.scales import get_scale

    argv = [str(folder), *execution.arguments()]
    scale = get_scale(Run.from_folder(folder).scale)
    if scale.short_runs:
        return submit(argv)
    os.environ.setdefault("GLIBC_TUNABLES", HEAP)
    if (processes := execution.gpus or scale.gpus) > 1:
        from dgsct.engine.launch import launch

        return launch(argv, processes)
    os.execv(sys.executable, [sys.executable, "-m", "dgsct.engine.execute", *argv])


if __name__ == "__main__":
    sys.exit(main())

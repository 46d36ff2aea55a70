"""One run in several processes of this machine, one for each GPU, started by torch's elastic launcher."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dgsct.engine.rendezvous import own_folder
from dgsct.errors import Stopped
from dgsct.records.results import validity
from dgsct.runs.run import Run


def launch(argv: Sequence[str], processes: int) -> int:
    """Run `argv` (see `engine.main`) in so many processes; returns the exit code of the one that ended first, if not well.

    Signals are passed on by the launcher; a process that fails ends the others. Stopped where a signal ended them. Where one
    of them gave the run up, its failed record is the outcome, whatever the others ended with: 0, as in one process.
    """
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    try:
        with tempfile.TemporaryDirectory(dir=own_folder()) as folder:
            config = LaunchConfig(
                min_nodes=1,
                max_nodes=1,
                nproc_per_node=processes,
                run_id="run",
                rdzv_backend="c10d",
                rdzv_endpoint="127.0.0.1:0",
                max_restarts=0,
                monitor_interval=0.5,
                logs_specs=DefaultLogsSpecs(log_dir=folder),  # where it notes who failed
            )
            elastic_launch(config, sys.executable)("-m", "dgsct.engine.execute", *argv)
    except ChildFailedError as error:
        run = Path(argv[0])
        if validity(Run.from_folder(run), Path(*run.parts[:-7])).given_up:
            return 0
        _, first = error.get_first_failure()
        return first.exitcode if first.exitcode > 0 else 128 - first.exitcode
    except SignalException as error:
        raise Stopped(f"{argv[0]}: {error}; its processes have been told to save, start it again to go on") from error
    return 0

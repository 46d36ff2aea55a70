"""What an executor would be given: a JSON line for every job of a dry run, in the file that `DGSCT_JOBS` names
(`dgsct plan --profile`).
"""

import json
import os

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent


class LogHandler(LogHandlerBase):
    """Snakemake's own handler stays beside it, for all that is no job."""

    writes_to_stream = False
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def emit(self, record):
        """A line for a job of its own, one for a group with its members."""
        event = getattr(record, "event", None)
        if event == LogEvent.GROUP_INFO:
            first = min(record.jobs, key=lambda job: job.jobid)
            resources = first.dag.get_job_group(first).resources
            members = [(job.rule.name, dict(job.wildcards_dict)) for job in record.jobs]
            threads = max(job.threads for job in record.jobs)
        elif event == LogEvent.JOB_INFO and not record.indent:
            resources, threads = record.resources, record.threads
            members = [(record.rule_name, dict(record.wildcards))]
        else:
            return
        plain = {name: value for name, value in dict(resources).items() if isinstance(value, int | float | str)}
        with open(os.environ["DGSCT_JOBS"], "a", encoding="utf-8") as file:
            print(json.dumps({"members": members, "threads": threads, "resources": plain}), file=file)

"""What a campaign costs before it begins, and where it stands while it runs.

Before: `plan`, `plan_report`, `probe`, `step_times`, `runtimes`, `disk`, `doctor`. During: `status`, `watching`, `queued`.
`commands` asks programs of this machine with a time limit.
"""

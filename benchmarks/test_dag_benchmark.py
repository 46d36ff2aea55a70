"""Time to plan the whole matrix: the Python part, and a dry run as the user types it."""

from workflow_rig import snakemake

from dgsct.runs.experiments import Settings, all_runs, load_experiments

RUNS = all_runs(load_experiments(), Settings())


def test_matrix_and_keys(benchmark):
    keys = benchmark(lambda: {r.plan_key() for r in all_runs(load_experiments(), Settings())})
    assert len(keys) == len(RUNS)


def test_dry_run(benchmark, tmp_path):
    printed = benchmark.pedantic(lambda: snakemake(tmp_path, "all_tables", "all_figures", "-n"), rounds=3)
    assert printed.jobs["train"] == len(RUNS)

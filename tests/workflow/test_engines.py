"""The same DAG on every engine: what one plans, the others plan."""

import pytest
from workflow_rig import ROOT, snakemake

CONFIG = ["--config", "seeds=1", "tasks=ave"]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    said = snakemake(tmp_path_factory.mktemp("here"), "table1", "-n", *CONFIG)
    assert said.code == 0, said.text
    return said.jobs


def test_slurm_plans_what_this_machine_plans(here, tmp_path):
    said = snakemake(tmp_path, "table1", "-n", "--profile", str(ROOT / "workflow/profiles/slurm"), *CONFIG)
    assert said.jobs == here
    assert "Group job short" in said.text


def test_kubernetes_plans_what_this_machine_plans(here, tmp_path):
    engine = ["--executor", "kubernetes", "--jobs", "10", "--container-image", "dgsct:1"]
    store = ["--default-storage-provider", "fs", "--default-storage-prefix", str(tmp_path / "store")]
    said = snakemake(tmp_path, "table1", "-n", *engine, *store, *CONFIG)
    assert said.jobs == here

"""A run that fails for good does not hold up the DAG: its cell is typeset as failed, and cleared it is made again."""

import csv
import shutil
import subprocess
import sys

from workflow_rig import snakemake

RUN = "results/runs/mini/release/ave/majority-class/default/s0"
CALL = ("table1", "--config", "seeds=1", "methods=majority-class,all-background")


def states(folder) -> dict[str, str]:
    with open(folder / "paper_tables/mini/release/table1.csv", encoding="utf-8") as file:
        return {row["row"]: row["state"] for row in csv.DictReader(file)}


def test_a_failing_run_is_settled_and_the_table_typeset(mini_world, tmp_path):
    shutil.copytree(mini_world / "data", tmp_path / "results/data")
    labels = tmp_path / "results/data/mini/ave/packed/labels.npy"
    good = labels.read_bytes()
    labels.write_bytes(good[:-8])
    said = snakemake(tmp_path, *CALL)
    assert said.code
    assert "labels.npy is missing or damaged" in said.text
    assert snakemake(tmp_path, *CALL).code == 0
    assert states(tmp_path)["majority-class"] == "failed"
    text = (tmp_path / "paper_tables/mini/release/table1.md").read_text(encoding="utf-8")
    assert "labels.npy is missing or damaged" in text
    assert "dgsct retry" in text
    assert "Nothing to be done" in snakemake(tmp_path, *CALL).text
    labels.write_bytes(good)
    retry = [sys.executable, "-m", "dgsct.cli", "retry"]
    cleared = subprocess.run(retry, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.split()
    assert RUN in cleared
    assert snakemake(tmp_path, *CALL).code == 0
    assert states(tmp_path)["majority-class"] == "ok"

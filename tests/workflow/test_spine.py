"""The whole way for real, from nothing: generated clips, prepared data, pretrained encoders, training, a typeset table."""

import csv
import json

import pytest
from workflow_rig import snakemake

METHODS = ("late-fusion", "all-background", "majority-class", "oracle-category")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spine")
    said = snakemake(folder, "table1", "--config", "seeds=1", f"methods={','.join(METHODS)}", timeout=1800)
    assert said.code == 0, said.text
    return folder


def test_the_table_holds_what_was_just_measured(folder):
    table = folder / "paper_tables/mini/release/table1"
    rows = {row["row"]: row for row in csv.DictReader(table.with_suffix(".csv").open(encoding="utf-8"))}
    for name in ("late-fusion", "audio-only", "visual-only", *METHODS[1:]):
        assert rows[name]["state"] == "ok"
    assert rows["dg-sct"]["state"] == "missing"
    assert rows["dg-sct"]["published"] == "82.2"
    record = json.loads((folder / "results/runs/mini/release/ave/late-fusion/default/s0/record.json").read_text())
    assert float(rows["late-fusion"]["mean"]) == pytest.approx(record["metrics"]["acc_batch8"], abs=1e-3)
    assert record["curve"][-1]["loss"] < record["curve"][0]["loss"]


def test_both_senses_beat_either_and_training_beats_the_yardsticks(folder):
    table = folder / "paper_tables/mini/release/table1.csv"
    mean = {row["row"]: float(row["mean"] or "nan") for row in csv.DictReader(table.open(encoding="utf-8"))}
    blind = max(mean["all-background"], mean["majority-class"])
    assert mean["late-fusion"] > max(mean["audio-only"], mean["visual-only"]) + 5
    assert mean["late-fusion"] > blind + 20


def test_asked_again_nothing_is_done(folder):
    said = snakemake(folder, "table1", "--config", "seeds=1", f"methods={','.join(METHODS)}")
    assert "Nothing to be done" in said.text

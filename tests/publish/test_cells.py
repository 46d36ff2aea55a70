"""From records and counts to cells: numbers over seeds, states with their reasons, bounds, counts, and the flat frame."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from results_rig import (
    metrics_of,
    place,
    place_corrupt,
    place_efficiency,
    place_failure,
    place_given_up,
    place_stale,
    small_experiment,
)

from dgsct.publish.cells import Cell, Source, as_dict, bounded_by, cells_of, frame, label_of, measured_how, source_of, stamp
from dgsct.records.results import efficiency_key
from dgsct.runs.experiments import Experiment, Settings, expand, load_experiments
from dgsct.runs.protocols import option_values
from dgsct.runs.run import Run
from dgsct.settings.ledger import PROTOCOLS
from dgsct.tasks import TASKS

TWO = Settings(seeds=2)
ABSENT = {"train": {"present": 3201, "total": 3339}, "test": {"present": 393, "total": 402}}


def full(seed: int = 0) -> Run:
    return Run.make("ave", "dg-sct", seed=seed)


def by_place(experiment: Experiment, wanted: Settings, root: Path) -> dict[tuple[str, str], Cell]:
    return {(cell.row, cell.column): cell for cell in cells_of(experiment, wanted, root)}


def cell_of(root: Path, wanted: Settings = TWO, row: str = "full", column: str = "ave") -> Cell:
    return by_place(small_experiment(), wanted, root)[row, column]


@settings(deadline=None)
@given(st.lists(st.floats(0, 100), min_size=1, max_size=9))
def test_mean_and_spread_are_numpys(values):
    sources = [Source("r", "k", seed, "ok", value) for seed, value in enumerate(values)]
    cell = Cell("table0", "full", "ave", sources=(*sources, Source("r", "k", 99, "stale", 1e6)))
    assert cell.mean == pytest.approx(np.mean(values))
    assert (cell.n, cell.n_wanted, list(cell.values.values())) == (len(values), len(values) + 1, values)
    if len(values) == 1:
        assert cell.spread is None
    else:
        assert cell.spread == pytest.approx(np.std(values, ddof=1), abs=1e-9)


def test_one_cell_a_wanted_cell_in_the_order_of_the_file(tmp_path):
    for experiment in load_experiments().values():
        found, wanted = cells_of(experiment, TWO, tmp_path), expand(experiment, TWO)
        assert [(c.experiment, c.row, c.column, c.metric, c.published) for c in found] == [
            (w.experiment, w.row, w.column, w.metric, w.published) for w in wanted
        ]
        for cell in found:
            assert len(cell.runs) in (0, len(cell.sources))
            assert {(run.task, run.method) for run in cell.runs} <= {(cell.task, cell.method)}
            assert (cell.state in ("planned", "none")) == (not cell.sources) == bool(cell.why_planned)
            assert (cell.state == "none") == cell.no_run == (cell.row == "avs-from-s4" and cell.task == "avs-s4")


def test_a_complete_cell(tmp_path):
    for seed, value in enumerate((81.0, 82.0)):
        place(tmp_path, full(seed), value)
    cell = cell_of(tmp_path)
    assert (cell.experiment, cell.task, cell.method, cell.setting, cell.metric) == (
        "table0", "ave", "dg-sct", "default", "acc_batch8",
    )  # fmt: skip
    assert (cell.state, cell.mean, cell.n, cell.n_wanted, cell.reasons) == ("ok", 81.5, 2, 2, ())
    assert cell.spread == pytest.approx(math.sqrt(0.5))
    assert cell.values == {0: 81.0, 1: 82.0}
    assert (cell.coverage, cell.bounds, cell.exact) == (None, None, None)
    assert (cell.published.value, cell.published.source) == (82.2, "Table 0")
    assert (cell.scale, cell.protocol, cell.stamp) == ("mini", "release", stamp("mini", "release"))
    for seed, source in enumerate(cell.sources):
        record = json.loads((tmp_path / source.record).read_text(encoding="utf-8"))
        assert (source.key, source.seed, source.value) == (record["key"], seed, record["metrics"]["acc_batch8"])


def test_the_protocol_picks_the_metric(tmp_path):
    place(tmp_path, Run.make("ave", "dg-sct", protocol="clean"), 80.0)
    cell = cell_of(tmp_path, Settings(protocol="clean", seeds=1))
    assert (cell.metric, cell.mean) == ("acc_exact", pytest.approx(79.9))


def test_scales_do_not_mix(tmp_path):
    place(tmp_path, full())
    assert cell_of(tmp_path, Settings("paper", seeds=1)).state == "missing"


def test_a_yardstick_has_one_run_whatever_the_seeds(tmp_path):
    place(tmp_path, Run.make("ave", "all-background"), 17.0)
    cell = cell_of(tmp_path, Settings(seeds=5), "zero")
    assert (cell.state, cell.mean, cell.spread, cell.n, cell.n_wanted) == ("ok", 17.0, None, 1, 1)
    assert cell.published is None


def test_a_missing_seed_leaves_the_others(tmp_path):
    place(tmp_path, full(1), 81.0)
    cell = cell_of(tmp_path)
    assert (cell.state, cell.mean, cell.spread, cell.n, cell.n_wanted) == ("partial", 81.0, None, 1, 2)
    assert (cell.values, cell.reasons) == ({1: 81.0}, ("not run yet",))
    assert [(s.seed, s.state) for s in cell.sources] == [(0, "missing"), (1, "ok")]


@pytest.mark.parametrize(
    ("put", "state", "reason"),
    [
        (lambda root, run: None, "missing", "not run yet"),
        (place_stale, "stale", "the run's description or code changed since this run"),
        (place_failure, "failed", "the loss is nan at step 3"),
        (place_given_up, "failed", "the loss is nan at step 3 (twice; `dgsct retry` clears it)"),
        (place_corrupt, "corrupt", "runs/mini/release/ave/dg-sct/default/s0/record.json is not a readable record"),
        (lambda root, run: place(root, run, math.nan), "corrupt", "s0/record.json has no finite metric 'acc_batch8'"),
        (
            lambda root, run: place(root, run, metrics={"x": 1.0}, reported="x"),
            "corrupt",
            "'acc_batch8'; dgsct remeasure adds it",
        ),
    ],
)
def test_every_state_has_its_reason_and_no_number(tmp_path, put, state, reason):
    put(tmp_path, full())
    cell = cell_of(tmp_path, Settings(seeds=1))
    assert (cell.state, cell.mean, cell.spread, cell.n, cell.n_wanted, cell.values) == (state, None, None, 0, 1, {})
    assert reason in cell.reasons[0]
    assert str(tmp_path) not in cell.reasons[0]


def test_the_worst_state_names_a_cell_without_a_good_seed(tmp_path):
    place_stale(tmp_path, full(0))
    place_failure(tmp_path, full(1))
    assert cell_of(tmp_path).state == "failed"
    assert cell_of(tmp_path, Settings(seeds=3)).state == "failed"


@pytest.mark.parametrize(
    ("row", "column", "wanted", "why"),
    [
        ("cmbs", "ave", TWO, "this method is not in the harness yet"),
        ("full", "avqa", TWO, "this task is not in the harness yet"),
        ("full", "ave", Settings(methods=("lavish-star",)), "left out by the filters"),
        ("full", "ave", Settings(tasks=("avs-s4",)), "left out by the filters"),
    ],
)
def test_a_planned_cell_says_why_and_keeps_its_print(tmp_path, row, column, wanted, why):
    place(tmp_path, full())
    cell = cell_of(tmp_path, wanted, row, column)
    assert (cell.state, cell.mean, cell.sources, cell.setting, cell.n_wanted) == ("planned", None, (), None, 0)
    assert len(cell.reasons) == 1
    assert why in cell.reasons[0]
    assert cell.published is not None


def test_only_paths_below_the_results_folder_are_shortened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place_failure(Path("results"), full(), "results/encoders/x and /srv/results/encoders/y are missing")
    source = source_of(full(), "acc_exact", Path("results"))
    assert source.reason == "encoders/x and /srv/results/encoders/y are missing"


def test_coverage_and_bounds_are_there_where_a_clip_is_absent(tmp_path):
    for seed, (lower, upper) in enumerate(((80.0, 82.3), (80.2, 82.5))):
        bounds = {"acc_exact_lower": lower, "acc_exact_upper": upper}
        place(tmp_path, full(seed), coverage=ABSENT, metrics={**metrics_of(full(), 82.0), **bounds})
    cell = cell_of(tmp_path)
    assert cell.coverage == ABSENT
    assert cell.bounds == pytest.approx((80.1, 82.4))
    assert [source.bounds for source in cell.sources] == [(80.0, 82.3), (80.2, 82.5)]
    place_stale(tmp_path, full(0))
    assert cell_of(tmp_path).bounds == (80.2, 82.5)  # a seed that does not count bounds nothing


def test_a_metric_without_bounds_of_its_own_has_none(tmp_path):
    run = Run.make("avs-ms3", "dg-sct")
    bounds = {"miou_lower": 25.0, "miou_upper": 75.0}
    place(tmp_path, run, 50.0, coverage=ABSENT, metrics={**metrics_of(run, 50.0), **bounds})
    found = by_place(load_experiments()["table3"], Settings(), tmp_path)
    assert [found["dg-sct", name].bounds for name in ("ms3_j", "ms3_f")] == [(25.0, 75.0), None]
    assert [found["dg-sct", name].coverage for name in ("ms3_j", "ms3_f")] == [ABSENT, ABSENT]


def test_points_of_a_figure_are_cells(tmp_path):
    fig8 = load_experiments()["fig8"]
    place(tmp_path, full(), 71.0)
    place(tmp_path, Run.make("ave", "dg-sct", {"alpha": 0.1}), 70.0)
    found = by_place(fig8, Settings(), tmp_path)
    optimum, other = found["alpha.dg-sct", "0.3"], found["alpha.dg-sct", "0.1"]
    assert (optimum.task, optimum.method, optimum.setting, optimum.mean) == ("ave", "dg-sct", "default", 71.0)
    assert (other.setting, other.mean, other.published) == ("alpha=0.1", 70.0, None)
    assert optimum.published.value == 82.2
    assert optimum.sources == found["beta.dg-sct", "0.05"].sources  # one run, three places


def test_counts_are_cells_too(tmp_path):
    place_efficiency(tmp_path)
    found = by_place(load_experiments()["table6"], Settings("mini", "clean"), tmp_path)
    params, share = found["dg-sct", "params"], found["dg-sct", "trainable"]
    assert (params.state, params.metric, params.task, params.method) == ("ok", "params_m", "ave", "dg-sct")
    assert (params.mean, params.spread, params.n, params.exact) == (461.282531, None, 1, 461_282_531)
    assert params.sources == (
        Source(str(tmp_path / "efficiency/dg-sct.json"), efficiency_key("dg-sct"), None, "ok", 461.282531),
    )
    assert share.remark.startswith("counted 21.3 + 22.3: ")
    assert (params.scale, params.protocol) == ("paper", "release")
    assert params.stamp == "paper scale, protocol release: counted, nothing trained"
    assert found["cmbs", "params"].state == "planned"
    assert found["cmbs", "params"].published.value == 216.7


def test_states_of_counts(tmp_path):
    table6, path = load_experiments()["table6"], tmp_path / "efficiency" / "dg-sct.json"

    def states() -> dict[str, str]:
        found = by_place(table6, Settings(), tmp_path)
        return {column: cell.state for (row, column), cell in found.items() if row == "dg-sct"}

    assert set(states().values()) == {"missing"}
    place_efficiency(tmp_path)
    counted = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**counted, "key": "0" * 64}), encoding="utf-8")
    assert set(states().values()) == {"stale"}
    path.write_text(json.dumps({**counted, "macs": {}}), encoding="utf-8")
    assert states() == {"trainable": "ok", "params": "ok", "gflops": "corrupt", "all_macs": "corrupt"}
    path.write_text("{", encoding="utf-8")
    cell = by_place(table6, Settings(), tmp_path)["dg-sct", "params"]
    assert (cell.state, cell.reasons) == ("corrupt", ("efficiency/dg-sct.json is not a readable count",))


def test_every_metric_of_a_task_has_a_label_and_every_protocol_says_how_it_measures():
    for task, info in TASKS.items():
        for metric in info.metrics:
            assert label_of(task, metric.name) == f"{metric.label} (%)"
        for protocol in PROTOCOLS:
            chosen = {n: v for n, v in option_values(protocol, task).items() if n in info.shared}
            assert measured_how(task, info.options().replace(**chosen))
    assert label_of("avqa", None) == ""
    assert bounded_by("ave", "acc_batch8") == "acc_exact"
    assert bounded_by("avs-s4", "miou") == "miou"


def test_the_frame_has_a_line_a_cell_and_seed(tmp_path):
    bounds = {"acc_exact_lower": 79.0, "acc_exact_upper": 83.0}
    place(tmp_path, full(0), coverage=ABSENT, metrics={**metrics_of(full(), 81.0), **bounds})
    place_stale(tmp_path, full(1), 99.0)
    place_failure(tmp_path, Run.make("ave", "dg-sct", {"S": False}))
    cells = cells_of(small_experiment(), TWO, tmp_path)
    flat = frame(cells)
    assert len(flat) == sum(cell.n_wanted or 1 for cell in cells)
    ours = flat[(flat.row == "full") & (flat.column == "ave")]
    assert ours.seed.tolist() == [0, 1]
    assert ours.state.tolist() == ["ok", "stale"]
    assert ours.value.tolist() == [81.0, pytest.approx(math.nan, nan_ok=True)]  # a stale number is no number
    assert ours.published.tolist() == [82.2, 82.2]
    first = ours.iloc[0]
    assert (first.present, first.total, first.lower, first.upper) == (393, 402, 79.0, 83.0)
    assert (first.experiment, first.task, first.method, first.setting, first.metric) == (
        "table0", "ave", "dg-sct", "default", "acc_batch8",
    )  # fmt: skip
    assert (tmp_path / first.record).exists()
    assert flat[flat.row == "nos"].setting.dropna().unique().tolist() == ["S=off"]
    planned = flat[(flat.row == "cmbs") & (flat.column == "ave")].iloc[0]
    assert (planned.state, planned.published, planned.published_note) == ("planned", 79.3, "a re-run")
    assert pd.isna([planned.seed, planned.value, planned.setting, planned.record]).all()
    assert flat.groupby(["row", "column"]).value.mean()["full", "ave"] == cells[0].mean


def test_the_frame_has_the_same_types_whatever_is_in_it(tmp_path):
    texts = small_experiment(rows=[{"id": "full", "label": "x", "method": "dg-sct", "published": {"ave": "n/a"}}])
    kinds = frame(cells_of(small_experiment(), TWO, tmp_path)).dtypes
    for cells in ([], cells_of(texts, Settings(seeds=1), tmp_path), cells_of(load_experiments()["table6"], TWO, tmp_path)):
        found = frame(cells).dtypes
        assert list(found.index) == list(kinds.index)
        for name in ("value", "lower", "upper", "published"):
            assert str(found[name]) == "float64"
        for name in ("seed", "present", "total"):
            assert str(found[name]) == "Int64"
    assert as_dict(cells_of(texts, TWO, tmp_path)[0])["published"]["value"] == "n/a"


def test_a_cell_as_json_says_what_it_rests_on(tmp_path):
    for seed, value in enumerate((81.0, 82.0)):
        place(tmp_path, full(seed), value)
    told = json.loads(json.dumps(as_dict(cell_of(tmp_path))))
    assert (told["state"], told["mean"], told["n"], told["setting"]) == ("ok", 81.5, 2, "default")
    assert told["published"] == {"value": 82.2, "source": "Table 0", "note": "", "read_off": None}
    assert [(s["seed"], s["value"]) for s in told["sources"]] == [(0, 81.0), (1, 82.0)]
    assert "not a reproduction" in told["stamp"]

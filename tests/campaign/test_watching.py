"""Where runs stand now, from their files alone, and how fast they are finished."""

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from results_rig import place, place_failure, place_inputs, record_of, sums_of, training_lock

from dgsct.atomic import write_json_atomic
from dgsct.campaign.runtimes import write_runtimes
from dgsct.campaign.watching import Watch
from dgsct.data.units import Units
from dgsct.engine.checkpoint import save_best
from dgsct.engine.run_lock import STALE_AFTER
from dgsct.records.results import PLAN
from dgsct.runs.inputs import checksums
from dgsct.runs.run import Run

HOUR = 3600.0


def run_of(seed: int, method: str = "dg-sct") -> Run:
    return Run.make("ave", method, seed=seed)


def state(root, run: Run) -> str:
    return Watch(root).look([run])[run].state


def finished(root, run: Run, started: float, ended: float) -> None:
    moments = {"started": started, "finished": ended}
    told = {name: datetime.fromtimestamp(value, UTC).isoformat() for name, value in moments.items()}
    place(root, run, provenance=told)


def test_a_run_is_running_as_long_as_its_lock_is_held(tmp_path):
    run, watch = run_of(0), Watch(tmp_path)
    with training_lock(tmp_path, run):
        assert watch.look([run])[run].state == "running"
    assert watch.look([run])[run].state == "missing"


def test_a_lock_without_a_heartbeat_is_no_running_run(tmp_path):
    run = run_of(0)
    with training_lock(tmp_path, run):
        old = time.time() - STALE_AFTER - 1
        os.utime(tmp_path / run.folder / "lock.json", (old, old))
        assert state(tmp_path, run) == "missing"


def test_a_fresh_lock_of_a_process_that_is_gone_is_no_running_run_here_but_elsewhere(tmp_path):
    run = run_of(0)
    with training_lock(tmp_path, run) as lock:
        owner = json.loads(lock.path.read_text())
    gone = int(Path("/proc/sys/kernel/pid_max").read_text()) + 1
    for host, expected in ((owner["host"], "missing"), ("another-node", "running")):
        write_json_atomic(tmp_path / run.folder / "lock.json", {**owner, "pid": gone, "host": host})
        assert state(tmp_path, run) == expected


def test_a_failed_run_that_is_tried_again_counts_as_running(tmp_path):
    run = run_of(0)
    place_failure(tmp_path, run)
    assert state(tmp_path, run) == "failed"
    with training_lock(tmp_path, run):
        assert state(tmp_path, run) == "running"


def test_every_change_is_seen_at_the_next_look(tmp_path):
    run, watch = run_of(0), Watch(tmp_path)
    seen = [watch.look([run])[run].state]
    place_failure(tmp_path, run)
    seen.append(watch.look([run])[run].state)
    path = place(tmp_path, run)
    seen.append(watch.look([run])[run].state)
    path.write_text(path.read_text()[:100])
    seen.append(watch.look([run])[run].state)
    place(tmp_path, run)
    # Other data than the record's: it is of a world that is no more.
    place_inputs(tmp_path, run)
    seen.append(watch.look([run])[run].state)
    assert seen == ["missing", "failed", "ok", "corrupt", "stale"]


def place_weights(root: Path, run: Run, value: float) -> None:
    """A record of `run`, and best weights that are all `value`."""
    key = json.loads(place(root, run).read_text())["key"]
    save_best(root / run.folder / "checkpoints", {"layer.weight": torch.full((2,), value)}, key, 1, Units({}, ()))


def test_other_weights_of_a_parent_are_seen_at_the_next_look_by_its_own_children(tmp_path):
    children = [Run.make("avs-ms3", "avs-pvt", {"start": "s4"}, seed=seed) for seed in (0, 1)]
    parents, watch = [run.parents["s4"] for run in children], Watch(tmp_path)
    for child, parent in zip(children, parents, strict=True):
        place_inputs(tmp_path, child)
        place_weights(tmp_path, parent, 1.0)
        place(tmp_path, child, sums=checksums(child, tmp_path))
    assert [at.state for at in watch.look(children).values()] == ["ok", "ok"]
    place_weights(tmp_path, parents[1], 2.0)
    assert [at.state for at in watch.look(children).values()] == ["ok", "stale"]


@pytest.fixture
def training(tmp_path):
    """A run being trained, with data and encoders in name only, and its key."""
    run = run_of(0)
    place_inputs(tmp_path, run)
    with training_lock(tmp_path, run):
        yield run, run.key(checksums(run, tmp_path))


def test_a_running_run_tells_how_far_its_newest_checkpoint_is(training, tmp_path):
    run, key = training
    watch = Watch(tmp_path)
    folder = tmp_path / run.folder / "checkpoints"
    assert watch.look([run])[run].words == ""
    write_json_atomic(folder / "step-00000030/state.json", {"key": key, "epoch": 3, "batch": 0, "step": 30})
    at = watch.look([run])[run]
    assert at.words == "epoch 4/9, step 30"
    assert at.share == pytest.approx(1 / 3)
    write_json_atomic(folder / "step-00000040/state.json", {"key": key, "epoch": 4, "batch": 0, "step": 40})
    assert watch.look([run])[run].words == "epoch 5/9, step 40"


def test_a_checkpoint_of_other_code_tells_nothing(training, tmp_path):
    run, _ = training
    state = {"key": "0" * 64, "epoch": 9, "batch": 0, "step": 90}
    write_json_atomic(tmp_path / run.folder / "checkpoints/step-00000090/state.json", state)
    at = Watch(tmp_path).look([run])[run]
    assert (at.state, at.words, at.share) == ("running", "", 0.0)


def test_pace_of_a_young_campaign_counts_from_its_start(tmp_path):
    now = time.time()
    runs = [run_of(seed) for seed in range(6)]
    for i in range(3):
        finished(tmp_path, runs[i], now - 600, now - 400 + 100 * i)
    watch = Watch(tmp_path)
    found = watch.look(runs)
    pace = watch.pace(found)
    assert pace.rate(found.values()) == pytest.approx(18, rel=0.02)  # three in ten minutes
    assert pace.left(found) == pytest.approx(600, rel=0.02)


def test_pace_of_an_old_campaign_is_that_of_the_last_hour(tmp_path):
    now = time.time()
    runs = [run_of(seed) for seed in range(10)]
    for i in range(4):
        finished(tmp_path, runs[i], now - 9 * HOUR, now - 5 * HOUR)
    for i in (4, 5):
        finished(tmp_path, runs[i], now - 4 * HOUR, now - 600)
    watch = Watch(tmp_path)
    found = watch.look(runs)
    pace = watch.pace(found)
    assert pace.rate(found.values()) == pytest.approx(2, rel=0.02)
    assert pace.left(found) == pytest.approx(2 * HOUR, rel=0.02)


def test_yardsticks_do_not_count_into_the_pace(tmp_path):
    now = time.time()
    runs = [run_of(0), run_of(0, "majority-class")]
    finished(tmp_path, runs[1], now - 20, now - 10)
    watch = Watch(tmp_path)
    found = watch.look(runs)
    assert watch.pace(found).rate(found.values()) is None
    assert watch.pace(found).left(found) is None


def test_before_anything_is_finished_the_plan_tells_how_long_it_takes(training, tmp_path):
    run, key = training
    other = run_of(1)
    state = {"key": key, "epoch": 5, "batch": 0, "step": 50}
    write_json_atomic(tmp_path / run.folder / "checkpoints/step-00000050/state.json", state)
    write_runtimes(tmp_path, {r.folder.as_posix(): (1000.0, "a probe") for r in (run, other)})
    watch = Watch(tmp_path)
    found = watch.look([run, other])
    # Four epochs of nine of one run and all of the other, one after another.
    assert watch.pace(found).left(found) == pytest.approx(1000 * 4 / 9 + 1000)


def test_looking_again_at_400_runs_takes_less_than_half_a_second(tmp_path):
    runs = [run_of(seed) for seed in range(400)]
    record, sums = record_of(runs[0]), sums_of(runs[0])
    for run in runs[:200]:
        told = {"run": run.to_dict(), "key": run.key(sums), "key_parts": {PLAN: run.plan_key(), **sums}}
        write_json_atomic(tmp_path / run.folder / "record.json", {**record, **told})
    watch = Watch(tmp_path)
    watch.look(runs)
    begin = time.perf_counter()
    found = watch.look(runs)
    seconds = time.perf_counter() - begin
    states = [found[run].state for run in runs]
    assert states == ["ok"] * 200 + ["missing"] * 200
    assert seconds < 0.5, f"{seconds:.2f} s"

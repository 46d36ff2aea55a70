"""Records: written whole or not at all, read with a sentence for every damage, judged against today's code and data."""

import json
import subprocess
from pathlib import Path

import pytest
from results_rig import place, place_corrupt, place_efficiency, place_failure, place_stale, record_of, sums_of

from dgsct.atomic import write_json_atomic, write_text_atomic
from dgsct.errors import DgsctError
from dgsct.records.failures import note_failure
from dgsct.records.results import efficiency_state, read_record, validity, write_record
from dgsct.runs.inputs import checksums
from dgsct.runs.run import Run

RUN = Run.make("ave", "dg-sct", {"S": "off"}, seed=1)


def give_data(root: Path, content: str = "one", array: str = "frames") -> None:
    """A manifest that says that there is `content` in one of the arrays."""
    arrays = {name: {"axis": "clip", "sha256": "one"} for name in ("frames", "wave", "logmel", "labels")}
    arrays[array]["sha256"] = content
    manifest = {"schema": 3, "dataset": "ave", "arrays": arrays}
    write_json_atomic(root / "data/mini/ave/packed/manifest.json", manifest)


def give_encoders(root: Path, content: str = "one") -> None:
    for name in ("swin", "htsat"):
        write_json_atomic(root / f"encoders/mini/{name}.json", {"sha256": content + name})


def place_of_these(root: Path, run: Run = RUN) -> Path:
    """A record that was made from what lies in `root`."""
    return place(root, run, sums=checksums(run, root))


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*")]


def test_a_record_survives_writing_and_reading(tmp_path):
    path = place(tmp_path, RUN, 81.23456789)
    assert path == tmp_path / "runs/mini/release/ave/dg-sct/S=off/s1/record.json"
    assert read_record(path) == record_of(RUN, 81.23456789)
    assert Run.from_dict(read_record(path)["run"]) == RUN
    assert [p.name for p in path.parent.iterdir()] == ["record.json"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (lambda r: json.dumps({k: v for k, v in r.items() if k != "curve"}), "the field 'curve' is missing"),
        (lambda r: json.dumps({**r, "coverage": []}), "the field 'coverage' has the wrong type"),
        (lambda r: json.dumps({**r, "best_epoch": True}), "the field 'best_epoch' has the wrong type"),
        (lambda r: json.dumps({"schema": 1, "run": 1}), "its schema is 1, this version reads 2"),
        (lambda r: json.dumps({**r, "schema": 3}), "its schema is 3, this version reads 2"),
        (lambda r: json.dumps({**r, "metrics": {"acc_batch8": "82"}}), "the metric 'acc_batch8' is no number"),
        (lambda r: json.dumps({**r, "metrics": {"acc_exact": 82.0}}), "the reported metric 'acc_batch8' is missing"),
        (lambda r: json.dumps({**r, "key_parts": {"data/ave": "y"}}), "the checksum 'plan' is missing"),
        (lambda r: json.dumps({**r, "units": None}), "the field 'units' has the wrong type"),
        (lambda r: json.dumps([r]), "it is not a JSON object"),
        (lambda r: json.dumps(r)[:300], "is not a readable record ("),
        (lambda r: "no JSON at all", "is not a readable record ("),
        (lambda r: "", "is not a readable record ("),
    ],
)
def test_every_damage_is_one_sentence_with_the_file_and_the_remedy(tmp_path, text, said):
    path = tmp_path / "record.json"
    path.write_text(text(record_of(RUN)), encoding="utf-8")
    with pytest.raises(DgsctError) as error:
        read_record(path)
    message = str(error.value)
    assert message.startswith(f"{path} is not ")
    assert said in message
    assert message.endswith("; delete it and run again")
    assert "\n" not in message


def test_bytes_that_are_no_text_are_damage_too(tmp_path):
    path = tmp_path / "record.json"
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(DgsctError, match="is not a readable record"):
        read_record(path)


def test_a_record_that_is_not_there_names_its_command(tmp_path):
    with pytest.raises(DgsctError, match=rf"does not exist; run `snakemake {tmp_path}/record\.json`"):
        read_record(tmp_path / "record.json")


def test_a_malformed_record_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="'reported'"):
        write_record(tmp_path / "record.json", record_of(RUN, reported=None))
    assert not list(tmp_path.iterdir())


def test_on_a_full_disk_the_old_file_stays_and_nothing_else(small_disk):
    path = place(small_disk, RUN)
    before = path.read_bytes()
    with pytest.raises(DgsctError, match="free space on that disk and run the same command again") as error:
        write_text_atomic(path, "x" * 4_000_000)
    assert str(path) in str(error.value)
    assert path.read_bytes() == before
    assert not hidden(small_disk)


def test_in_a_forbidden_folder_nothing_is_left(small_disk):
    path = place(small_disk, RUN)
    before = path.read_bytes()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(DgsctError, match="check the folder and its permissions and run the same command again"):
        write_record(path, record_of(RUN, 70.0))
    assert path.read_bytes() == before
    assert not hidden(small_disk)


def test_a_file_in_place_of_the_folder_is_one_sentence(tmp_path):
    (tmp_path / "runs").write_text("in the way")
    with pytest.raises(DgsctError, match=r"cannot write .*record\.json"):
        place(tmp_path, RUN)


def test_ok_and_missing(tmp_path):
    assert (validity(RUN, tmp_path).name, validity(RUN, tmp_path).record) == ("missing", None)
    give_data(tmp_path), give_encoders(tmp_path)
    place_of_these(tmp_path)
    state = validity(RUN, tmp_path)
    assert (state.name, state.reason) == ("ok", "")
    assert state.record["metrics"]["acc_batch8"] == 80.0
    assert validity(Run.make("ave", "dg-sct", {"S": "off"}, seed=2), tmp_path).name == "missing"


def test_the_records_own_checksums_stand_in_where_data_or_encoders_are_absent(tmp_path):
    place(tmp_path, RUN)
    assert validity(RUN, tmp_path).name == "ok"
    give_data(tmp_path)
    assert validity(RUN, tmp_path).reason == "the data (ave) changed since this run"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("data", "the data (ave) changed since this run"),
        ("encoders", "the encoder (swin) and the encoder (htsat) changed since this run"),
        ("data encoders", "the data (ave) and the encoder (swin) and the encoder (htsat) changed since this run"),
    ],
)
def test_stale_names_what_changed(tmp_path, change, reason):
    give_data(tmp_path), give_encoders(tmp_path)
    place_of_these(tmp_path)
    assert validity(RUN, tmp_path).name == "ok"
    if "data" in change:
        give_data(tmp_path, "two")
    if "encoders" in change:
        give_encoders(tmp_path, "two")
    state = validity(RUN, tmp_path)
    assert (state.name, state.reason) == ("stale", reason)
    assert state.record is not None


@pytest.mark.parametrize(("array", "state"), [("labels", "stale"), ("logmel", "stale"), ("wave", "ok")])
def test_an_array_that_a_run_does_not_read_may_change(tmp_path, array, state):
    give_data(tmp_path), give_encoders(tmp_path)
    place_of_these(tmp_path)
    give_data(tmp_path, "two", array)
    assert validity(RUN, tmp_path).name == state


def test_a_record_of_other_code_is_stale(tmp_path):
    place_stale(tmp_path, RUN)
    state = validity(RUN, tmp_path)
    assert (state.name, state.reason) == ("stale", "the run's description or code changed since this run")


def test_a_record_in_another_runs_folder_is_stale(tmp_path):
    path = place(tmp_path, RUN)
    other = Run.make("ave", "dg-sct", seed=1)
    write_text_atomic(tmp_path / other.folder / "record.json", path.read_text(encoding="utf-8"))
    assert validity(other, tmp_path).name == "stale"


def test_a_yardstick_does_not_depend_on_encoders(tmp_path):
    yardstick = Run.make("ave", "all-background")
    give_data(tmp_path), give_encoders(tmp_path)
    assert set(checksums(yardstick, tmp_path)) == {"data/ave"}
    place_of_these(tmp_path, yardstick)
    give_encoders(tmp_path, "two")
    assert validity(yardstick, tmp_path).name == "ok"


def test_corrupt_says_what_is_wrong(tmp_path):
    path = place_corrupt(tmp_path, RUN)
    state = validity(RUN, tmp_path)
    assert (state.name, state.record) == ("corrupt", None)
    assert str(path) in state.reason


def test_failed_until_what_it_depends_on_changes(tmp_path):
    give_data(tmp_path), give_encoders(tmp_path)
    note_failure(tmp_path / RUN.folder, RUN.key(checksums(RUN, tmp_path)), RuntimeError("CUDA error"))
    state = validity(RUN, tmp_path)
    assert (state.name, state.record, state.reason) == ("failed", None, "RuntimeError: CUDA error")
    give_data(tmp_path, "two")
    assert validity(RUN, tmp_path).name == "missing"


def test_a_failure_today_outweighs_a_record_of_older_code(tmp_path):
    place_stale(tmp_path, RUN)
    note_failure(tmp_path / RUN.folder, "of no inputs", RuntimeError("CUDA error"))
    assert validity(RUN, tmp_path).name == "stale"  # without data, the key of today is not known
    give_data(tmp_path), give_encoders(tmp_path)
    note_failure(tmp_path / RUN.folder, RUN.key(checksums(RUN, tmp_path)), RuntimeError("CUDA error"))
    assert (validity(RUN, tmp_path).name, validity(RUN, tmp_path).reason) == ("failed", "RuntimeError: CUDA error")


def test_for_one_encoder_that_is_absent_the_records_own_checksum_stands_in(tmp_path):
    give_data(tmp_path), give_encoders(tmp_path)
    place_of_these(tmp_path)
    (tmp_path / "encoders/mini/swin.json").unlink()
    assert validity(RUN, tmp_path).name == "ok"


def test_a_users_error_is_noted_as_its_sentence_alone(tmp_path):
    place_failure(tmp_path, RUN, "weights are missing; give them")
    assert validity(RUN, tmp_path).reason == "weights are missing; give them"


def test_a_record_outweighs_an_older_failure_and_a_broken_note_says_nothing(tmp_path):
    path = place_failure(tmp_path, RUN)
    place(tmp_path, RUN, sums=sums_of(RUN, "none"))
    assert validity(RUN, tmp_path).name == "ok"
    (tmp_path / RUN.folder / "record.json").unlink()
    path.write_text("{", encoding="utf-8")
    assert validity(RUN, tmp_path).name == "missing"


def test_a_failure_that_cannot_be_noted_is_no_second_failure(tmp_path):
    (tmp_path / "runs").write_text("in the way")
    place_failure(tmp_path, RUN)
    assert (tmp_path / "runs").is_file()


def test_checksums_follow_the_content_not_the_form(tmp_path):
    path = tmp_path / "data/mini/ave/packed/manifest.json"
    give_encoders(tmp_path)
    write_text_atomic(path, '{"rows": [1], "arrays": {"frames": 1, "logmel": 2, "labels": 3}, "dataset": "ave"}')
    first = checksums(RUN, tmp_path)
    write_text_atomic(path, '{\n "arrays": {"labels": 3, "frames": 1, "logmel": 2},\n "dataset": "ave", "rows": [1]}')
    assert checksums(RUN, tmp_path) == first
    write_text_atomic(path, '{"rows": [2], "arrays": {"frames": 1, "logmel": 2, "labels": 3}, "dataset": "ave"}')
    assert checksums(RUN, tmp_path)["data/ave"] != first["data/ave"]


def test_missing_data_names_both_remedies(tmp_path):
    with pytest.raises(DgsctError, match=r"`snakemake .*manifest\.json`, or .* `dgsct prepare ave ROOT "):
        checksums(RUN, tmp_path)


def test_missing_encoders_name_both_remedies(tmp_path):
    give_data(tmp_path)
    with pytest.raises(DgsctError, match=r"`snakemake .*swin\.safetensors`, or `dgsct convert swin FILE "):
        checksums(RUN, tmp_path)


def test_efficiency_states(tmp_path):
    assert efficiency_state("dg-sct", tmp_path).name == "missing"
    place_efficiency(tmp_path)
    state = efficiency_state("dg-sct", tmp_path)
    assert (state.name, state.record["parameters"]["total"]) == ("ok", 461_282_531)


@pytest.mark.parametrize("text", ['{"key": "01', "[]", '{"parameters": {}}'])
def test_a_broken_count_is_corrupt(tmp_path, text):
    path = tmp_path / "efficiency/dg-sct.json"
    write_text_atomic(path, text)
    state = efficiency_state("dg-sct", tmp_path)
    assert (state.name, state.reason) == ("corrupt", f"{path} is not a readable count")


def test_a_count_of_other_code_or_of_another_method_is_stale(tmp_path):
    place_efficiency(tmp_path)
    other = (tmp_path / "efficiency/lavish-star.json").read_text(encoding="utf-8")
    for text in (other, '{"key": "0"}'):
        write_text_atomic(tmp_path / "efficiency/dg-sct.json", text)
        state = efficiency_state("dg-sct", tmp_path)
        assert (state.name, state.reason) == ("stale", "the model's description or code changed since this count")

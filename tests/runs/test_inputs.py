"""What a run starts from: names, paths, checksums, and a sentence for what is not there."""

import json
from pathlib import Path

import pytest
from results_rig import place_inputs

from dgsct.atomic import write_json_atomic
from dgsct.errors import DgsctError
from dgsct.runs.inputs import arrays_of, checksums, encoders_needed, input_paths, inputs_of, with_parents
from dgsct.runs.run import Run

CHILD = Run.make("avs-ms3", "avs-pvt", {"start": "s4"}, seed=2)
PARENT = Run.make("avs-s4", "avs-pvt", seed=2)
S4, MS3, AVE = (f"data/mini/{name}/packed/manifest.json" for name in ("avs-s4", "avs-ms3", "ave"))
FEATURES = "features/mini/{}/vggish/features.json"
ENCODER = "encoders/mini/{}.safetensors"


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (
            Run.make("ave", "dg-sct"),
            {"data/ave": AVE, "encoders/swin": ENCODER.format("swin"), "encoders/htsat": ENCODER.format("htsat")},
        ),
        (Run.make("ave", "majority-class"), {"data/ave": AVE}),
        (
            Run.make("avs-ms3", "late-fusion"),
            {"data/avs-ms3": MS3, "encoders/swin": ENCODER.format("swin"), "encoders/htsat": ENCODER.format("htsat")},
        ),
        (
            Run.make("avs-s4", "avs-r50"),
            {
                "data/avs-s4": S4,
                "features/avs-s4/vggish": FEATURES.format("avs-s4"),
                "encoders/resnet50": ENCODER.format("resnet50"),
            },
        ),
        (
            CHILD,
            {
                "data/avs-ms3": MS3,
                "features/avs-ms3/vggish": FEATURES.format("avs-ms3"),
                "encoders/pvt": ENCODER.format("pvt"),
                "runs/s4": "runs/mini/release/avs-s4/avs-pvt/default/s2/record.json",
            },
        ),
        (Run.make("avs-ms3", "mean-mask"), {"data/avs-ms3": MS3}),
    ],
    ids=lambda value: str(value.folder) if isinstance(value, Run) else "",
)
def test_names_and_paths(tmp_path, run, expected):
    found = inputs_of(run, tmp_path)
    assert {one.name: one.path.as_posix() for one in found} == expected
    assert [one.path for one in found] == list(input_paths(run))
    assert {one.checksum for one in found} == {None}


@pytest.mark.parametrize(
    ("run", "arrays"),
    [
        (Run.make("ave", "dg-sct"), {"frames", "logmel", "labels"}),
        (Run.make("ave", "dg-sct", {"tile": 3}), {"frames", "wave", "labels"}),
        (Run.make("ave", "all-background"), {"labels"}),
        (Run.make("avs-s4", "dg-sct"), {"frames", "wave", "masks", "annotated"}),  # the release trains the spectrogram
        (Run.make("avs-s4", "dg-sct", protocol="clean"), {"frames", "logmel", "masks", "annotated"}),
        (CHILD, {"frames", "masks", "annotated"}),
    ],
)
def test_the_arrays_that_it_reads(run, arrays):
    assert set(arrays_of(run)) == arrays


def test_the_encoder_of_its_features_is_needed_though_it_does_not_read_it():
    assert encoders_needed(CHILD) == ("pvt", "vggish")
    assert encoders_needed(Run.make("ave", "dg-sct")) == ("swin", "htsat")
    assert encoders_needed(Run.make("ave", "majority-class")) == ()


RUN = Run.make("avs-s4", "avs-pvt")


@pytest.fixture
def root(tmp_path) -> Path:
    """All that `RUN` starts from, in name only, with two arrays that it does not read."""
    place_inputs(tmp_path, RUN)
    change(tmp_path / S4, lambda manifest: manifest["arrays"].update(wave={"sha256": "w"}, vggish_examples={"sha256": "v"}))
    return tmp_path


def change(path: Path, how) -> None:
    value = json.loads(path.read_text())
    how(value)
    write_json_atomic(path, value)


def test_what_it_does_not_read_changes_neither_checksum_nor_key(root):
    before = checksums(RUN, root)
    change(root / S4, lambda manifest: manifest["arrays"]["wave"].update(sha256="other"))
    change(root / S4, lambda manifest: manifest["arrays"].pop("vggish_examples"))
    change(root / S4, lambda manifest: manifest["arrays"].update(flow={"sha256": "a set that has grown"}))
    change(root / S4, lambda manifest: manifest.update(clips={"where": "elsewhere"}, report={"ready": 1}, layout="videos"))
    change(root / FEATURES.format("avs-s4"), lambda facts: facts.update(source="public files"))
    change(root / "encoders/mini/pvt.json", lambda facts: facts.update(source="another name"))
    assert checksums(RUN, root) == before
    assert RUN.key(checksums(RUN, root)) == RUN.key(before)


@pytest.mark.parametrize(
    ("name", "file", "how"),
    [
        ("data/avs-s4", S4, lambda manifest: manifest["arrays"]["frames"].update(sha256="other")),
        ("data/avs-s4", S4, lambda manifest: manifest["arrays"]["masks"].update(sha256="other")),
        ("data/avs-s4", S4, lambda manifest: manifest.update(splits={"train": [0]})),
        ("data/avs-s4", S4, lambda manifest: manifest.update(rows=[{"id": "other"}])),
        ("data/avs-s4", S4, lambda manifest: manifest.update(image_size=48)),
        ("features/avs-s4/vggish", FEATURES.format("avs-s4"), lambda facts: facts["array"].update(sha256="other")),
        ("encoders/pvt", "encoders/mini/pvt.json", lambda facts: facts.update(sha256="other")),
    ],
)
def test_what_it_reads_changes_its_checksum_alone_and_the_key(root, name, file, how):
    before = checksums(RUN, root)
    change(root / file, how)
    after = checksums(RUN, root)
    assert {one for one in before if before[one] != after[one]} == {name}
    assert RUN.key(after) != RUN.key(before)


@pytest.mark.parametrize(
    ("run", "file", "sentence"),
    [
        (RUN, S4, "{}/data/mini/avs-s4/packed/manifest.json is missing or unreadable; make it with `snakemake {}/data"),
        (RUN, FEATURES.format("avs-s4"), "{}/features/mini/avs-s4/vggish/features.json is missing or unreadable ("),
        (RUN, "encoders/mini/pvt.json", "encoder weights {}/encoders/mini/pvt.safetensors are missing; run `snakemake {}/enc"),
        (CHILD, None, "the best weights of {}/runs/mini/release/avs-s4/avs-pvt/default/s2 are missing; make them with `snak"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("damage", ["gone", "cut", "a list"])
def test_a_missing_input_is_one_sentence(tmp_path, run, file, sentence, damage):
    place_inputs(tmp_path, run)
    if file and damage == "gone":
        (tmp_path / file).unlink()
    elif file:
        (tmp_path / file).write_text('{"array": ' if damage == "cut" else "[]")
    with pytest.raises(DgsctError) as told:
        checksums(run, tmp_path)
    assert str(told.value).startswith(sentence.format(tmp_path, tmp_path))
    assert "\n" not in str(told.value)
    (absent,) = [one for one in inputs_of(run, tmp_path) if one.checksum is None]
    assert absent.problem == str(told.value)


def test_an_array_that_the_prepared_set_does_not_have_is_named(root):
    change(root / S4, lambda manifest: manifest["arrays"].pop("masks"))
    with pytest.raises(DgsctError, match="the prepared set 'avs-s4' has no array 'masks'; prepare the data again"):
        checksums(RUN, root)


def test_a_parent_has_the_same_scale_protocol_and_seed_and_the_overrides_that_it_shares():
    assert CHILD.parents == {"s4": PARENT}
    overrides = {"start": "s4", "precision": "bf16", "selection": "test", "av_weight": 0.25}
    run = Run.make("avs-ms3", "avs-r50", overrides, "clean", "paper", 1)
    # The weight of the second loss term is MS3's alone.
    shared = {"precision": "bf16", "selection": "test"}
    assert run.parents == {"s4": Run.make("avs-s4", "avs-r50", shared, "clean", "paper", 1)}
    assert Run.make("avs-ms3", "avs-pvt").parents == {}


def test_parents_come_before_their_children_and_once():
    other = Run.make("avs-ms3", "avs-pvt", {"start": "s4", "av_weight": 0.0}, seed=2)
    assert with_parents([CHILD, other, PARENT]) == [PARENT, CHILD, other]
    assert with_parents([PARENT, CHILD]) == [PARENT, CHILD]
    assert with_parents([RUN]) == [RUN]

"""Features as artefacts: whole or not at all, of the set that they say, and no more in a run's key than it reads."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from avs_rig import COUNTS, T, write_world

from dgsct.data.features import facts_checksum, open_features, read_facts, write_features
from dgsct.data.prepared import Prepared
from dgsct.errors import DgsctError
from dgsct.runs.inputs import checksums, input_paths, inputs_of
from dgsct.runs.run import Run
from dgsct.settings.scales import MINI

PLACE = Path("features/mini/avs-s4/vggish")
FACTS = {"scale": "mini", "dataset": "avs-s4", "extractor": "vggish"}
RUN = Run.make("avs-s4", "avs-pvt")
IDS = [f"clip{i:07d}" for i in range(sum(COUNTS.values()))]


def drawn(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, T, MINI.vggish.embed_dim), dtype=np.float32)


@pytest.fixture
def root(tmp_path) -> Path:
    """A results folder with a prepared S4 set whose arrays have checksums, features, and an encoder in name."""
    root = write_world(tmp_path / "results")
    change_manifest(root, lambda manifest: [said.update(sha256="0" * 64) for said in manifest["arrays"].values()])
    path = root / "encoders/mini/pvt.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"sha256": "1"}')
    return root


def change_manifest(root: Path, change) -> None:
    path = root / "data/mini/avs-s4/packed/manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    change(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")


def test_what_was_written_is_read(tmp_path):
    array = drawn(3)
    write_features(tmp_path / PLACE, iter(array), ["b", "a", "c"], {**FACTS, "source": "extracted"})
    found = open_features(tmp_path / PLACE)
    assert isinstance(found.array, np.memmap)
    assert np.array_equal(found.take(["c", "a", "c"]), array[[2, 1, 2]])
    assert read_facts(tmp_path / PLACE)["source"] == "extracted"
    assert sorted(path.name for path in (tmp_path / PLACE).iterdir()) == ["features.json", "features.npy"]


@pytest.mark.parametrize(("features", "ids"), [(drawn(2), "abc"), (drawn(4), "abc"), ([*drawn(2), drawn(1)[0][:1]], "abc")])
def test_other_features_than_ids_are_never_written(tmp_path, features, ids):
    """Too few, too many, one of another length (which numpy would repeat)."""
    write_features(tmp_path / PLACE, drawn(1), "a", FACTS)
    with pytest.raises(ValueError, match=r"zip\(\)|the features of c have the shape \(1, 128\), others \(5, 128\)"):
        write_features(tmp_path / PLACE, features, ids, FACTS)
    with pytest.raises(DgsctError, match=r"features.json is missing or unreadable"):
        open_features(tmp_path / PLACE)  # what was there before counts no longer either


KILLED = """
import os, signal, sys
import numpy as np
from pathlib import Path
from dgsct.data import features

features.write_json_atomic = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
facts = {"scale": "mini", "dataset": "avs-s4", "extractor": "vggish"}
features.write_features(Path(sys.argv[1]), np.ones((2, 5, 128), np.float32), ["clip0000000", "clip0000001"], facts)
"""


def test_killed_between_array_and_facts_nothing_reads_as_valid(root):
    """The array is new and whole; facts of the old one must not describe it."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(root / PLACE)])
    assert done.returncode == -signal.SIGKILL
    assert [path.name for path in (root / PLACE).iterdir()] == ["features.npy"]
    with pytest.raises(DgsctError, match=r"features.json is missing or unreadable .*; make it with `snakemake "):
        open_features(root / PLACE)
    found = {one.name: one for one in inputs_of(RUN, root)}["features/avs-s4/vggish"]
    assert found.checksum is None
    with pytest.raises(DgsctError, match=r"vggish/features.json is missing"):
        checksums(RUN, root)
    write_features(root / PLACE, drawn(len(IDS)), IDS, FACTS)
    assert len(open_features(root / PLACE).place) == len(IDS)


def rewritten(**changes):
    """The facts with other values."""

    def change(folder: Path) -> None:
        path = folder / "features.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}), encoding="utf-8")

    return change


def cut(folder: Path) -> None:
    path = folder / "features.npy"
    path.write_bytes(path.read_bytes()[:300])


DAMAGE = {
    "array gone": (lambda f: (f / "features.npy").unlink(), "features.npy is missing or damaged ("),
    "array cut off": (cut, "features.npy is missing or damaged ("),
    "no array": (lambda f: (f / "features.npy").write_text("x" * 200), "features.npy is missing or damaged ("),
    "another array": (
        lambda f: np.save(f / "features.npy", drawn(5)),
        "features.npy holds another array than its features.json says; delete ",
    ),
    "facts gone": (lambda f: (f / "features.json").unlink(), "features.json is missing or unreadable ("),
    "facts cut off": (lambda f: (f / "features.json").write_text('{"schema": 1,'), "features.json is missing or unreadable ("),
    "facts of another kind": (lambda f: (f / "features.json").write_text("[1]"), "features.json is missing or unreadable ("),
    "another version": (rewritten(schema=99), "features.json is missing or unreadable (another version)"),
    "fewer ids": (rewritten(ids=IDS[:3]), "features.json is missing or unreadable ("),
    "of another set": (rewritten(dataset="avs-ms3"), "features.json describes features/mini/avs-ms3/vggish; delete "),
    "of another scale": (rewritten(scale="paper"), "features.json describes features/paper/avs-s4/vggish; delete "),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_and_foreign_files_are_one_sentence(root, case):
    damage, sentence = DAMAGE[case]
    damage(root / PLACE)
    with pytest.raises(DgsctError) as error:
        Prepared.open(root / "data/mini/avs-s4/packed", {"vggish": root / PLACE})
    assert f"{root / PLACE}/{sentence}" in str(error.value)
    assert "\n" not in str(error.value)


def test_rows_without_features_are_left_out_and_counted(root):
    keep = [name for i, name in enumerate(IDS) if i not in (0, 17, 20, 27)]
    write_features(root / PLACE, drawn(len(keep)), keep, FACTS)
    data = Prepared.open(root / "data/mini/avs-s4/packed", {"vggish": root / PLACE})
    assert data.coverage == {
        "train": {"present": 15, "total": 16}, "val": {"present": 3, "total": 4}, "test": {"present": 6, "total": 8},
    }  # fmt: skip
    assert data.absent(data.splits["test"]) == 2
    assert data.splits["test"].tolist() == [21, 22, 23, 24, 25, 26]
    rows = np.array([26, 1])
    assert np.array_equal(data.take("features/vggish", rows), drawn(len(keep))[[keep.index(IDS[26]), 0]])


def test_features_of_none_of_a_split_s_clips_are_one_sentence(root):
    write_features(root / PLACE, drawn(16), IDS[:16], FACTS)
    with pytest.raises(DgsctError, match=r"no clip of the split 'val' in .*packed has features in .*vggish; make them again"):
        Prepared.open(root / "data/mini/avs-s4/packed", {"vggish": root / PLACE})


def test_the_key_holds_the_features_and_only_the_arrays_that_are_read(root):
    key = RUN.key(checksums(RUN, root))
    assert root / PLACE / "features.json" in [root / path for path in input_paths(RUN)]

    def changed(name: str) -> bool:
        change_manifest(root, lambda manifest: manifest["arrays"][name].update(sha256=name))
        return RUN.key(checksums(RUN, root)) != key

    assert not any(changed(name) for name in ("wave", "logmel", "vggish_examples"))
    assert changed("frames")
    key = RUN.key(checksums(RUN, root))
    assert changed("masks")
    key = RUN.key(checksums(RUN, root))
    assert changed("annotated")

    key = RUN.key(checksums(RUN, root))
    array = np.load(root / PLACE / "features.npy")
    write_features(root / PLACE, array, IDS, {**FACTS, "source": "public files"})
    assert RUN.key(checksums(RUN, root)) == key  # equal numbers of equal clips, whoever made them
    write_features(root / PLACE, array, IDS[::-1], FACTS)
    other = RUN.key(checksums(RUN, root))
    array[3, 2, 1] += 1
    write_features(root / PLACE, array, IDS, FACTS)
    assert len({key, other, RUN.key(checksums(RUN, root))}) == 3


def test_a_run_that_reads_no_features_does_not_depend_on_them(root):
    run = Run.make("avs-s4", "mean-mask")
    before = run.key(checksums(run, root))
    write_features(root / PLACE, drawn(2), IDS[:2], FACTS)
    assert run.key(checksums(run, root)) == before
    assert not any("features" in str(path) for path in input_paths(run))


def test_facts_checksum_is_of_ids_and_numbers():
    facts = {"ids": ["a"], "array": {"sha256": "x", "shape": [1], "dtype": "float32"}}
    assert facts_checksum({**facts, "source": "extracted"}) == facts_checksum({**facts, "source": "public files"})
    assert facts_checksum({**facts, "ids": ["b"]}) != facts_checksum(facts)

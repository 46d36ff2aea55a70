"""`dgsct features`: what VGGish gives for the prepared clips, and what the public feature files hold; no code in them runs."""

import os
import pickle
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from avs_rig import COUNTS, T, write_packed
from call_rig import Said, call

from dgsct.data import extractors
from dgsct.data.extractors import Extractor
from dgsct.data.features import PublicFeature, open_features
from dgsct.data.packed import Packed
from dgsct.encoders.extract import CLIPS, extract, read_public
from dgsct.encoders.vggish import Vggish
from dgsct.encoders.vggish_frontend import examples as log_mel
from dgsct.encoders.weights import encoder_file, publish
from dgsct.engine.execute import execute
from dgsct.errors import DgsctError, UsageError
from dgsct.records.results import read_record
from dgsct.runs.run import Run
from dgsct.settings.scales import MINI, SCALES, Scale
from dgsct.tasks import get_set
from dgsct.tasks.avs.files import AvsBench

SET = get_set("avs-s4")
WIDTH = MINI.vggish.embed_dim
TOTAL = sum(COUNTS.values())
PLACE = Path("features/mini/avs-s4/vggish")


@pytest.fixture(scope="module")
def vggish() -> Vggish:
    torch.manual_seed(3)
    return Vggish(MINI.vggish).eval()


@pytest.fixture
def root(tmp_path, vggish) -> Path:
    """A results folder with a prepared S4 set of 28 clips, the last test clip of which is absent, and VGGish."""
    write_packed(tmp_path / "results/data/mini/avs-s4/packed", absent=1)
    publish(encoder_file(tmp_path / "results", "mini", "vggish"), vggish, {"encoder": "vggish"})
    return tmp_path / "results"


@pytest.fixture
def archive(tmp_path) -> Path:
    """A folder for files in the archive's layout."""
    (tmp_path / "archive").mkdir()
    return tmp_path / "archive"


def name_of(clip: int) -> str:
    return f"clip{clip:07d}"


def given_to(vggish: Vggish, examples: np.ndarray) -> np.ndarray:
    """Examples [5, 1, 96, 64] of one clip -> [5, 128]."""
    with torch.no_grad():
        return vggish(torch.tensor(examples)).numpy()


def examples_of(clip: int) -> np.ndarray:
    """What the archive might hold of a clip: other numbers than the prepared ones."""
    return np.random.default_rng(100 + clip).standard_normal((T, 1, 96, 64), dtype=np.float32).clip(-4.6)


def write_pickle(archive: Path, clip: int, value: object) -> Path:
    split = "train" if clip < 16 else "val" if clip < 20 else "test"
    path = archive / "Single-source/s4_data/audio_log_mel" / split / "dog_barking" / f"{name_of(clip)}.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(value))
    return path


def as_published(examples: np.ndarray) -> torch.Tensor:
    """A tensor that is no leaf and requires a gradient, as the archive's (avs.md, 2.6)."""
    return torch.from_numpy(examples).requires_grad_() * 1


def test_features_are_what_vggish_gives_for_each_clip(root, vggish):
    assert TOTAL - 1 < CLIPS < 2 * TOTAL  # fewer than a batch of clips; the next test has more
    assert extract(SET, "vggish", MINI, root) == root / PLACE
    packed, features = Packed.open(root / "data/mini/avs-s4/packed"), open_features(root / PLACE)
    assert (features.array.shape, features.array.dtype) == ((TOTAL - 1, T, WIDTH), np.float32)
    assert list(features.place) == [name_of(i) for i in range(TOTAL - 1)]  # the absent clip has none
    for clip in (0, 7, 26):
        expected = given_to(vggish, packed.arrays["vggish_examples"][clip])
        np.testing.assert_allclose(features.take([name_of(clip)])[0], expected, rtol=0, atol=1e-6)
    assert (features.array > 0).any()
    told = {name: features.facts[name] for name in ("dataset", "extractor", "scale", "source", "encoder")}
    assert told == {
        "dataset": "avs-s4", "extractor": "vggish", "scale": "mini", "source": "extracted", "encoder": "vggish",
    }  # fmt: skip


def test_more_clips_than_are_taken_at_a_time(tmp_path, vggish):
    write_packed(tmp_path / "data/mini/avs-s4/packed", counts={"train": CLIPS, "val": 3, "test": 4})
    publish(encoder_file(tmp_path, "mini", "vggish"), vggish, {"encoder": "vggish"})
    features = open_features(extract(SET, "vggish", MINI, tmp_path))
    examples = Packed.open(tmp_path / "data/mini/avs-s4/packed").arrays["vggish_examples"]
    assert len(features.place) == CLIPS + 7
    for clip in (CLIPS - 1, CLIPS, CLIPS + 6):
        np.testing.assert_allclose(features.array[clip], given_to(vggish, examples[clip]), rtol=0, atol=1e-6)


def test_the_archive_s_pickles_go_through_the_encoder(root, archive, vggish, capsys):
    for clip in (25, 3, 17):
        write_pickle(archive, clip, as_published(examples_of(clip)))
    write_pickle(archive, 27, as_published(examples_of(27)))  # of the clip that is absent: no row could use it
    features = open_features(extract(SET, "vggish", MINI, root, public=archive))
    assert features.facts["source"] == "public files"
    assert list(features.place) == [name_of(clip) for clip in (3, 17, 25)]
    for clip in (3, 17, 25):
        np.testing.assert_allclose(features.take([name_of(clip)])[0], given_to(vggish, examples_of(clip)), rtol=0, atol=1e-6)
    assert f"3 of {TOTAL - 1} clips have public features" in capsys.readouterr().out


class Ready(AvsBench):
    """A set whose public features are embeddings: a `.npy` file a clip, or all in one HDF5 file."""

    def public_features(self, root: Path, extractor: str) -> dict[str, PublicFeature]:
        if (root / "all.h5").exists():
            return {name_of(i): PublicFeature(root / "all.h5", "embeddings", i) for i in range(TOTAL)}
        return {path.stem: PublicFeature(path) for path in root.glob("*.npy")}


READY = Ready("avs-s4", "Single-source", "s4", {})


def test_embeddings_are_taken_as_they_are(root, archive):
    given = np.random.default_rng(5).random((TOTAL, T, WIDTH), dtype=np.float32)
    for clip in range(TOTAL):
        np.save(archive / f"{name_of(clip)}.npy", given[clip].astype(np.float64))
    single = open_features(extract(READY, "vggish", MINI, root, public=archive))
    assert np.array_equal(single.array, given[:-1])
    with h5py.File(archive / "all.h5", "w") as file:
        file["embeddings"] = given
    whole = open_features(extract(READY, "vggish", MINI, root, public=archive))
    assert np.array_equal(whole.array, given[:-1])


@pytest.mark.parametrize("shape", [(T - 1, WIDTH), (1, WIDTH), (T, WIDTH + 1), (T, 1, 96, 63), (WIDTH,)])
def test_another_shape_is_one_sentence_and_leaves_nothing(root, archive, shape):
    np.save(archive / f"{name_of(0)}.npy", np.zeros((T, WIDTH), np.float32))
    np.save(archive / f"{name_of(1)}.npy", np.zeros(shape, np.float32))
    with pytest.raises(DgsctError) as error:
        extract(READY, "vggish", MINI, root, public=archive)
    wanted = f"where [5, {WIDTH}] or [5, 1, 96, 64] is needed"
    assert f"{name_of(1)}.npy holds an array {list(shape)} {wanted}; take it from the archive again" in str(error.value)
    assert list((root / PLACE).iterdir()) == []


class Calls:
    """What a pickle can do to who loads it."""

    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_a_pickle_that_calls_something_is_refused_and_calls_nothing(archive, tmp_path):
    trace = tmp_path / "trace"
    path = write_pickle(archive, 0, Calls(os.system, f"touch {trace}"))
    with pytest.raises(DgsctError, match=r"clip0000000.pkl is no readable feature file \(it wants to call posix.system\)"):
        read_public(PublicFeature(path))
    # A tensor's numbers are a file of torch's inside the pickle; so could be a call.
    inside = pickle.dumps(Calls(os.system, f"touch {trace}"), protocol=2)
    path = write_pickle(archive, 0, Calls(torch.storage._load_from_bytes, inside))
    with pytest.raises(DgsctError, match=r"clip0000000.pkl is no readable feature file .*; take it from the archive again"):
        read_public(PublicFeature(path))
    path = write_pickle(archive, 0, Calls(eval, f"__import__('os').mknod({str(trace)!r})"))
    with pytest.raises(DgsctError, match=r"it wants to call builtins.eval"):
        read_public(PublicFeature(path))
    assert not trace.exists()


UNREADABLE = {
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:4000]),
    "empty": lambda path: path.write_bytes(b""),
    "no pickle": lambda path: path.write_text("<html>not found</html>"),
    "gone": lambda path: path.unlink(),
    "no tensor": lambda path: path.write_bytes(pickle.dumps({"a": 1})),
    "whole numbers": lambda path: path.write_bytes(pickle.dumps(torch.ones(5, 1, 96, 64, dtype=torch.int64))),
    "not finite": lambda path: path.write_bytes(pickle.dumps(torch.full((5, 1, 96, 64), float("nan")))),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_is_no_feature_file_is_one_sentence(archive, case):
    path = write_pickle(archive, 0, as_published(examples_of(0)))
    UNREADABLE[case](path)
    with pytest.raises(DgsctError) as error:
        read_public(PublicFeature(path))
    assert str(error.value).startswith(f"{path} is no readable feature file (")
    assert "\n" not in str(error.value)


def test_a_npy_file_of_objects_is_refused(archive):
    np.save(archive / "x.npy", np.array([Calls(os.abort)], dtype=object), allow_pickle=True)
    with pytest.raises(DgsctError, match=r"x.npy is no readable feature file"):
        read_public(PublicFeature(archive / "x.npy"))
    with h5py.File(archive / "x.h5", "w") as file:
        file["a"] = np.zeros((2, 3), np.float32)
    for key, row in (("b", 0), ("a", 2)):
        with pytest.raises(DgsctError, match=r"x.h5 is no readable feature file"):
            read_public(PublicFeature(archive / "x.h5", key, row))


def test_what_cannot_be_extracted_is_said(root, archive, tmp_path):
    with pytest.raises(DgsctError, match=r"archive holds no public features 'vggish' of avs-s4; give the folder that does"):
        extract(SET, "vggish", MINI, root, public=archive)
    with pytest.raises(UsageError, match="unknown features 'clap'; known: vggish"):
        extract(SET, "clap", MINI, root)
    encoder_file(root, "mini", "vggish").unlink()
    with pytest.raises(DgsctError, match=r"encoder weights .*vggish.safetensors are missing"):
        extract(SET, "vggish", MINI, root)
    with pytest.raises(DgsctError, match=r"avs-s4/packed/manifest.json does not exist"):
        extract(SET, "vggish", MINI, tmp_path / "nowhere")


def test_a_set_without_what_the_encoder_reads_is_said(mini_world):
    with pytest.raises(
        UsageError, match="the data set 'ave' has no vggish_examples, which the features 'vggish' are made from"
    ):
        extract(get_set("ave"), "vggish", MINI, mini_world)


class Decoded(AvsBench):
    """A set whose clips are decoded for features that are too large to be stored before the encoder."""

    decoder = "test_extract_decoder"

    def read_index(self, root):
        return None

    def find_sources(self, root, index, layout=None):
        return "videos", [Source(name_of(i)) for i in (2, 0, 27)]


class Source:
    def __init__(self, video_id: str) -> None:
        self.video_id = video_id


def decode_features(source: Source, extractor: str, scale: Scale) -> np.ndarray:
    return examples_of(int(source.video_id[4:]))


def test_features_of_the_clips_themselves(root, archive, vggish, monkeypatch):
    """What nothing keeps: `reads` is None, and the decoder gives it clip by clip."""
    monkeypatch.setitem(sys.modules, Decoded.decoder, sys.modules[__name__])
    known = Extractor("dense", "vggish", None, lambda scale: (scale.vggish.embed_dim,), "many seconds a clip")
    monkeypatch.setitem(extractors.EXTRACTORS, "dense", known)
    data_set = Decoded("avs-s4", "Single-source", "s4", {})
    with pytest.raises(UsageError, match="'dense' are made from the clips themselves; give the folder that holds them"):
        extract(data_set, "dense", MINI, root)
    features = open_features(extract(data_set, "dense", MINI, root, raw=archive, jobs=1))
    assert list(features.place) == [name_of(2), name_of(0)]  # clip 27 is not in the prepared set
    np.testing.assert_allclose(features.array[0], given_to(vggish, examples_of(2)), rtol=0, atol=1e-6)


@pytest.mark.usefixtures("pixels")
def test_clips_without_features_are_left_out_counted_and_bound_the_metrics(root, archive):
    """A run reads rows that have features: here without two training clips, and without two test clips and the absent one."""
    for clip in set(range(TOTAL - 1)) - {0, 5, 21, 24}:
        write_pickle(archive, clip, as_published(examples_of(clip)))
    extract(SET, "vggish", MINI, root, public=archive)
    record = read_record(execute(Run.make("avs-s4", "pixels"), root))
    present = {"train": 14, "val": 4, "test": 5}
    assert record["coverage"] == {split: {"present": present[split], "total": COUNTS[split]} for split in COUNTS}
    metrics, share = record["metrics"], 5 / 8
    assert metrics["miou_lower"] == pytest.approx(share * metrics["miou"])
    assert metrics["miou_upper"] == pytest.approx(share * metrics["miou"] + 100 * (1 - share))


def dgsct(folder: Path, *arguments: object) -> Said:
    done = call(folder, "features", *arguments)
    assert "Traceback" not in done.out + done.err
    return done


def test_the_command_line(root, archive, tmp_path):
    done = dgsct(tmp_path, "avs-s4", "vggish", "--scale", "mini")
    assert (done.code, done.out.splitlines()[-1]) == (0, str(Path("results") / PLACE))
    extracted = open_features(root / PLACE).array.copy()
    write_pickle(archive, 3, as_published(examples_of(3)))
    done = dgsct(tmp_path, "avs-s4", "vggish", "--scale", "mini", "--results", root, "--from", archive)
    assert done.code == 0, done.err
    assert list(open_features(root / PLACE).place) == [name_of(3)]
    assert not np.array_equal(open_features(root / PLACE).array[0], extracted[3])
    for arguments, said in (
        (("avs-s5", "vggish"), "unknown data set 'avs-s5'"),
        (("avs-s4", "vgg"), "unknown features 'vgg'"),
        (("avs-s4", "vggish", "--scale", "huge"), f"unknown scale 'huge'; choose one of: {', '.join(SCALES)}"),
    ):
        done = dgsct(tmp_path, *arguments)
        assert done.code == 2
        assert done.err.startswith(f"dgsct: {said}")
        assert done.err.count("\n") == 1


IMPLAUSIBLE = {
    "decibels": lambda x: 10 * x / np.log(10) - 40,
    "a wave of 16-bit numbers": lambda x: x + np.log(32768, dtype=np.float32),
    "16-bit numbers as floats": lambda x: np.round(x * 1000),
    "a lower floor": lambda x: x - 3,
    "one spike": lambda x: np.where(np.arange(x.size).reshape(x.shape) == 77, 1e4, x).astype(np.float32),
    "magnitudes": lambda x: np.exp(x + 5),
}


@pytest.mark.parametrize("case", IMPLAUSIBLE)
def test_numbers_that_no_log_mel_examples_are(root, archive, case):
    """The array has the right shape, and would go through the encoder without a word."""
    path = write_pickle(archive, 3, as_published(IMPLAUSIBLE[case](examples_of(3)).astype(np.float32)))
    with pytest.raises(DgsctError) as error:
        extract(SET, "vggish", MINI, root, public=archive)
    assert str(error.value).startswith(f"{path} holds numbers from ")
    assert ", but ln(mel + 0.01) of a wave between -1 and 1 lie between -4.61 and 7; give the public" in str(error.value)
    assert "\n" not in str(error.value)
    assert not (root / PLACE / "features.json").exists()


def test_silence_and_the_loudest_sound_are_examples(root, archive):
    loud = np.sign(np.random.default_rng(1).standard_normal(16000 * 5))
    for clip, wave in enumerate((np.zeros(16000 * 5), loud, np.sin(np.arange(16000 * 5)))):
        write_pickle(archive, clip, as_published(log_mel(wave, T)))
    assert len(open_features(extract(SET, "vggish", MINI, root, public=archive)).place) == 3


@pytest.mark.parametrize(("low", "high"), [(-0.5, 1.0), (0.0, 255.0), (-1e6, 1e6)])
def test_numbers_that_no_embeddings_are(root, archive, low, high):
    """After PCA, quantised, or of anything else."""
    np.save(archive / f"{name_of(0)}.npy", np.linspace(low, high, T * WIDTH, dtype=np.float32).reshape(T, WIDTH))
    with pytest.raises(DgsctError, match=r"holds numbers from .*, but embeddings without PCA and quantisation lie between 0"):
        extract(READY, "vggish", MINI, root, public=archive)


ARRAYS = {
    "too large for float32": (np.full((T, WIDTH), 1e300), "numbers that are not finite in float32"),
    "infinite": (np.full((T, WIDTH), np.inf, np.float32), "numbers that are not finite in float32"),
    "nothing": (np.zeros((0, WIDTH), np.float32), "no numbers"),
    "truth values": (np.ones((T, WIDTH), bool), "bool instead of floats"),
    "16-bit numbers": (np.ones((T, WIDTH), np.int16), "int16 instead of floats"),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_that_hold_no_features(archive, case):
    array, told = ARRAYS[case]
    np.save(archive / "x.npy", array)
    with pytest.raises(DgsctError, match=rf"x.npy is no readable feature file \({told}\); take it from the archive again"):
        read_public(PublicFeature(archive / "x.npy"))


def test_a_single_number_is_no_clip(root, archive):
    np.save(archive / f"{name_of(0)}.npy", np.float32(1))
    with pytest.raises(DgsctError, match=r"holds an array \[\] where "):
        extract(READY, "vggish", MINI, root, public=archive)

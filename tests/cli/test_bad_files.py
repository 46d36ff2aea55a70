"""Files that users write or copy, in every bad form, by the commands that read them: one sentence, no traceback."""

import h5py
import numpy as np
import pytest
from bad_input_rig import CONTENTS, NO_TEXT, RUN, fault, fault_of_report

# Files that users write or that lie in a results folder, and the commands that read them.
MINE = "results" / RUN.folder
BEST = str(MINE / "checkpoints" / "best.safetensors")
HERE = ("--experiments", "mine")
LOOKS = (
    ["cells", *HERE],
    ["coverage", *HERE],
    ["status", *HERE],
    ["plan", "--no-probe", "--no-write", *HERE],
    ["doctor", *HERE],
)
TABLE = ["tables", "table1", "--out", "out", *HERE]
RERUN = ["run", "ave", "majority-class"]
FEATURES = ["features", "avs-s4", "vggish", "--scale", "mini"]
PACKED = "results/data/mini/ave/packed"
FILES_READ: dict[str, tuple[list[str], ...]] = {
    "site.yaml": tuple([*line, "--site", "site.yaml"] for line in (*LOOKS[3:], ["weights"])),
    "mine/table1.yaml": LOOKS,
    "profile/config.yaml": ([*LOOKS[4], "--profile", "profile"],),
    str(MINE / "record.json"): (*LOOKS, TABLE, RERUN, ["remeasure"], ["remeasure", "--stale", str(MINE)], ["retry", str(MINE)]),
    str(MINE / "failed.json"): (*LOOKS[2:4], TABLE, RERUN, ["retry", str(MINE)]),
    str(MINE / "units.npz"): (["remeasure"], ["remeasure", "--stale", str(MINE)], RERUN),
    str(MINE / "lock.json"): (LOOKS[2], RERUN),
    f"{PACKED}/manifest.json": (*LOOKS, TABLE, RERUN),
    f"{PACKED}/wave.npy": (LOOKS[4], RERUN),
    "results/encoders/mini/vggish.json": (FEATURES, LOOKS[4]),
    "results/encoders/mini/vggish.safetensors": (FEATURES, LOOKS[4]),
    "results/data/mini/avs-s4/packed/manifest.json": (FEATURES,),
    "results/features/mini/avs-s4/vggish/features.json": (FEATURES, ["cells", "table2"]),
    "results/efficiency/dg-sct.json": (
        ["tables", "table6", "--out", "out", "--experiments", "experiments"],
        ["status", "--experiments", "experiments"],
    ),
    "checkpoint.pt": (
        ["evaluate", "ave", "--checkpoint", "checkpoint.pt"],
        ["convert", "swin", "checkpoint.pt", "o.safetensors"],
    ),
    "checkpoint.safetensors": (["evaluate", "ave", "--checkpoint", "checkpoint.safetensors"],),
    BEST: (["evaluate", "ave", "--checkpoint", BEST],),
}


# What every command is given; of the rest each kind is given to one command.
BY_ALL = ("cut off", "a list", "latin-1", "nested too deep")


@pytest.mark.parametrize("file", FILES_READ)
def test_a_bad_file_is_no_traceback(world, file):
    """The file is named where the command fails; tables and status show what it spoils, and go on."""
    world.unshare()
    path, faults = world.root / file, {}
    path.parent.mkdir(parents=True, exist_ok=True)
    for i, (kind, content) in enumerate(CONTENTS.items()):
        lines = FILES_READ[file]
        for line in lines if kind in BY_ALL else lines[i % len(lines) :][:1]:
            world.fresh(path, content)
            said = world.call(*line)
            problem = fault_of_report(said) if line[0] == "doctor" or not said.code else fault(said)
            if problem:
                faults[f"{' '.join(line)}, {kind}"] = problem
    assert not faults, "\n".join(f"{what}: {problem[:300]}" for what, problem in faults.items())


# A data set's own files, as `dgsct prepare` reads them.
BELL = "Church bell&{}&good&0&10\n"
NAMES = {
    "an over-long id": "i" * 300,
    "an id with a slash": "a/b",
    "an id above": "..",
    "an id with a NUL": "a\x00b",
    "an id with a line separator": "a\u2028b",
    "an id with a return": "a\rb",
    "an id with a tab": "a\tb",
    "an empty id": "",
    "an id of blanks": "  ",
    "an id that no text holds": "caf\ufffd",
}


def spoilt(text: str) -> dict[str, bytes]:
    """A good text in encodings that it must not have, and what is no such text at all."""
    wrong = {"with a byte of latin-1": text.encode() + b"caf\xe9\n", "as UTF-16": text.encode("utf-16")}
    return {**CONTENTS, **wrong, "with a NUL": text.encode() + b"\x00\n", "an endless line": text.encode() + b"x" * 300_000}


def prepared_set_fault(world, name: str) -> str:
    before = world.listed()
    said = world.call("prepare", name, "own", "packed", "--scale", "mini", "--jobs", "1")
    problem = fault(said) if said.code else "exit code 0"
    left = {path for path in world.listed().keys() - before.keys() if "/packed" in path}
    return problem or (f"left behind: {left}" if left else "")


@pytest.mark.parametrize("file", ["Annotations.txt", "trainSet.txt", "train_order.h5"])
def test_a_bad_file_of_ave_is_one_sentence(world, file):
    own, faults = world.root / "own", {}
    own.mkdir()
    for name in ("Annotations", "trainSet", "valSet", "testSet"):
        (own / f"{name}.txt").write_text(BELL.format("clip"), encoding="utf-8")
    for kind, content in spoilt(BELL.format("clip")).items():
        (own / file).write_bytes(content)
        if problem := prepared_set_fault(world, "ave"):
            faults[kind] = problem
    (own / file).unlink()
    (own / file).mkdir()
    if problem := prepared_set_fault(world, "ave"):
        faults["a folder"] = problem
    assert not faults, "\n".join(f"{kind}: {problem[:300]}" for kind, problem in faults.items())


@pytest.mark.parametrize("kind", ["group", "text", "fractions", "table", "outside", "nothing", "object"])
def test_a_bad_order_of_ave_is_one_sentence(world, kind):
    own = world.root / "own"
    own.mkdir()
    (own / "Annotations.txt").write_text(BELL.format("clip"), encoding="utf-8")
    with h5py.File(own / "train_order.h5", "w") as file:
        match kind:
            case "group":
                file.create_group("order")
            case "text":
                file["order"] = ["a", "b"]
            case "fractions":
                file["order"] = np.array([0.5, np.nan])
            case "table":
                file["order"] = np.zeros((2, 2), dtype=np.int64)
            case "outside":
                file["order"] = np.array([2**63 - 1])
            case "nothing":
                file["order"] = np.zeros(0, dtype=np.int64)
            case "object":
                file["order"] = np.zeros(2, dtype=[("a", "i4")])
    assert not prepared_set_fault(world, "ave")


@pytest.mark.parametrize("kind", NAMES)
def test_a_bad_id_is_one_sentence(world, kind):
    own, name = world.root / "own", NAMES[kind]
    (own / "AVE").mkdir(parents=True)
    (own / "Single-source" / "s4_data" / "visual_frames").mkdir(parents=True)
    (own / "Single-source" / "s4_data" / "raw_videos").mkdir()
    for file in ("Annotations", "trainSet", "valSet", "testSet"):
        (own / f"{file}.txt").write_text(BELL.format(name), encoding="utf-8", newline="")
    rows = [f"{name}{i},0,dog_barking,{split}" for i, split in enumerate(("train", "val", "test"))]
    table = "\n".join(("name,start,category,split", *rows))
    (own / "Single-source" / "s4_meta_data.csv").write_text(table, encoding="utf-8", newline="")
    assert not {one: problem for one in ("ave", "avs-s4") if (problem := prepared_set_fault(world, one))}


def test_bad_metadata_is_one_sentence(world):
    folder, faults = world.root / "own" / "Single-source", {}
    (folder / "s4_data" / "raw_videos").mkdir(parents=True)
    good = "name,start,category,split\n"
    for kind, content in {**spoilt(good), "an open quote": f'{good}"clip,0,dog_barking,train\n'.encode()}.items():
        (folder / "s4_meta_data.csv").write_bytes(content)
        if problem := prepared_set_fault(world, "avs-s4"):
            faults[kind] = problem
    assert not faults, "\n".join(f"{kind}: {problem[:300]}" for kind, problem in faults.items())


@pytest.mark.parametrize("kind", ["wrongly encoded", "a folder", "garbage", "a circle"])
def test_a_bad_video_is_one_sentence(world, kind):
    own = world.root / "own"
    (own / "AVE").mkdir(parents=True)
    for file in ("Annotations", "trainSet", "valSet", "testSet"):
        (own / f"{file}.txt").write_text(BELL.format("clip"), encoding="utf-8")
    video = own / "AVE" / "clip.mp4"
    match kind:
        case "wrongly encoded":
            (own / "AVE" / f"{NO_TEXT}.mp4").write_bytes(b"x")
        case "a folder":
            video.mkdir()
        case "garbage":
            video.write_bytes(bytes(range(256)) * 64)
        case "a circle":
            video.symlink_to("clip.mp4")
    said = world.call("prepare", "ave", "own", "packed", "--scale", "mini", "--jobs", "1")
    assert said.code, said.out
    assert not fault(said)

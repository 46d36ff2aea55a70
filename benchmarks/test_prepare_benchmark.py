"""Preparing one clip at full size on one core, in both layouts: decoding, resizing, log-mel. 1 / mean is clips/s per core.

The clip is as those of the public archive mostly are: 640 x 360, 30 frames per second, stereo at 44.1 kHz, ten seconds.
"""

import os
import timeit

import pytest
from ave_rig import write_clip, write_release_layout

from dgsct.data.prepare import prepare_set
from dgsct.data.timeline import read_timeline
from dgsct.settings.scales import PAPER
from dgsct.tasks import get_set
from dgsct.tasks.ave.annotations import SPLIT_FILES, AveIndex, Row, write_index
from dgsct.tasks.ave.decode import decode_clip
from dgsct.tasks.ave.files import AVE


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    root = tmp_path_factory.mktemp("clip")
    (root / "AVE").mkdir()
    write_clip(root / "AVE/clip.mp4", 30, (640, 360), 44100, 2)
    index = AveIndex((Row("Bark", "clip", "good", 0, 10),), ("Bark",), {split: [0] for split in SPLIT_FILES})
    write_release_layout(index, root / "AVE", root)
    return root


@pytest.mark.parametrize("layout", AVE.layouts)
def test_one_clip(benchmark, clip, layout):
    _, (source,) = AVE.find_sources(clip, AVE.read_index(clip), layout)
    done = benchmark.pedantic(decode_clip, (source, PAPER), rounds=15, warmup_rounds=1)
    assert done.status == "ready"
    benchmark.extra_info["clips/s per core"] = round(1 / benchmark.stats.stats.mean, 2)


def test_what_the_times_cost(benchmark, clip):
    """Reading all packets' times, and the share of it in decoding one clip from its mp4 file."""
    _, (source,) = AVE.find_sources(clip, AVE.read_index(clip), "videos")
    whole = min(timeit.repeat(lambda: decode_clip(source, PAPER), number=1, repeat=8))
    assert len(benchmark.pedantic(read_timeline, (source.picture,), rounds=30, warmup_rounds=1).frames) == 300
    benchmark.extra_info["share of decoding"] = round(benchmark.stats.stats.min / whole, 3)


@pytest.mark.parametrize("layout", AVE.layouts)
def test_a_folder_of_forty_on_one_core(benchmark, clip, tmp_path, layout):
    """The command itself: with the start of its process, writing, checksums and journal."""
    root = tmp_path / "raw"
    names = [f"clip{i:02}" for i in range(40)]
    for name in names:
        for kind, end in (("AVE", ".mp4"), ("frames", ""), ("wave", ".npy")):
            (root / kind).mkdir(parents=True, exist_ok=True)
            os.symlink(clip / kind / f"clip{end}", root / kind / f"{name}{end}")
    rows = tuple(Row("Bark", name, "good", 0, 10) for name in names)
    write_index(root, AveIndex(rows, ("Bark",), {"train": range(30), "val": range(30, 35), "test": range(35, 40)}))
    out = iter(range(9))

    def prepare():
        return prepare_set(get_set("ave"), root, tmp_path / f"out{next(out)}", PAPER, jobs=1, progress=False, layout=layout)

    assert benchmark.pedantic(prepare, rounds=2)["report"]["ready"]["count"] == 40
    benchmark.extra_info["clips/s per core"] = round(40 / benchmark.stats.stats.mean, 2)

"""Segmentation: preparing one clip at full size on one core, and a training step at mini scale, DG-SCT beside late fusion.

Clips are as the archive has them: 224 x 224 PNG pictures and masks, 16 kHz stereo wav, `AVS.npy`, mp4 of 448 x 448 at 30
frames a second. S4 is a test clip (five masks); 1 / mean is clips/s per core.
Times are those of the process on its cores, so that work beside it weighs little.
`python -m pytest benchmarks/test_avs_benchmark.py -s`
takes about a minute on an idle core.
"""

import time
import wave as wav
from statistics import median

import numpy as np
import pytest
import torch
from ave_rig import write_clip
from PIL import Image

from dgsct.campaign.probe import pretended_batch
from dgsct.engine.recipe import build_optimizer
from dgsct.runs.run import Run
from dgsct.settings.scales import PAPER
from dgsct.tasks.avs.decode import decode_clip
from dgsct.tasks.avs.files import MS3, S4, SEGMENTS, SPEECH_RATE, AvsBench, AvsIndex, AvsRow

SETTINGS = {"avs-s4": S4, "avs-ms3": MS3}
ROUNDS = 7
KINDS = ("raw_videos", "visual_frames", "audio_wav", "gt_masks", "wave")


@pytest.fixture(scope="module", params=SETTINGS)
def clip(request, tmp_path_factory):
    """The setting, its folder, and an index of one clip."""
    data_set, root = SETTINGS[request.param], tmp_path_factory.mktemp(request.param)
    row = AvsRow("-AvdTx9HVjo", "test", "dog_barking" if data_set.sorted else "")
    side, draw = PAPER.frame_size, np.random.default_rng(0)
    paths = {kind: data_set.paths(root, row, kind) for kind in KINDS}
    for files in paths.values():
        files[0].parent.mkdir(parents=True, exist_ok=True)
    smooth = Image.fromarray(draw.integers(0, 256, (14, 14, 3), dtype=np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
    picture = np.asarray(smooth).astype(int) + draw.integers(-6, 7, (side, side, 1))  # about as large as a real frame
    for path in paths["visual_frames"]:
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(path)
    mask = np.zeros((side, side), np.uint8)
    mask[60:150, 40:190] = 255
    for path in paths["gt_masks"]:
        Image.fromarray(mask).save(path)
    rate = PAPER.htsat.sample_rate
    (pack,), (speech,), (video,) = paths["wave"], paths["audio_wav"], paths["raw_videos"]
    np.save(pack, np.array({f"{row.video_id}.wav": draw.uniform(-0.3, 0.3, SEGMENTS * rate).astype(np.float32)}, dtype=object))
    with wav.open(str(speech), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(SPEECH_RATE)
        file.writeframes(draw.integers(-9000, 9000, (SEGMENTS * SPEECH_RATE, 2)).astype("<i2").tobytes())
    write_clip(video, 30, (448, 448), 44100, 2, seconds=float(SEGMENTS))
    return data_set, root, AvsIndex((row,), (), {})


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("layout", AvsBench.layouts)
def test_prepare_one_clip(benchmark, clip, layout):
    data_set, root, index = clip
    (source,) = data_set.sources(root, index, layout)
    done = benchmark.pedantic(decode_clip, (source, PAPER), rounds=ROUNDS, warmup_rounds=1)
    assert done.status == "ready", done
    benchmark.extra_info["clips/s per core"] = round(1 / benchmark.stats.stats.mean, 2)
    print(f"\n{data_set.name} {layout}: {1 / benchmark.stats.stats.mean:.1f} clips/s per core")


def mini_step(task: str, method: str):
    """A training step of protocol `release` at mini scale with the recipe's batch and random inputs."""
    torch.manual_seed(0)
    run = Run.make(task, method)
    model, (inputs, targets) = run.build().train(), pretended_batch(run)
    optimizer = build_optimizer(model, run.recipe)

    def step() -> float:
        optimizer.zero_grad()
        loss = sum(model.losses(model(**inputs), targets).values())
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("task", SETTINGS)
def test_mini_step_beside_late_fusion(benchmark, task):
    torch.set_num_threads(1)
    ours, other = mini_step(task, "dg-sct"), mini_step(task, "late-fusion")
    times: list[float] = []

    def reference() -> None:  # before every round, so that both see the same machine
        start = time.process_time()
        other()
        times.append(time.process_time() - start)

    reference()
    loss = benchmark.pedantic(ours, setup=reference, rounds=ROUNDS, warmup_rounds=1)
    ratio = benchmark.stats.stats.median / median(times[2:])
    benchmark.extra_info["ratio to late fusion"] = round(ratio, 2)
    print(f"\n{task}: {benchmark.stats.stats.median:.3f} s a step of DG-SCT, {ratio:.2f} times late fusion's")
    assert np.isfinite(loss)

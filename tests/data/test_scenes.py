"""Scenes: frames, masks, sound and events of one scene agree; looks and sounds can be told apart."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from dgsct.data.kinds import BELL, CHIRP, CLICKS, DISC, HISS, HUM, RING, SQUARE, WHISTLE
from dgsct.data.scenes import Scene, events, random_source, render_frames, render_masks, render_wave
from dgsct.encoders.frontend import log_mel_compact
from dgsct.settings.scales import MINI

RATE = 32000
SECONDS = 10
SOUNDS = (HUM, CHIRP, HISS, CLICKS, BELL, WHISTLE)


def scene_of(seed: int) -> Scene:
    """A source that is seen in 2-6 and heard in 4-8, one that stands silently, and an off-screen sound."""
    rng = np.random.default_rng(seed)
    seen = random_source(rng, SQUARE, HUM, ((2.0, 6.0),), ((4.0, 8.0),))
    silent = replace(random_source(rng, RING, None, ((0.0, 10.0),), ()), centre=(0.3, 0.5))
    away = random_source(rng, None, CLICKS, (), ((9.0, 10.0),))
    return Scene((silent, away, seen), seed, SECONDS)


def test_equal_scenes_give_equal_media():
    for render in (lambda s: render_frames(s, 64, 48, 10), lambda s: render_wave(s, RATE)):
        assert np.array_equal(render(scene_of(3)), render(scene_of(3)))
        assert not np.array_equal(render(scene_of(3)), render(scene_of(4)))


def test_frames_masks_and_sound_agree_with_the_events():
    scene = scene_of(0)
    frames, wave = render_frames(scene, 64, 48, 10), render_wave(scene, RATE)
    assert (frames.shape, frames.dtype) == ((100, 48, 64, 3), np.uint8)
    assert (wave.shape, wave.dtype) == ((SECONDS * RATE,), np.float32)
    silent, away, seen = events(scene)
    assert silent.seen.all()
    assert not silent.heard.any()
    assert not away.seen.any()
    assert np.flatnonzero(away.heard).tolist() == [9]
    assert np.flatnonzero(seen.seen).tolist() == [2, 3, 4, 5]
    assert np.flatnonzero(seen.heard).tolist() == [4, 5, 6, 7]
    shown = render_masks(scene, 64, 48, 10, sounding=False)
    sounding = render_masks(scene, 64, 48, 10)
    assert shown.shape == (3, 100, 48, 64)
    assert np.array_equal(shown[2].any(axis=(1, 2)).reshape(10, 10).all(axis=1), seen.seen)
    assert np.array_equal(sounding[2].any(axis=(1, 2)).reshape(10, 10).all(axis=1), seen.seen & seen.heard)
    assert not sounding[:2].any()
    assert not (shown[0] & shown[2]).any()  # what is in front hides what is behind
    loud = np.sqrt((wave.reshape(10, RATE) ** 2).mean(axis=1)) > 0.03
    assert np.array_equal(loud, seen.heard | away.heard)
    green = frames[shown[2]].mean(axis=0)
    assert green[1] > 1.5 * max(green[0], green[2])


def test_shade_takes_the_colour_and_nothing_else():
    lit = scene_of(0)
    silent, away, seen = lit.sources
    shaded = replace(lit, sources=(silent, away, replace(seen, shade=((1.0, 3.0), (5.0, 9.0)))))
    before, after = render_frames(lit, 64, 48, 10), render_frames(shaded, 64, 48, 10)
    in_shade = np.repeat([0, 1, 1, 0, 0, 1, 1, 1, 1, 0], 10).astype(bool)
    shown = render_masks(lit, 64, 48, 10, sounding=False)
    of_it = shown[2] & in_shade[:, None, None]
    assert of_it.any()
    assert np.array_equal(before[~of_it], after[~of_it])  # what is lit, what is in front, behind and around
    grey, coloured = (np.ptp(frames[of_it].astype(int), axis=1) for frames in (after, before))
    assert grey.max() <= 1
    assert coloured.min() > 60
    # Stripes and light stay: as bright as the colour's brightest channel, and dark where that was dark.
    assert np.array_equal(after[of_it].max(axis=1), before[of_it].max(axis=1))
    for sounding in (True, False):
        assert np.array_equal(render_masks(lit, 64, 48, 10, sounding), render_masks(shaded, 64, 48, 10, sounding))
    assert np.array_equal(render_wave(lit, RATE), render_wave(shaded, RATE))
    assert [(e.seen.tolist(), e.heard.tolist()) for e in events(lit)] == [
        (e.seen.tolist(), e.heard.tolist()) for e in events(shaded)
    ]


def test_position_decides_left_and_right():
    rng = np.random.default_rng(0)
    left = replace(random_source(rng, DISC, None, ((0.0, 10.0),), ()), centre=(0.25, 0.5), swing=(0.05, 0.05))
    mask = render_masks(Scene((left,), 0, SECONDS), 64, 64, 2, sounding=False)[0]
    assert not mask[:, :, 34:].any()
    assert mask[:, :, :32].any(axis=(1, 2)).all()


def test_loudness_scales_the_sound():
    quiet = random_source(np.random.default_rng(0), None, CHIRP, (), ((0.0, 1.0),))
    levels = [render_wave(Scene((replace(quiet, loudness=level),), 0, 1, noise=0.0), RATE).std() for level in (0.1, 0.3)]
    assert levels[1] == pytest.approx(3 * levels[0], rel=1e-3)


@pytest.fixture(scope="module")
def log_mels() -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread over time of the log-mel of 20 seconds of each sound alone."""
    waves = []
    for number, sound in enumerate(SOUNDS):
        for i in range(20):
            rng = np.random.default_rng([number, i])
            waves.append(render_wave(Scene((random_source(rng, None, sound, (), ((0.0, 1.0),)),), i, 1), RATE))
    mels = log_mel_compact(torch.from_numpy(np.stack(waves)), MINI.htsat, 10).numpy()
    return np.concatenate([mels.mean(axis=1), mels.std(axis=1)], axis=1), np.repeat(np.arange(len(SOUNDS)), 20)


def test_sounds_are_apart_in_sixteen_mel_bins(log_mels):
    features, labels = log_mels
    centres = np.stack([features[labels == k][::2].mean(axis=0) for k in range(len(SOUNDS))])
    distance = np.linalg.norm(features[1::2, None] - centres, axis=-1)
    assert np.array_equal(distance.argmin(axis=1), labels[1::2])
    nearest, second = np.sort(distance, axis=1)[:, :2].T
    assert (second > 1.5 * nearest).all()


def test_a_clip_renders_fast():
    begin = time.process_time()
    for seed in range(5):
        render_frames(scene_of(seed), 64, 64, 10)
        render_wave(scene_of(seed), RATE)
    assert (time.process_time() - begin) / 5 < 0.2

"""Points under another lens: against a second look by the real localizers, and by what must hold for any lens.

By how much two looks differ: a localizer's answer depends on the last bits of its crop, BlazePose's most.
"""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.body.load import load_body
from backend.camera.lens import project
from backend.camera.pinhole import Camera
from backend.camera.refocus import refocused
from backend.localizers.choose import create_localizer
from backend.people.detect import PersonDetector
from backend.records import Subject, TrackChunk
from blender_addon.shared.frames import open_clip

DEMO = Path(__file__).parents[1] / "data" / "demo.mp4"
FRAMES = (0, 8, 16, 24)


@cache
def pictures():
    with open_clip(DEMO) as clip:
        return [f.image for f in clip if f.index in FRAMES]


@cache
def boxes():
    detector = PersonDetector("cpu")
    return [found[0].box for found in detector.detect(pictures())]


@cache
def localizer(name: str):
    return create_localizer(name, load_body())


def looked(name: str, fov: float) -> tuple[Camera, TrackChunk]:
    """The person of some frames, by the real localizer under a lens."""
    height, width = pictures()[0].shape[:2]
    camera = Camera.from_fov(width, height, fov)
    first = localizer(name).localize(
        [Subject(i, camera, b) for i, b in zip(pictures(), boxes(), strict=True)]
    )
    n, around = len(FRAMES), np.stack(boxes()).astype(np.float32)
    return camera, TrackChunk(1, np.array(FRAMES, np.int32), np.array(FRAMES) / 30, around,
                              first.points3d, first.points2d, first.uncertainty, np.ones(n, np.float32))  # fmt: skip


def apart(a: TrackChunk, b: TrackChunk) -> tuple[float, float]:
    """Millimetres about the middles, and how far apart these lie in depth, as a share."""
    middles = a.points3d.mean(1, keepdims=True), b.points3d.mean(1, keepdims=True)
    off = np.linalg.norm(a.points3d - middles[0] - b.points3d + middles[1], axis=-1)
    return 1000 * float(np.median(off)), float(np.abs(middles[0][..., 2] / middles[1][..., 2] - 1).max())


@pytest.mark.parametrize("name, most_mm", [("field", 15), ("landmarks-heavy", 35)])
@pytest.mark.parametrize("fov", [30, 80])
def test_it_is_near_to_a_second_look(name: str, most_mm: float, fov: float):
    old, before = looked(name, 55)
    new, again = looked(name, fov)
    there = refocused(before, old, new)
    mm, depth = apart(there, again)
    assert mm < most_mm and depth < 0.03, (mm, depth)
    assert apart(before, again)[1] > 0.3


def a_track(camera: Camera, n: int = 3, count: int = 40, lens=None) -> TrackChunk:
    """Points off the middle that lie on their rays."""
    rng = np.random.default_rng(1)
    points = rng.normal([1.0, 0.2, 4.0], [0.3, 0.6, 0.2], (n, count, 3))
    flat = project(torch.from_numpy(points), torch.from_numpy(camera.K), lens).numpy()
    f32 = np.float32
    return TrackChunk(1, np.arange(n, dtype=np.int32), np.arange(n) / 30, np.ones((n, 4), f32), points.astype(f32),
                      flat.astype(f32), np.full((n, count), 0.05, f32), np.ones(n, f32))  # fmt: skip


def test_there_and_back_is_where_it_began():
    wide, long = Camera.from_fov(1280, 720, 55), Camera.from_fov(1280, 720, 25)
    track = a_track(wide)
    there = refocused(track, wide, long)
    assert np.median(there.points3d[..., 2]) > 1.8 * np.median(track.points3d[..., 2])
    np.testing.assert_allclose(refocused(there, long, wide).points3d, track.points3d, atol=5e-3)
    np.testing.assert_allclose(refocused(track, wide, wide).points3d, track.points3d, atol=1e-4)


def test_frames_in_which_nobody_was_seen_stay_so():
    camera = Camera.from_fov(1280, 720, 55)
    track = a_track(camera)
    for name in ("points3d", "points2d", "uncertainty"):
        getattr(track, name)[1] = np.nan
    there = refocused(track, camera, Camera.from_fov(1280, 720, 30))
    assert np.isnan(there.points3d[1]).all()
    assert np.isfinite(there.points3d[[0, 2]]).all()


@pytest.mark.parametrize("lens", [(-0.2, 0.05, 0.001, -0.001, 0.0), (0.1, 0.02, 0.0, 0.0)])
def test_distortion_is_taken_out(lens: tuple[float, ...]):
    camera = Camera.from_fov(1280, 720, 70)
    straight = a_track(camera)
    bent = a_track(camera, lens=torch.tensor(lens, dtype=torch.float64))
    assert np.abs(bent.points2d - straight.points2d).max() > 1
    # The localizer saw bent pixels: its places lie on wrong rays.
    there = refocused(replace(bent, points3d=straight.points3d), camera, camera, lens)
    np.testing.assert_allclose(there.points2d, straight.points2d, atol=0.02)
    with pytest.raises(ValueError, match="coefficients"):
        refocused(bent, camera, camera, (0.1, 0.2, 0.3))

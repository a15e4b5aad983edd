"""Features of a real encoded clip that pans: followed, spread, kept off people, and the same after a pause."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from turns import off_deg

from backend.camera.background import Background, BackgroundTracker
from backend.camera.moving.sight import turned
from backend.camera.path import solve_path
from backend.camera.pinhole import Camera
from backend.shots.cuts import ChangeWatch
from backend.shots.notes import Notes
from bench.road import write
from blender_addon.shared.frames import Frame, open_clip

WIDE, HIGH, FOCAL, N = 640, 480, 700.0, 24
NOBODY = np.zeros((0, 4))
SOMEBODY = np.array([[250.0, 100.0, 120.0, 300.0]])


@pytest.fixture(scope="module")
def turns() -> np.ndarray:
    return turned(np.stack([0 * np.arange(N), 0.008 * np.arange(N), 0 * np.arange(N)], 1))


@pytest.fixture(scope="module")
def frames(turns, tmp_path_factory) -> list[Frame]:
    """A camera turns in front of a wall of blobs that is infinitely far, and somebody's place is striped."""
    rng = np.random.default_rng(8)
    wall = cv2.GaussianBlur(rng.integers(0, 256, (1200, 2400, 3)).astype(np.uint8), (0, 0), 3)
    wall = cv2.normalize(wall, None, 0, 255, cv2.NORM_MINMAX)
    K, K_wall = Camera.from_focal(WIDE, HIGH, FOCAL).K, Camera.from_focal(2400, 1200, FOCAL * 1.5).K
    pictures = []
    for turn in turns:
        # From a pixel of the picture to one of the wall.
        back = K_wall @ turn.T @ np.linalg.inv(K)
        pictures.append(
            cv2.warpPerspective(wall, back, (WIDE, HIGH), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        )
    file: Path = write(pictures, tmp_path_factory.mktemp("pan") / "pan.mp4", fps=30)
    with open_clip(file) as clip:
        return list(clip)


def followed(
    frames: list[Frame],
    people: np.ndarray = NOBODY,
    pause: int | None = None,
    sudden: Collection[int] = (),
) -> Background:
    tracker, seen = BackgroundTracker(WIDE, HIGH), []
    for frame in frames:
        if frame.index == pause:
            memory = tracker.memory()
            tracker = BackgroundTracker(WIDE, HIGH)
            tracker.recall(memory)
        seen.append(tracker.see(frame, people, frame.index in sudden))
    return Background.of([f.index for f in frames], seen)


def same(a: Background, b: Background) -> bool:
    return all(
        np.array_equal(x, y) for x, y in zip(a.to_arrays().values(), b.to_arrays().values(), strict=True)
    )


def test_a_real_clip_gives_the_cameras_turn(frames, turns):
    path = solve_path(
        followed(frames), np.arange(N) / 30, Camera.from_focal(WIDE, HIGH, FOCAL), focal_known=True
    )
    assert path.moving
    assert off_deg(path.turns, turns).max() < 0.1


def test_features_are_many_spread_and_off_people(frames):
    seen = followed(frames, SOMEBODY)
    assert seen.counts.min() > 80
    x, y, w, h = SOMEBODY[0]
    inside = ((seen.places > [x, y]) & (seen.places < [x + w, y + h])).all(1)
    assert not inside.any()
    corners = (seen.places[:, 0] > WIDE / 2) + 2 * (seen.places[:, 1] > HIGH / 2)
    assert (np.bincount(corners.astype(int)) > 0.1 * len(corners)).all()
    assert np.median(np.bincount(seen.ids)) > 8


def test_ids_stay_and_never_come_again(frames):
    seen = followed(frames)
    by_frame = np.split(seen.ids, np.cumsum(seen.counts)[:-1])
    for before, after in pairwise(by_frame):
        assert (np.diff(after) > 0).all()
        assert not set(after[after <= before.max()].tolist()) - set(before.tolist())


def test_a_pause_and_the_number_of_threads_change_no_bit(frames):
    whole = followed(frames)
    assert same(whole, followed(frames, pause=9))
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        assert same(whole, followed(frames))
    finally:
        cv2.setNumThreads(threads)


def shared(a, b) -> float:
    """Part of one picture's features that another shows, too."""
    return np.isin(a.ids, b.ids).mean()


def test_after_a_sudden_change_that_is_none_features_go_on(frames, turns):
    seen = followed(frames, sudden={9, 15})
    assert same(seen.cut(0, 8), followed(frames).cut(0, 8))
    by_frame = np.split(seen.ids, np.cumsum(seen.counts)[:-1])
    assert all(np.isin(a, b).mean() > 0.85 for a, b in pairwise(by_frame))
    path = solve_path(seen, np.arange(N) / 30, Camera.from_focal(WIDE, HIGH, FOCAL), focal_known=True)
    assert path.known.all() and off_deg(path.turns, turns).max() < 0.1


def test_the_road_begins_nothing_anew_where_the_watch_was_wrong(frames, monkeypatch):
    monkeypatch.setattr(ChangeWatch, "see", lambda self, signature, time_s: time_s == frames[9].time_s)
    notes = Notes()
    for frame in frames:
        notes.sign(frame)
        assert notes.sudden(frame) == (frame.index == 9)
        notes.settle(frame, NOBODY)
    seen = Background.from_arrays(notes.take()["background"])
    assert same(seen, followed(frames, sudden={9}))


@pytest.mark.parametrize("blind", ["white", "black", "a flash"])
def test_a_blind_moment_is_bridged(frames, turns, blind):
    pictures = dazzled(frames, blind)
    seen = followed(pictures)
    by_frame = np.split(seen.ids, np.cumsum(seen.counts)[:-1])
    assert np.isin(by_frame[8], by_frame[14]).mean() > 0.6
    path = solve_path(seen, np.arange(N) / 30, Camera.from_focal(WIDE, HIGH, FOCAL), focal_known=True)
    off = off_deg(path.turns, turns)
    assert off[:9].max() < 0.1 and off[14:].max() < 0.1
    for pause in (11, 14):
        assert same(seen, followed(pictures, pause=pause))


def dazzled(frames: list[Frame], blind: str) -> list[Frame]:
    """The pictures with a moment of 0.17 s in which nothing, or little, is seen."""
    rng, out = np.random.default_rng(3), list(frames)
    for k in range(9, 14):
        image = frames[k].image.astype(float)
        image = {"white": 0 * image + 255, "black": image / 100, "a flash": image * 3 + 120}[blind]
        image += rng.normal(0, 2, image.shape)
        out[k] = Frame(k, frames[k].time_s, np.clip(image, 0, 255).astype(np.uint8))
    return out


def test_of_another_place_all_features_are_new(frames):
    """Of one that the watch has seen, and of one that it has not."""
    for sudden in (True, False):
        tracker = BackgroundTracker(WIDE, HIGH)
        old = [tracker.see(f, NOBODY) for f in frames[:6]][-1]
        other = [Frame(f.index, f.time_s, np.ascontiguousarray(f.image[:, ::-1])) for f in frames[6:]]
        new = [tracker.see(f, NOBODY, sudden and f is other[0]) for f in other]
        assert shared(new[0 if sudden else 6], old) < 0.15
        assert len(new[0 if sudden else 6].ids) > 80


def test_records_are_cut_and_joined_and_kept(frames):
    whole = followed(frames)
    parts = [whole.cut(0, 9), whole.cut(10, N - 1)]
    assert same(Background.joined(parts), whole)
    assert same(Background.from_arrays(whole.to_arrays()), whole)
    assert len(Background.joined([]).frames) == 0

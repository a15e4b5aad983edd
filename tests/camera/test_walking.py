"""A camera that goes from place to place, from generated features: its way, its turn, and what is no walk."""

from __future__ import annotations

import numpy as np
import pytest
from turns import HIGH, WIDE, background, lens, off_deg

from backend.camera.background import Background
from backend.camera.moving.laid import smoothed
from backend.camera.moving.sight import turned
from backend.camera.path import solve_path

N = 60
TIMES = np.arange(N) / 30
T = TIMES[:, None]
SHAKE = np.radians(1.0) * np.sin(2 * np.pi * T * [0.7, 0.5, 0.9] + [0.3, 1.0, 2.0])
BOB = 0.03 * np.sin(2 * np.pi * T * [0.95, 1.9, 0.0])
WAYS = {
    "sideways": (SHAKE, T * [1.0, 0, 0]),
    "forward, in a hand": (1.5 * SHAKE, T * [0.1, 0, 1.0] + BOB),
    "back, and pans": (SHAKE + T * [0, np.radians(12), 0], T * [0.2, 0, -0.9]),
}


def seen_from(vectors: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turns and places in the first frame's space."""
    turns = turned(vectors)
    return turns @ turns[0].T, (places - places[0]) @ turns[0].T


def way_off(found: np.ndarray, true: np.ndarray) -> float:
    """Largest error of a way as part of its length; its unit is not told by features."""
    scale = (found * true).sum() / (found**2).sum()
    return float(
        np.linalg.norm(scale * found - true, axis=1).max()
        / np.linalg.norm(np.diff(true, axis=0), axis=1).sum()
    )


@pytest.mark.parametrize("kind", WAYS)
def test_the_way_of_a_walking_camera_is_found(kind):
    turns, places = seen_from(*WAYS[kind])
    path = solve_path(background(turns, 900, places, (2, 20), movers=0.2), TIMES, lens(900), focal_known=True)
    assert path.moving and path.walks and path.known.all() and not path.zooming and not path.said
    assert off_deg(path.turns, turns).max() < 0.2
    assert way_off(path.places, places) < 0.01


def test_a_guessed_lens_does_not_spoil_it():
    turns, places = seen_from(*WAYS["back, and pans"])
    path = solve_path(background(turns, 900, places, (2, 20)), TIMES, lens(1200))
    assert path.walks and off_deg(path.turns, turns).max() < 1.0
    assert way_off(path.places, places) < 0.03


def test_a_way_that_is_lost_is_said():
    """After four blind frames no feature is one that was seen before."""
    turns, places = seen_from(*WAYS["sideways"])
    path = solve_path(
        background(turns, 900, places, (2, 20), empty=range(28, 32)), TIMES, lens(900), focal_known=True
    )
    assert not path.walks and not path.places.any() and "place to place" in path.said


@pytest.mark.parametrize("movers", [0.0, 0.4])
def test_a_pan_is_no_walk_though_things_move_by_themselves(movers):
    turns, _ = seen_from(SHAKE + T * [0, np.radians(15), 0], 0 * T * [1, 1, 1])
    path = solve_path(background(turns, 900, movers=movers), TIMES, lens(900), focal_known=True)
    assert path.moving and not path.walks and not path.places.any()


def test_a_picture_that_is_moved_about_is_no_walk():
    """Cut out of a still clip, as a digital pan is: no camera that turns does so, but a plane that goes by would."""
    still = background(np.tile(np.eye(3), (N, 1, 1)), 900)
    frame = np.repeat(np.arange(N), still.counts)
    places = still.places + np.stack([4.0 * frame, 20 * np.sin(frame / 9)], 1).astype(np.float32)
    inside = ((places > 0) & (places < [WIDE, HIGH])).all(1)
    moved = Background(
        still.frames,
        np.bincount(frame[inside], minlength=N).astype(np.int32),
        still.ids[inside],
        places[inside],
    )
    path = solve_path(moved, TIMES, lens(900), focal_known=True)
    assert not path.walks and not path.places.any()


def test_places_known_badly_follow_their_neighbours():
    true = T * [1.0, 0, 0.2]
    precision = np.tile(np.eye(3) * 1e6, (N, 1, 1))
    precision[20:24] = np.eye(3)
    found = true.copy()
    found[20:24] += 0.3
    assert np.abs(smoothed(found, precision, TIMES) - true).max() < 0.01

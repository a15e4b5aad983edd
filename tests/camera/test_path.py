"""The camera's way from generated features: turns, lens, zoom, what stands still, and metres by people."""

from __future__ import annotations

import numpy as np
import pytest
from turns import background, lens, off_deg

from backend.camera.moving.sight import turned
from backend.camera.path import solve_path

N = 75
TIMES = np.arange(N) / 30
T = np.linspace(0, 1, N)
PAN = turned(np.stack([0 * T, np.radians(35) * T, 0.02 * np.sin(9 * T)], 1))
STILL = np.tile(np.eye(3), (N, 1, 1))


def test_a_pan_is_found_though_much_of_the_background_moves_by_itself():
    path = solve_path(background(PAN, 900, movers=0.3), TIMES, lens(900), focal_known=True)
    assert path.moving and path.known.all() and not path.zooming
    assert off_deg(path.turns, PAN @ PAN[0].T).max() < 0.1


def test_the_lens_is_told_by_turning_and_a_wrong_guess_is_no_zoom():
    path = solve_path(background(PAN, 900), TIMES, lens(1230))
    assert path.focal_px == pytest.approx(900, rel=0.03)
    assert path.focal_sigma < 0.06 and not path.zooming
    assert off_deg(path.turns, PAN @ PAN[0].T).max() < 0.5


def test_a_long_lens_is_told_though_a_wide_one_was_guessed():
    turn = turned(np.stack([0 * T, np.radians(10) * T, 0.02 * np.sin(9 * T)], 1))
    path = solve_path(background(turn, 2900), TIMES, lens(1230))
    assert path.known.all()
    assert off_deg(path.turns, turn).max() < 1.0


def test_a_zoom_is_seen_and_is_no_turn():
    zoom = np.exp(0.4 * T)
    path = solve_path(background(STILL, 1000 * zoom), TIMES, lens(1000), focal_known=True)
    assert path.zooming and np.abs(path.zoom / zoom - 1).max() < 0.01
    assert off_deg(path.turns, STILL).max() < 0.1


@pytest.mark.parametrize(("noise", "movers"), [(0.3, 0.0), (0.9, 0.3)])
def test_noise_on_a_tripod_is_no_motion(noise, movers):
    path = solve_path(background(STILL, 1000, noise=noise, movers=movers), TIMES, lens(1230))
    assert not path.moving and (path.turns == np.eye(3)).all() and not path.places.any()


def test_a_slow_turn_is_not_taken_for_a_tripod():
    slow = turned(np.stack([0 * T, np.radians(0.7) * T, 0 * T], 1))
    path = solve_path(background(slow, 1000), TIMES, lens(1000), focal_known=True)
    assert path.moving and off_deg(path.turns, slow).max() < 0.1


def test_asked_for_still_it_is_still():
    assert not solve_path(background(PAN, 900), TIMES, lens(900), "still").moving


def test_frames_without_features_lie_on_the_straight_way_and_are_less_sure():
    gap = range(30, 36)
    path = solve_path(background(PAN, 900, empty=gap), TIMES, lens(900), focal_known=True)
    assert not path.known[gap].any() and path.known[:30].all()
    assert path.turn_sigma[32] > 5 * path.turn_sigma[20]


def test_nothing_to_be_seen_is_said():
    path = solve_path(background(PAN, 900, empty=range(N)), TIMES, lens(900))
    assert not path.moving and "stand still" in path.said

"""The shipped temporal network on one person's track: any rate, any length, gaps. Figures are left wide on purpose."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch
from motion.actor import CAMERA, UP, act, body, jump, march, points, squat, stand

from backend.motion.temporal import model as temporal
from backend.motion.temporal.describe import FPS
from backend.motion.temporal.model import Expected, landmark_rows, nearest_rotations, shipped
from backend.motion.temporal.network import REACH

SECONDS = 2.4
NAMES = [f.name for f in fields(Expected)]


def shaken(times: np.ndarray, count: int = 33) -> np.ndarray:
    """(n, P, 3) errors that are a function of time, so that any rate sees the same."""
    rng = np.random.default_rng(5)
    phase, speed = rng.uniform(0, 6.3, (2, count, 3)) * np.array([1, 0.8]).reshape(2, 1, 1)
    return 0.012 * np.sin(speed * times[:, None, None] + phase)


def asked(script, times: np.ndarray, gone: np.ndarray | None = None, of=None) -> Expected:
    actor = act(script, times)
    x = actor.landmarks + shaken(times)
    flat, sigma = CAMERA.project(actor.landmarks), np.full(x.shape[:2], 0.04)
    for a in (x, flat, sigma) if gone is not None else ():
        a[gone] = np.nan
    return (of or shipped()).expect(x, flat, sigma, times, CAMERA.K)


def turn_deg(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    trace = np.einsum("...ij,...ij->...", a, b)
    return np.rad2deg(np.arccos(np.clip((trace - 1) / 2, -1, 1)))


@pytest.mark.parametrize("script", [stand, march, squat, jump])
def test_what_is_told_can_be_used(script):
    told = asked(script, np.arange(72) / 30)
    for name in NAMES:
        a = getattr(told, name)
        assert len(a) == 72 and np.isfinite(a).all(), name
        assert not name.endswith("sigma") or (a > 0).all(), name
    R = told.rotations
    np.testing.assert_allclose(R.swapaxes(-1, -2) @ R, np.broadcast_to(np.eye(3), R.shape), atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(R), 1, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(told.up, axis=1), 1, atol=1e-9)
    assert told.contacts.min() >= 0 and told.contacts.max() <= 1


@pytest.mark.parametrize("script", [stand, march, squat])
def test_somebody_upright_says_which_way_is_up(script):
    told = asked(script, np.arange(72) / 30)
    assert np.rad2deg(np.arccos(np.clip(told.up @ UP, -1, 1))).max() < 15


def test_feet_that_stand_are_told_from_feet_in_the_air():
    times = np.arange(72) / 30
    told, planted = asked(march, times).contacts[:, :4], act(march, times).planted
    assert told[planted].mean() > 0.6 and told[~planted].mean() < 0.4


def variable() -> np.ndarray:
    steps = np.random.default_rng(2).uniform(1 / 60, 1 / 20, 200)
    times = np.concatenate([[0], np.cumsum(steps)])
    return times[times <= SECONDS]


@pytest.mark.parametrize("fps", [15, 24, 60, 120, 240, None])
def test_any_rate_gives_nearly_the_same(fps):
    usual = np.arange(int(SECONDS * 30) + 1) / 30
    times = variable() if fps is None else np.arange(int(SECONDS * fps) + 1) / fps
    reference, told = asked(march, usual), asked(march, times)
    near = np.abs(times[:, None] - usual).argmin(1)
    same = np.abs(times - usual[near]) < 0.004
    inner = same & (times > 0.1) & (times < SECONDS - 0.1)
    assert inner.sum() >= (4 if fps is None else 10)
    near = near[inner]
    assert turn_deg(told.rotations[inner], reference.rotations[near]).mean() < 2.5
    assert turn_deg(told.rotations[inner, 0], reference.rotations[near, 0]).mean() < 2.5
    assert np.linalg.norm(told.landmarks[inner] - reference.landmarks[near], axis=-1).mean() < 0.015
    assert np.linalg.norm(told.velocity[inner] - reference.velocity[near], axis=-1).mean() < 0.12
    assert turn_between(told.up[inner], reference.up[near]).mean() < 3
    assert np.abs(told.contacts[inner, :4] - reference.contacts[near, :4]).mean() < 0.15


def turn_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.rad2deg(np.arccos(np.clip((a * b).sum(-1), -1, 1)))


def test_windows_do_not_matter(monkeypatch):
    times = np.arange(1300) / FPS
    whole = {}
    for window in (temporal.WINDOW, 4096):
        monkeypatch.setattr(temporal, "WINDOW", window)
        whole[window] = asked(march, times)
    assert len(times) < temporal.WINDOW and len(whole) == 2
    for name in NAMES:
        a, b = (getattr(told, name) for told in whole.values())
        np.testing.assert_allclose(a, b, atol=2e-5, err_msg=name)


def test_what_lies_beyond_the_reach_does_not_matter():
    times = np.arange(200) / FPS
    gone = np.zeros(200, bool)
    gone[150:160] = True
    a, b = asked(march, times), asked(march, times, gone)
    np.testing.assert_allclose(a.rotations[: 149 - REACH], b.rotations[: 149 - REACH], atol=1e-6)
    assert np.abs(a.rotations[140:150] - b.rotations[140:150]).max() > 1e-4


@pytest.mark.parametrize("fps", [24, 30, 60])
def test_a_gap_is_bridged(fps):
    times = np.arange(int(SECONDS * fps)) / fps
    gone = (times > 0.9) & (times < 1.25)
    whole, told = asked(squat, times), asked(squat, times, gone)
    assert all(np.isfinite(getattr(told, name)).all() for name in NAMES)
    assert turn_deg(told.rotations[gone], whole.rotations[gone]).mean() < 12
    assert told.landmark_sigma[gone].mean() > whole.landmark_sigma[gone].mean()


def test_a_hole_in_time_is_none_of_its_business():
    """Frames are missing for a minute: the answers on both sides are finite and those of each side alone."""
    times = np.concatenate([np.arange(60) / 30, 60 + np.arange(60) / 30])
    told, first = asked(march, times), asked(march, times[:60])
    assert all(np.isfinite(getattr(told, name)).all() for name in NAMES)
    assert turn_deg(told.rotations[:50], first.rotations[:50]).mean() < 3


@pytest.mark.parametrize("n", [3, 4])
def test_few_frames(n):
    told = asked(stand, np.arange(n) / 30)
    assert all(np.isfinite(getattr(told, name)).all() for name in NAMES)


def test_rows_of_the_landmarks_are_found():
    np.testing.assert_array_equal(landmark_rows(points(), body()), np.arange(33))
    some = points().take(list(range(40, 80)))
    assert landmark_rows(some, body()) is None


def test_what_is_nearly_a_rotation_becomes_one():
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.normal(size=(7, 3, 3)))[0]
    Q *= np.linalg.det(Q)[:, None, None]
    R = nearest_rotations(Q + rng.normal(0, 0.05, Q.shape))
    np.testing.assert_allclose(R.swapaxes(-1, -2) @ R, np.broadcast_to(np.eye(3), R.shape), atol=1e-12)
    assert turn_deg(R, Q).max() < 15
    np.testing.assert_allclose(nearest_rotations(Q), Q, atol=1e-12)
    assert torch.is_inference_mode_enabled() is False


@pytest.mark.parametrize("fps", [10, 15, 24, 30, 60, 240, None])
def test_frames_and_the_network_s_own_lie_where_they_should(fps):
    """A straight line comes back as itself both ways; slow clips have no gaps, gaps are gaps."""
    times = 7 + (variable() if fps is None else np.arange(int(SECONDS * fps) + 1) / fps)
    seen = np.ones(len(times), bool)
    grid, there, back = temporal._grids(times, seen)
    np.testing.assert_allclose(np.diff(grid), 1 / FPS)
    np.testing.assert_allclose(back @ grid, times, atol=1e-9)
    covered = np.asarray(there.sum(1))[:, 0]
    assert (covered[:-1] > 1e-6).all()
    known = covered > 1e-6
    line = (there @ times)[known] / covered[known]
    assert np.abs(line - grid[known])[1:-1].max() < 0.6 / (fps or 20)
    gone = (times > 8) & (times < 8.5)
    _, there, _ = temporal._grids(times, ~gone)
    covered = np.asarray(there.sum(1))[:, 0]
    inside = (grid > 8 + 1.1 / (fps or 20) + 1 / FPS) & (grid < 8.5 - 1.1 / (fps or 20) - 1 / FPS)
    assert (covered[inside] <= 1e-6).all() and inside.any()

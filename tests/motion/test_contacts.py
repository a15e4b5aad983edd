"""Contacts: what is too short is none, at any rate; they fade; what is held follows the mode."""

from __future__ import annotations

import numpy as np
import pytest

from backend.motion.contacts import FADE_S, SHORTEST_S, faded, grip, judged, lying, resting, runs

RATES = (24, 30, 60, 120)
LOCKS = ("off", "auto", "always", "flat")


def steps(times: np.ndarray, *spans: tuple[float, float]) -> np.ndarray:
    """(n, 1): 1 within each of `spans`, seconds."""
    return sum((((times >= a) & (times < b)).astype(float) for a, b in spans), np.zeros(len(times)))[:, None]


@pytest.mark.parametrize("fps", RATES)
def test_short_contacts_and_short_breaks_go(fps):
    times = np.arange(4 * fps) / fps
    short, long = 0.5 * SHORTEST_S, 2.5 * SHORTEST_S
    # A flicker, a contact with a flicker of a break, a contact after a real break.
    told = steps(times, (0.4, 0.4 + short), (1, 1.6), (1.6 + short, 2.4), (2.4 + long, 3.4))
    on = faded(told, times)[:, 0] > 0
    spans = [(times[a], times[b - 1] + 1 / fps) for a, b in runs(on)]
    np.testing.assert_allclose(spans, [(1, 2.4), (2.4 + long, 3.4)], atol=1.01 / fps)


@pytest.mark.parametrize("fps", RATES)
def test_contacts_fade_in_and_out(fps):
    times = np.arange(2 * fps) / fps
    w = faded(steps(times, (0.5, 1.5)), times)[:, 0]
    assert w.max() == 1 and w.min() == 0
    assert np.abs(np.diff(w)).max() <= (1 / fps) / (FADE_S + 1 / fps) + 1e-9
    first = np.flatnonzero(w)[0]
    assert 0 < w[first] < 1
    full = times[np.flatnonzero(w == 1)]
    assert full[0] - times[first] == pytest.approx(FADE_S, abs=1 / fps)
    assert w[times < 1].sum() == pytest.approx(w[times >= 1].sum(), abs=1.01)


def test_contacts_at_the_ends_of_a_clip_are_whole():
    times = np.arange(60) / 30
    w = faded(np.ones((60, 2)), times)
    assert (w == 1).all()
    for n in (1, 2, 3):
        assert faded(np.ones((n, 2)), times[:n]).shape == (n, 2)


def stander(n: int = 60, fps: float = 30.0) -> tuple[np.ndarray, ...]:
    """A body that stands; the network is sure of the left heel alone; the right foot is in the air."""
    times = np.arange(n) / fps
    points, heights = np.zeros((n, 8, 3)), np.zeros((n, 8))
    heights[:, 2:4], heights[:, 4:] = 0.3, 0.8
    said = np.full((n, 8), 0.02)
    said[:, 0] = 0.95
    return said, points, heights, times


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [("off", [1, 0, 0, 0]), ("auto", [1, 0, 0, 0]), ("always", [1, 1, 0, 0]), ("flat", [1, 1, 0, 0])],
)
def test_what_the_modes_hold(lock, wanted):
    out = grip(*stander(), lock)
    np.testing.assert_array_equal(out[:, :4], np.tile(np.float64(wanted), (60, 1)))
    assert (out[:, 4:] == 0).all()


def test_flat_holds_heel_and_toes_together():
    said, points, heights, times = stander()
    heights[:, 1] = 0.2
    assert (grip(said, points, heights, times, "always")[:, 1] == 0).all()
    assert (grip(said, points, heights, times, "flat")[:, 1] == 1).all()


@pytest.mark.parametrize("lock", ["always", "flat"])
def test_a_swinging_foot_is_not_held(lock):
    said, points, heights, times = stander()
    said[:] = 0.02
    points[..., 0] = times[:, None] * 3.0
    assert (grip(said, points, heights, times, lock) == 0).all()


@pytest.mark.parametrize("lock", LOCKS)
def test_what_is_told_is_not_changed(lock):
    said, points, heights, times = stander()
    kept = said.copy()
    grip(said, points, heights, times, lock)
    np.testing.assert_array_equal(said, kept)


@pytest.mark.parametrize("fps", RATES)
def test_a_fast_place_is_judged_down(fps):
    times = np.arange(fps) / fps
    speeds = [0.0, 0.1, 0.3, 1.0, 3.0]
    points = np.zeros((len(times), len(speeds), 3))
    points[..., 0] = times[:, None] * speeds
    out = judged(np.full((len(times), len(speeds)), 0.7), points, times)
    assert (np.diff(out, axis=1) < 0).all()
    assert out[0, 0] > 0.9 and out[0, -1] < 0.25
    assert np.isfinite(judged(np.float64([[0, 1, 0.5, 0, 1]]).repeat(len(times), 0), points, times)).all()
    surer = judged(np.full((len(times), len(speeds)), 0.9), points, times)
    # The fastest place counts for nothing whatever is said.
    assert (surer[:, :-1] > out[:, :-1]).all() and (surer[:, -1] == 0).all()


def test_without_a_network_what_is_low_and_slow_rests():
    times = np.arange(60) / 30
    points = np.zeros((60, 3, 3))
    points[:, 1, 1] = 0.3
    points[:, 2, 0] = 2 * times
    out = resting(points, np.array([0.0, 1, 0]), times)
    assert (out[:, 0] > 0.4).all() and (out[:, 1:] < 0.05).all()


@pytest.mark.parametrize("lock", LOCKS)
def test_a_single_frame_has_contacts_too(lock):
    said, points, heights, times = (a[:1] for a in stander())
    assert grip(said, points, heights, times, lock)[0, 0] == 1
    assert judged(said, points, times)[0, 0] > 0.9
    assert resting(points, np.array([0.0, 1, 0]), times)[0, 0] > 0.4


def test_whoever_is_low_and_on_no_foot_rests_on_what_is_lowest():
    times = np.arange(60) / 30
    heights = np.tile([0.9, 0.14, 0.12, 0.6], (60, 1))
    none = np.zeros((60, 8))
    np.testing.assert_array_equal(lying(heights, none, np.full(60, 0.2), times)[30], [0, 1, 1, 0])
    assert not lying(heights, none, np.full(60, 0.9), times).any(), "a jump is a jump"
    stands = none.copy()
    stands[:, 2] = 1
    assert not lying(heights, stands, np.full(60, 0.2), times).any(), "a squat stands on its feet"

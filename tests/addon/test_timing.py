"""Rates and frame numbers as Blender wants them."""

import numpy as np
import pytest

from blender_addon.geometry.timing import blender_rate, hidden_spans, scene_frames


@pytest.mark.parametrize(
    ("fps", "want"),
    [
        (25.0, (25, 1.0)),
        (60.0, (60, 1.0)),
        (30000 / 1001, (30, 1.001)),
        (29.97, (30, 1.001)),
        (24000 / 1001, (24, 1.001)),
        (23.976, (24, 1.001)),
        (60000 / 1001, (60, 1.001)),
        (14.8, (15, 15 / 14.8)),
        (0.4, (1, 2.5)),
    ],
)
def test_rates(fps, want):
    whole, base = blender_rate(fps)
    assert (whole, base) == (want[0], pytest.approx(want[1]))
    assert whole / base == pytest.approx(fps, rel=5e-5)


def test_constant_rate_gives_whole_frames():
    frames = np.array([0, 1, 2, 5, 6])
    jitter = np.array([0.001, -0.001, 0.002, 0, 0])
    assert scene_frames(frames, frames / 29.97 + jitter, 29.97).tolist() == [1, 2, 3, 6, 7]


def test_variable_rate_gives_true_times():
    times = np.array([0.0, 0.04, 0.12, 0.16])
    assert np.allclose(scene_frames(np.arange(4), times, 25.0), [1, 2, 4, 5])
    assert scene_frames(np.zeros(0), np.zeros(0), 25.0).size == 0


def spans(frames, places=None, last=20.0) -> list[tuple[float, bool]]:
    places = np.array(frames, float) + 1 if places is None else np.array(places, float)
    at, hidden = hidden_spans(np.array(frames), places, last)
    assert np.all(np.diff(at) > 0)
    return list(zip(at.tolist(), hidden.tolist(), strict=True))


def test_somebody_is_hidden_before_after_and_between():
    assert spans(range(20)) == [(1, False)]
    assert spans([3, 4, 5, 9, 10]) == [
        (1, True), (4, False), (7, True), (10, False), (12, True),
    ]  # fmt: skip
    # A single frame is missing; the clip ends with the last one that is known.
    assert spans([0, 1, 3], last=4.0) == [(1, False), (3, True), (4, False)]


def test_hiding_keeps_to_true_times():
    # Frame 3 is missing between 3.4 and 5.8: whole frames 4 and 5 show nobody.
    assert spans([0, 1, 2, 4], [1.0, 2.2, 3.4, 5.8], 5.8) == [(1, False), (4, True), (5.8, False)]
    # No whole frame lies between: nothing to hide.
    assert spans([0, 1, 3], [1.0, 1.2, 1.9], 1.9) == [(1, False)]

"""Rates and frame numbers as Blender wants them."""

import numpy as np
import pytest

from blender_addon.geometry.timing import blender_rate, scene_frames


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

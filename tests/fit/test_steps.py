"""A fit step by step: it says how far it is, stands still and ends between steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.body.landmarks import body_landmarks
from backend.fit import camerafitter, track
from backend.fit.camerafitter import Fitter


@pytest.fixture(scope="module")
def seen(truth):
    return truth.points3d, truth.points2d, np.full(truth.points3d.shape[:2], 0.02), truth.times


def test_it_says_how_much_is_done(fitter, truth, seen):
    told, steps = [], fitter.steps(*seen)
    while True:
        # Whoever pulls the steps must not find torch in another mode.
        assert not torch.is_inference_mode_enabled()
        try:
            told.append(next(steps))
        except StopIteration as end:
            found = end.value
            break
    assert told == sorted(told) and told[-1] == len(truth.times)
    assert len(set(told)) > 5 and told[0] < len(truth.times) / 2
    np.testing.assert_array_equal(found.pose, fitter.fit(*seen).pose)


@pytest.mark.slow
def test_no_step_is_longer_than_some_dozens_of_frames(fitter, long_truth, monkeypatch):
    """The most that is done between two steps does not grow with the track."""
    monkeypatch.setattr(camerafitter, "CHUNK", 16)
    monkeypatch.setattr(camerafitter, "SHAPE_FRAMES", 16)
    monkeypatch.setattr(track, "WINDOW", 16)
    monkeypatch.setattr(track, "OVERLAP", 4)
    truth = long_truth
    data = (truth.points3d, truth.points2d, np.full(truth.points3d.shape[:2], 0.02), truth.times)
    told = [0, *fitter.steps(*data)]
    assert told == sorted(told) and told[-1] == 60 and max(np.diff(told)) < 15


def test_breathing_may_end_it(body, camera, truth, seen):
    class EnoughError(Exception):
        pass

    breaths = []

    def breathe():
        breaths.append(1)
        if len(breaths) > 3:
            raise EnoughError

    impatient = Fitter(body, body_landmarks(body)[0], camera, breathe=breathe)
    with pytest.raises(EnoughError):
        impatient.fit(*seen)
    assert len(breaths) == 4

"""Errors that the points of a part share, and the shape of a track that is learnt in spite of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.body.load import load_body
from backend.fit import track
from backend.fit.bodyfitter import BodyFitter, FitOptions, surface_and_joints
from bench.fit_scenarios import make_scenario

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def part():
    """A clip whose single frames' equations were indefinite when their shifts were eliminated from pair moments."""
    body = load_body(betas=10, expressions=0)
    scene = make_scenario(body, "clip_corr", 60, 23)
    rows = slice(10, 34)
    fitter = BodyFitter(body, surface_and_joints(body))
    targets = np.concatenate([scene.target_vertices, scene.target_joints], 1)[rows]
    newton = fitter.newton.with_options(coherent=8)
    with torch.inference_mode():
        return newton, fitter._alone(newton, targets, None, None, FitOptions(), None), scene.betas[0]


def test_no_frame_has_a_direction_of_negative_weight(part):
    newton, found, _ = part
    assert (found.found.shared > 0).all()
    with torch.inference_mode():
        H, _ = newton.information(found.data, found.found)
    assert torch.linalg.eigvalsh((H + H.mT).double() / 2)[:, 0].min() > 0


def test_frames_agree_on_the_shape(part):
    newton, found, betas = part
    with torch.inference_mode():
        shape, _ = track.shared_shape(newton, [found], None)
    assert np.abs(shape[:, 0].numpy() - betas).max() < 0.4

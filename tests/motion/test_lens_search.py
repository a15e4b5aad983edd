"""Which lens: what is told goes before what people say, and what says nothing changes nothing."""

from dataclasses import replace

import numpy as np
import pytest
from actor import CAMERA, act, body, march, points, seen

from backend.camera.pinhole import Camera
from backend.camera.refocus import refocused
from backend.fit.camerafitter import Fitter
from backend.motion.lens_search import estimate_lens
from backend.motion.reason import Misfit, best_misfit, reason

TIMES = np.arange(40) / 20


def estimate(tracks, **told):
    return estimate_lens(tracks, CAMERA, body(), points(), **told)


def test_without_any_word_the_usual_lens_is_assumed():
    found = estimate([])
    assert found.source == "assumed" and found.fov_deg == pytest.approx(55)
    assert found.sigma_deg > 10
    assert found.focal_px == pytest.approx(CAMERA.K[0, 0])


def test_what_the_file_tells_goes_first():
    # Of a square picture the diagonal is longer: 21.6 mm in the sense of diagonals are 70.5 degrees on a side.
    found = estimate([seen(act(march, TIMES))], focal_35mm=21.635)
    assert found.source == "file"
    assert found.fov_deg == pytest.approx(70.5, abs=1.5) and found.sigma_deg < 4


def test_a_camera_that_turned_is_believed_by_its_sigma():
    sure, unsure = (estimate([], turning=(2000.0, s)) for s in (0.03, 0.5))
    assert sure.source == unsure.source == "turning"
    assert sure.focal_px == pytest.approx(2000, rel=0.02)
    assert CAMERA.K[0, 0] < unsure.focal_px < 1800 and unsure.sigma_deg > 2 * sure.sigma_deg
    assert estimate([], turning=(2000.0, float("nan"))).source == "assumed"


@pytest.mark.parametrize("fov", [100, 30])
def test_people_whose_perspective_is_plain_tell_the_lens(fov: float):
    """Somebody near, localized without error but as if by 55 degrees."""
    true, near = Camera.from_fov(1000, 1000, fov), act(march, TIMES).points - [0, 0, 2.2]
    track = replace(seen(act(march, TIMES)), points3d=near.astype(np.float32),
                    points2d=true.project(near).astype(np.float32))  # fmt: skip
    found = estimate([refocused(track, true, CAMERA)])
    far, assumed = (abs(np.log(f / true.K[0, 0])) for f in (found.focal_px, CAMERA.K[0, 0]))
    assert found.source == "people" and far < 0.8 * assumed


def test_nobody_is_left_out_for_the_lens_sake_and_a_bag_is():
    person = seen(act(march, TIMES))
    fitter = Fitter(body(), points(), CAMERA)
    assert best_misfit(fitter, points(), person).plausible
    rng = np.random.default_rng(0)
    bag = replace(person, points3d=rng.normal([0, 0, 4], 0.4, person.points3d.shape).astype(np.float32))
    found = best_misfit(fitter, points(), bag)
    assert not found.plausible
    assert "bag" in reason(bag, 1000, 1000, found)


def test_a_reason_says_what_is_likeliest():
    track = seen(act(march, TIMES))
    assert "0.25 s" in reason(seen(act(march, TIMES[:4])), 1000, 1000)
    assert "too little" in reason(replace(track, points2d=track.points2d + 900), 1000, 1000)
    assert "blurred" in reason(replace(track, uncertainty=track.uncertainty + 0.5), 1000, 1000)
    assert "in the picture" in reason(track, 1000, 1000, Misfit(0.05, 0.05))

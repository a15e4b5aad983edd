"""Up, read off people: a tilted camera is found, folded and unsure bodies have no say."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from backend.motion.level import CAMERA_UP, up_direction


def person(n: int = 160, sway_deg: float = 8.0, seed: int = 0) -> np.ndarray:
    """(n, 55, 3) joints of someone upright in a level camera's space, swaying at random."""
    rng = np.random.default_rng(seed)
    rest = np.zeros((55, 3))
    rest[0], rest[12], rest[7], rest[8] = [0, 0, 0], [0, -0.55, 0], [0.1, 0.85, 0], [-0.1, 0.85, 0]
    turns = [cv2.Rodrigues(np.deg2rad(sway_deg) * rng.normal(size=3))[0] for _ in range(n)]
    return np.stack([rest @ R.T for R in turns]) + np.array([0.0, 0, 4])


def sure(joints: np.ndarray) -> np.ndarray:
    return np.full(joints.shape[:2], 0.05)


@pytest.mark.parametrize("tilt", [(0.0, 0, 0), (0.45, 0, 0), (-0.3, 0.0, 0.25)])
def test_the_tilt_of_the_camera_is_found(tilt):
    R = cv2.Rodrigues(np.array(tilt, float))[0]
    joints = person() @ R.T
    up = up_direction([joints], [sure(joints)], 1 / 30)
    assert np.rad2deg(np.arccos(np.clip(up @ (R @ CAMERA_UP), -1, 1))) < 3
    assert np.linalg.norm(up) == pytest.approx(1)


def test_folded_bodies_have_no_say():
    sitting = person()
    sitting[:, 12] = sitting[:, 0] + [0, 0, 0.55]
    np.testing.assert_array_equal(up_direction([sitting], [sure(sitting)], 1 / 30), CAMERA_UP)
    tilted = person() @ cv2.Rodrigues(np.array([0.4, 0.0, 0]))[0].T
    both = up_direction([tilted, sitting], [sure(tilted), sure(sitting)], 1 / 30)
    assert np.rad2deg(np.arccos(both @ CAMERA_UP)) > 18


def test_unsure_short_and_lying_people_leave_the_camera_level():
    R = cv2.Rodrigues(np.array([0.4, 0.0, 0]))[0]
    joints = person() @ R.T
    np.testing.assert_array_equal(up_direction([joints], [sure(joints) * 5], 1 / 30), CAMERA_UP)
    np.testing.assert_array_equal(up_direction([joints[:5]], [sure(joints[:5])], 1 / 30), CAMERA_UP)
    lying = person() @ cv2.Rodrigues(np.array([0.0, 0, 1.5]))[0].T
    np.testing.assert_array_equal(up_direction([lying], [sure(lying)], 1 / 30), CAMERA_UP)
    np.testing.assert_array_equal(up_direction([], [], 1 / 30), CAMERA_UP)

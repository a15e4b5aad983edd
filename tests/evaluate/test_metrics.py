"""Metrics and triangulation on points of known error."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from backend.evaluate.metrics import acceleration_error, pa_mpjpe, procrustes, root_mpjpe
from backend.evaluate.multiview import CalibratedCamera, read_qualisys, smooth_reference, triangulate


@pytest.fixture
def points():
    return np.random.default_rng(0).normal(0, 0.4, (20, 12, 3))


def test_procrustes_takes_out_turn_scale_and_place(points):
    R = cv2.Rodrigues(np.array([0.3, -2.0, 0.7]))[0]
    moved = 1.7 * points @ R.T + [3.0, -1.0, 5.0]
    assert pa_mpjpe(moved, points).max() < 1e-6
    np.testing.assert_allclose(procrustes(moved, points), points, atol=1e-9)


def test_procrustes_does_not_mirror(points):
    assert pa_mpjpe(points * [-1, 1, 1], points).mean() > 50


def test_root_error_takes_out_the_place_only(points):
    assert root_mpjpe(points + 2.0, points, [0, 1]).max() < 1e-9
    off = points.copy()
    off[:, 5] += [0.012, 0, 0]
    np.testing.assert_allclose(root_mpjpe(off, points, [0, 1]), 1.0, atol=1e-9)


def test_acceleration_error_of_a_steady_drift_is_zero(points):
    drift = points + np.arange(20)[:, None, None] * 0.01
    assert acceleration_error(drift, points) < 1e-9
    jolt = points.copy()
    jolt[10] += [0.1, 0, 0]
    assert acceleration_error(jolt, points) == pytest.approx(1000 * 0.4 / 18)


def rig() -> list[CalibratedCamera]:
    K = np.array([[900.0, 0, 640], [0, 900, 360], [0, 0, 1]])
    out = []
    for angle in (0.0, 1.4, 2.9, 4.4):
        R = cv2.Rodrigues(np.array([0.0, angle, 0.0]))[0]
        out.append(CalibratedCamera(R, np.array([0, 0.1, 4.0]), K, np.array([-0.05, 0.02, 1e-3, -1e-3])))
    return out


def test_triangulation_gives_the_points_back_and_leaves_a_liar_out(points):
    cameras = rig()
    seen = np.stack([c.project(points) for c in cameras])
    back, error = triangulate(cameras, seen)
    np.testing.assert_allclose(back, points, atol=1e-4)
    assert error.max() < 0.1
    seen[2, :, 3] += 120
    seen[1, 4, 7] = np.nan
    back, error = triangulate(cameras, seen)
    np.testing.assert_allclose(back, points, atol=1e-4)
    assert error.max() < 0.1


def test_gaps_of_a_reference_are_bridged():
    line = np.linspace(0, 1, 30)[:, None, None] * np.ones((1, 2, 3))
    gap = line.copy()
    gap[10:13] = np.nan
    np.testing.assert_allclose(smooth_reference(gap), line, atol=1e-9)


def test_qualisys_file(tmp_path):
    text = """<calibration><cameras><camera>
      <transform x="1000" y="-2000" z="1500" r11="1" r12="0" r13="0" r21="0" r22="-1" r23="0" r31="0" r32="0" r33="-1"/>
      <intrinsic focalLengthU="64000" focalLengthV="64640" centerPointU="32000" centerPointV="19200"
        radialDistortion1="0.1" radialDistortion2="-0.2" tangentalDistortion1="0" tangentalDistortion2="0.01"/>
    </camera></cameras></calibration>"""
    path = tmp_path / "Calib.qca.txt"
    path.write_text(text)
    (camera,) = read_qualisys(path)
    np.testing.assert_allclose(camera.K, [[1000, 0, 500], [0, 1010, 300], [0, 0, 1]])
    np.testing.assert_allclose(camera.R, np.eye(3))
    np.testing.assert_allclose(camera.to_camera(np.array([1.0, -2.0, 1.5])), 0, atol=1e-12)
    np.testing.assert_allclose(camera.distortion, [0.1, -0.2, 0, 0.01])

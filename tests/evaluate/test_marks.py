"""The hand marks agree with themselves, and what reads and scores them finds what is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from backend.body.load import load_body
from backend.errors import JobError
from backend.evaluate.marks import (
    JOINTS,
    Marks,
    align_cameras,
    dense_errors,
    doubtful_marks,
    joint_box,
    joint_reference,
    mark_grid,
    read_marks,
)
from backend.evaluate.multiview import CalibratedCamera, read_qualisys
from backend.localizers.landmarks.localizer import LANDMARKS
from backend.points.file import read_points

FOLDER = Path(__file__).resolve().parents[1] / "data" / "marks"
BONES = [("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle")]


@pytest.fixture(scope="module")
def filed():
    return read_qualisys(FOLDER / "pose2sim_single_calib.qca.txt")


@pytest.fixture(scope="module")
def rig():
    return read_marks(FOLDER / "pose2sim_single_rig.csv")


@pytest.fixture(scope="module")
def cameras(filed, rig):
    return align_cameras(filed, rig)


@pytest.fixture(scope="module")
def joints():
    return read_marks(FOLDER / "pose2sim_single_joints.csv", JOINTS)


@pytest.fixture(scope="module")
def reference(cameras, joints):
    return joint_reference(cameras, joints)


def errors(reference) -> np.ndarray:
    return reference.error_px[np.isfinite(reference.error_px)]


def test_joints_are_marked_in_every_camera_all_over_the_clip(joints, reference):
    assert len(reference.frames) >= 10 and reference.frames[0] == 0 and reference.frames[-1] >= 95
    assert set(joints.camera) == {0, 1, 2, 3}
    assert reference.valid.all()
    assert np.isfinite(mark_grid(joints, 4, JOINTS)).all(-1).sum(0).min() >= 3
    assert joints.hidden.mean() < 0.05


def test_the_four_pictures_agree_on_the_joints(reference):
    assert np.median(errors(reference)) < 3
    assert np.percentile(errors(reference), 95) < 8
    assert not (errors(reference) > 12).any()


def test_bones_keep_their_length_and_both_sides_are_alike(reference):
    for a, b in BONES:
        means = []
        for side in ("left", "right"):
            i, j = JOINTS.index(f"{side}_{a}"), JOINTS.index(f"{side}_{b}")
            length = np.linalg.norm(reference.points[:, i] - reference.points[:, j], axis=1)
            assert np.abs(length / length.mean() - 1).max() < 0.08, (side, a, b)
            means.append(length.mean())
        assert abs(means[0] / means[1] - 1) < 0.10, (a, b)


def test_the_man_is_the_right_way_round_and_of_human_size(reference):
    at = {n: reference.points[:, i] for i, n in enumerate(JOINTS)}
    heights = [at[f"left_{j}"][0, 2] for j in ("ankle", "knee", "hip", "shoulder")]
    assert heights == sorted(heights) and 1.2 < heights[-1] < 1.6
    walk = at["left_hip"][-1] - at["left_hip"][0]
    left = at["left_hip"][0] - at["right_hip"][0]
    assert np.cross(walk, left)[2] > 0


def test_pictures_beside_their_calibration_are_put_right_by_points_of_the_floor_alone(filed, rig):
    on_floor = np.array([n.startswith(("floor", "pin")) for n in rig.name])
    body = rig.take(~on_floor)
    names = sorted(set(body.name))
    before = errors(joint_reference(filed, body, names))
    cameras = align_cameras(filed, rig.take(on_floor))
    after = errors(joint_reference(cameras, body, names))
    assert np.median(before) > 5
    assert np.median(after) < 1
    floor = rig.take(np.array([n.startswith("floor") for n in rig.name]))
    spots = joint_reference(cameras, floor, sorted(set(floor.name))).points[0]
    assert np.abs(spots[:, 2]).max() < 0.008


@pytest.mark.parametrize(("frame", "camera", "joint"), [(0, 2, 4), (50, 0, 9), (90, 3, 6), (40, 1, 0)])
def test_a_wrong_mark_is_found_and_hardly_moves_the_joint(cameras, joints, reference, frame, camera, joint):
    assert not doubtful_marks(cameras, joints)
    names = np.array(joints.name)
    row = np.flatnonzero((joints.frame == frame) & (joints.camera == camera) & (names == JOINTS[joint]))[0]
    xy = joints.xy.copy()
    xy[row] += [45, -40]
    wrong = replace(joints, xy=xy)
    found = doubtful_marks(cameras, wrong)
    assert found[0][:3] == (camera, frame, JOINTS[joint])
    f = list(reference.frames).index(frame)
    moved = joint_reference(cameras, wrong).points[f, joint] - reference.points[f, joint]
    assert np.linalg.norm(moved) < 0.02


def test_left_taken_for_right_is_found(cameras, joints):
    names = list(joints.name)
    for i, name in enumerate(names):
        if joints.frame[i] == 60 and joints.camera[i] == 1 and name.endswith("knee"):
            names[i] = {"left_knee": "right_knee", "right_knee": "left_knee"}[name]
    found = doubtful_marks(cameras, replace(joints, name=tuple(names)))
    assert {(1, 60, "left_knee"), (1, 60, "right_knee")} <= {row[:3] for row in found}


@pytest.mark.slow
def test_every_marked_place_of_the_skin_is_defined_on_the_body(cameras):
    body = load_body()
    places = read_points(FOLDER / "places.json", body)
    marks = read_marks(FOLDER / "pose2sim_single_surface.csv", places.labels)
    assert len(marks) >= 48 and len({*zip(marks.camera, marks.frame, strict=True)}) >= 12
    assert set(marks.name) == set(places.labels)
    assert not places.raw.any()
    gap = np.linalg.norm(body.v_template[None] - places.points.positions[:, None], axis=-1).min(1)
    assert gap.max() < 0.02
    at = dict(zip(places.labels, places.points.positions, strict=True))
    for name, position in at.items():
        other = name.replace("left_", "right_")
        if name.startswith("left_") and other in at:
            assert position[0] > 0
            np.testing.assert_allclose(at[other], position * [-1, 1, 1], atol=1e-4)
    # The same place of the same frame in two cameras must be one place.
    reference = joint_reference(cameras, marks, places.labels)
    twice = np.isfinite(reference.error_px).sum(0) > 1
    assert twice.sum() > 80
    assert np.nanpercentile(reference.error_px[:, twice], 95) < 6


def test_joint_order_is_that_of_the_limb_landmarks():
    from backend.body.landmarks import LANDMARK_NAMES
    from bench.accuracy import HIPS, LIMBS

    assert len(LANDMARK_NAMES) == LANDMARKS
    assert tuple(LANDMARK_NAMES[i] for i in LIMBS) == JOINTS
    assert [JOINTS[i] for i in HIPS] == ["left_hip", "right_hip"]


def ring() -> list[CalibratedCamera]:
    K = np.array([[900.0, 0, 640], [0, 900, 360], [0, 0, 1]])
    return [
        CalibratedCamera(
            cv2.Rodrigues(np.array([0.1, angle, 0.05]))[0], np.array([0, 0.1, 4.0]), K, np.zeros(4)
        )
        for angle in (0.0, 1.4, 2.9, 4.4)
    ]


def seen_by(cameras, points: np.ndarray) -> Marks:
    n = len(points)
    names = tuple(f"p{i}" for i in range(n)) * len(cameras)
    xy = np.concatenate([c.project(points) for c in cameras])
    camera = np.repeat(np.arange(len(cameras)), n)
    return Marks(camera, np.zeros(len(names), int), names, xy, np.zeros(len(names), bool))


def test_shifted_pictures_are_aligned_whatever_a_few_marks_say():
    rng = np.random.default_rng(1)
    points = rng.normal(0, 0.5, (40, 3))
    true = ring()
    shifts = np.array([[18.0, 4], [-9, -6], [-5, 11], [3, -10]])
    filed = [
        replace(c, K=c.K - [[0, 0, s[0]], [0, 0, s[1]], [0, 0, 0]]) for c, s in zip(true, shifts, strict=True)
    ]
    marks = seen_by(true, points)
    marks.xy[:] += rng.normal(0, 0.3, marks.xy.shape)
    marks.xy[5] += 90
    aligned = align_cameras(filed, marks)
    names = sorted(set(marks.name))
    before, after = (np.median(errors(joint_reference(c, marks, names))) for c in (filed, aligned))
    assert before > 3
    assert after < 0.5
    assert all(np.array_equal(a.R, c.R) for a, c in zip(aligned, true, strict=True))


def test_cameras_without_a_common_point_cannot_be_aligned():
    alone = seen_by(ring()[:1], np.zeros((3, 3)))
    with pytest.raises(JobError, match="two cameras"):
        align_cameras(ring(), alone)


def test_a_joint_of_one_camera_only_is_not_valid():
    marks = seen_by(ring(), np.zeros((1, 3)))
    reference = joint_reference(ring(), marks.take(marks.camera == 2), ["p0"])
    assert not reference.valid.any() and np.isnan(reference.points).all()


def test_dense_errors_in_pixels_and_of_the_box():
    marks = np.array([[100.0, 100], [50, 60]])
    px, share = dense_errors(np.add(marks, [[3, 4], [0, 0]]), marks, np.array([10, 10, 100, 250]))
    np.testing.assert_allclose(px, [5, 0])
    np.testing.assert_allclose(share, [0.02, 0])
    _, share = dense_errors(marks + 3, marks, np.array([[0, 0, 10, 20], [0, 0, 40, 20]]))
    np.testing.assert_allclose(share, np.sqrt(18) / np.array([20, 40]))
    with pytest.raises(ValueError, match="must both be"):
        dense_errors(marks[:1], marks, np.zeros(4))


def test_box_about_the_joints():
    xy = np.array([[10.0, 20], [30, 120], [np.nan, np.nan]])
    np.testing.assert_allclose(joint_box(xy, 0.1), [0, 10, 40, 120])


HEAD = "camera,frame,joint,x,y,hidden\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must begin with"),
        ("camera,frame,x,y\n1,0,3,4\n", "must begin with"),
        ("camera,frame,joint,place,x,y\n", "must begin with"),
        (HEAD + "1,0,left_knee,5,6\n", "5 values in place of 6"),
        (HEAD + "1,0,left_knee,5,six,0\n", "not a number"),
        (HEAD + "1,0,left_knee,5,nan,0\n", "finite"),
        (HEAD + "0,0,left_knee,5,6,0\n", "camera from 1"),
        (HEAD + "1,-1,left_knee,5,6,0\n", "frame from 0"),
        (HEAD + "1,0,left_knee,5,6,2\n", "hidden 0 or 1"),
        (HEAD + "1,0,left_nose,5,6,0\n", "unknown joint 'left_nose'"),
        (HEAD + "1,0,left_knee,5,6,0\n1,0,left_knee,7,8,0\n", "line 3 of marks.csv marks left_knee"),
        (HEAD, "holds no marks"),
        (HEAD + '1,0,"left_knee,5,6,0\n', "not CSV"),
    ],
)
def test_wrong_files_are_told_in_one_sentence(tmp_path, text, said):
    path = tmp_path / "marks.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(JobError, match=said) as error:
        read_marks(path, JOINTS)
    assert error.value.code == "bad_marks"
    assert str(error.value).endswith(".") and "\n" not in str(error.value)


def test_files_that_are_not_there_or_not_text(tmp_path):
    with pytest.raises(JobError, match="cannot be read"):
        read_marks(tmp_path / "none.csv")
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\r\n\xff\xfe")
    with pytest.raises(JobError, match="not CSV text"):
        read_marks(tmp_path / "picture.csv")


def test_a_camera_that_the_calibration_lacks(joints, filed):
    with pytest.raises(JobError, match="camera 4, but the calibration has 3"):
        joint_reference(filed[:3], joints)

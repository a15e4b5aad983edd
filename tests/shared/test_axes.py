"""Axes and rotations against scipy and against what each space says of itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from blender_addon.shared import axes

rng = np.random.default_rng(7)


def hard_rotvecs() -> np.ndarray:
    """Random rotations, tiny ones, half turns about every axis and more than a full turn: (N, 3)."""
    direction = rng.normal(size=(500, 3))
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    near_half = np.pi + rng.choice([-1, 1], 100) * 10.0 ** rng.uniform(-12, -3, 100)
    tiny = 10.0 ** rng.uniform(-14, -3, 100)
    angles = np.concatenate([rng.uniform(0, 3.1, 200), tiny, near_half, rng.uniform(3.2, 9, 100)])
    halves = np.pi * np.vstack([np.eye(3), -np.eye(3), [[0.6, 0.8, 0]]])
    return np.vstack([direction * angles[:, None], halves, np.zeros((1, 3))])


def scipy_wxyz(rotation: Rotation) -> np.ndarray:
    return np.roll(rotation.as_quat(), 1, axis=-1)


def same_rotation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.minimum(np.abs(a - b).max(-1), np.abs(a + b).max(-1))


def test_camera_axes():
    right, down, forward = np.eye(3)
    assert axes.camera_to_blender(right).tolist() == [1, 0, 0]
    assert axes.camera_to_blender(down).tolist() == [0, 0, -1]
    assert axes.camera_to_blender(forward).tolist() == [0, 1, 0]


def test_smpl_axes():
    left, up, front = np.eye(3)
    assert axes.smpl_to_blender(left).tolist() == [1, 0, 0]
    assert axes.smpl_to_blender(up).tolist() == [0, 0, 1]
    # A body in rest faces Blender's front view, that is -Y.
    assert axes.smpl_to_blender(front).tolist() == [0, -1, 0]


def test_axes_are_proper_rotations_that_agree():
    for m in (axes.CAMERA_TO_BLENDER, axes.SMPL_TO_BLENDER, axes.CAMERA_TO_SMPL):
        assert np.linalg.det(m) == pytest.approx(1) and np.array_equal(m @ m.T, np.eye(3))
    assert np.array_equal(axes.SMPL_TO_BLENDER @ axes.CAMERA_TO_SMPL, axes.CAMERA_TO_BLENDER)
    points = rng.normal(size=(5, 7, 3))
    assert np.array_equal(axes.blender_to_camera(axes.camera_to_blender(points)), points)
    assert np.array_equal(axes.blender_to_smpl(axes.smpl_to_blender(points)), points)


def test_rotations_equal_scipys():
    rotvec = hard_rotvecs()
    want = Rotation.from_rotvec(rotvec)
    assert same_rotation(axes.rotvec_to_quaternion(rotvec), scipy_wxyz(want)).max() < 1e-14
    assert np.abs(axes.rotvec_to_matrix(rotvec) - want.as_matrix()).max() < 1e-14
    assert same_rotation(axes.matrix_to_quaternion(want.as_matrix()), scipy_wxyz(want)).max() < 1e-14
    # At exactly half a turn the axis may point either way, so rotations are compared, not vectors.
    for back in (axes.matrix_to_rotvec(want.as_matrix()), axes.quaternion_to_rotvec(3 * scipy_wxyz(want))):
        assert (Rotation.from_rotvec(back) * want.inv()).magnitude().max() < 1e-13
        assert np.linalg.norm(back, axis=-1).max() <= np.pi + 1e-12


def test_tiny_rotation_vectors_come_back_exactly():
    rotvec = 10.0 ** np.arange(-30.0, -1)[:, None] * np.array([0.6, -0.8, 0.0])
    back = axes.quaternion_to_rotvec(axes.rotvec_to_quaternion(rotvec))
    assert np.allclose(back, rotvec, rtol=1e-12, atol=0)


def test_product_equals_matrices():
    a, b = (axes.rotvec_to_quaternion(rng.normal(size=(50, 3))) for _ in range(2))
    product = axes.quaternion_to_matrix(axes.quaternion_multiply(a, b))
    assert np.allclose(product, axes.quaternion_to_matrix(a) @ axes.quaternion_to_matrix(b), atol=1e-14)


def test_continuity():
    """A body turning five times about a wandering axis, its quaternions given with random signs."""
    t = np.linspace(0, 10 * np.pi, 600)
    wander = 0.3 * np.stack([np.sin(t / 7), np.cos(t / 5), np.zeros_like(t)], -1)
    smooth = scipy_wxyz(Rotation.from_rotvec(wander) * Rotation.from_rotvec(t[:, None] * [[0.0, 0, 1]]))
    many = np.stack([smooth, np.roll(smooth, 1, -1)], 1)
    signs = rng.choice([-1.0, 1.0], size=many.shape[:2])[..., None]
    out = axes.continuous(many * signs)
    assert np.sum(out[1:] * out[:-1], -1).min() > 0.9
    assert same_rotation(out, many).max() == 0
    assert (out[0, :, 0] >= 0).all()
    assert axes.continuous(np.zeros((0, 55, 4))).shape == (0, 55, 4)


def test_root_stands_where_the_camera_saw_it():
    """A point fixed to the pelvis, moved by SMPL-X in camera space and by a pelvis bone in y-up axes."""
    rotvec, trans, pelvis = rng.normal(size=(9, 3)), rng.normal(4, 1, (9, 3)), rng.normal(size=3)
    point = rng.normal(size=3)
    in_camera = Rotation.from_rotvec(rotvec).apply(point - pelvis) + pelvis + trans
    quaternion, position = axes.root_in_smpl_axes(rotvec, trans, pelvis)
    in_smpl = np.einsum("nij,j->ni", axes.quaternion_to_matrix(quaternion), point - pelvis) + position
    assert np.allclose(axes.smpl_to_blender(in_smpl), axes.camera_to_blender(in_camera), atol=1e-12)


def test_floor():
    joints = np.full((4, 55, 3), -0.5)
    joints[:, list(axes.FOOT_JOINTS), 1] = 0.8
    joints[2, 10, 1] = 0.93  # y points down: this foot is the lowest
    joints[:, 20, 1] = 2.0  # a hand may hang lower without being the floor
    joints[3] = np.nan
    offset = axes.floor_offset(joints)
    assert offset == pytest.approx(0.93)
    height = axes.camera_to_blender(joints)[2, 10, 2] + offset
    assert height == pytest.approx(0)
    assert axes.floor_offset(np.full((2, 55, 3), np.nan)) == 0.0


def far_from_straight_down(v: list[float]) -> bool:
    length = np.linalg.norm(v)
    return length > 0.1 and v[1] / length < 0.99


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=3).filter(far_from_straight_down))
def test_level_rotation_makes_up_point_up_without_more_turn_than_needed(up):
    level = axes.level_rotation(np.array(up))
    np.testing.assert_allclose(level @ level.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(level) > 0
    direction = axes.CAMERA_TO_SMPL @ (np.array(up) / np.linalg.norm(up))
    np.testing.assert_allclose(level @ direction, [0, 1, 0], atol=1e-9)
    angle = np.arccos(np.clip((np.trace(level) - 1) / 2, -1, 1))
    assert angle == pytest.approx(np.arccos(np.clip(direction[1], -1, 1)), abs=1e-6)


def test_a_level_camera_and_nonsense_give_no_turn():
    for up in ([0, -1, 0], [0, 0, 0], [0, 1, 0], [np.nan, 0, 0]):
        np.testing.assert_array_equal(axes.level_rotation(np.array(up, float)), np.eye(3))


def test_root_and_floor_of_a_tilted_camera():
    rng = np.random.default_rng(0)
    up = np.array([0.2, -0.9, -0.4])
    level = axes.level_rotation(up)
    rotvec, trans, pelvis = rng.normal(size=(4, 3)), rng.normal(size=(4, 3)), rng.normal(size=3)
    quaternion, position = axes.root_in_smpl_axes(rotvec, trans, pelvis, level)
    turn = level @ axes.CAMERA_TO_SMPL
    np.testing.assert_allclose(
        axes.quaternion_to_matrix(quaternion), turn @ axes.rotvec_to_matrix(rotvec), atol=1e-9
    )
    np.testing.assert_allclose(position, (trans + pelvis) @ turn.T, atol=1e-9)
    joints = rng.normal(size=(6, 55, 3))
    lowest = (joints[:, list(axes.FOOT_JOINTS)] @ turn.T)[..., 1].min()
    assert axes.floor_offset(joints, level) == pytest.approx(-lowest)


def test_the_first_person_starts_at_the_origin_and_the_lowest_foot_stands_on_the_floor():
    rng = np.random.default_rng(1)
    level = axes.level_rotation(np.array([0.1, -0.9, 0.3]))
    people = [rng.normal(size=(5, 55, 3)), rng.normal(size=(3, 55, 3))]
    shift = axes.world_shift(people, level)
    placed = [p @ (level @ axes.CAMERA_TO_SMPL).T + shift for p in people]
    np.testing.assert_allclose(placed[0][0, 0, [0, 2]], 0, atol=1e-12)
    feet = np.concatenate([p[:, list(axes.FOOT_JOINTS), 1].ravel() for p in placed])
    assert feet.min() == pytest.approx(0, abs=1e-12)
    np.testing.assert_array_equal(axes.world_shift([]), 0)


def test_a_known_floor_is_at_height_0_whoever_hangs_below_it():
    rng = np.random.default_rng(1)
    up = np.array([0.1, -0.9, 0.3]) / np.linalg.norm([0.1, -0.9, 0.3])
    level = axes.level_rotation(up)
    people = [rng.normal(size=(5, 55, 3)), rng.normal(size=(3, 55, 3))]
    shift = axes.world_shift(people, level, np.float32([1.25]))
    for joints in people:
        heights = axes.camera_to_world(joints, shift, level)[..., 2]
        np.testing.assert_allclose(heights, joints @ up + 1.25, atol=1e-9)
    np.testing.assert_allclose(axes.camera_to_world(people[0][0, 0], shift, level)[:2], 0, atol=1e-12)
    unknown = axes.world_shift(people, level, np.float32([np.nan]))
    np.testing.assert_array_equal(unknown, axes.world_shift(people, level))

"""Lens, look-at, default camera, linear light and augmentation lists: parity (golden README 6) and properties."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from backend.camera.lens import (
    default_intrinsics,
    distort,
    linear_light,
    look_at,
    project,
    undistort,
    unproject,
)
from backend.localizers.nlf.augment import augmentations

from .golden_weights import golden
from .recipe import tensor

LENSES = ("k5", "k8", "k12", "fisheye4")


def close(ours, theirs, tolerance):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("lens", LENSES)
def test_lens_parity(lens, dtype):
    points, coeffs = tensor("geometry", "distort_points"), tensor("geometry", f"distort_{lens}_coeffs")
    bent = tensor("geometry", f"distort_{lens}")
    close(distort(points.to(dtype), coeffs.to(dtype)), bent, 2e-6)
    close(undistort(bent.to(dtype), coeffs.to(dtype)), tensor("geometry", f"undistort_{lens}"), 2e-6)


@pytest.mark.parametrize("lens", LENSES)
def test_lens_agrees_with_opencv(lens):
    points, coeffs = tensor("geometry", "distort_points"), tensor("geometry", f"distort_{lens}_coeffs")
    eye = np.eye(3)
    for p, k, ours in zip(points.numpy(), coeffs.numpy(), distort(points, coeffs).numpy(), strict=True):
        if lens == "fisheye4":
            theirs = cv2.fisheye.distortPoints(p[None], eye, k)[0]
        else:
            space = np.concatenate([p, np.ones((len(p), 1))], 1)
            theirs = cv2.projectPoints(space, np.zeros(3), np.zeros(3), eye, k)[0][:, 0]
        close(ours, theirs, 1e-9)


@pytest.mark.parametrize("lens", LENSES)
def test_undistort_is_the_inverse_of_distort(lens):
    points, coeffs = tensor("geometry", "distort_points"), tensor("geometry", f"distort_{lens}_coeffs")
    bent = distort(points, coeffs)
    assert (bent - points).abs().max() > 1e-3
    close(undistort(bent, coeffs, iterations=60), points, 1e-9)
    close(distort(undistort(bent, coeffs, iterations=60), coeffs), bent, 1e-9)
    # The recipe's five steps leave a rest, which is small for these lenses.
    close(undistort(bent, coeffs), points, 1e-4)


def test_no_lens_changes_nothing():
    points = tensor("geometry", "distort_points")
    for coeffs in (None, torch.zeros(5), torch.zeros(3, 12), torch.zeros(4), torch.zeros(0)):
        assert distort(points, coeffs) is points
        assert undistort(points, coeffs) is points


@pytest.mark.parametrize("lens", LENSES)
def test_the_middle_of_a_lens_is_the_middle(lens):
    coeffs = tensor("geometry", f"distort_{lens}_coeffs")
    middle = torch.zeros(3, 1, 2, dtype=torch.float64)
    for out in (distort(middle, coeffs), undistort(middle, coeffs)):
        close(out, middle, 0 if lens == "fisheye4" else 1e-12)


@pytest.mark.parametrize("count", [1, 3, 6, 14])
def test_a_lens_of_another_kind_is_refused(count):
    with pytest.raises(ValueError, match="coefficients"):
        distort(torch.zeros(2, 2), torch.ones(count))


@pytest.mark.parametrize("lens", [None, *LENSES])
def test_project_and_unproject_are_inverse(lens):
    coeffs = None if lens is None else tensor("geometry", f"distort_{lens}_coeffs")[1]
    K = torch.tensor([[700, 3, 318.3], [0, 690, 241.7], [0, 0, 1]], dtype=torch.float64)
    space = torch.tensor([[0.2, -0.3, 1.5], [0, 0, 2], [-1, 0.5, 4]], dtype=torch.float64)
    rays = unproject(project(space, K, coeffs), K, coeffs)
    close(rays, space / space[:, 2:], 1e-5)


def test_project_is_finite_at_the_camera():
    assert project(torch.tensor([[1.0, 1, 0], [1, 1, -1], [0, 0, 0]]), torch.eye(3)).isfinite().all()


def test_look_at_parity():
    forward, up = tensor("geometry", "lookat_forward"), tensor("geometry", "lookat_up")
    close(look_at(forward, up), tensor("geometry", "lookat_R"), 1e-6)
    close(look_at(forward.float(), up.float()), tensor("geometry", "lookat_R"), 1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_look_at_is_a_rotation_whatever_it_is_given(dtype):
    axes = torch.tensor([[0, 1, 0], [0, -1, 0], [1, 0, 0], [0, 0, 1], [0, 0, -1], [0, 0, 0], [0.6, 0, 0.8]])
    nearly = axes[:1] + torch.logspace(-12, -1, 12)[:, None] * torch.tensor([[1.0, 0, 1]])
    some = torch.cat(
        [axes, nearly, 1e3 * axes, torch.randn(20, 3, generator=torch.Generator().manual_seed(0))]
    )
    R = look_at(some[:, None].to(dtype), some[None].to(dtype))
    assert R.isfinite().all()
    tolerance = 1e-5 if dtype == torch.float32 else 1e-9
    close(R @ R.mT, torch.eye(3).expand_as(R), tolerance)
    close(torch.linalg.det(R), torch.ones(R.shape[:2]), tolerance)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_looking_straight_up_or_down_is_defined(sign):
    R = look_at(torch.tensor([0.0, sign, 0]), torch.tensor([0.0, -1, 0]))
    close(R, [[1, 0, 0], [0, 0, -sign], [0, sign, 0]], 1e-6)


def test_look_at_turns_forward_into_the_middle_and_up_upwards():
    forward, up = tensor("geometry", "lookat_forward")[:5], tensor("geometry", "lookat_up")[:5]
    R = look_at(forward, up)
    seen = (R @ forward[..., None])[..., 0]
    close(seen[:, :2], torch.zeros(5, 2), 1e-12)
    assert (seen[:, 2] > 0).all()
    above = (R @ up[..., None])[..., 0]
    close(above[:, 0], torch.zeros(5), 1e-12)
    assert (above[:, 1] < 0).all()


def test_default_intrinsics_parity():
    shapes, degrees = golden("geometry")["fov_imshape"], golden("geometry")["fov_degrees"]
    for (h, w), fov, K in zip(shapes.tolist(), degrees, golden("geometry")["fov_intrinsics"], strict=True):
        close(default_intrinsics(h, w, float(fov)), K, 1e-3)


def test_linear_light_parity():
    """In float32 only: the fp16 column of the fixture is what the released files do, and what we do not want."""
    ours = linear_light(torch.arange(256, dtype=torch.uint8))
    close(ours, golden("geometry")["linear_f32_of_uint8"], 1e-6)


def test_linear_light_takes_every_kind_of_picture():
    values = torch.arange(256, dtype=torch.uint8)
    ours = linear_light(values)
    close(linear_light(values.float() / 255), ours, 1e-7)
    close(linear_light(torch.from_numpy(np.arange(256, dtype=np.uint16) * 257)), ours, 1e-6)
    assert values.equal(torch.arange(256, dtype=torch.uint8))
    with pytest.raises(ValueError, match="uint8"):
        linear_light(values.long())


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6])
def test_augmentation_parity(count):
    ours, theirs = augmentations(count), golden("geometry")
    close(ours.gammas, theirs[f"tta{count}_gamma"], 1e-6)
    close(ours.scales, theirs[f"tta{count}_scale"], 1e-6)
    assert (ours.flips.numpy() == theirs[f"tta{count}_flip"]).all()
    close(ours.rotflip, theirs[f"tta{count}_rotflipmat"], 1e-6)


def test_augmentation_parity_with_another_angle():
    close(augmentations(3, 40.0).rotflip, golden("geometry")["tta3_rot40_rotflipmat"], 1e-6)


@pytest.mark.parametrize("count", range(1, 12))
def test_augmentation_lists_hold_together(count):
    views = augmentations(count)
    assert len(views) == count
    mirrored = torch.linalg.det(views.rotflip) < 0
    assert mirrored.equal(views.flips)
    close(views.rotflip @ views.rotflip.mT, torch.eye(3).expand(count, 3, 3), 1e-12)
    if count % 2:
        assert not views.flips[count // 2]
        close(views.rotflip[count // 2], torch.eye(3), 1e-12)
        close([views.gammas[count // 2], views.scales[count // 2]], [0.8, 1.0], 1e-12)
    one = views.only(count - 1)
    assert len(one) == 1
    assert one.rotflip[0].equal(views.rotflip[-1])
    assert one.gammas[0] == views.gammas[-1]


def test_no_augmentation_at_all_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        augmentations(0)

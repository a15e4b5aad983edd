"""Crops by a turned camera: geometry for any place, size and turn, and what lands in the picture."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.camera.pinhole import Camera, Crop
from backend.camera.turned import Roi, crop_to_image, extract, image_to_crop, turned_camera

unit = st.floats(0, 1, allow_nan=False)


def a_camera(fov):
    return Camera.from_fov(1280, 720, fov)


def a_crop(camera, roi, side=256):
    return Crop(np.zeros((side, side, 3), np.uint8), *turned_camera(camera, roi, side))


rois = st.builds(
    lambda x, y, size, angle: Roi(np.array([x * 1280, y * 720]), size, angle),
    unit,
    unit,
    st.floats(4, 2500),
    st.floats(-3.2, 3.2),
)


@given(st.floats(5, 150), rois, unit, unit)
def test_there_and_back(fov, roi, u, v):
    camera = a_camera(fov)
    crop = a_crop(camera, roi)
    image = crop_to_image(crop, camera, [u * 256, v * 256])
    if np.isfinite(image).all():  # else: a ray behind the camera, which no picture shows
        np.testing.assert_allclose(image_to_crop(crop, camera, image), [u * 256, v * 256], atol=1e-5)


@given(st.floats(5, 179), rois)
def test_region_lands_in_the_middle_and_nothing_is_nan(fov, roi):
    camera = a_camera(fov)
    crop = a_crop(camera, roi)
    np.testing.assert_allclose(image_to_crop(crop, camera, roi.center), [128, 128], atol=1e-6)
    np.testing.assert_allclose(crop_to_image(crop, camera, [128, 128]), roi.center, atol=1e-6)
    np.testing.assert_allclose(crop.R @ crop.R.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(crop.R) == pytest.approx(1)
    assert np.isfinite(crop.K).all()


@given(st.floats(20, 100), rois)
def test_own_upright_is_up_in_the_crop_and_area_is_kept(fov, roi):
    camera = a_camera(fov)
    crop = a_crop(camera, roi)
    e = 1e-3 * roi.size
    up, right = (
        np.array([np.sin(roi.angle), -np.cos(roi.angle)]),
        np.array([np.cos(roi.angle), np.sin(roi.angle)]),
    )
    moved = [image_to_crop(crop, camera, roi.center + d * e) - 128 for d in (up, right)]
    turn = np.arctan2(moved[0][0], -moved[0][1])
    assert abs(turn) < 0.5  # perspective shears a little at the edge of a wide picture
    area = abs(np.linalg.det(np.stack(moved))) / (256 * 1e-3) ** 2
    assert area == pytest.approx(1, rel=2e-2)


def test_point_and_crop_agree_with_the_camera():
    """A 3D point projected by the turned camera is the projected pixel mapped into the crop."""
    camera = a_camera(70)
    crop = a_crop(camera, Roi(np.array([200.0, 600.0]), 400, 0.4))
    points = np.random.default_rng(0).uniform([-2, -1, 2], [2, 1, 6], (50, 3))
    turned = points @ crop.R.T
    direct = turned[:, :2] / turned[:, 2:] * crop.K[0, 0] + crop.K[:2, 2]
    np.testing.assert_allclose(image_to_crop(crop, camera, camera.project(points)), direct, atol=1e-6)


def narrow(width, height):
    """A camera so long that turning it hardly bends the picture."""
    return Camera.from_fov(width, height, 0.5)


def test_contents_are_the_pictures_own_pixels():
    """At a whole-number place and size 1:1, the crop is the picture, shifted."""
    rng = np.random.default_rng(5)
    image = rng.integers(0, 255, (300, 400, 3)).astype(np.uint8)
    crop = extract(image, narrow(400, 300), Roi(np.array([200.0, 150.0]), 64), 64)
    np.testing.assert_allclose(crop.image, image[118:182, 168:232], atol=3)


def test_quarter_turn():
    image = np.zeros((200, 200, 3), np.uint8)
    image[100:104, 140:144] = 255  # to the right of the middle
    crop = extract(image, narrow(200, 200), Roi(np.array([100.0, 100.0]), 128, np.pi / 2), 128)
    y, x = np.argwhere(crop.image[..., 0] > 128).mean(0)
    # The picture's right is the region's up: 41.5 to the right becomes 41.5 above the middle, 1.5 below 1.5 right.
    assert abs(x - 65.5) < 0.5 and abs(y - 22.5) < 0.5


@pytest.mark.parametrize("factor", [2, 3, 5, 8])
def test_shrinking_averages(factor):
    """Noise of high contrast becomes even grey, as area averaging makes it, and stays in its place."""
    rng = np.random.default_rng(1)
    image = (rng.integers(0, 2, (factor * 100, factor * 120, 1)) * np.full(3, 255)).astype(np.uint8)
    camera = narrow(image.shape[1], image.shape[0])
    center = np.array([image.shape[1] / 2, image.shape[0] / 2])
    crop = extract(image, camera, Roi(center, 64.0 * factor), 64)
    assert abs(crop.image.mean() - 127) < 3
    assert crop.image.std() < 135 / factor * 1.1
    edge = np.zeros_like(image)
    edge[:, image.shape[1] // 2 :] = 255
    row = extract(edge, camera, Roi(center, 64.0 * factor), 64).image[32, :, 0].astype(float)
    place = 24 + (1 - row[24:40] / 255).sum() - 0.5  # of the step, by its area
    assert place == pytest.approx(32 - 0.5 / factor, abs=0.1)


def test_black_outside_the_picture():
    image = np.full((100, 100, 3), 200, np.uint8)
    camera = Camera.from_fov(100, 100)
    crop = extract(image, camera, Roi(np.array([0.0, 50.0]), 80), 64).image
    assert (crop[20:44, :20] == 0).all() and (crop[28:36, 44:60] > 190).all()
    assert (extract(image, camera, Roi(np.array([-900.0, 50.0]), 80), 64).image == 0).all()


def test_behind_the_camera_is_black():
    """A crop so wide that its edge looks backwards shows no mirrored ghost there."""
    image = np.full((100, 200, 3), 200, np.uint8)
    camera = Camera.from_fov(200, 100, 170)
    crop = extract(image, camera, Roi(np.array([195.0, 50.0]), 190), 64)
    corners = crop_to_image(crop, camera, np.array([[0, 0], [63.0, 63], [63, 0], [0, 63]]))
    assert np.isnan(corners).any()
    lost = np.isnan(crop_to_image(crop, camera, np.stack(np.meshgrid(np.arange(64.0), np.arange(64.0)), -1)))
    assert (crop.image[lost.any(-1)] == 0).all()


def test_wrong_pictures_are_refused():
    for bad in (np.zeros((9, 9), np.uint8), np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9, 3), np.float32)):
        with pytest.raises(ValueError, match="uint8 RGB"):
            extract(bad, Camera.from_fov(9, 9), Roi(np.array([4.0, 4.0]), 4))

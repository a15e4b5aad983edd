"""Crops of the recipe: parity (golden README 7) and properties."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.camera.lens import look_at, project
from backend.localizers.nlf.augment import augmentations
from backend.localizers.nlf.crops import camera_up, crop_views, extract_crops

from .golden_weights import golden
from .recipe import configs, frames, tensor

K640 = torch.tensor([[600, 0, 319.5], [0, 600, 239.5], [0, 0, 1]], dtype=torch.float64)
LENS = torch.tensor([-0.2, 0.05, 0.001, -0.002, 0.01], dtype=torch.float64)


@pytest.mark.slow
@pytest.mark.parametrize("config", configs("crops"), ids=lambda c: c["name"])
def test_parity(config):
    name = config["name"]
    crops = extract_crops(
        frames(),
        tensor("crops", "image_ids"),
        tensor("crops", "boxes"),
        tensor("crops", "intrinsics"),
        256,
        coeffs=torch.tensor(config["dist"], dtype=torch.float64) if "dist" in config else None,
        up=tensor("crops", "up_roll") if config.get("up") == "roll" else None,
        views=augmentations(config["num_aug"]),
        antialias=config["aa"],
        white=config.get("white", False),
    )
    np.testing.assert_allclose(crops.views.K, golden("crops")[f"{name}_new_intrinsics"], rtol=1e-6, atol=1e-3)
    np.testing.assert_allclose(crops.views.R, golden("crops")[f"{name}_R"], rtol=0, atol=2e-6)
    assert crops.images.dtype == torch.float32
    means = crops.images.double().mean((-2, -1))
    np.testing.assert_allclose(means, golden("crops")[f"{name}_crops_mean"], rtol=0, atol=2e-5)
    theirs = golden("crops")[f"{name}_crops_sub_u16"] / 65535.0
    off = np.abs(crops.images[..., 1::6, 2::6].double().numpy() - theirs)
    assert off.mean() <= 5e-5
    assert np.quantile(off, 0.999) <= 5e-4
    assert off.max() <= 2e-2


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("white", [False, True])
def test_the_callers_pictures_stay_as_they_are(white, dtype):
    images = frames() if dtype == torch.uint8 else frames() / 255
    before = images.clone()
    # More than one picture and a repeated call: the reference inverts the pictures of every second batch.
    args = images, tensor("crops", "image_ids"), tensor("crops", "boxes"), K640, 64
    first = extract_crops(*args, white=white)
    again = extract_crops(*args, white=white)
    assert images.equal(before)
    assert first.images.equal(again.images)


def test_a_crop_does_not_depend_on_its_company():
    ids, boxes, views = tensor("crops", "image_ids"), tensor("crops", "boxes"), augmentations(5)
    together = extract_crops(frames(), ids, boxes, K640, 64, coeffs=LENS, views=views).images
    for b in range(len(boxes)):
        for a in range(len(views)):
            alone = extract_crops(
                frames(), ids[b : b + 1], boxes[b : b + 1], K640, 64, coeffs=LENS, views=views.only(a)
            )
            np.testing.assert_allclose(alone.images[0, 0], together[a, b], rtol=0, atol=1e-6)


def test_each_box_has_its_own_camera():
    ids, boxes = tensor("crops", "image_ids")[:2], tensor("crops", "boxes")[:2]
    Ks = torch.stack([K640, K640 * torch.tensor([1.3, 1.3, 1])[:, None]])
    lenses, ups = torch.stack([LENS, -LENS]), torch.tensor([[0, -1.0, 0], [0.6, -0.8, 0]]).double()
    two = augmentations(2)
    both = extract_crops(frames(), ids, boxes, Ks, 64, coeffs=lenses, up=ups, views=two)
    for b in range(2):
        pick = slice(b, b + 1)
        alone = extract_crops(
            frames(), ids[pick], boxes[pick], Ks[b], 64, coeffs=lenses[b], up=ups[b], views=two
        )
        np.testing.assert_allclose(alone.images[:, 0], both.images[:, b], rtol=0, atol=1e-6)
        np.testing.assert_allclose(alone.views.R[:, 0], both.views.R[:, b], rtol=0, atol=1e-12)


@pytest.mark.parametrize("antialias", [1, 2])
@pytest.mark.parametrize("coeffs", [None, LENS, torch.tensor([0.05, -0.02, 0.004, -0.001])])
def test_the_camera_of_a_crop_is_the_one_it_was_taken_with(coeffs, antialias):
    """A soft spot painted where the lens projects a 3D point must stand where each crop's camera projects it."""
    point = torch.tensor([0.31, -0.12, 1.4], dtype=torch.float64)
    x, y = project(point[None], K640, None if coeffs is None else coeffs.double())[0].tolist()
    v, u = np.mgrid[:480, :640]
    spot = np.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * 5.0**2)) ** (1 / 2.2)
    images = torch.from_numpy(spot).float().expand(1, 3, 480, 640)
    box = torch.tensor([[x - 70, y - 90, 150, 170.0]])
    crops = extract_crops(
        images, torch.zeros(1), box, K640, 128, coeffs=coeffs, views=augmentations(5), antialias=antialias
    )
    gammas = augmentations(5).gammas.float()[:, None, None]
    light = (crops.images[:, 0, 0] ** (2.2 / gammas)).double()
    at = torch.arange(128, dtype=torch.float64)
    found = torch.stack([(light * at).sum((1, 2)), (light * at[:, None]).sum((1, 2))], -1)
    found = found / light.sum((1, 2))[:, None]
    expected = project((crops.views.R[:, 0].double() @ point)[:, None], crops.views.K[:, 0].double())[:, 0]
    # The turned camera shears a round spot a little, so the middle of its light is off by some hundredths.
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.1)


def test_the_box_fills_the_crop_and_its_middle_is_the_principal_point():
    boxes = tensor("crops", "boxes")
    views = crop_views(boxes, K640, 256)
    middle = boxes[:, :2] + boxes[:, 2:] / 2
    rays = torch.cat([middle, torch.ones(6, 1)], 1).double() @ torch.linalg.inv(K640).T
    seen = project((views.R[0].double() @ rays[..., None]).mT, views.K[0].double())[:, 0]
    np.testing.assert_allclose(seen, np.full((6, 2), 128.0), atol=1e-3)
    # An extra zoom is a zoom of the same camera.
    zoomed = crop_views(boxes, K640, 256, views=augmentations(3))
    np.testing.assert_allclose(zoomed.zoom[0], 0.8 * zoomed.zoom[1], rtol=1e-6)
    np.testing.assert_allclose(zoomed.K[0, :, 0, 0], 0.8 * zoomed.K[1, :, 0, 0], rtol=1e-6)


@pytest.mark.parametrize(("white", "value"), [(False, 0.0), (True, 1.0)])
def test_outside_of_the_picture_is_plain(white, value):
    far = torch.tensor([[900.0, 100, 80, 90], [-3000, -2000, 50, 80]])
    out = extract_crops(frames(), torch.zeros(2), far, K640, 64, white=white, views=augmentations(2))
    assert (out.images == value).all()


def test_what_lies_behind_the_camera_is_outside_too():
    # A tall box beyond the edge of a very wide picture: half of the crop's rays go backwards, and through the
    # pinhole they would meet the picture again, upside down.
    wide = torch.tensor([[10.0, 0, 100], [0, 10, 75], [0, 0, 1]]).double()
    picture, box = (
        torch.full((1, 3, 150, 200), 255, dtype=torch.uint8),
        torch.tensor([[220.0, -125, 30, 400]]),
    )
    out = extract_crops(picture, torch.zeros(1), box, wide, 64)
    v, u = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    rays = (
        torch.stack([u, v, torch.ones_like(u)], -1).double() @ torch.linalg.inv(out.views.K[0, 0].double()).T
    )
    rays = rays @ out.views.R[0, 0].double()
    behind, pixels = rays[..., 2] < 0, (rays / rays[..., 2:]) @ wide.T
    assert (behind & ((pixels[..., :2] > 0) & (pixels[..., :2] < 149)).all(-1)).any()
    assert (out.images[0, 0][:, behind] == 0).all()
    assert (out.images[0, 0][:, ~behind] > 0).any()


@pytest.mark.parametrize("box", [[10.0, 20, 0, 0], [0, 0, 1e-9, 1e-9], [0, 0, 1e6, 1e6]])
def test_odd_boxes_give_finite_crops(box):
    out = extract_crops(frames(), torch.zeros(1), torch.tensor([box]), K640, 32, white=True, antialias=4)
    for values in (out.images, out.views.K, out.views.R):
        assert values.isfinite().all()


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 2)])
def test_tiny_pictures(size):
    images = torch.full((1, 3, *size), 255, dtype=torch.uint8)
    out = extract_crops(images, torch.zeros(1), torch.tensor([[-40.0, -40, 80, 80]]), torch.eye(3), 16).images
    assert out.isfinite().all()
    assert (out[..., 8, 8] > 0.5).all()


def test_no_boxes_no_crops():
    out = extract_crops(frames(), torch.zeros(0), torch.zeros(0, 4), K640, 32, views=augmentations(3))
    assert out.images.shape == (3, 0, 3, 32, 32)
    assert out.views.R.shape == (3, 0, 3, 3)


def test_other_antialias_factors_are_refused():
    with pytest.raises(ValueError, match="antialias"):
        extract_crops(frames(), torch.zeros(1), torch.zeros(1, 4), K640, 32, antialias=3)


def test_up_comes_from_the_world():
    R = look_at(torch.tensor([0.3, 0.2, 1.0]), torch.tensor([0.4, -1, 0])).double()
    extrinsics = torch.eye(4).double()
    extrinsics[:3, :3], extrinsics[:3, 3] = R, 5.0
    np.testing.assert_allclose(camera_up(extrinsics, (0, 0, 1)), R[:, 2], atol=1e-12)
    assert camera_up().tolist() == [0, -1, 0]
    assert camera_up(extrinsics.expand(2, 4, 4)).shape == (2, 3)

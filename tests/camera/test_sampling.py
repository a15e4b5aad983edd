"""Reading between pixels: only the part that is seen, any kind of picture, positions good enough for large ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from backend.camera.lens import distort, linear_light
from backend.camera.matrices import applied, inverse, product
from backend.camera.sampling import cut, picture_size, positions, sample, seen_parts
from backend.localizers.nlf.augment import augmentations
from backend.localizers.nlf.crops import crop_views, extract_crops

CPU = torch.device("cpu")
K = torch.tensor([[600, 0, 319.5], [0, 610, 239.5], [0, 0, 1]], dtype=torch.float64)
BOX = torch.tensor([[200.0, 100, 130, 180]])
FIRST = torch.zeros(1)


def picture(height: int = 480, width: int = 640, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(64, 48), (37, 53), (1, 9), (9, 1)])
@pytest.mark.parametrize("white", [False, True])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_part_is_as_good_as_the_whole(level, white, size):
    """Against torch's own pyramid and sampler on the whole picture."""
    image = picture(*size)
    if min(size) >> level == 0:
        return
    light = linear_light(torch.from_numpy(image).permute(2, 0, 1))[None]
    for _ in range(level):
        light = functional.avg_pool2d(light, 2)
    rows, columns = light.shape[2:]
    scale = torch.tensor([columns, rows])
    generator = torch.Generator().manual_seed(1)
    for low, high in ((-0.6, 1.6), (0.3, 0.5), (-0.2, 0.1), (0.9, 1.5), (1.2, 1.5)):
        xy = (low + (high - low) * torch.rand(2, 5, 7, 2, generator=generator)) * scale - 0.5
        grid = ((2 * xy + 1) / scale - 1).view(1, 10, 7, 2)
        want = functional.grid_sample(1 - light if white else light, grid, align_corners=False)
        want = (1 - want if white else want).view(3, 2, 5, 7).transpose(0, 1)
        bounds = seen_parts(xy, scale.expand(2, 2))
        whole = *bounds[:, :2].amin(0).tolist(), *bounds[:, 2:].amax(0).tolist()
        torch.testing.assert_close(sample(cut(image, whole, level, CPU), xy, white), want, rtol=0, atol=1e-5)
        for i in range(2):
            alone = sample(cut(image, bounds[i].tolist(), level, CPU), xy[i : i + 1], white)
            assert alone.equal(sample(cut(image, whole, level, CPU), xy, white)[i : i + 1])


def test_only_the_part_that_is_seen_is_made_linear(monkeypatch):
    """A person in a picture of 12 million pixels costs what a person costs."""
    made = []
    monkeypatch.setattr("backend.localizers.nlf.crops.cut", lambda *args: made.append(cut(*args)) or made[-1])
    large = np.broadcast_to(np.uint8(9), (3000, 4000, 3))
    camera = torch.tensor([[4000, 0, 1999.5], [0, 4000, 1499.5], [0, 0, 1]])
    extract_crops([large], FIRST, torch.tensor([[2100.0, 900, 200, 250]]), camera, 64)
    assert 200 * 250 / 4**2 < made[0].light[..., 0].numel() < 300**2 / 2**2


def test_every_kind_of_picture():
    image = picture()
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    locked = image.copy()
    locked.flags.writeable = False
    backwards = np.ascontiguousarray(image[::-1, ::-1])[::-1, ::-1]
    want = extract_crops(tensor[None], FIRST, BOX, K, 64).images
    for same in (image, tensor, tensor.contiguous(), locked, backwards):
        assert extract_crops([same], FIRST, BOX, K, 64).images.equal(want)
    fine = image.astype(np.uint16) * 257
    for close in (fine, torch.from_numpy(fine).permute(2, 0, 1), image / 255.0):
        got = extract_crops([close], FIRST, BOX, K, 64).images
        torch.testing.assert_close(got, want, rtol=0, atol=1e-6)


def test_pictures_of_different_sizes_in_one_batch():
    small, large = picture(90, 120, 1), picture(700, 1100, 2)
    boxes = torch.tensor([[10.0, 5, 60, 70], [300, 200, 500, 480], [900, 600, 300, 200]])
    Ks = K * torch.tensor([0.2, 1.0, 1.5])[:, None, None]
    Ks[:, 2, 2] = 1
    ids = torch.tensor([0, 1, 1])
    together = extract_crops([small, large], ids, boxes, Ks, 64, views=augmentations(3), white=True)
    for b, alone in enumerate((small, large, large)):
        pick = slice(b, b + 1)
        one = extract_crops([alone], FIRST, boxes[pick], Ks[b], 64, views=augmentations(3), white=True)
        assert one.images.equal(together.images[:, pick])
        assert one.views.R.equal(together.views.R[:, pick])


@pytest.mark.parametrize("coeffs", [None, [-0.2, 0.05, 0.001, -0.002, 0.01]])
def test_positions_are_good_in_large_pictures(coeffs):
    """float32 against the same way in float64, people at the edges of a picture 6000 pixels wide."""
    wide = torch.tensor([[4500, 0, 2999.5], [0, 4500, 1999.5], [0, 0, 1]], dtype=torch.float64)
    boxes = torch.tensor([[5500.0, 3600, 60, 150], [100, 50, 2000, 3800], [2900, 1900, 30, 40]])
    coeffs = None if coeffs is None else torch.tensor(coeffs)
    views = crop_views(boxes, wide, 256, coeffs)
    turned = product(views.K[0], views.R[0])
    lens = None if coeffs is None else coeffs.expand(3, 5)
    sizes = torch.tensor([[6000, 4000]]).expand(3, 2)
    got = positions(inverse(turned), wide.float().expand(3, 3, 3), lens, sizes, 256)
    v, u = torch.meshgrid(torch.arange(256.0), torch.arange(256.0), indexing="ij")
    rays = torch.stack([u, v, torch.ones_like(u)], -1).double().view(1, -1, 3)
    rays = rays @ torch.linalg.inv(views.K[0].double()).mT @ torch.linalg.inv(views.R[0].double()).mT
    plane = distort(rays[..., :2] / rays[..., 2:], None if lens is None else lens.double())
    want = (plane @ wide[:2, :2].T + wide[:2, 2]).view(3, 256, 256, 2)
    assert (got - want).abs().max() < 2e-3


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 5)), np.zeros((3, 4, 5)), torch.zeros(4, 5, 3), torch.zeros(3, 0, 4)]
)
def test_what_is_no_picture_is_refused(wrong):
    with pytest.raises(ValueError, match="picture"):
        picture_size(wrong)


def test_matrices_by_hand():
    generator = torch.Generator().manual_seed(3)
    m, n = torch.randn(2, 50, 3, 3, generator=generator, dtype=torch.float64)
    m[0] = torch.tensor([[0, 2, 1], [0, 0, 3], [4, 5, 6]])  # nothing on the diagonal to divide by
    torch.testing.assert_close(product(m, n), m @ n)
    torch.testing.assert_close(inverse(m) @ m, torch.eye(3).double().expand(50, 3, 3), rtol=0, atol=1e-9)
    points = torch.randn(50, 7, 3, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(applied(m, points), points @ m.mT)
    flat = torch.cat([points[..., :2], torch.ones(50, 7, 1)], -1)
    torch.testing.assert_close(applied(m, points[..., :2]), flat @ m.mT)

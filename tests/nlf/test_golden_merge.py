"""Merging of views, world space and projection: parity (golden README 8, fixtures in mm) and properties."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.camera.lens import project
from backend.localizers.nlf.merge import (
    EPSILON,
    merge_views,
    scale_aligned,
    to_world,
    weighted_geometric_median,
)

from .golden_weights import golden
from .recipe import tensor

COUNTS = (1, 2, 5)


def close(ours, theirs, tolerance):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)


def extrinsics() -> torch.Tensor:
    out = tensor("merge", "extrinsics").clone()
    out[:3, 3] /= 1000
    return out


@pytest.mark.parametrize("count", COUNTS)
def test_scale_alignment_parity(count):
    poses = tensor("merge", f"merge{count}_in_poses3d") / 1000
    close(1000 * scale_aligned(poses), golden("merge")[f"merge{count}_scale_aligned"], 1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", COUNTS)
def test_merge_parity(count, dtype):
    poses = (tensor("merge", f"merge{count}_in_poses3d") / 1000).to(dtype)
    merged, uncertainty = merge_views(poses, tensor("merge", f"merge{count}_in_uncert").to(dtype))
    K = tensor("merge", "intrinsics").to(dtype)
    for name, world, lens in (
        ("", None, None),
        ("_ext_k5", extrinsics().to(dtype), tensor("merge", "dist_k5").to(dtype)),
    ):
        theirs = {k: golden("merge")[f"merge{count}{name}_{k}"] for k in ("poses3d", "poses2d", "uncert")}
        close(1000 * to_world(merged, world), theirs["poses3d"], 1e-2)
        close(project(merged, K, lens), theirs["poses2d"], 1e-3)
        close(uncertainty, theirs["uncert"], 1e-6)


def views(seed=0, count=5, points=7):
    g = torch.Generator().manual_seed(seed)
    base = torch.randn(2, 1, points, 3, generator=g, dtype=torch.float64) * 0.4 + torch.tensor([0, 0, 3.0])
    noise = 0.02 * torch.randn(2, count, points, 3, generator=g, dtype=torch.float64)
    return base, base + noise, 0.02 + 0.3 * torch.rand(2, count, points, generator=g, dtype=torch.float64)


def test_one_view_is_its_own_merge():
    _, poses, uncertainty = views(count=1)
    merged, sigma = merge_views(poses, uncertainty)
    close(merged, poses[:, 0], 1e-12)
    close(sigma, uncertainty[:, 0], 1e-12)


def test_equal_views_change_nothing_and_their_order_does_not_matter():
    base, poses, uncertainty = views()
    close(merge_views(base.expand_as(poses), uncertainty)[0], base[:, 0], 1e-12)
    order = [3, 0, 4, 1, 2]
    for a, b in zip(
        merge_views(poses, uncertainty), merge_views(poses[:, order], uncertainty[:, order]), strict=True
    ):
        close(a, b, 1e-12)


def test_scaled_views_become_one():
    base, _, _ = views()
    sizes = torch.linspace(0.5, 1.5, 5, dtype=torch.float64)[None, :, None, None]
    aligned = scale_aligned(base * sizes)
    close(aligned, aligned[:, :1].expand_as(aligned), 1e-12)
    # And stay where they are seen.
    close(aligned[..., :2] / aligned[..., 2:], (base[..., :2] / base[..., 2:]).expand(2, 5, 7, 2), 1e-12)


def test_one_wild_view_does_not_carry_the_rest_away():
    base, poses, _ = views()
    poses[:, 2, 3] += 2.0
    same = torch.full(poses.shape[:-1], 0.1, dtype=torch.float64)
    robust, _ = weighted_geometric_median(poses, same)
    off = (robust[:, 3] - base[:, 0, 3]).norm(dim=-1)
    assert (off < 0.1 * (poses.mean(1)[:, 3] - base[:, 0, 3]).norm(dim=-1)).all()


def test_the_sure_view_counts_most():
    _, poses, uncertainty = views()
    uncertainty[:] = 0.5
    uncertainty[:, 1] = 0.005
    aligned = scale_aligned(poses)
    merged, sigma = merge_views(poses, uncertainty)
    close(merged, aligned[:, 1], 2e-3)
    assert (sigma < 0.01).all()


def test_the_median_is_where_the_pulls_balance():
    """Ten steps bring the smoothed median near its fixed point: one more step hardly moves it."""
    _, poses, uncertainty = views(seed=3)
    median, share = weighted_geometric_median(poses, uncertainty**-1.5)
    close(share.sum(-2), torch.ones(2, 7), 1e-12)
    distance = (poses - median[:, None]).norm(dim=-1)
    pull = (uncertainty**-1.5 / (distance + EPSILON))[..., None]
    close((pull * poses).sum(1) / pull.sum(1), median, 1e-5)


@pytest.mark.parametrize("value", [0.0, 1e-9, 1e9])
def test_extreme_uncertainties_stay_finite(value):
    _, poses, uncertainty = views()
    uncertainty[:, 0] = value
    for out in merge_views(poses.float(), uncertainty.float()):
        assert out.isfinite().all()
    for out in merge_views(0 * poses.float(), uncertainty.float()):
        assert out.isfinite().all()


def test_world_and_back():
    E = extrinsics()
    space = tensor("merge", "merge1_in_poses3d")[:, 0] / 1000
    world = to_world(space, E)
    close(world @ E[:3, :3].T + E[:3, 3], space, 1e-6)
    assert to_world(space, None) is space
    assert to_world(space, E.expand(3, 4, 4)).equal(world)

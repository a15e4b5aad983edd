"""The matrix of few points against full rows of the Jacobian, one for each number that was seen."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from backend.body.pointsets import named_set
from backend.fit.solver import normal
from backend.fit.solver.batchlast import exp
from backend.fit.solver.jacobian import jacobian
from backend.fit.solver.observe import Data
from backend.fit.solver.skin import SkinModel


def full(data, posed, J, weight, flat_weight):
    """(B, D, D) from whole rows (B, k, D)."""
    K = J
    if not data.placed:
        share = (data.weights / data.weights.sum(0)).T
        K = J - (share[:, None] @ J.flatten(2)).reshape(len(J), 1, 3, -1)
    axes = J.new_ones(3) if data.axes is None else data.axes
    out = [(K * (weight.T[..., None] * axes).sqrt()[..., None]).flatten(1, 2)]
    if data.rays is not None:
        z = posed.points[:, 2]
        ray = (posed.points[:, :2] / z[:, None]).permute(2, 0, 1)[..., None]
        side = (J[:, :, :2] - ray * J[:, :, 2:]) * (flat_weight.sqrt() / z).T[..., None, None]
        out.append(side.flatten(1, 2))
    A = torch.cat(out, 1)
    return A.mT @ A


@pytest.mark.parametrize("seen", ["space", "axes", "shifted", "rays", "all"])
@pytest.mark.parametrize("more", [False, True])
def test_matrix_is_that_of_full_rows(body, monkeypatch, seen, more):
    monkeypatch.setattr(normal, "_NEGLIGIBLE", 0.0)
    points = named_set(body, "surface_200").points
    model = SkinModel(body, replace(points, posedirs=None), dtype=torch.float64)
    torch.manual_seed(0)
    B, N = 3, len(points)
    state = replace(model.rest_state(B), rotations=exp(0.4 * torch.randn(55, 3, B, dtype=torch.float64)),
                    root=torch.tensor([0.1, 0.2, 3.0], dtype=torch.float64)[:, None].expand(3, B).contiguous(),
                    coefs=torch.randn(10, B, dtype=torch.float64))  # fmt: skip
    posed = model.pose(state)
    weights, flat = (torch.rand(N, B, dtype=torch.float64) for _ in range(2))
    weights[:7] = 0
    axes = torch.tensor([1.0, 0.8, 0.3], dtype=torch.float64)
    rays = {"rays": torch.zeros(N, 2, B, dtype=torch.float64), "ray_weights": flat}
    data = Data(
        posed.points,
        weights,
        axes=axes if seen in ("axes", "all") else None,
        placed=seen not in ("shifted", "all"),
        **(rays if seen in ("rays", "all") else {}),
    )
    robust = weights * torch.rand(N, B, dtype=torch.float64)
    shifted = model.coef_motion(posed) if more else None
    want = full(data, posed, jacobian(model, posed, shifted, more), robust, flat)
    found = normal.matrix(model, normal.blocks_of(model), data, posed, robust, flat, shifted, more).dense()
    assert want.shape == found.shape and want.abs().max() > 1
    torch.testing.assert_close(found, want, rtol=1e-9, atol=1e-9)


def test_every_point_is_in_one_block(body):
    model = SkinModel(body, named_set(body, "surface_200").points)
    blocks = normal.blocks_of(model)
    rows = torch.cat([b.points for b in blocks])
    assert sorted(rows.tolist()) == list(range(200)) and max(len(b.joints) for b in blocks) < 30

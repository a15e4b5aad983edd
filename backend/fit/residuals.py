"""Normal equations of one Gauss-Newton step: what the observations and the prior say, frame by frame.

Unknowns of a frame (69): 22 rotation increments of three (left, in the parent's frame), then the pelvis position.
"""

from __future__ import annotations

from dataclasses import dataclass

import roma
import torch

from backend.fit.pointmodel import PointModel, Posed, State
from backend.fit.oldprior import BODY_JOINTS, PosePrior
from backend.fit.rotations import left_jacobian_inverse

UNKNOWNS = BODY_JOINTS * 3 + 3
LIMIT_SIGMA = 0.05  # rad: how hard the ends of a range of motion push back
ROBUST = 4.0  # Geman-McClure scale in sigmas: an observation further off than this loses its say


@dataclass
class Observations:
    """Localized points of one track, tensors of one dtype and device.

    `rays`: (n, P, 2) the 2D points as (x/z, y/z); `points3d`: (n, P, 3) camera space, metres, used relative to
    their own centre; `weight2d`: (n, P) 1/sigma² of `rays`; `weight3d`: (n, P, 3) 1/sigma² in 1/m² per axis;
    both weights are 0 where nothing is known. `times`: (n,) seconds.
    """

    rays: torch.Tensor
    points3d: torch.Tensor
    weight2d: torch.Tensor
    weight3d: torch.Tensor
    times: torch.Tensor

    def select(self, index) -> Observations:
        """The same for some frames (slice or index tensor)."""
        return Observations(
            *(t[index] for t in (self.rays, self.points3d, self.weight2d, self.weight3d, self.times))
        )


@dataclass
class Terms:
    """`cost`: (n,); with derivatives: `H`: (n, 69, 69), `g`: (n, 69), `Hb`: (n, 69, nb), `Hbb`: (n, nb, nb),
    `gb`: (n, nb)."""

    cost: torch.Tensor
    H: torch.Tensor | None = None
    g: torch.Tensor | None = None
    Hb: torch.Tensor | None = None
    Hbb: torch.Tensor | None = None
    gb: torch.Tensor | None = None


def _robust(squared: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Geman-McClure: (cost, weight) for squared residuals in sigmas."""
    q = 1 + squared / ROBUST**2
    return squared / q, 1 / (q * q)


def data_residuals(obs: Observations, posed: Posed) -> tuple[torch.Tensor, ...]:
    """Centred 3D residuals (n, P, 3), ray residuals (n, P, 2), both whitened, their robust cost (n,) and weights."""
    w3 = obs.weight3d
    total = w3.sum(1, keepdim=True).clamp_min(1e-12)
    r3 = obs.points3d - posed.points
    r3 = (r3 - (w3 * r3).sum(1, keepdim=True) / total) * w3.sqrt()
    z = posed.points[..., 2:].clamp_min(0.1)
    r2 = (obs.rays - posed.points[..., :2] / z) * obs.weight2d.sqrt()[..., None]
    c3, k3 = _robust((r3 * r3).sum(-1))
    c2, k2 = _robust((r2 * r2).sum(-1))
    return r3, r2, (c3 + c2).sum(1), k3, k2


def prior_residuals(state: State, prior: PosePrior) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Whitened pull to the mean (n, 22, 3), whitened overshoot of the range (n, 22, 3), and the rotvecs (n, 22, 3)."""
    theta = roma.rotmat_to_rotvec(state.rotations[:, :BODY_JOINTS])
    pull = (prior.mean - theta) / prior.sigma
    over = (theta - prior.upper).clamp_min(0) + (theta - prior.lower).clamp_max(0)
    return pull, -over / LIMIT_SIGMA, theta


def terms(model: PointModel, obs: Observations, prior: PosePrior, state: State, *,
          derivatives: bool = True, betas: bool = False) -> Terms:  # fmt: skip
    """Cost of the data and the pose prior at `state`, and its Gauss-Newton terms (betas' prior is the solver's)."""
    posed = model.pose(state)
    r3, r2, cost, k3, k2 = data_residuals(obs, posed)
    pull, push, theta = prior_residuals(state, prior)
    cost = cost + (pull * pull).sum((1, 2)) + (push * push).sum((1, 2))
    if not derivatives:
        return Terms(cost)
    J = model.jacobian_pose(state, posed)
    if betas:
        J = torch.cat([J, model.jacobian_betas(state, posed)], -1)
    n, P, _, D = J.shape
    w3, w2 = obs.weight3d, obs.weight2d
    centre = (w3[..., None] * J).sum(1, keepdim=True) / w3.sum(1, keepdim=True).clamp_min(1e-12)[..., None]
    J3 = (J - centre) * (w3 * k3[..., None]).sqrt()[..., None]
    z = posed.points[..., 2:].clamp_min(0.1)
    J2 = (J[..., :2, :] - (posed.points[..., :2] / z)[..., None] * J[..., 2:, :]) / z[..., None]
    J2 = J2 * (w2 * k2).sqrt()[..., None, None]
    A = torch.cat([J3.reshape(n, P * 3, D), J2.reshape(n, P * 2, D)], 1)
    r = torch.cat([(r3 * k3.sqrt()[..., None]).reshape(n, -1), (r2 * k2.sqrt()[..., None]).reshape(n, -1)], 1)
    H = A.transpose(1, 2) @ A
    g = (A.transpose(1, 2) @ r[..., None])[..., 0]
    # Prior rows act on log(R); exp(delta) R moves it by the inverse left Jacobian.
    L = left_jacobian_inverse(theta)
    precision = prior.sigma**-2 + (push != 0) / LIMIT_SIGMA**2
    slope = pull / prior.sigma + push / LIMIT_SIGMA
    Hp = L.transpose(-1, -2) @ (precision[..., None] * L)
    gp = (L.transpose(-1, -2) @ slope[..., None])[..., 0]
    for j in range(1, BODY_JOINTS):
        s = slice(3 * j, 3 * j + 3)
        H[:, s, s] += Hp[:, j]
        g[:, s] += gp[:, j]
    U = UNKNOWNS
    if not betas:
        return Terms(cost, H, g)
    return Terms(cost, H[:, :U, :U], g[:, :U], H[:, :U, U:], H[:, U:, U:], g[:, U:])

"""Localized points become pose, shape and translation: the one public door of the fit.

A Gauss-Newton of our own stands behind it (see `solver`); `smplfitter` was weighed and left out, since it takes
neither a handful of points nor image points nor joint limits (`shared/reference/fitter.md`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import roma
import torch

from backend.body.model import Body, CanonicalPoints
from backend.fit.pointmodel import PointModel, State
from backend.fit.oldprior import BODY_JOINTS, range_of_motion_prior
from backend.fit.residuals import UNKNOWNS, Observations, terms
from backend.fit.solver import SolverOptions, solve_track
from backend.records import Camera

DEPTH_FACTOR = 2.0  # a single camera sees depth this much worse than the other two axes
IMAGE_FACTOR = (
    0.35  # … and where a point is in the picture this much better than its place relative to the others
)
UNSEEN_M = 1.0  # metres by which someone may be elsewhere than where the neighbouring frames put him
INDEPENDENT = (
    33  # points that bring news each: errors of many points on one body are alike, and more weigh as these
)
CORRELATION_S = 0.12  # errors of neighbouring frames are alike for about this long


@dataclass
class Fit:
    """One person over n frames. `pose`: (n, 55, 3) rotvecs, row 0 in camera space; `betas`: (nb,) of the body;
    `trans`: (n, 3) metres, camera space, SMPL-X convention; `joints`: (n, 55, 3) metres, camera space;
    `joint_uncertainty`: (n, 55) metres, one sigma of the 3D distance."""

    pose: np.ndarray
    betas: np.ndarray
    trans: np.ndarray
    joints: np.ndarray
    joint_uncertainty: np.ndarray
    state: State = field(repr=False)


class Fitter:
    """Fits `body` to observations at `points` (P canonical points) seen by `camera`.

    The solver runs in float64 on the CPU: its matrices are small, and Apple's GPU has no float64.
    """

    def __init__(self, body: Body, points: CanonicalPoints, camera: Camera, num_betas: int = 10) -> None:
        self.body, self.camera = body, camera
        self.model = PointModel(body, points, num_betas)
        self.prior = range_of_motion_prior()
        eye = np.eye(len(body.parents), dtype=np.float32)
        self.joint_points = CanonicalPoints(
            body.joints_template, eye, body.joints_shapedirs, body.joints_exprdirs
        )

    def observations(self, points3d: np.ndarray, points2d: np.ndarray, uncertainty: np.ndarray,
                     times: np.ndarray) -> Observations:  # fmt: skip
        """Arrays of a Localization -> whitened tensors. NaN or infinite entries count as not seen."""
        K = self.camera.K
        rays = (points2d.astype(np.float64) - K[:2, 2]) @ np.linalg.inv(K[:2, :2]).T
        sigma = np.maximum(uncertainty.astype(np.float64), 1e-4)
        known3 = np.isfinite(points3d).all(-1) & np.isfinite(sigma)
        known2 = np.isfinite(rays).all(-1) & np.isfinite(sigma)
        depth = np.full((len(times), 1), 3.0)
        rows = known3.any(1)
        z = np.where(known3, points3d[..., 2], np.nan)
        depth[rows] = np.maximum(np.nanmedian(z[rows], axis=1, keepdims=True), 0.2)
        news = min(1.0, INDEPENDENT / max(sigma.shape[1], 1))
        w3 = news * np.where(known3, sigma**-2, 0.0)[..., None] * np.array([1, 1, DEPTH_FACTOR**-2])
        w2 = news * np.where(known2, (IMAGE_FACTOR * sigma / depth) ** -2, 0.0)
        return Observations(
            *(torch.as_tensor(np.ascontiguousarray(a), dtype=torch.float64) for a in (
                np.where(known2[..., None], rays, 0.0), np.where(known3[..., None], points3d, 0.0), w2, w3, times))
        )  # fmt: skip

    def fit(self, points3d: np.ndarray, points2d: np.ndarray, uncertainty: np.ndarray, times: np.ndarray, *,
            betas: np.ndarray | None = None, smooth: float = 1.0) -> Fit:  # fmt: skip
        """Fit a track.

        `points3d`: (n, P, 3) camera space, metres; `points2d`: (n, P, 2) pixels; `uncertainty`: (n, P) metres;
        `times`: (n,) seconds, rising; NaN marks what was not seen (a whole frame too: it is bridged by the time
        term). `betas`: keep this shape; `smooth`: 0 for frames that know nothing of each other.
        """
        obs = self.observations(points3d, points2d, uncertainty, times)
        n = len(times)
        if n == 0:
            raise ValueError("no frames to fit")
        dt = float(np.median(np.diff(times))) if n > 1 else CORRELATION_S
        # Frames closer in time than the errors' memory do not bring news each: smooth them as if they were fewer.
        strength = smooth * max(1.0, CORRELATION_S / max(dt, 1e-3))
        given = None
        if betas is not None:
            given = torch.as_tensor(betas[: self.model.num_betas], dtype=torch.float64)
        state = solve_track(self.model, obs, self.prior, SolverOptions(smooth=strength), given)
        return self._result(state, obs)

    def _result(self, state: State, obs: Observations) -> Fit:
        pose = roma.rotmat_to_rotvec(state.rotations).float().numpy()
        betas = np.zeros(self.body.n_betas, np.float32)
        betas[: self.model.num_betas] = state.betas.float().numpy()
        rest = self.model.rest_joints(state.betas)
        joints, sigma = self.points(self.joint_points, state, obs)
        return Fit(pose, betas, (state.root - rest[0]).float().numpy(), joints, sigma, state)

    def points(
        self, points: CanonicalPoints, state: State, obs: Observations
    ) -> tuple[np.ndarray, np.ndarray]:
        """Any canonical points of the fitted body: (n, Q, 3) camera space, metres, and (n, Q) one sigma, metres.

        The covariance is that of each frame's own data and prior (inverse normal matrix), without help from
        neighbouring frames, whose errors are alike.
        """
        where = PointModel(self.body, points, self.model.num_betas)
        positions, sigmas = [], []
        floor = torch.full((UNKNOWNS,), 1e-4, dtype=torch.float64)
        floor[-3:] = UNSEEN_M**-2
        floor[:3] = 1.0
        for s in range(0, len(state.root), 256):
            part = State(state.rotations[s : s + 256], state.root[s : s + 256], state.betas)
            H = terms(self.model, obs.select(slice(s, s + 256)), self.prior, part).H
            cov = torch.linalg.inv(H + torch.diag(floor))
            posed = where.pose(part)
            J = where.jacobian_pose(part, posed)
            trace = torch.einsum("npcd,nde,npce->np", J, cov, J)
            positions.append(posed.points)
            sigmas.append(trace.clamp_min(0).sqrt())
        return torch.cat(positions).float().numpy(), torch.cat(sigmas).float().numpy()


__all__ = ["BODY_JOINTS", "Fit", "Fitter"]

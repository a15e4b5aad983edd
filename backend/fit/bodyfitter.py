"""Points become a body: `BodyFitter(body, points).fit(targets, uncertainty)`, for one frame or a long track.

The road from a video uses `backend.fit.camerafitter`, which adds the camera; this door is for points of any origin:
mesh sequences, a field's points, motion capture markers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from backend.body.model import Body, CanonicalPoints
from backend.body.points import joint_point, stack
from backend.body.skeleton import JOINT_NAMES
from backend.camera.pinhole import Camera
from backend.errors import JobError
from backend.fit import track
from backend.fit.clusters import Gatherer, cluster
from backend.fit.outliers import heavy_tails, without_outliers
from backend.fit.results import BodyFit
from backend.fit.solver.batchlast import exp
from backend.fit.solver.equations import NewtonOptions
from backend.fit.solver.newton import Newton, Solution
from backend.fit.solver.observe import Data, root_from_rays
from backend.fit.solver.prior import pose_prior
from backend.fit.solver.skin import SkinModel
from backend.fit.solver.start import start

CLUSTERS = 640
"""Points that more than this many are averaged to."""
PIXELS = 3.0
"""One sigma per axis of a point in a picture of which nothing is stated."""
CHUNK = 64
"""Frames solved side by side."""
TRUST = 30.0
"""Observations that a stated uncertainty counts as, against what the residuals say of the noise."""


@dataclass(frozen=True)
class FitOptions:
    """How to fit."""

    shape: str = "track"
    """Either "track": one shape for all frames; or "frame": one for each."""
    scale: bool = False
    """Solve for a size factor too."""
    smooth: float = 0.0
    """Strength of the tie between frames: 0 for none, 1 for human motion. It needs `times`."""
    robust: str = "auto"
    """Either "auto": looks for outliers and leaves them out; or "never": trusts every point."""
    coherent: bool = True
    """Learn the errors that the points of a body part share."""
    uncertainties: bool = True
    """Compute covariances."""
    evidence: float | None = None
    """Frames that say something of their own about the shape, at most; None for all."""
    steps: int = 4
    """Steps of the solver, at most."""


def surface_and_joints(body: Body) -> CanonicalPoints:
    """All V vertices and then the 55 joints of `body`, as points to fit."""
    rows = np.arange(len(body.v_template))
    return stack([body.vertices_as_points(rows), *(joint_point(body, name) for name in JOINT_NAMES)])


class BodyFitter:
    """Fits `body` to targets of `points` (P canonical points: vertices, joints, any mixture).

    `betas`, `expressions`: how many coefficients to solve for; `device`, `dtype`: where and in what the solver runs
    (float32 is enough everywhere).
    """

    def __init__(self, body: Body, points: CanonicalPoints, *, betas: int = 10, expressions: int = 0,
                 clusters: int = CLUSTERS, device: torch.device | str = "cpu",
                 dtype: torch.dtype = torch.float32) -> None:  # fmt: skip
        if len(points) == 0:
            raise JobError("bad_points", "There is no point to fit a body to: name at least one.")
        self.body, self.device, self.dtype = body, torch.device(device), dtype
        groups = cluster(points, clusters)
        self.points = len(points)
        self.gather = Gatherer(groups, dtype, device)
        self.model = SkinModel(body, groups.points, betas, expressions, dtype=dtype, device=device)
        joints = stack([joint_point(body, name) for name in JOINT_NAMES])
        self.joint_model = SkinModel(body, joints, betas, expressions, dtype=dtype, device=device)
        self.prior = pose_prior(dtype, device, body.present)
        self.newton = Newton(self.model, self.gather.count, self.prior, NewtonOptions())
        self.mean = exp(self.prior.mean[..., None])
        self.pull = self.prior.spread.reciprocal().square().mean(1).clamp(0, 100)

    def fit(self, targets: np.ndarray, uncertainty: np.ndarray | None = None, *, times: np.ndarray | None = None,
            points2d: np.ndarray | None = None, uncertainty2d: np.ndarray | None = None, camera: Camera | None = None,
            betas: np.ndarray | None = None, options: FitOptions = FitOptions()) -> BodyFit:  # fmt: skip
        """Fit n frames.

        `targets`: (n, P, 3) metres, any axes; not finite where unseen (single points or whole frames).
        `uncertainty`: (n, P) metres, one sigma of the 3D distance; None where all are alike; not finite: unseen.
        `points2d`: (n, P, 2) pixels, not finite where unseen, of a `camera` at the origin that looks along z (y down),
        with `uncertainty2d`: (n, P) pixels per axis (None: `PIXELS`); needs `uncertainty`, and at most as many points
        as the fitter has clusters; the noise is then taken as stated.
        `times`: (n,) seconds, rising. `betas`: (nb,) keeps this shape. A frame without any point gets its pose from
        its neighbours if frames are tied, else the prior's; its uncertainty says so.
        Raises JobError: "no_frames" for n = 0, "bad_points" for arrays of other shapes or values.
        """
        self._check(targets, uncertainty, times, betas, options)
        flat = None
        if points2d is not None:
            flat = self._flat(targets, uncertainty, points2d, uncertainty2d, camera)
        changes = {"steps": options.steps, "scale": options.scale, "coherent": 8 if options.coherent else 0,
                   "trust": 0.0 if uncertainty is None else TRUST,
                   "noise": "estimated" if flat is None else "given"}  # fmt: skip
        newton = self.newton.with_options(**changes)
        known = None
        if betas is not None:
            known = torch.zeros(self.model.coefs, 1, dtype=self.dtype, device=self.device)
            known[: self.model.betas, 0] = torch.as_tensor(betas[: self.model.betas]).to(known)
        with torch.inference_mode():
            parts = []
            for first in range(0, len(targets), CHUNK):
                rows = slice(first, first + CHUNK)
                some = None if uncertainty is None else uncertainty[rows]
                pictures = None if flat is None else tuple(a[rows] for a in flat)
                parts.append(self._alone(newton, targets[rows], some, known, options, pictures))
            if known is None and options.shape == "track":
                known, parts = track.shared_shape(newton, parts, options.evidence)
            tie = None
            if options.smooth > 0 and times is not None and len(targets) > 2:
                held = newton if known is None else newton.with_options(shape=False)
                tie = track.Tie(torch.as_tensor(times, dtype=torch.float64), options.smooth)
                parts = track.tied(held, parts, tie)
            found = track.report(newton if known is None else newton.with_options(shape=False), parts,
                                 self.joint_model, options.uncertainties)  # fmt: skip
        # The prior holds them there, to a thousandth of a degree.
        found.pose[:, ~self.body.present] = 0
        return found

    def _alone(self, newton: Newton, targets: np.ndarray, uncertainty: np.ndarray | None, known: Tensor | None,
               options: FitOptions, pictures: tuple[np.ndarray, np.ndarray] | None) -> track.Part:  # fmt: skip
        """A chunk of frames, each by itself."""
        y = torch.as_tensor(np.ascontiguousarray(targets), dtype=self.dtype, device=self.device)
        y = y.permute(1, 2, 0).contiguous()
        w = None
        seen = torch.isfinite(y).all(1)
        if uncertainty is not None:
            sigma = torch.as_tensor(np.ascontiguousarray(uncertainty), dtype=self.dtype, device=self.device).T
            w = torch.where(torch.isfinite(sigma) & seen, sigma.clamp_min(1e-5) ** -2, 0.0)
        elif not bool(seen.all()):
            w = seen.to(self.dtype)
        if w is None:
            centre = y.mean(0)
        else:
            y = torch.where((w > 0)[:, None], y, 0.0)
            centre = (y * w[:, None]).sum(0) / w.sum(0).clamp_min(1e-12)
        if pictures is not None:
            # Rays meet in the camera, which must stay the origin.
            centre = torch.zeros_like(centre)
        # Near the origin float32 keeps micrometres.
        y = y - centre
        mean, weight, shift = self.gather.plain(y) if w is None else self.gather.weighted(y, w)
        data = Data(mean, weight, shift)
        if pictures is not None:
            rays, w2 = (torch.as_tensor(np.moveaxis(a, 0, -1).copy()).to(y) for a in pictures)
            data = replace(data, rays=rays, ray_weights=w2)
        newton = newton if known is None else newton.with_options(shape=False)
        state = start(self.model, mean, weight, shift, self.mean, self.pull, known)
        if pictures is not None:
            at = self.model.pose(replace(state, root=torch.zeros_like(state.root))).points
            state = replace(state, root=torch.where(weight.sum(0) > 0, state.root, root_from_rays(at, data)))
        found = newton.iterate(data, state)
        if options.robust == "auto" and pictures is None:
            data, found = self._robust(newton, data, found, y, w)
        found = newton.share(data, found)
        return track.Part(data, found, centre)

    def _flat(self, targets, uncertainty, points2d, uncertainty2d, camera) -> tuple[np.ndarray, np.ndarray]:
        """Rays (n, P, 2) and their weights (n, P) of points in a picture."""
        n = len(targets)
        if not self.gather.trivial:
            raise JobError("bad_points", f"Points in pictures are fitted up to {len(self.gather.count)} at a time, "
                           f"not {self.points}: choose fewer.")  # fmt: skip
        if camera is None or uncertainty is None:
            raise JobError(
                "bad_points", "Points in pictures need a camera, and uncertainties of the points in space."
            )
        if points2d.shape != (n, self.points, 2):
            raise JobError("bad_points", f"Points in pictures must be of shape ({n}, {self.points}, 2).")
        K = camera.K
        sigma = (
            np.full((n, self.points), PIXELS) if uncertainty2d is None else np.asarray(uncertainty2d, float)
        )
        if sigma.shape != (n, self.points) or (sigma <= 0).any():
            raise JobError(
                "bad_points", f"Uncertainties in pictures must be ({n}, {self.points}) numbers above 0."
            )
        rays = (np.asarray(points2d, float) - K[:2, 2]) @ np.linalg.inv(K[:2, :2]).T
        known = np.isfinite(rays).all(-1) & np.isfinite(sigma)
        focal = np.sqrt(abs(np.linalg.det(K[:2, :2])))
        return np.where(known[..., None], rays, 0.0), np.where(known, (focal / sigma) ** 2, 0.0)

    def _robust(self, newton: Newton, data: Data, found: Solution, y: Tensor, w: Tensor | None):
        """Frames with outliers among their points are fitted again without those."""
        some = torch.where(heavy_tails(self.model, self.gather, data, found, y, w))[0]
        if len(some) == 0:
            return data, found
        part, state = data.take(some), found.take(some)
        y, w = y[..., some], None if w is None else w[:, some]
        for _ in range(3):
            part = without_outliers(self.model, self.gather, part, state, y, w)
            state = newton.iterate(part, state.state)
        return track.put(data, part, some), found.put(some, state.state, state.noise, state.shared)

    def _check(self, targets, uncertainty, times, betas, options) -> None:
        if targets.ndim != 3 or targets.shape[1:] != (self.points, 3):
            raise JobError("bad_points", f"The targets must be of shape (frames, {self.points}, 3), "
                           f"not {tuple(targets.shape)}.")  # fmt: skip
        n = len(targets)
        if n == 0:
            raise JobError("no_frames", "There are no frames to fit a body to.")
        if uncertainty is not None and uncertainty.shape != (n, self.points):
            raise JobError("bad_points", f"The uncertainties must be of shape ({n}, {self.points}), "
                           f"not {tuple(uncertainty.shape)}.")  # fmt: skip
        if uncertainty is not None and bool((uncertainty <= 0).any()):
            raise JobError(
                "bad_points", "Uncertainties must be above 0 metres: give NaN for what was not seen."
            )
        if times is not None and (
            times.shape != (n,) or not np.isfinite(times).all() or (np.diff(times) <= 0).any()
        ):
            raise JobError("bad_points", f"The times must be {n} rising numbers of seconds.")
        if betas is not None and (betas.ndim != 1 or not np.isfinite(betas).all()):
            raise JobError("bad_points", "The betas must be one row of numbers.")
        if options.shape not in ("track", "frame") or options.robust not in ("auto", "never"):
            raise JobError("bad_options", "The shape is 'track' or 'frame', robust is 'auto' or 'never'.")

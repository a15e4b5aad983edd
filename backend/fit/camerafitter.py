"""Localized points become pose, shape and translation: the door of the fit for the road from a video.

The solver is that of `bodyfitter`; what is added here is the camera: points are known in the picture, and in space
only relative to each other. `smplfitter` was weighed and left out (`python -m bench.fit` compares).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from backend.body.model import Body, CanonicalPoints
from backend.body.points import joint_point, stack
from backend.body.skeleton import JOINT_NAMES
from backend.camera.pinhole import Camera
from backend.fit import shape, track
from backend.fit.frames import CHUNK, FULL, Effort, from_nothing
from backend.fit.results import continuous
from backend.fit.solver.batchlast import exp, log
from backend.fit.solver.equations import NewtonOptions
from backend.fit.solver.newton import Newton, Solution
from backend.fit.solver.observe import Data
from backend.fit.solver.prior import pose_prior
from backend.fit.solver.skin import SkinModel, State

BODY_JOINTS = 22
"""The joints whose motion is tied in time: pelvis to wrists."""
DEPTH_FACTOR = 2.0
"""A single camera sees depth so many times worse than the other two axes."""
IMAGE_FACTOR = 0.35
"""The error of a point in the picture, as a share of that of its place relative to the others."""
INDEPENDENT = 33
"""Points that bring news of their own: errors of many points on one body are alike, and more weigh as these."""
CORRELATION_S = 0.12
"""Seconds for which errors of neighbouring frames are alike."""
ROOT_DENSITY = (25.0, 25.0, 6.0)
"""m^2/s^3 along x, y, z; depth is what a single camera sees worst, so it is smoothed most."""
SHAPE_FRAMES = 64
"""An even sample of so many frames settles the shape."""
SHAPE_EVIDENCE = 4.0
"""A localizer errs alike in every frame: all of them say as much of the shape as so many would."""
WORK = {"alone": 5.0, "shape": 1.0, "again": 1.3, "tie": 1.4, "points": 2.0}
"""What a frame costs in each part of the fit, in steps of the solver (measured on `tests/data/demo.mp4` with the points
of `field`); progress is counted by it."""
T = TypeVar("T")
OPTIONS = NewtonOptions(steps=8, robust=4.0, noise="given", coherent=0)


@dataclass
class Fit:
    """One person over n frames."""

    pose: np.ndarray
    """(n, 55, 3) rotation vectors, continuous in time, row 0 in camera space."""
    betas: np.ndarray
    """(nb,) of the body."""
    trans: np.ndarray
    """(n, 3) metres, camera space, SMPL-X convention."""
    joints: np.ndarray
    """(n, 55, 3) metres, camera space."""
    joint_uncertainty: np.ndarray
    """(n, 55) metres, one sigma of the 3D distance."""
    state: State = field(repr=False)
    """The bodies as the solver left them."""


class Fitter:
    """Fits `body` to observations at `points` (P canonical points) seen by `camera`. `breathe`: called between steps of
    some dozens of frames; it may wait or raise."""

    def __init__(self, body: Body, points: CanonicalPoints, camera: Camera, num_betas: int = 10,
                 device: torch.device | str = "cpu", breathe: Callable[[], None] = lambda: None) -> None:  # fmt: skip
        self.body, self.camera, self.device = body, camera, torch.device(device)
        # Correctives move a point by millimetres, localizers are wrong by centimetres.
        self.model = SkinModel(body, replace(points, posedirs=None), num_betas, device=device)
        self.num_betas = self.model.betas
        self.prior = pose_prior(device=device, present=body.present)
        self.newton = Newton(self.model, torch.ones(len(points), device=device), self.prior, OPTIONS,
                             breathe=breathe)  # fmt: skip
        self.mean = exp(self.prior.mean[..., None])
        self.pull = self.prior.spread.reciprocal().square().mean(1).clamp(0, 100)
        self._skins: WeakKeyDictionary[CanonicalPoints, SkinModel] = WeakKeyDictionary()
        joints = stack([joint_point(body, name) for name in JOINT_NAMES])
        self.joint_model = SkinModel(body, replace(joints, posedirs=None), num_betas, device=device)

    def observations(self, points3d: np.ndarray, points2d: np.ndarray, uncertainty: np.ndarray,
                     times: np.ndarray) -> Data:  # fmt: skip
        """Arrays of a Localization -> observations of n frames. NaN or infinite entries count as not seen."""
        K = self.camera.K
        rays = (points2d.astype(np.float64) - K[:2, 2]) @ np.linalg.inv(K[:2, :2]).T
        sigma = np.maximum(uncertainty.astype(np.float64), 1e-4)
        known3 = np.isfinite(points3d).all(-1) & np.isfinite(sigma)
        known2 = np.isfinite(rays).all(-1) & np.isfinite(sigma)
        depth = np.full((len(times), 1), 3.0)
        seen = known3.any(1)
        z = np.where(known3, points3d[..., 2], np.nan)
        depth[seen] = np.maximum(np.nanmedian(z[seen], axis=1, keepdims=True), 0.2)
        news = min(1.0, INDEPENDENT / max(sigma.shape[1], 1))
        w3 = news * np.where(known3, sigma**-2, 0.0)
        w2 = news * np.where(known2, (IMAGE_FACTOR * sigma / depth) ** -2, 0.0)

        def tensor(a: np.ndarray) -> torch.Tensor:
            return torch.as_tensor(np.ascontiguousarray(np.moveaxis(a, 0, -1)), dtype=torch.float32).to(
                self.device
            )

        return Data(
            tensor(np.where(known3[..., None], points3d, 0.0)),
            tensor(w3),
            axes=torch.tensor([1.0, 1.0, DEPTH_FACTOR**-2], device=self.device),
            placed=False,
            rays=tensor(np.where(known2[..., None], rays, 0.0)),
            ray_weights=tensor(w2),
        )

    def fit(self, points3d: np.ndarray, points2d: np.ndarray, uncertainty: np.ndarray, times: np.ndarray, *,
            betas: np.ndarray | None = None, smooth: float = 1.0, effort: Effort = FULL,
            ) -> Fit:  # fmt: skip
        """Fit a track.

        `points3d`: (n, P, 3) camera space, metres; `points2d`: (n, P, 2) pixels; `uncertainty`: (n, P) metres;
        `times`: (n,) seconds, rising; NaN marks what was not seen (a whole frame too: it is bridged by the time
        term). `betas`: keep this shape; `smooth`: 0 for frames that know nothing of each other; `effort`: less for
        a first look. ValueError when n is 0.
        """
        return track.exhaust(self.steps(points3d, points2d, uncertainty, times, betas=betas, smooth=smooth,
                                        effort=effort))  # fmt: skip

    @torch.inference_mode()
    def steps(self, points3d: np.ndarray, points2d: np.ndarray, uncertainty: np.ndarray, times: np.ndarray, *,
              betas: np.ndarray | None = None, smooth: float = 1.0, effort: Effort = FULL,
              ) -> Generator[int, None, Fit]:  # fmt: skip
        """`fit`, some dozens of frames at a time: after each it says how much of the work is done, in frames of the
        track, which rises to n."""
        n = len(times)
        if n == 0:
            raise ValueError("no frames to fit")
        obs = self.observations(points3d, points2d, uncertainty, times)
        done = Done(n, betas is None, effort.shape_rounds, int(smooth > 0 and n > 2))
        state = yield from self.alone(obs, done, betas=betas, effort=effort)
        if smooth > 0 and n > 2:
            state = yield from self.tied(obs, state, self.tie(times, smooth), done)
        joints, sigma = yield from self.spreads(obs, state, done)
        yield n
        return self.result(state, betas, joints, sigma)

    def alone(self, obs: Data, done: Done, *, betas: np.ndarray | None = None,
              effort: Effort = FULL) -> Generator[int, None, State]:  # fmt: skip
        """Every frame by itself, and one shape, unless it is given as `betas` (nb,)."""
        n = obs.targets.shape[-1]
        held = self.newton.with_options(shape=False)
        some = shape_sample(n).to(self.device)
        state = self.model.rest_state(n)
        if betas is None:
            sample = obs.take(some)
            found = from_nothing(self.newton, sample, self.mean, self.pull, None, effort)
            yield done("alone", len(some))
            part = track.Part(sample, found, torch.zeros_like(found.state.root))
            for _ in range(effort.shape_rounds):
                coefs, part = shape.settled(self.newton, part, SHAPE_EVIDENCE)
                yield done("shape", len(some))
            state = _put(state.shaped(coefs), some, part.found.state)
            others = _without(n, some)
        else:
            coefs = torch.as_tensor(betas[: self.num_betas], dtype=torch.float32, device=self.device)[:, None]
            state = state.shaped(coefs)
            some, others = some[:0], torch.arange(n, device=self.device)
        for rows in _batches(others):
            alone = from_nothing(held, obs.take(rows), self.mean, self.pull, coefs, effort)
            state = _put(state, rows, alone.state)
            yield done("alone", len(rows))
        # The sample came to the shape by steps that nobody checked, and is solved on from there.
        for rows in _batches(some) if effort.polish else ():
            state = _put(state, rows, held.iterate(obs.take(rows), state.take(rows)).state)
            yield done("again", len(rows))
        return state

    def anew(self, obs: Data, start: State, known: np.ndarray, done: Done) -> Generator[int, None, State]:
        """`alone`, from bodies of the same frames that were found under other shapes: `start`, with those of the frames
        `known` (n,) bool."""
        where = torch.from_numpy(np.flatnonzero(known)).to(self.device)
        others = _without(len(known), where)
        if not len(where):
            return (yield from self.alone(obs, done))
        held = self.newton.with_options(shape=False)
        some = where[shape_sample(len(where)).to(self.device)]
        part = self._part(obs.take(some), start.take(some))
        for _ in range(FULL.shape_rounds):
            coefs, part = shape.settled(self.newton, part, SHAPE_EVIDENCE)
            yield done("shape", len(some))
        state = _put(start.shaped(coefs), some, part.found.state)
        for rows in _batches(where):
            state = _put(state, rows, held.iterate(obs.take(rows), state.take(rows)).state)
            yield done("again", len(rows))
        for rows in _batches(others):
            found = from_nothing(held, obs.take(rows), self.mean, self.pull, coefs, FULL)
            state = _put(state, rows, found.state)
            yield done("alone", len(rows))
        return state

    def tie(self, times: np.ndarray, smooth: float, **more: object) -> track.Tie:
        """How frames at `times` (n,) are tied; `more`: further fields of the tie."""
        return track.Tie(torch.as_tensor(times, dtype=torch.float64), smooth, tuple(range(BODY_JOINTS)),
                         **{"root": ROOT_DENSITY, "memory_s": CORRELATION_S, "learn": False} | more)  # fmt: skip

    def tied(self, obs: Data, state: State, tie: track.Tie, done: Done) -> Generator[int, None, State]:
        """The same frames tied in time, the shape held."""
        held = self.newton.with_options(shape=False)
        (part,) = yield from done.all("tie", track.tied_steps(held, [self._part(obs, state)], tie))
        return part.found.state

    def spreads(
        self, obs: Data, state: State, done: Done
    ) -> Generator[int, None, tuple[np.ndarray, np.ndarray]]:
        """Joints and their uncertainty, as of `Fit`."""
        return (yield from done.all("points", self._spreads(self.joint_model, state, obs)))

    def _part(self, obs: Data, state: State) -> track.Part:
        one = torch.ones_like(state.root[0])
        return track.Part(obs, Solution(state, one, torch.zeros_like(one)), torch.zeros_like(state.root))

    def result(self, state: State, given: np.ndarray | None, joints: np.ndarray, sigma: np.ndarray) -> Fit:
        """`state` as arrays, with `joints` and `sigma` as of `Fit`; `given`: (nb,) the shape where it was known."""
        pose = continuous(log(state.rotations).permute(2, 0, 1).float().cpu().numpy())
        # The prior holds them there, to a thousandth of a degree.
        pose[:, ~self.body.present] = 0
        betas = np.zeros(self.body.n_betas, np.float32)
        betas[: self.num_betas] = state.coefs[:, 0].float().cpu().numpy()
        if given is not None:
            betas[: self.num_betas] = given[: self.num_betas]
        trans = (state.root - self.model.rest_joints(state.coefs)[0]).T.float().cpu().numpy()
        return Fit(pose, betas, trans, joints, sigma, state)

    def skin(self, points: CanonicalPoints) -> SkinModel:
        """Any canonical points as the solver poses them; made once."""
        if points not in self._skins:
            plain = replace(points, posedirs=None)
            self._skins[points] = SkinModel(self.body, plain, self.num_betas, device=self.device)
        return self._skins[points]

    def places(self, points: CanonicalPoints, state: State) -> np.ndarray:
        """Any canonical points of the fitted body: (n, Q, 3) camera space, metres."""
        where = self.skin(points)
        with torch.inference_mode():
            parts = [
                where.pose(state.take(slice(i, i + CHUNK))).points.permute(2, 0, 1)
                for i in range(0, state.root.shape[-1], CHUNK)
            ]
        return torch.cat(parts).float().cpu().numpy()

    def points(self, points: CanonicalPoints, state: State, obs: Data) -> tuple[np.ndarray, np.ndarray]:
        """The same and (n, Q) one sigma, metres.

        The covariance is that of each frame's own data and prior (inverse normal matrix), without help from
        neighbouring frames, whose errors are alike.
        """
        where = self.skin(points)
        with torch.inference_mode():
            return track.exhaust(self._spreads(where, state, obs))

    def _spreads(
        self, where: SkinModel, state: State, obs: Data
    ) -> Generator[int, None, tuple[np.ndarray, np.ndarray]]:
        """`points`, step by step: after each the frames that are done."""
        held = self.newton.with_options(shape=False)
        positions, sigmas = [], []
        n = state.root.shape[-1]
        for i in range(0, n, CHUNK):
            self.newton.breathe()
            rows = slice(i, min(i + CHUNK, n))
            some = state.take(rows)
            positions.append(where.pose(some).points.permute(2, 0, 1))
            spread = track.spread(held, self._part(obs.take(rows), some))
            sigmas.append(track.point_sigma(held, where, some, spread))
            yield rows.stop - rows.start
        return torch.cat(positions).float().cpu().numpy(), torch.cat(sigmas).float().cpu().numpy()


def _put(state: State, rows: Tensor, part: State) -> State:
    """`state` with `part` in place of its frames `rows`."""
    turned = state.rotations.index_copy(-1, rows, part.rotations)
    return replace(state, rotations=turned, root=state.root.index_copy(-1, rows, part.root))


def _without(n: int, rows: Tensor) -> Tensor:
    """0 to n - 1 but for `rows`."""
    left = torch.ones(n, dtype=torch.bool, device=rows.device)
    left[rows] = False
    return torch.where(left)[0]


def _batches(rows: Tensor) -> tuple[Tensor, ...]:
    return rows.split(CHUNK) if len(rows) else ()


def shape_sample(n: int) -> Tensor:
    """Rows of the even sample of n frames that settles the shape."""
    return torch.linspace(0, n - 1, min(n, SHAPE_FRAMES)).round().long().unique()


class Done:
    """How much of the work on n frames is done. `shaped`: whether the shape is solved for, in so many `rounds`; `ties`:
    how often frames are tied in time."""

    def __init__(self, n: int, shaped: bool, rounds: int, ties: int) -> None:
        self.n, self.part = n, 0.0
        sample = len(shape_sample(n)) if shaped else 0
        self.left = {"alone": n, "shape": rounds * sample, "again": sample, "points": n,
                     "tie": ties * track.tied_work(n)}  # fmt: skip

    def __call__(self, part: str, count: int) -> int:
        """`count` frames went through a part of the work."""
        whole = sum(WORK[k] * v for k, v in self.left.items())
        share = min(1.0, WORK[part] * count / max(whole, 1e-9))
        self.left[part] -= count
        # Of what is left, so that what was foreseen badly never makes it go back.
        self.part += (1 - self.part) * share
        return int(self.part * self.n)

    def all(self, part: str, steps: Generator[int, None, T]) -> Generator[int, None, T]:
        """Every one of `steps`, counted; returns what they return."""
        while True:
            try:
                count = next(steps)
            except StopIteration as end:
                return end.value
            yield self(part, count)


__all__ = ["BODY_JOINTS", "Done", "Fit", "Fitter"]

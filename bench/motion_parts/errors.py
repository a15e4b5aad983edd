"""How the localizer *field* errs, as measured on rendered people of known truth, and errors drawn like that.

An error is taken in axes that look at the person (x right, y down, z away from the camera), about the middle of the
hip landmarks, in units that grow with the uncertainty that the localizer states (`unit`). What it is made of:

- a part that sits in the body: the same for everyone, in the axes of the joint that carries the point;
- a part that many points share (`basis`): patterns over points, of places and pixels together, that last for a while;
- a part of each point's own;
- how large these two are in a frame (`size`): now and then much larger than what is stated.

How long a part lasts is told by three numbers: the share that stays through a clip, the share that fades and after how
much movement; the rest is new in every frame (`lasting`). The uncertainty is drawn in the same way (its logarithm).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bench.motion_parts.lasting import Lasting, clock, lasting

HIPS = [23, 24]
PATTERNS = 60
"""Patterns of errors; further ones add less than 0.3 % of the variance each."""
PATTERNS_U = 12
LEAST_U = 1e-3
USUAL_U, POWER = 0.04, 0.65
"""Errors grow with the stated uncertainty to this power (73 mm where 20 mm are stated, 260 where 137 are), and are
therefore measured in units of `unit`."""
MOST = 2.5
"""Standard deviations of a frame's size that are drawn at most: none was seen beyond."""


@dataclass(eq=False)
class Seen:
    """A clip of known truth as the localizer saw it; n frames, P native points."""

    points3d: np.ndarray
    """(n, P, 3) metres, camera space."""
    points2d: np.ndarray
    """(n, P, 2) pixels."""
    uncertainty: np.ndarray
    """(n, P) metres."""
    truth: np.ndarray
    """(n, P, 3) metres, camera space."""
    turns: np.ndarray
    """(n, P, 3, 3) of the joint that carries each point, in camera space."""
    K: np.ndarray
    """(3, 3)."""
    times: np.ndarray
    """(n,) seconds."""


@dataclass(eq=False)
class ErrorModel:
    """What was measured; P points, k patterns."""

    bias: np.ndarray
    """(P, 3) metres, in the axes of the carrying joint."""
    basis: np.ndarray
    """(k, P * 5) unit patterns: x, y, z of the place, then x, y of the picture at the person's depth."""
    variance: np.ndarray
    """(k,) of the patterns, in squared units."""
    lasts: np.ndarray
    """(k, 3) of each pattern: share that stays, share that fades, metres of the clock."""
    own: np.ndarray
    """(P * 5,) variance of what is left at each point."""
    own_lasts: np.ndarray
    """(3,)."""
    size: np.ndarray
    """(2,) mean and standard deviation of the logarithm of a frame's root mean square error, in units;
    patterns and what is left are of errors that were divided by it."""
    size_lasts: np.ndarray
    """(3,)."""
    log_u: np.ndarray
    """(P,) mean logarithm of the uncertainty, metres."""
    basis_u: np.ndarray
    """(m, P)."""
    variance_u: np.ndarray
    """(m,)."""
    lasts_u: np.ndarray
    """(m, 3)."""
    own_u: np.ndarray
    """(P,)."""
    own_u_lasts: np.ndarray
    """(3,)."""

    def save(self, file: Path) -> None:
        np.savez_compressed(file, **{n: np.asarray(a, np.float32) for n, a in asdict(self).items()})

    @classmethod
    def load(cls, file: Path) -> ErrorModel:
        with np.load(file) as d:
            return cls(**{n: d[n].astype(np.float64) for n in d.files})

    def uncertainty(self, rng: np.random.Generator, times: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """(n, P) metres, as the localizer might state them of points that are at `truth` (n, P, 3), camera space."""
        ticks = clock(truth, times)
        log = self.log_u + _mixture(rng, ticks, self.basis_u, self.variance_u, self.lasts_u)
        return np.exp(log + _own(rng, ticks, self.own_u, self.own_u_lasts))

    def draw(self, rng: np.random.Generator, times: np.ndarray, truth: np.ndarray, turns: np.ndarray,
             uncertainty: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Errors of places about the hips (n, P, 3) and of the picture (n, P, 2), metres, in the axes of `facing`, for
        points that are at `truth` (n, P, 3) and turned by `turns` as in `Seen`."""
        P = truth.shape[1]
        ticks = clock(truth, times)
        z = _mixture(rng, ticks, self.basis, self.variance, self.lasts)
        z += _own(rng, ticks, self.own, self.own_lasts)
        large = Lasting(*self.size_lasts).draw(rng, ticks, 1)
        z *= np.exp(self.size[0] + self.size[1] * np.clip(large, -MOST, MOST))
        look = facing(truth)
        sits = np.einsum("nab,npbc,pc->npa", look, turns, self.bias)
        sits -= sits[:, HIPS].mean(1, keepdims=True)
        place = z[:, : 3 * P].reshape(-1, P, 3) * unit(uncertainty)[..., None] + sits
        flat = z[:, 3 * P :].reshape(-1, P, 2) * unit(uncertainty)[..., None] + sits[..., :2]
        return place, flat


def unit(uncertainty: np.ndarray) -> np.ndarray:
    """Metres in which errors are counted at a stated uncertainty (...)."""
    return USUAL_U * (np.maximum(uncertainty, LEAST_U) / USUAL_U) ** POWER


def facing(points: np.ndarray) -> np.ndarray:
    """(n, 3, 3) camera space -> axes that look at the middle of the hips of points (n, P, 3), not rolled."""
    z = points[:, HIPS].mean(1)
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    x = np.cross([0.0, 1.0, 0.0], z)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return np.stack([x, np.cross(z, x), z], 1)


def errors_of(s: Seen) -> tuple[np.ndarray, np.ndarray]:
    """What `ErrorModel.draw` draws, of a clip that was seen; NaN where it was not."""
    look = facing(s.truth)
    off = s.points3d - s.truth
    off = off - off[:, HIPS].mean(1, keepdims=True)
    place = np.einsum("nab,npb->npa", look, off)
    # Pixels as metres at the person's depth.
    rays = (s.points2d - s.K[:2, 2]) / np.diag(s.K)[:2]
    rays = np.concatenate([rays, np.ones_like(rays[..., :1])], -1) @ look.transpose(0, 2, 1)
    true = s.truth @ look.transpose(0, 2, 1)
    flat = (rays[..., :2] / rays[..., 2:] - true[..., :2] / true[..., 2:]) * true[..., 2:]
    return place, flat


def measure(clips: list[Seen]) -> ErrorModel:
    """The model of these clips, each of which counts alike."""
    P = clips[0].truth.shape[1]
    parts = [errors_of(s) for s in clips]
    bias = _bias(clips, parts)
    rows, logs = [], []
    for s, (place, flat) in zip(clips, parts, strict=True):
        look = facing(s.truth)
        sits = np.einsum("nab,npbc,pc->npa", look, s.turns, bias)
        sits -= sits[:, HIPS].mean(1, keepdims=True)
        u = unit(s.uncertainty)[..., None]
        z = [((place - sits) / u).reshape(-1, 3 * P), ((flat - sits[..., :2]) / u).reshape(-1, 2 * P)]
        rows.append(np.concatenate(z, 1))
        logs.append(np.log(np.maximum(s.uncertainty, LEAST_U)))
    clocks = [clock(s.truth, s.times) for s in clips]
    sizes = [0.5 * np.log(np.mean(x**2, 1)) for x in rows]
    middle = np.mean([np.nanmean(x) for x in sizes])
    spread = np.sqrt(np.mean([np.nanmean((x - middle) ** 2) for x in sizes]))
    size_lasts = _row(lasting([x - middle for x in sizes], clocks))
    rows = [x / np.exp(q)[:, None] for x, q in zip(rows, sizes, strict=True)]
    basis, variance, lasts, own, own_lasts = _patterns(rows, clocks, PATTERNS)
    log_u = np.mean([x[np.isfinite(x).all(1)].mean(0) for x in logs], 0)
    u = _patterns([x - log_u for x in logs], clocks, PATTERNS_U)
    size = np.array([middle, spread])
    return ErrorModel(bias, basis, variance, lasts, own, own_lasts, size, size_lasts, log_u, *u)


def _bias(clips: list[Seen], parts: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """(P, 3) metres: mean error in the axes of the carrying joints, each clip and the sure frames counting most."""
    total, weight = 0.0, 0.0
    for s, (place, _) in zip(clips, parts, strict=True):
        own = np.einsum("npba,ncb,npc->npa", s.turns, facing(s.truth), place)
        w = np.nan_to_num(s.uncertainty, nan=np.inf) ** -2.0
        w /= w.sum()
        total = total + np.nansum(own * w[..., None], 0)
        weight = weight + w.sum(0)
    return total / weight[:, None]


def _patterns(rows: list[np.ndarray], clocks: list[float], most: int) -> tuple[np.ndarray, ...]:
    """Patterns of series (n_i, D) with NaN rows where nothing was seen: basis, variance, lasts, own, own_lasts."""
    whole = [x[np.isfinite(x).all(1)] for x in rows]
    even = np.concatenate([x / np.sqrt(len(x)) for x in whole if len(x)])
    _, size, basis = np.linalg.svd(even, full_matrices=False)
    most = min(most, len(size))
    basis, variance = basis[:most], size[:most] ** 2 / sum(len(x) > 0 for x in whole)
    series = [x @ basis.T for x in rows]
    lasts = np.array([_row(lasting([x[:, k] for x in series], clocks)) for k in range(most)])
    left = [x - s @ basis for x, s in zip(rows, series, strict=True)]
    own = np.mean([np.nanmean(x**2, 0) for x in left if np.isfinite(x).any()], 0)
    return basis, variance, lasts, own, _row(lasting(left, clocks))


def _row(x: Lasting) -> np.ndarray:
    return np.array([x.stays, x.fades, x.reach_m])


def _mixture(rng, ticks, basis, variance, lasts) -> np.ndarray:
    series = [
        Lasting(*row).draw(rng, ticks, 1)[:, 0] * np.sqrt(v) for row, v in zip(lasts, variance, strict=True)
    ]
    return np.stack(series, 1) @ basis


def _own(rng, ticks, variance, lasts) -> np.ndarray:
    return Lasting(*lasts).draw(rng, ticks, len(variance)) * np.sqrt(variance)

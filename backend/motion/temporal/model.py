"""The temporal network at work on one person's track: any rate, any length, gaps.

A track is brought to `FPS` frames a second (faster ones are averaged, slower ones lie between), read in windows that
overlap by what the network can see, and its answers are brought back to the track's own times.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import csr_matrix
from scipy.spatial.transform import Rotation, Slerp

from backend.body.landmarks import body_landmarks
from backend.body.model import Body, CanonicalPoints
from backend.body.skeleton import PARENTS as SKELETON
from backend.motion.temporal.describe import FPS, LANDMARKS, Seen
from backend.motion.temporal.network import JOINTS, REACH, TemporalNet

WEIGHTS = Path(__file__).resolve().parents[2] / "assets" / "temporal.safetensors"
WINDOW = 512
"""Frames that are read at once."""
PARENTS = SKELETON[:JOINTS].clip(0)
"""Of the body's joints; the pelvis is its own."""


@dataclass(frozen=True)
class Expected:
    """What the way somebody moves says of n frames; camera space."""

    rotations: np.ndarray
    """(n, 22, 3, 3) of each body joint relative to its parent, row 0 in the camera's axes."""
    rotation_sigma: np.ndarray
    """(n, 22) radians, one sigma of the whole turn of each joint in the camera's axes."""
    landmarks: np.ndarray
    """(n, 33, 3) metres about the middle of the hips."""
    landmark_sigma: np.ndarray
    """(n, 33) metres."""
    velocity: np.ndarray
    """(n, 3) m/s of the pelvis over the ground."""
    velocity_sigma: np.ndarray
    """(n,) m/s."""
    up: np.ndarray
    """(n, 3) against gravity."""
    up_sigma: np.ndarray
    """(n,) radians."""
    contacts: np.ndarray
    """(n, 8) 0..1, columns as `CONTACTS` of motions."""


class TemporalModel:
    """The shipped network, or another weights file, on a processor: it takes a fraction of a millisecond a frame."""

    def __init__(self, file: Path = WEIGHTS) -> None:
        from safetensors.torch import load_file

        weights = load_file(file)
        self.net = TemporalNet(weights["first.weight"].shape[0])
        self.net.load_state_dict({k: v.float() for k, v in weights.items()})
        self.net.eval()

    @torch.inference_mode()
    def expect(self, points3d: np.ndarray, points2d: np.ndarray, uncertainty: np.ndarray, times: np.ndarray,
               K: np.ndarray, turns: np.ndarray | None = None) -> Expected:  # fmt: skip
        """`points3d`: (n, 33, 3), `points2d`: (n, 33, 2) pixels, `uncertainty`: (n, 33) of the landmarks, NaN in frames
        in which nobody was seen; `times`: (n,) seconds, rising; `K`: (3, 3) of the camera; `turns`: (n, 3, 3) from the
        world to the camera, None for one that stands still."""
        seen = np.isfinite(points3d).all((1, 2)) & np.isfinite(points2d).all((1, 2))
        seen &= np.isfinite(uncertainty).all(1)
        rays = (points2d.astype(np.float64) - K[:2, 2]) @ np.linalg.inv(K[:2, :2]).T
        flat = np.concatenate([points3d, rays, np.log(np.maximum(uncertainty, 1e-4))[..., None]], -1)
        flat = flat.reshape(len(times), -1)[seen]
        grid, there, back = _grids(times, seen)
        known = there @ flat
        weight = np.asarray(there.sum(1))[:, 0]
        here = weight > 1e-6
        known[here] /= weight[here, None]
        for k in range(known.shape[1]) if not here.all() else ():
            known[~here, k] = np.interp(grid[~here], grid[here], known[here, k])
        known = torch.from_numpy(known.astype(np.float32)).reshape(len(grid), LANDMARKS, 6)
        turning = np.zeros((len(grid), 3)) if turns is None else _turning(times, grid, turns)
        told = self._read(known, *(torch.from_numpy(a.astype(np.float32)) for a in (here, turning)))
        spread = lambda a: (back @ a.reshape(len(grid), -1)).reshape(len(times), *a.shape[1:])  # noqa: E731
        turned = nearest_rotations(spread(told[0]))
        local = turned.copy()
        local[:, 1:] = turned[:, PARENTS[1:]].swapaxes(-1, -2) @ turned[:, 1:]
        up = spread(told[6])
        up /= np.linalg.norm(up, axis=-1, keepdims=True)
        return Expected(local, *(spread(a) for a in told[1:6]), up, *(spread(a) for a in told[7:]))

    def _read(self, known: torch.Tensor, here: torch.Tensor, turning: torch.Tensor) -> list[np.ndarray]:
        """(m, 33, 6) places, rays and log sigma on the grid, and how the camera turns -> the fields of `Told` for m
        frames, contacts as 0..1."""
        m, parts = len(known), []
        for first in range(0, m, WINDOW):
            last = min(first + WINDOW, m)
            low, high = max(first - REACH, 0), min(last + REACH, m)
            some, there = known[None, low:high], here[None, low:high]
            seen = Seen(
                some[..., :3], some[..., 3:5], some[..., 5].exp(), there, turning[None, low:high],
                torch.ones_like(there),
            )  # fmt: skip
            told = self.net(seen)
            rows = slice(first - low, last - low)
            parts.append([getattr(told, f)[0, rows] for f in told.__dataclass_fields__])
        out = [torch.cat(column) for column in zip(*parts, strict=True)]
        return [a.double().numpy() for a in (*out[:-1], out[-1].sigmoid())]


@lru_cache(maxsize=1)
def shipped() -> TemporalModel:
    """The shipped network, read once."""
    return TemporalModel()


def landmark_rows(points: CanonicalPoints, body: Body) -> np.ndarray | None:
    """Rows of `points` that are the 33 landmarks of `body`; None where not all are among them."""
    marks = body_landmarks(body)[0].positions
    off = np.linalg.norm(points.positions[None] - marks[:, None], axis=-1)
    rows = off.argmin(1)
    return rows if off[np.arange(len(marks)), rows].max() < 1e-4 else None


def _grids(times: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, csr_matrix, csr_matrix]:
    """Times (m,) of the grid, the matrix (m, k) from the k frames that were seen onto it (rows sum to what the grid
    time is covered by), and the matrix (n, m) from the grid to all n frames."""
    first, last = float(times[0]), float(times[-1])
    grid = first + np.arange(max(int(np.ceil((last - first) * FPS - 1e-6)) + 1, 2)) / FPS
    steps = np.diff(times)
    usual = float(np.median(steps)) if len(steps) else 1 / FPS
    reach = max(1 / FPS, 1.01 * usual)
    at = times[seen]
    low, high = np.searchsorted(at, grid - reach, "right"), np.searchsorted(at, grid + reach, "left")
    rows = np.repeat(np.arange(len(grid)), high - low)
    columns = np.concatenate([np.arange(a, b) for a, b in zip(low, high, strict=True)]) if len(rows) else rows
    hat = 1 - np.abs(at[columns] - grid[rows]) / reach
    there = csr_matrix((hat, (rows, columns)), (len(grid), len(at)))
    place = np.clip((times - first) * FPS, 0, len(grid) - 1)
    before = np.minimum(place.astype(int), len(grid) - 2)
    share = place - before
    n = np.arange(len(times))
    back = csr_matrix(
        (np.concatenate([1 - share, share]), (np.tile(n, 2), np.concatenate([before, before + 1]))),
        (len(times), len(grid)),
    )
    return grid, there, back


def _turning(times: np.ndarray, grid: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """(m, 3) rad/s at which a camera turns in its own axes at the times of the grid; `turns` (n, 3, 3) at `times`."""
    at = Slerp(times, Rotation.from_matrix(turns))(np.clip(grid, times[0], times[-1]))
    out = np.zeros((len(grid), 3))
    out[1:] = (at[1:] * at[:-1].inv()).as_rotvec() * FPS
    return out


def nearest_rotations(M: np.ndarray) -> np.ndarray:
    """(..., 3, 3) near a rotation -> the rotation (columns made orthonormal, first two first)."""
    x = M[..., 0] / np.maximum(np.linalg.norm(M[..., 0], axis=-1, keepdims=True), 1e-9)
    y = M[..., 1] - (x * M[..., 1]).sum(-1, keepdims=True) * x
    y /= np.maximum(np.linalg.norm(y, axis=-1, keepdims=True), 1e-9)
    return np.stack([x, y, np.cross(x, y)], -1)


__all__ = ["JOINTS", "Expected", "TemporalModel", "landmark_rows", "shipped"]

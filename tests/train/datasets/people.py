"""One known person for every test: where the vertices of a made-up body are, in front of a known camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from backend.body.model import Body
from backend.body.surface import surface_of
from backend.train.streams.points import PointPool

from .makers import Made, made_up


@dataclass
class Known:
    """`pose`: (J, 3), the root in the space of the model; `x`: (V, 3) vertices in camera space by the plain formula."""

    made: Made
    pose: np.ndarray
    betas: np.ndarray
    trans: np.ndarray
    x: np.ndarray


def stand(
    body: Body, gender: str, smpl: bool, R: np.ndarray, t: np.ndarray, seed: int = 0, mean_hands: float = 0.0
) -> Known:
    """A person who faces the camera at about 3 metres, given in a world from which (R, t) leads to the camera.
    `mean_hands`: what the licensed file adds to every finger's rotation."""
    rng = np.random.default_rng(seed)
    made = made_up(body, gender, smpl)
    pose = rng.normal(0, 0.15, (len(made.rows), 3))
    # Upright and facing in camera space is a half turn about x (y down, z away).
    facing = Rotation.from_rotvec([np.pi, 0, 0]) * Rotation.from_rotvec([0, rng.uniform(-0.5, 0.5), 0])
    pose[0] = (Rotation.from_matrix(R).inv() * facing).as_rotvec()
    betas = rng.normal(0, 0.7, 10)
    posed = pose.copy()
    if mean_hands:
        posed[25:40] += mean_hands
        posed[40:] -= mean_hands
    at_origin = made.vertices(posed, betas, np.zeros(3)) @ R.T + t
    goal = np.array([rng.uniform(-0.2, 0.2), 0.0, 3.2])
    trans = R.T @ (goal - at_origin.mean(0))
    return Known(made, pose, betas, trans, made.vertices(posed, betas, trans) @ R.T + t)


def skin_places(body: Body, pool: PointPool, rows: np.ndarray, x: np.ndarray) -> np.ndarray:
    """(P, 3) where the skin points `rows` of the pool are on the vertices `x` (V, 3): on their triangles."""
    _, face, share = surface_of(body).nearest(pool.points.positions[rows].astype(float))
    return (x[body.faces[face]] * share[..., None]).sum(1)

"""Our body's shape, pose, scale and place for which its surface lies on a canonical volume's (stage one of the map).

Levenberg-Marquardt on plane distances between nearest places that face the same way, looked for in both directions
and anew in every iteration; joints where the volume has them. No vertex of one body is known to be one of the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree

from backend.body.model import Body
from backend.body.skeleton import JOINT, JOINT_NAMES, N_JOINTS
from backend.volumes.cloud import Cloud, match, seen_from_outside, skin_faces, vertex_normals
from backend.volumes.model import FIRST_BETA, SCALES, TURNS, Shape, VolumeModel, start
from backend.volumes.volume import MIRROR, CanonicalVolume, official_pose

BODY_SIGMA, SPINE_SIGMA, FINGER_SIGMA, STIFF_SIGMA = np.deg2rad([14.0, 8.0, 14.0, 1.0])
"""How far a joint's turn may be from the official pose (stiff: jaw and eyes), radians."""
BETA_SIGMA = 1.5
SCALE_SIGMA, LIMB_SIGMA, FINGER_SCALE_SIGMA = 0.08, 0.06, 0.04
"""Logarithms of the whole body's scale and of what each joint adds."""
JOINT_SIGMA, FINGER_JOINT_SIGMA = 0.02, 0.008
"""Metres: models put joints at different places in the same body."""
PLANE_SIGMA = 0.008
"""Metres across the surface."""
SLIDE = 0.15
"""How much of a distance along the surface counts, as a share of one across it."""
SAY = 1500.0
"""Independent distances that the whole surface is worth."""
STEPS = (
    (0.20, 0.3, 6),
    (0.10, 0.4, 8),
    (0.05, 0.5, 8),
    (0.03, 0.6, 8),
)
"""Distance up to which a match is believed (metres), cosine between its normals, iterations."""
SETTLED = 3e-3
"""A step smaller than this ends a round: radians, logarithms of scales, metres, and a unit of beta as 1 cm."""
_CELL, _FINGER_CELL = 0.022, 0.007


@dataclass(frozen=True, eq=False)
class Sample:
    """Some of our skin's vertices."""

    rows: np.ndarray
    """(n,) vertex numbers."""
    areas: np.ndarray
    """(n,) share of the skin, sum 1."""


def sample_skin(body: Body) -> Sample:
    """Skin vertices spread evenly, denser on the fingers, the same on both sides."""
    v = body.v_template.astype(np.float64)
    faces = skin_faces(v, body.faces)
    areas = vertex_normals(v, faces)[1]
    rows = outer_skin(body)
    fingers = body.weights[:, 25:].sum(1) > 0.5
    folded = v * np.where(v[:, :1] < 0, MIRROR, 1.0)
    cell = np.where(fingers, _FINGER_CELL, _CELL)[:, None]
    key = np.floor(folded / cell)
    off = np.linalg.norm(folded / cell - key - 0.5, axis=1)
    key = np.concatenate([key, fingers[:, None], (v[:, :1] < 0)], 1).astype(np.int64)
    cells, owner = np.unique(key[rows], axis=0, return_inverse=True)
    owner = owner.ravel()
    # Sorted by cell, then by distance from its middle: the first of each cell stays and speaks for its area.
    order = np.lexsort((off[rows], owner))
    first = order[np.searchsorted(owner[order], np.arange(len(cells)))]
    share = np.bincount(owner, areas[rows], len(cells))
    return Sample(rows[first], share / share.sum())


def outer_skin(body: Body) -> np.ndarray:
    """Vertices of the skin that can be seen when the body stands in the official pose."""
    rows = np.unique(skin_faces(body.v_template.astype(np.float64), body.faces))
    model = VolumeModel(body, rows)
    return rows[seen_from_outside(model.vertices(start(body.n_betas)))]


def fit_shape(body: Body, volume: CanonicalVolume, cloud: Cloud) -> Shape:
    """The `Shape` of `body` that lies on `cloud`."""
    sample = sample_skin(body)
    model = VolumeModel(body, sample.rows)
    normals = _Normals(body)
    shape = place(body, cloud)
    joints = _Joints(volume)
    if joints.rows.size:
        for _ in range(6):
            shape = _solve(model, shape, [joints.equations(model, shape)], 1e-3)
    for reach, cosine, iterations in STEPS:
        for _ in range(iterations):
            equations = _surface(model, shape, normals.of(shape)[sample.rows], sample, cloud, reach, cosine)
            before, shape = shape, _solve(model, shape, [equations, joints.equations(model, shape)], 1e-3)
            if _moved(before, shape) < SETTLED:
                break
    return shape.symmetric() if cloud.symmetric else shape


def place(body: Body, cloud: Cloud) -> Shape:
    """The mean body in the official pose, scaled and moved to the volume's height and middle."""
    s = start(body.n_betas)
    model = VolumeModel(body)
    taller = np.ptp(cloud.points[:, 1]) / np.ptp(model.vertices(s)[:, 1])
    s = replace(s, scales=np.where(np.arange(N_JOINTS) == 0, taller, 1.0))
    x = model.vertices(s)
    middle = lambda p: (p.min(0) + p.max(0)) / 2  # noqa: E731
    return replace(s, trans=middle(cloud.points) - middle(x))


class _Normals:
    """Normals of the posed skin."""

    def __init__(self, body: Body) -> None:
        self.whole = VolumeModel(body)
        # Correctives hardly turn a normal and are most of the work.
        self.whole.posedirs = None
        self.faces = skin_faces(self.whole.v, body.faces)

    def of(self, s: Shape) -> np.ndarray:
        return vertex_normals(self.whole.vertices(s), self.faces)[0]


class _Joints:
    """What the volume's joints say."""

    def __init__(self, volume: CanonicalVolume) -> None:
        names = [n for n in JOINT_NAMES if n in volume.joints]
        self.rows = np.array([JOINT[n] for n in names], int)
        self.places = np.array([volume.joints[n] for n in names], np.float64).reshape(-1, 3)
        sigma = np.where(self.rows < 25, JOINT_SIGMA, FINGER_JOINT_SIGMA)
        self.scale = 1 / sigma[:, None]

    def equations(self, model: VolumeModel, s: Shape) -> tuple[np.ndarray, np.ndarray]:
        if not self.rows.size:
            return np.zeros((0, FIRST_BETA + len(s.betas))), np.zeros(0)
        r = (self.places - model.joint_transforms(s)[1][self.rows]) * self.scale
        J = model.joint_jacobian(s)[self.rows] * self.scale[..., None]
        # Geman-McClure at three sigma.
        k = 1 / (1 + (r * r).sum(1) / 9)
        return (J * k[:, None, None]).reshape(-1, J.shape[2]), (r * k[:, None]).ravel()


def _surface(model, s, facing, sample, cloud: Cloud, reach, cosine) -> tuple[np.ndarray, np.ndarray]:
    """Rows (m, unknowns) and right hand sides (m,) of the surface's distances."""
    x = model.vertices(s)
    J = model.jacobian(s)
    a_row, a_ok = match(cloud.tree, cloud.normals, x, facing, cosine)
    b_row, b_ok = match(cKDTree(x), facing, cloud.points, cloud.normals, cosine)
    ours = np.concatenate([np.arange(len(x)), b_row])
    theirs = np.concatenate([a_row, np.arange(len(cloud.points))])
    ok = np.concatenate([a_ok, b_ok])
    area = np.concatenate([sample.areas, cloud.areas]) / 2
    # Between two arcs the mean of both normals is right where each alone is off by the curvature.
    plane = facing[ours] + cloud.normals[theirs]
    plane /= np.maximum(np.linalg.norm(plane, axis=1), 1e-9)[:, None]
    way = cloud.points[theirs] - x[ours]
    across = (way * plane).sum(1)
    far = np.linalg.norm(way, axis=1)
    k = np.where(ok & (far < reach), 1 / (1 + (far / (reach / 2)) ** 2), 0)
    weight = k * np.sqrt(area * SAY) / PLANE_SIGMA
    use = np.flatnonzero(weight)
    # Many of their points share one of our vertices: gather their say before touching the Jacobian.
    A = weight[use, None, None] ** 2 * (
        (1 - SLIDE**2) * plane[use, :, None] * plane[use, None] + SLIDE**2 * np.eye(3)
    )
    b = weight[use, None] ** 2 * ((1 - SLIDE**2) * plane[use] * across[use, None] + SLIDE**2 * way[use])
    H3, g3 = np.zeros((len(x), 3, 3)), np.zeros((len(x), 3))
    np.add.at(H3, ours[use], A)
    np.add.at(g3, ours[use], b)
    # H3 = C C^T: rows C^T J with right hand side C^-1 g give the same normal equations.
    seen = np.flatnonzero(np.trace(H3, axis1=1, axis2=2) > 0)
    C = np.linalg.cholesky(H3[seen] + 1e-9 * np.eye(3))
    rows = np.swapaxes(C, 1, 2) @ J[seen]
    rhs = np.linalg.solve(C, g3[seen][..., None])[..., 0]
    return rows.reshape(-1, J.shape[2]), rhs.ravel()


def _solve(
    model: VolumeModel, s: Shape, equations: list[tuple[np.ndarray, np.ndarray]], damping: float
) -> Shape:
    A = np.concatenate([e[0] for e in equations])
    r = np.concatenate([e[1] for e in equations])
    H, g = A.T @ A, A.T @ r
    precision, pull = _prior(s)
    H[np.diag_indices_from(H)] += precision + damping * np.maximum(np.diag(H), 1.0)
    step = np.linalg.solve(H, g + pull)
    turns = step[TURNS].reshape(-1, 3)
    turns *= np.minimum(1, 0.35 / np.maximum(np.linalg.norm(turns, axis=1), 1e-12))[:, None]
    step[SCALES] = np.clip(step[SCALES], -0.1, 0.1)
    step[FIRST_BETA:] = np.clip(step[FIRST_BETA:], -1, 1)
    return model.step(s, step)


def _moved(a: Shape, b: Shape) -> float:
    """The largest change from `a` to `b`."""
    grown = np.log(b.scales / a.scales)
    parts = (b.pose - a.pose, grown, b.trans - a.trans, 0.01 * (b.betas - a.betas))
    return max(float(np.abs(part).max(initial=0)) for part in parts)


def _prior(s: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Precision (unknowns,) and pull (unknowns,) towards the official pose, the mean shape and scale 1."""
    sigma = np.full((N_JOINTS, 3), BODY_SIGMA)
    sigma[0] = np.inf
    sigma[[3, 6, 9, 12, 15]] = SPINE_SIGMA
    sigma[22:25] = STIFF_SIGMA
    sigma[25:] = FINGER_SIGMA
    grow = np.full(N_JOINTS, LIMB_SIGMA)
    grow[0], grow[22:25], grow[25:] = SCALE_SIGMA, 1e-3, FINGER_SCALE_SIGMA
    nb = len(s.betas)
    precision = np.concatenate([
        sigma.ravel() ** -2.0, grow**-2.0, np.zeros(3), np.full(nb, BETA_SIGMA**-2.0),
    ])  # fmt: skip
    # Turns are small, so a rotation vector's change is the turn itself to first order.
    now = np.concatenate([(official_pose() - s.pose).ravel(), -np.log(s.scales), np.zeros(3), -s.betas])
    return precision + 1e-9, precision * now

"""Our body as a function of pose, shape, scale and place, with derivatives at some of its vertices (numpy).

Unlike `backend.fit.solver.skin` each joint may enlarge its limb here, and there is one body at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from backend.body.model import Body, CanonicalPoints
from backend.body.skeleton import N_JOINTS, PARENTS, mirror_joints
from backend.volumes.skin import apply, pose_feature, rotations, transforms
from backend.volumes.volume import MIRROR, official_pose

TURNS = slice(0, 3 * N_JOINTS)
SCALES = slice(TURNS.stop, TURNS.stop + N_JOINTS)
PLACE = slice(SCALES.stop, SCALES.stop + 3)
FIRST_BETA = PLACE.stop
"""Where the unknowns of `step` stand: turns of the joints in the world, logarithms of scales, place, betas."""


@dataclass(frozen=True, eq=False)
class Shape:
    """What a body must take on to lie on another."""

    pose: np.ndarray
    """(55, 3) rotvecs."""
    betas: np.ndarray
    """(nb,) of the body's shape space."""
    scales: np.ndarray
    """(55,) by how much each joint enlarges what hangs on it, which other bodies' proportions need."""
    trans: np.ndarray
    """(3,) metres, added last."""

    def symmetric(self) -> Shape:
        """The mean of a nearly symmetric shape and its mirror image (shape directions are taken as symmetric)."""
        other = mirror_joints()
        return replace(
            self,
            pose=(self.pose + self.pose[other] * [1.0, -1.0, -1.0]) / 2,
            scales=np.sqrt(self.scales * self.scales[other]),
            trans=(self.trans + self.trans * MIRROR) / 2,
        )


def start(n_betas: int) -> Shape:
    """The mean body in the official pose."""
    return Shape(official_pose(), np.zeros(n_betas), np.ones(N_JOINTS), np.zeros(3))


class VolumeModel:
    """The joints of `body` and its vertices `rows` (all if not given), in float64."""

    def __init__(self, body: Body, rows: np.ndarray | None = None) -> None:
        f64 = lambda a: np.asarray(a, np.float64)  # noqa: E731
        some = slice(None) if rows is None else rows
        self.v, self.weights = f64(body.v_template[some]), f64(body.weights[some])
        self.shapedirs = f64(body.shapedirs[some])
        self.joints, self.joints_shapedirs = f64(body.joints_template), f64(body.joints_shapedirs)
        self.posedirs = body.posedirs
        if rows is not None and body.posedirs is not None:
            self.posedirs = body.posedirs[:, (3 * rows[:, None] + np.arange(3)).ravel()]
        self.below = np.eye(N_JOINTS, dtype=bool)
        for j in range(N_JOINTS - 1, 0, -1):
            self.below[PARENTS[j]] |= self.below[j]

    def joint_transforms(self, s: Shape) -> tuple[np.ndarray, np.ndarray]:
        """(55, 12) transforms of the joints' spaces, (55, 3) joints."""
        rest = self.joints + self.joints_shapedirs @ s.betas
        T, places = transforms(rotations(s.pose), rest, PARENTS, s.scales)
        T[:, 9:] += s.trans
        return T, places + s.trans

    def displacement(self, s: Shape) -> np.ndarray:
        """(V, 3) what shape and pose correctives add to the rest vertices."""
        return self.shapedirs @ s.betas + self.correctives(s, self.posedirs)

    @staticmethod
    def correctives(s: Shape, posedirs: np.ndarray | None) -> np.ndarray | float:
        """Pose correctives (P, 3) of points with `posedirs` (486, 3 P)."""
        if posedirs is None:
            return 0.0
        # In float32 as they are stored: turning them all into float64 would cost more than everything else.
        feature = pose_feature(rotations(s.pose)).astype(np.float32)
        return (feature @ posedirs).reshape(-1, 3).astype(np.float64)

    def vertices(self, s: Shape) -> np.ndarray:
        """(V, 3) posed vertices."""
        return apply(self.weights @ self.joint_transforms(s)[0], self.v + self.displacement(s))

    def points(self, s: Shape, points: CanonicalPoints) -> np.ndarray:
        """(P, 3) posed canonical points."""
        x = points.positions + points.shapedirs[..., : len(s.betas)].astype(np.float64) @ s.betas
        x = x + self.correctives(s, points.posedirs)
        return apply(points.weights.astype(np.float64) @ self.joint_transforms(s)[0], x)

    def step(self, s: Shape, delta: np.ndarray) -> Shape:
        """The shape moved by `delta` (FIRST_BETA + nb,)."""
        R = rotations(s.pose)
        world = np.empty_like(R)
        turned = np.empty_like(R)
        turn = Rotation.from_rotvec(delta[TURNS].reshape(-1, 3)).as_matrix()
        for j, p in enumerate(PARENTS):
            up = world[p] if p >= 0 else np.eye(3)
            world[j] = up @ R[j]
            turned[j] = up.T @ turn[j] @ world[j]
        return Shape(
            Rotation.from_matrix(turned).as_rotvec(),
            s.betas + delta[FIRST_BETA:],
            s.scales * np.exp(delta[SCALES]),
            s.trans + delta[PLACE],
        )

    def jacobian(self, s: Shape) -> np.ndarray:
        """(N, 3, FIRST_BETA + nb) derivative of the vertices by `step`'s delta, the correctives held."""
        T, places = self.joint_transforms(s)
        return self._jacobian(s, T, places, self.v + self.displacement(s), self.weights, self.shapedirs)

    def joint_jacobian(self, s: Shape) -> np.ndarray:
        """(55, 3, FIRST_BETA + nb) the same of the joints."""
        T, places = self.joint_transforms(s)
        rest = self.joints + self.joints_shapedirs @ s.betas
        return self._jacobian(s, T, places, rest, np.eye(N_JOINTS), self.joints_shapedirs)

    def _jacobian(self, s, T, places, x, weights, shapedirs) -> np.ndarray:
        n, nb = len(x), len(s.betas)
        A = T[:, :9].reshape(-1, 3, 3)
        per_joint = np.einsum("jab,nb->nja", A, x) + T[:, 9:]
        weighted = weights[..., None] * per_joint
        below = self.below.astype(np.float64)
        arm = np.einsum("kj,nja->nka", below, weighted) - (weights @ below.T)[..., None] * places
        out = np.zeros((n, 3, FIRST_BETA + nb))
        turn = out[:, :, TURNS].reshape(n, 3, N_JOINTS, 3)
        for a, b, c in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
            # e_a x arm has the components -arm_c along b and arm_b along c.
            turn[:, b, :, a], turn[:, c, :, a] = -arm[..., c], arm[..., b]
        out[:, :, SCALES] = arm.transpose(0, 2, 1)
        out[:, :, PLACE] = np.eye(3)
        Jd, moved = self.joints_shapedirs, np.zeros((N_JOINTS, 3, nb))
        moved[0] = Jd[0]
        for j in range(1, N_JOINTS):
            moved[j] = moved[PARENTS[j]] + A[PARENTS[j]] @ (Jd[j] - Jd[PARENTS[j]])
        offset = moved - np.einsum("jab,jbs->jas", A, Jd)
        blend = np.einsum("nj,jab->nab", weights, A)
        out[:, :, FIRST_BETA:] = blend @ shapedirs + np.einsum("nj,jas->nas", weights, offset)
        return out

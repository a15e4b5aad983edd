"""Canonical volumes: a body's surface and joints in the pose of the official NLF canonical space.

Source of the pose: NLF's published code (`canonical_space`): neutral body, zero betas, left hip turned +40 degrees
about z, left collar and shoulder +15 degrees each, the right side the other way round, vertices made symmetric.
Axes: metres, x the subject's left, y up, z forward.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from backend.body.model import Body
from backend.body.skeleton import JOINT, JOINT_NAMES, N_JOINTS, SMPL_ROWS
from backend.errors import JobError
from backend.volumes.skin import apply, pose_feature, rotations, transforms

_TURNS = {"hip": 40.0, "collar": 15.0, "shoulder": 15.0}
SMPL_JOINTS: tuple[str, ...] = (*JOINT_NAMES[:22], "left_hand", "right_hand")
"""SMPL's 24 joints. The first 22 are SMPL-X's; SMPL-X has no joint in the palm."""
MIRROR = np.array([-1.0, 1.0, 1.0])
_PARTNER = 0.03
"""Metres that a vertex may lie from its partner's mirror image."""
_FEW = 3000
"""Vertices that the Hungarian method may be given: its time grows with the cube."""
_REMEDY = "take the body's arrays from the official weights or a SMPL / SMPL-X file as they are"


@dataclass(frozen=True, eq=False)
class CanonicalVolume:
    """A body in the official canonical pose."""

    name: str
    """Of the body."""
    vertices: np.ndarray
    """(N, 3) float32 metres."""
    faces: np.ndarray | None = None
    """(F, 3) int32, normals outward, or None where they are not known."""
    joints: dict[str, np.ndarray] = field(default_factory=dict)
    """Places (3,), metres, by SMPL-X joint name, any subset."""

    def __post_init__(self) -> None:
        vertices = _array("vertices", self.vertices, (None, 3))
        if len(vertices) < 500:
            raise _refused(f"has {len(vertices)} vertices, too few for a person")
        object.__setattr__(self, "vertices", vertices.astype(np.float32))
        if self.faces is not None:
            faces = np.asarray(self.faces)
            if faces.ndim != 2 or faces.shape[1] != 3 or not len(faces) or faces.dtype.kind not in "iu":
                raise _refused("has faces that are not triangles")
            if faces.min() < 0 or faces.max() >= len(vertices):
                raise _refused("has faces that point at vertices that are not there")
            object.__setattr__(self, "faces", faces.astype(np.int32))
        joints = {name: _array(f"joint {name}", place, (3,)) for name, place in self.joints.items()}
        if unknown := [name for name in joints if name not in JOINT]:
            raise _refused(f"has a joint of an unknown name, {unknown[0]}")
        object.__setattr__(self, "joints", {n: p.astype(np.float32) for n, p in joints.items()})


def official_pose() -> np.ndarray:
    """(55, 3) rotation vectors in radians, SMPL-X order."""
    pose = np.zeros((N_JOINTS, 3))
    for name, degrees in _TURNS.items():
        pose[JOINT[f"left_{name}"], 2] = np.deg2rad(degrees)
        pose[JOINT[f"right_{name}"], 2] = -np.deg2rad(degrees)
    return pose


def volume_of_smpl(
    v_template: np.ndarray,
    weights: np.ndarray,
    joints_template: np.ndarray,
    parents: np.ndarray,
    posedirs: np.ndarray | None = None,
    names: tuple[str, ...] | None = None,
    faces: np.ndarray | None = None,
    name: str = "smpl",
) -> CanonicalVolume:
    """The canonical volume of a SMPL-family body, from its arrays.

    `v_template`: (V, 3) metres; `weights`: (V, J); `joints_template`: (J, 3); `parents`: (J,), the root's below 0;
    `posedirs`: (V, 3, 9 (J-1)) or (9 (J-1), 3 V); `names`: of the J joints, if not SMPL's 24 or SMPL-X's 55.
    """
    v = _array("v_template", v_template, (None, 3))
    w = _array("weights", weights, (len(v), None))
    J = w.shape[1]
    if names is None:
        names = {len(s): s for s in (SMPL_JOINTS, JOINT_NAMES)}.get(J)
        if names is None:
            raise _refused(f"has {J} joints, neither SMPL's 24 nor SMPL-X's 55")
    joints = _array("J_template", joints_template, (J, 3))
    tree = np.asarray(parents)
    if tree.shape != (J,) or len(names) != J:
        raise _refused(f"has {J} joints, {tree.size} parents and {len(names)} names of joints")
    # Some files write the root's parent as 2**32 - 1.
    tree = np.where(np.arange(J) == 0, -1, tree.astype(np.int64))
    if (tree[1:] < 0).any() or (tree[1:] >= np.arange(1, J)).any():
        raise _refused("has a joint whose parent does not come before it")
    if w.min() < -1e-3 or np.abs(w.sum(1) - 1).max() > 1e-2:
        raise _refused("has skinning weights that do not sum to 1")
    official = dict(zip(JOINT_NAMES, official_pose(), strict=True))
    R = rotations(np.stack([official.get(n, np.zeros(3)) for n in names]))
    if posedirs is not None:
        v = v + _correctives(posedirs, len(v), 9 * (J - 1)).dot(pose_feature(R)).reshape(-1, 3)
    T, places = transforms(R, joints, tree)
    v, places = symmetrise(apply(w @ T, v)), _symmetric_joints(places, names)
    known = {n: p for n, p in zip(names, places, strict=True) if n in JOINT}
    return CanonicalVolume(name, v, faces, known)


def volume_of_body(body: Body) -> CanonicalVolume:
    """The mean body posed in the same way, with the joints that its file really has."""
    names = [n if has else f"no {n}" for n, has in zip(JOINT_NAMES, body.present, strict=True)]
    if body.name == "smpl":
        for name, row in zip(SMPL_JOINTS, SMPL_ROWS, strict=True):
            names[row] = name
    return volume_of_smpl(
        body.v_template, body.weights, body.joints_template, body.parents, body.posedirs, tuple(names),
        body.faces, body.name,
    )  # fmt: skip


def mirror_pairs(vertices: np.ndarray) -> np.ndarray:
    """(V,) the vertex that is each one's mirror image (x -> -x), an involution; itself on the midline.

    Mutually nearest vertices are a pair; those left over are paired at the least sum of squared distances.
    """
    v = np.asarray(vertices, np.float64)
    pair = np.arange(len(v))
    left = pair
    while len(left):
        near = cKDTree(v[left]).query(v[left] * MIRROR)[1]
        mutual = near[near] == np.arange(len(left))
        pair[left[mutual]] = left[near[mutual]]
        left = left[~mutual]
        if len(left) <= _FEW:
            break
    if len(left):
        cost = ((v[left, None] - (v[left] * MIRROR)[None]) ** 2).sum(2)
        pair[left] = left[_involution(cost)]
    return pair


def symmetrise(vertices: np.ndarray) -> np.ndarray:
    """(V, 3) with every vertex moved halfway to its partner's mirror image; float64.

    Vertices without a partner that is worth the name, as on a mesh of two different halves, stay where they are.
    """
    v = np.asarray(vertices, np.float64)
    other = v[mirror_pairs(v)] * MIRROR
    partnered = np.linalg.norm(other - v, axis=1) < _PARTNER
    return np.where(partnered[:, None], (v + other) / 2, v)


def _involution(cost: np.ndarray) -> np.ndarray:
    """(n,) partners out of a symmetric `cost` (n, n): the Hungarian assignment, its longer cycles cut into pairs."""
    partner = linear_sum_assignment(cost + cost.T)[1]
    free = partner[partner] != np.arange(len(cost))
    while free.any():
        rows = np.flatnonzero(free)
        sub = cost[np.ix_(rows, rows)]
        i, j = np.unravel_index(sub.argmin(), sub.shape)
        partner[rows[i]], partner[rows[j]] = rows[j], rows[i]
        free[rows[[i, j]]] = False
    return partner


def _symmetric_joints(places: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    row = {n: i for i, n in enumerate(names)}
    swap = {"left": "right", "right": "left"}
    other = []
    for n in names:
        side, _, rest = n.partition("_")
        other.append(row.get(f"{swap[side]}_{rest}", row[n]) if side in swap else row[n])
    return (places + places[other] * MIRROR) / 2


def _correctives(posedirs: np.ndarray, V: int, features: int) -> np.ndarray:
    """Pose correctives as (3 V, features)."""
    p = np.asarray(posedirs)
    if p.shape == (V, 3, features):
        return _array("posedirs", p, p.shape).reshape(-1, features)
    if p.shape == (features, 3 * V):
        return _array("posedirs", p, p.shape).T
    raise _refused(f"has posedirs of the size {' x '.join(map(str, p.shape))}")


def _array(what: str, a, shape: tuple[int | None, ...]) -> np.ndarray:
    """`a` as float64 of `shape` (None: any size), finite."""
    try:
        a = np.asarray(a, np.float64)
    except (TypeError, ValueError) as e:
        raise _refused(f"has {what} that are no numbers") from e
    if a.ndim != len(shape) or any(s is not None and s != n for s, n in zip(shape, a.shape, strict=True)):
        raise _refused(f"has {what} of the size {' x '.join(map(str, a.shape)) or 'one number'}")
    if not np.isfinite(a).all():
        raise _refused(f"has {what} that are not finite")
    return a


def _refused(why: str) -> JobError:
    return JobError("bad_volume", f"This canonical body {why}; {_REMEDY}.")

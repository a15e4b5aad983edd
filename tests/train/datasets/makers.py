"""Small datasets in their published layouts, and what their numbers mean, worked out here once more on its own."""

from __future__ import annotations

import pickle
import sys
import types
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.sparse import csc_matrix
from scipy.spatial.transform import Rotation

from backend.body.model import Body
from backend.body.skeleton import PARENTS

SMPL_ROWS = (*range(22), 28, 43)
"""SMPL-X's rows of SMPL's joints: the hands hang on the wrists, as the first joints of the middle fingers do."""
BETAS = {"neutral": 0.0, "male": 1.0, "female": -1.0}
HANDS = 0.2


@dataclass
class Made:
    """A made-up licensed body, as plain arrays. `rows`: its joints' rows in SMPL-X's order."""

    v: np.ndarray
    weights: np.ndarray
    regressor: np.ndarray
    shapedirs: np.ndarray
    rows: tuple[int, ...]

    def vertices(self, pose: np.ndarray, betas: np.ndarray, trans: np.ndarray) -> np.ndarray:
        """(V, 3) by the plain formula of linear blend skinning. `pose`: (J, 3)."""
        v = self.v + self.shapedirs[..., : len(betas)] @ betas
        joints = self.regressor @ v
        R = Rotation.from_rotvec(pose).as_matrix()
        world, place = R.copy(), joints.copy()
        for j in range(1, len(pose)):
            p = self.rows.index(PARENTS[self.rows[j]])
            world[j] = world[p] @ R[j]
            place[j] = place[p] + world[p] @ (joints[j] - joints[p])
        moved = np.einsum("jab,vb->jva", world, v) + (place - np.einsum("jab,jb->ja", world, joints))[:, None]
        return np.einsum("vj,jva->va", self.weights, moved) + trans


def made_up(body: Body, gender: str, smpl: bool) -> Made:
    """A body on the open body's mesh, of another shape for each gender."""
    v = body.v_template + body.shapedirs[..., :3] @ np.array([2.0, 2.0 + BETAS[gender], BETAS[gender]])
    weights, regressor, rows = body.weights.astype(np.float64), body.J_regressor, tuple(range(55))
    if smpl:
        rows = SMPL_ROWS
        fewer = np.zeros((len(v), 24))
        for j in range(55):
            up = j
            while up not in rows:
                # Fingers become the hand that hangs on the same wrist; jaw and eyes the head.
                up = 28 if 25 <= up < 40 else 43 if up >= 40 else int(PARENTS[up])
            fewer[:, rows.index(up)] += weights[:, j]
        weights, regressor = fewer, regressor[list(rows)]
    return Made(v, weights, regressor.astype(np.float64), body.shapedirs[..., :10].astype(np.float64), rows)


@contextmanager
def foreign(name: str, *classes: str):
    """Classes of a package that is not installed here, so that pickles can name them."""
    parts = name.split(".")
    added = []
    for i in range(len(parts)):
        room = ".".join(parts[: i + 1])
        if room not in sys.modules:
            sys.modules[room] = types.ModuleType(room)
            added.append(room)
    made = [type(c, (), {"__module__": name}) for c in classes]
    for cls in made:
        setattr(sys.modules[name], cls.__name__, cls)
    yield made if len(made) > 1 else made[0]
    for room in added:
        del sys.modules[room]


def write_bodies(folder: Path, body: Body) -> Path:
    """Files as the smplx package finds them: SMPLX_*.npz, and SMPL_*.pkl with chumpy arrays and a scipy matrix."""
    tree = lambda rows: np.array([[2**32 - 1, *(rows.index(PARENTS[r]) for r in rows[1:])], range(len(rows))])  # noqa: E731
    for gender in BETAS:
        x, s = (made_up(body, gender, smpl) for smpl in (False, True))
        for made in (x, s):
            made.weights, made.shapedirs = made.weights.astype(np.float32), made.shapedirs.astype(np.float32)
        np.savez(
            folder / f"SMPLX_{gender.upper()}.npz", v_template=x.v, f=body.faces, weights=x.weights,
            J_regressor=x.regressor, shapedirs=np.concatenate([x.shapedirs, np.zeros_like(x.shapedirs)], 2),
            kintree_table=tree(x.rows).astype(np.uint32),
            hands_meanl=np.full(45, HANDS), hands_meanr=np.full(45, -HANDS),
        )  # fmt: skip
        with foreign("chumpy.ch", "Ch") as ch:
            shapes = ch()
            shapes.x = s.shapedirs
            said = {
                "v_template": s.v, "f": body.faces.astype(np.uint32), "weights": s.weights, "shapedirs": shapes,
                "kintree_table": tree(s.rows).astype(np.uint32), "J_regressor": csc_matrix(s.regressor),
                "bs_type": "lrotmin",
            }  # fmt: skip
            (folder / f"SMPL_{gender.upper()}.pkl").write_bytes(pickle.dumps(said, protocol=2))
    return folder


def colour(i: int) -> tuple[int, int, int]:
    """RGB of mark `i`, far from the ground's."""
    r, g, b = np.random.default_rng(i).integers(0, 256, 3)
    return (255, int(g), int(b)) if max(r, g, b) < 160 else (int(r), int(g), int(b))


def picture(size: tuple[int, int], marks: np.ndarray, radius: int = 6, dark: float = 20.0) -> np.ndarray:
    """(H, W, 3) RGB with a dot of its own colour at each of `marks` (P, 2) pixels."""
    image = np.full((size[1], size[0], 3), dark, np.uint8)
    for i, p in enumerate(marks):
        if np.isfinite(p).all():
            # Sub-pixel places: four more bits.
            cv2.circle(
                image, tuple(round(16 * float(v)) for v in p), 16 * radius, colour(i), -1, cv2.LINE_AA, 4
            )
    return image


def write_picture(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])


def project(K: np.ndarray, x: np.ndarray) -> np.ndarray:
    xy = x @ K.T
    return xy[:, :2] / xy[:, 2:]


def check_example(batch, i: int, rows, marks=None) -> int:
    """Dots of example `i` lie, in their colours, where the targets of `rows` are; 3D projects there too. `marks`: their
    numbers, if they are others than the rows. -> how many dots were seen."""
    image = batch.images[i].permute(1, 2, 0).numpy().astype(int)
    xy, valid = batch.points2d[i].numpy().astype(float), batch.valid2d[i].numpy()
    if batch.absolute[i]:
        both = valid & batch.valid3d[i].numpy()
        back = project(batch.K[i].numpy().astype(float), batch.points3d[i].numpy().astype(float)[both])
        assert np.abs(back - xy[both]).max() < 0.1
    seen = right = 0
    for row, mark in zip(rows, rows if marks is None else marks, strict=True):
        p = xy[row]
        if not valid[row] or (p < 3).any() or (p > 252).any():
            continue
        x, y = p.round().astype(int)
        seen += 1
        right += bool(np.abs(image[y, x] - colour(mark)).max() < 70)
    # Dots that lie behind another one's are hidden.
    assert right >= 0.7 * seen, (right, seen)
    return seen

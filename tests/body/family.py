"""Files in the published layouts of SMPL-X, SMPL-H and SMPL, made up: a random blob, or the open body's mesh."""

from __future__ import annotations

import pickle
import sys
import types
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from scipy.sparse import csc_matrix

from backend.body import N_JOINTS, PARENTS
from backend.body.model import Body

SMALL = 1200
ROWS = {"smplx": tuple(range(55)), "smplh": (*range(22), *range(25, 55)), "smpl": (*range(22), 28, 43)}
"""The layouts' joints, as rows of SMPL-X's: written out here once more, so that a slip shows."""
COLUMNS = {"smplx": 20, "smplh": 16, "smpl": 10}
NEEDED = {"smplx": 10_000, "smplh": 6890, "smpl": 6890}
"""Vertices that the reference implementation wants, for joints of its own that it adds."""


def tree(kind: str, root: int = 2**32 - 1) -> np.ndarray:
    rows = ROWS[kind]
    return np.array([[root, *(rows.index(PARENTS[r]) for r in rows[1:])], range(len(rows))])


def blob(kind: str, count: int = SMALL, seed: int = 0) -> dict[str, np.ndarray]:
    """A random body of `kind` with `count` vertices, every array full."""
    rng = np.random.default_rng(seed)
    J = len(ROWS[kind])
    parents = tree(kind)[0]
    joints = rng.normal(0, 0.3, (J, 3))
    owner = rng.integers(0, J, count)
    owner[:J] = np.arange(J)
    weights = np.zeros((count, J))
    weights[np.arange(count), owner] = 0.75
    weights[np.arange(count), np.where(owner == 0, 0, parents[owner])] += 0.25
    regressor = np.zeros((J, count))
    for j in range(J):
        mine = np.flatnonzero(owner == j)[:30]
        share = rng.normal(1, 0.5, len(mine))
        regressor[j, mine] = share / share.sum()
    hands = {f"hands_mean{s}": rng.normal(0, 0.1, 45) for s in "lr"} | {
        f"hands_components{s}": np.eye(45) for s in "lr"
    }
    faces = {
        "lmk_faces_idx": np.zeros(51, np.int64), "lmk_bary_coords": np.tile([1.0, 0, 0], (51, 1)),
        "dynamic_lmk_faces_idx": np.zeros((79, 17), np.int64), "dynamic_lmk_bary_coords": np.ones((79, 17, 3)),
    }  # fmt: skip
    extra = {"smplx": {**hands, **faces}, "smplh": hands, "smpl": {}}[kind]
    return {
        "v_template": joints[owner] + rng.normal(0, 0.05, (count, 3)),
        "f": rng.integers(0, count, (500, 3)).astype(np.uint32),
        "weights": weights,
        "shapedirs": rng.normal(0, 0.01, (count, 3, COLUMNS[kind])),
        "posedirs": rng.normal(0, 0.002, (count, 3, 9 * (J - 1))),
        "J_regressor": regressor,
        "kintree_table": tree(kind).astype(np.uint32),
        **extra,
    }


def person(body: Body, kind: str, betas: int = 10) -> dict[str, np.ndarray]:
    """The open body's mesh in the layout of `kind`: the skin of joints that it has not hangs on what it has."""
    rows, weights = ROWS[kind], np.zeros((len(body.v_template), len(ROWS[kind])))
    for j in range(N_JOINTS):
        up = j
        while up not in rows:
            up = int(PARENTS[up]) if up < 25 else 28 if up < 40 else 43
        weights[:, rows.index(up)] += body.weights[:, j]
    shapedirs = body.shapedirs[..., :betas].astype(np.float64)
    if kind == "smplx":
        shapedirs = np.concatenate([shapedirs, np.zeros_like(shapedirs)], 2)
    return {
        "v_template": body.v_template.astype(np.float64), "f": body.faces.astype(np.uint32), "weights": weights,
        "shapedirs": shapedirs, "J_regressor": body.J_regressor[list(rows)].astype(np.float64),
        "kintree_table": tree(kind).astype(np.uint32),
    }  # fmt: skip


@contextmanager
def foreign(name: str, *classes: str):
    """Classes of a package that is not installed here, so that pickles can name them."""
    parts = name.split(".")
    added = [room for i in range(len(parts)) if (room := ".".join(parts[: i + 1])) not in sys.modules]
    for room in added:
        sys.modules[room] = types.ModuleType(room)
    made = [type(c, (), {"__module__": name}) for c in classes]
    for cls in made:
        setattr(sys.modules[name], cls.__name__, cls)
    yield made
    for room in added:
        del sys.modules[room]


def as_released(path: Path, arrays: dict[str, np.ndarray], protocol: int = 2) -> Path:
    """A pickle as SMPL's own: chumpy arrays, one of them a selection, a sparse regressor, and words beside them."""
    with foreign("chumpy.ch", "Ch") as (ch,), foreign("chumpy.reordering", "Select") as (select,):
        said = {
            **arrays,
            "J_regressor": csc_matrix(arrays["J_regressor"]),
            "bs_type": "lrotmin",
            "bs_style": "lbs",
        }
        for name in ("v_template", "weights"):
            said[name] = ch()
            said[name].x = arrays[name]
            said[name]._dirty_vars = {"x"}
        shapes, inner = select(), ch()
        more = np.concatenate([arrays["shapedirs"], arrays["shapedirs"] + 1], 2)
        inner.x = more
        shapes.a, shapes.preferred_shape = inner, arrays["shapedirs"].shape
        shapes.idxs = np.arange(more.size).reshape(more.shape)[..., : arrays["shapedirs"].shape[2]].ravel()
        said["shapedirs"] = shapes
        path.write_bytes(pickle.dumps(said, protocol=protocol))
    return path


def write(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """An .npz, or a pickle of plain arrays, by the ending of `path`."""
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        path.write_bytes(pickle.dumps(arrays, protocol=2))
    return path

"""The user's licensed SMPL, SMPL-H and SMPL-X files, all as bodies in the layout of `backend.body`.

Layouts (names of the arrays, order of the joints): the files themselves as the smplx package reads them, which looks
for `<folder>/smplx/SMPLX_NEUTRAL.npz`, `<folder>/smpl/SMPL_MALE.pkl` and so on; SMPL's own download names its files
`basicmodel_m_lbs_10_207_0_v1.1.0.pkl`. Its pickles hold chumpy arrays and a scipy matrix; they are read as data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csc_matrix

from backend.body.load import load_body
from backend.body.model import Body
from backend.body.skeleton import JOINT, JOINT_NAMES, N_JOINTS, PARENTS
from backend.records import JobError
from backend.train.datasets.arrays import Npz
from backend.train.datasets.pickled import Thing, read_pickled

BETAS = 16
GENDERS = ("neutral", "male", "female")
MODELS = ("smpl", "smplx")
_FILES = {
    "smplx": ("smplx/SMPLX_{G}.npz", "SMPLX_{G}.npz"),
    "smpl": (
        *("smpl/SMPL_{G}.pkl", "SMPL_{G}.pkl", "smpl/SMPL_{G}.npz", "SMPL_{G}.npz"),
        *("basicmodel_{g}_lbs_10_207_0_v1.1.0.pkl", "basicModel_{g}_lbs_10_207_0_v1.0.0.pkl"),
        *("smpl/basicmodel_{g}_lbs_10_207_0_v1.1.0.pkl", "smpl/basicModel_{g}_lbs_10_207_0_v1.0.0.pkl"),
    ),
}
_HANDS = ("left_middle1", "right_middle1")
"""SMPL's two hand joints hang on the wrists, as these do in SMPL-X: a hand turned there is turned whole."""
SMPL_ROWS: tuple[int, ...] = (*range(22), JOINT[_HANDS[0]], JOINT[_HANDS[1]])
"""SMPL-X's rows of SMPL's 24 joints."""
SMPLH_ROWS: tuple[int, ...] = (*range(22), *range(25, N_JOINTS))
"""SMPL-X's rows of SMPL-H's 52 joints: no jaw, no eyes."""


@dataclass(frozen=True, eq=False)
class Licensed:
    """`body`: in the layout of 55 joints; `joints`: the names of those that the file really has; `hands`: (30, 3)
    rotation vectors of the mean hands, which some datasets' hand poses are relative to (zero where unknown)."""

    body: Body
    joints: tuple[str, ...]
    hands: np.ndarray


@lru_cache(maxsize=8)
def licensed_body(folder: str, model: str, gender: str, wanted_by: str) -> Licensed:
    """The file of `model` ("smpl", "smplx") and `gender` in `folder`. `wanted_by`: the dataset, for the refusal.

    JobError("bad_body") when it is missing or is no such body.
    """
    short = {"neutral": "neutral", "male": "m", "female": "f"}[gender]
    names = [n.format(G=gender.upper(), g=short) for n in _FILES[model]]
    found = next((Path(folder) / n for n in names if (Path(folder) / n).is_file()), None)
    if not folder or found is None:
        raise JobError(
            "bad_body",
            f"{wanted_by} needs your own licensed {model.upper()} body: put {names[1]} into "
            f"{folder or 'a folder'} and name that folder as the source's body.",
        )
    if model == "smplx":
        return _smplx(found)
    arrays = smpl_arrays(found)
    body = in_layout(arrays, SMPL_ROWS, found)
    return Licensed(body, tuple(JOINT_NAMES[r] for r in SMPL_ROWS), np.zeros((30, 3)))


def _smplx(file: Path) -> Licensed:
    body = load_body(file, betas=BETAS, expressions=10)
    npz, hands = Npz(file, "a body"), np.zeros((30, 3))
    if "hands_meanl" in npz and "hands_meanr" in npz:
        hands = np.concatenate([npz.read(f"hands_mean{s}", 45).reshape(15, 3) for s in "lr"])
    return Licensed(body, JOINT_NAMES, hands)


def smpl_arrays(file: Path) -> dict[str, np.ndarray]:
    """The numeric arrays of a SMPL or SMPL-H file, .pkl or .npz. JobError("bad_body") if they are not all there."""
    names = ("v_template", "f", "weights", "kintree_table", "shapedirs", "J_regressor")
    if file.suffix == ".npz":
        npz = Npz(file, "a SMPL body")
        return {n: npz.read(n) for n in (*names, *(("posedirs",) if "posedirs" in npz else ()))}
    said = read_pickled(file, "a SMPL body")
    if not isinstance(said, Mapping):
        raise _refused(file, "it holds no body")
    for name in names:
        if name not in said:
            raise _refused(file, f"it holds no {name}")
    return {n: _numbers(said[n], n, file) for n in (*names, "posedirs") if n in said}


def _numbers(value: Any, name: str, file: Path) -> np.ndarray:
    """An array; a chumpy array's values; a scipy matrix written out."""
    if isinstance(value, Thing):
        a = value.attributes
        if "x" in a:  # chumpy.ch.Ch
            return _numbers(a["x"], name, file)
        if {"data", "indices", "indptr"} <= a.keys():
            shape = a.get("_shape", a.get("shape"))
            try:
                return csc_matrix((a["data"], a["indices"], a["indptr"]), shape).toarray()
            except (ValueError, TypeError, IndexError) as e:
                raise _refused(file, f"its {name} is damaged") from e
        raise _refused(file, f"its {name} is a {value.cls}, which is not known here")
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iuf":
        raise _refused(file, f"its {name} holds no numbers")
    return value


def in_layout(arrays: Mapping[str, np.ndarray], rows: tuple[int, ...], file: Path) -> Body:
    """A body of fewer joints in the layout of 55: joint i becomes row `rows[i]`; the others carry no skin and lie at
    their parents' places. JobError("bad_body") if the arrays do not fit together."""
    a, J = arrays, len(rows)
    v = np.asarray(a["v_template"], np.float64)
    V = len(v)
    tree = np.asarray(a["kintree_table"], np.int64)[0]
    wanted = {"v_template": (V, 3), "weights": (V, J), "J_regressor": (J, V)}
    for name, size in wanted.items():
        if a[name].shape != size or not np.isfinite(a[name]).all():
            raise _refused(file, f"its {name} is not of the size {' x '.join(map(str, size))}")
    if len(tree) != J or any(PARENTS[rows[j]] != rows[tree[j] % J] for j in range(1, J)):
        raise _refused(file, "its joints hang together in another way than SMPL's")
    shapedirs = np.asarray(a["shapedirs"], np.float64)[..., :BETAS]
    faces = np.asarray(a["f"], np.int64)
    sound = shapedirs.ndim == 3 and shapedirs.shape[:2] == (V, 3) and np.isfinite(shapedirs).all()
    if not sound or faces.ndim != 2 or faces.shape[1] != 3 or faces.min() < 0 or faces.max() >= V:
        raise _refused(file, "its shapedirs or faces do not belong to its vertices")
    regressor, weights = np.zeros((N_JOINTS, V)), np.zeros((V, N_JOINTS), np.float32)
    regressor[list(rows)], weights[:, list(rows)] = a["J_regressor"], a["weights"]
    for j in range(1, N_JOINTS):
        if j not in rows:
            regressor[j] = regressor[PARENTS[j]]
    f32 = lambda x: np.ascontiguousarray(x, np.float32)  # noqa: E731
    return Body(
        name="smpl",
        v_template=f32(v),
        faces=faces.astype(np.int32),
        weights=f32(weights / weights.sum(1, keepdims=True)),
        parents=PARENTS.copy(),
        shapedirs=f32(shapedirs),
        exprdirs=np.zeros((V, 3, 0), np.float32),
        posedirs=_posedirs(a.get("posedirs"), rows, V, file),
        joints_template=f32(regressor @ v),
        joints_shapedirs=f32(np.einsum("jv,vck->jck", regressor, shapedirs, optimize=True)),
        joints_exprdirs=np.zeros((N_JOINTS, 3, 0), np.float32),
        J_regressor=f32(regressor),
        uv=np.zeros((1, 2), np.float32),
        faces_uv=np.zeros_like(faces, np.int32),
    )


def _posedirs(given: np.ndarray | None, rows: tuple[int, ...], V: int, file: Path) -> np.ndarray | None:
    """(V, 3, 9 (J - 1)) correctives of SMPL as (486, 3 V) of SMPL-X's layout."""
    if given is None:
        return None
    J = len(rows)
    if given.shape != (V, 3, 9 * (J - 1)) or not np.isfinite(given).all():
        raise _refused(file, f"its posedirs are not of the size {V} x 3 x {9 * (J - 1)}")
    out = np.zeros((9 * (N_JOINTS - 1), 3 * V), np.float32)
    for j in range(1, J):
        to = 9 * (rows[j] - 1)
        out[to : to + 9] = given[..., 9 * (j - 1) : 9 * j].reshape(3 * V, 9).T
    return out


def _refused(file: Path, why: str) -> JobError:
    return JobError("bad_body", f"{file} cannot be used as a body: {why}.")

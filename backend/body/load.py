"""Read a body file: the shipped open body, or a user's licensed SMPL-X, SMPL-H or SMPL file.

Which it is is seen in the file (55, 52 or 24 joints), not in its name. All become bodies in SMPL-X's layout of 55
joints; joints that a file has not carry no skin (`Body.present`).
Layouts: the files themselves as the smplx package reads them: SMPLX_NEUTRAL.npz and .pkl, SMPLH_MALE.pkl of MANO's
download, smplh/male/model.npz of AMASS's, SMPL_MALE.pkl or basicmodel_m_lbs_10_207_0_v1.1.0.pkl of SMPL's.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from backend.body.filearrays import FileArrays, RefusedError
from backend.body.missing import place_missing
from backend.body.model import Body
from backend.body.skeleton import N_JOINTS, PARENTS, SMPL_ROWS, SMPLH_ROWS
from backend.errors import JobError

OPEN_BODY = Path(__file__).resolve().parent.parent / "assets" / "body_open.npz"
LAYOUTS: dict[int, tuple[str, tuple[int, ...]]] = {
    N_JOINTS: ("smplx", tuple(range(N_JOINTS))),
    len(SMPLH_ROWS): ("smplh", SMPLH_ROWS),
    len(SMPL_ROWS): ("smpl", SMPL_ROWS),
}
"""By the number of joints: the body's name, and the rows of its joints among SMPL-X's."""
_SHAPE_COLUMNS = 300
"""In a full SMPL-X file the first 300 columns of `shapedirs` are shape, the rest expression."""
_SHORT_COLUMNS = 10
"""In the short variant (fewer than 400 columns) ten are shape and the following ten expression."""
_MAX_VERTICES = 100_000
_REMEDY = (
    "give your own SMPL-X, SMPL-H or SMPL file (such as SMPLX_NEUTRAL.npz, SMPLH_MALE.pkl, SMPL_MALE.pkl), or no file "
    "to use the built-in body"
)


def load_body(path: Path | str | None = None, *, betas: int = 16, expressions: int = 20) -> Body:
    """The shipped open body (None), or the SMPL-X, SMPL-H or SMPL file at `path`.

    `betas`, `expressions`: how many directions to keep at most (the open body has 32 and 20, SMPL-X 300 and
    100, SMPL-H 10 or 16 and none, SMPL 10 or 300 and none). Raises JobError("bad_body", sentence) for anything else.
    """
    file = OPEN_BODY if path is None else Path(path)
    try:
        stamp = file.stat() if file.is_file() else None
        if stamp is None:
            return _load(file, path is None, betas, expressions)
        return _known(file, path is None, betas, expressions, (stamp.st_mtime_ns, stamp.st_size))
    except RefusedError as e:
        raise JobError("bad_body", f"{file} cannot be used as a body: {e}; {_REMEDY}.") from e


@lru_cache(maxsize=1)
def _known(file: Path, shipped: bool, betas: int, expressions: int, stamp: tuple[int, int]) -> Body:
    """The body that was read last, which takes a second: nobody changes it. `stamp`: when the file was written, and its
    size."""
    return _load(file, shipped, betas, expressions)


@lru_cache(maxsize=1)
def _reference() -> Body:
    return _load(OPEN_BODY, True, 0, 0)


def _load(file: Path, shipped: bool, betas: int, expressions: int) -> Body:
    arrays = FileArrays(file)
    v = arrays.read("v_template", ("V", 3)).astype(np.float64)
    if not 1000 <= len(v) <= _MAX_VERTICES:
        raise RefusedError(f"it has {len(v)} vertices")
    arrays.sizes["V"] = V = len(v)
    tree = arrays.read("kintree_table", (2, "J"), integer=True)
    arrays.sizes["J"] = J = tree.shape[1]
    if J not in LAYOUTS:
        raise RefusedError(f"it has {J} joints, not SMPL-X's 55, SMPL-H's 52 or SMPL's 24")
    name, rows = LAYOUTS[J]
    if any(not 0 <= tree[0, j] < J or rows[tree[0, j]] != PARENTS[rows[j]] for j in range(1, J)):
        kind = {"smplx": "SMPL-X", "smplh": "SMPL-H", "smpl": "SMPL"}[name]
        raise RefusedError(f"its joints hang together in another way than {kind}'s")
    weights, regressor = np.zeros((V, N_JOINTS)), np.zeros((N_JOINTS, V))
    weights[:, rows] = arrays.read("weights", ("V", "J"))
    if weights.min() < -1e-4 or np.abs(weights.sum(1) - 1).max() > 1e-2:
        raise RefusedError("its skinning weights do not sum to 1")
    regressor[list(rows)] = arrays.read("J_regressor", ("J", "V"))
    if np.abs(regressor[list(rows)].sum(1) - 1).max() > 1e-2:
        raise RefusedError("the rows of its J_regressor do not sum to 1")
    present = np.isin(np.arange(N_JOINTS), rows)
    for j in np.flatnonzero(~present):
        regressor[j] = regressor[PARENTS[j]]
    shape, expression = _split(arrays.read("shapedirs", ("V", 3, "S")), J, betas, expressions)
    faces = arrays.read("f", ("F", 3), integer=True)
    uv, faces_uv = np.zeros((1, 2)), np.zeros_like(faces)
    if "vt" in arrays and "ft" in arrays:
        uv, faces_uv = arrays.read("vt", ("T", 2)), arrays.read("ft", (len(faces), 3), integer=True)
    for indices, bound in ((faces, V), (faces_uv, len(uv))):
        if len(indices) == 0 or indices.min() < 0 or indices.max() >= bound:
            raise RefusedError("its faces point at vertices that are not there")
    return Body(
        name="open" if shipped else name,
        v_template=_f32(v),
        faces=faces.astype(np.int32),
        weights=_f32(weights / weights.sum(1, keepdims=True)),
        parents=PARENTS.copy(),
        shapedirs=_f32(shape),
        exprdirs=_f32(expression),
        posedirs=_correctives(arrays, rows, V),
        joints_template=_f32(place_missing(v, weights, regressor @ v, present, _reference)),
        joints_shapedirs=_f32(np.einsum("jv,vck->jck", regressor, shape, optimize=True)),
        joints_exprdirs=_f32(np.einsum("jv,vck->jck", regressor, expression, optimize=True)),
        J_regressor=_f32(regressor),
        uv=_f32(uv),
        faces_uv=faces_uv.astype(np.int32),
        present=present,
    )


def _correctives(arrays: FileArrays, rows: tuple[int, ...], V: int) -> np.ndarray | None:
    """(V, 3, 9 (J - 1)) of the file as (486, 3 V) of the layout; None where there are none."""
    J = len(rows)
    if "posedirs" not in arrays:
        return None
    given = arrays.read("posedirs", ("V", 3, 9 * (J - 1)))
    if not given.any():
        return None
    out = np.zeros((N_JOINTS - 1, 9, 3 * V), np.float32)
    out[np.array(rows[1:]) - 1] = given.reshape(3 * V, J - 1, 9).transpose(1, 2, 0)
    return out.reshape(9 * (N_JOINTS - 1), 3 * V)


def _split(shapedirs: np.ndarray, joints: int, betas: int, expressions: int) -> tuple[np.ndarray, np.ndarray]:
    """Shape and expression directions; trailing columns of zeros (padding) are dropped."""
    columns = shapedirs.shape[2]
    full = columns >= _SHAPE_COLUMNS + 100
    start = _SHAPE_COLUMNS if full else min(_SHORT_COLUMNS, columns)
    stop = columns if full else min(2 * _SHORT_COLUMNS, columns)
    # SMPL and SMPL-H have no expressions.
    if joints != N_JOINTS:
        start = stop = columns
    return tuple(
        part[:, :, : _used(part)].astype(np.float64)
        for part in (
            shapedirs[:, :, : min(start, betas)],
            shapedirs[:, :, start : min(stop, start + expressions)],
        )
    )


def _used(part: np.ndarray) -> int:
    filled = np.flatnonzero(part.any((0, 1)))
    return int(filled[-1]) + 1 if len(filled) else 0


def _f32(a: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(a, np.float32)

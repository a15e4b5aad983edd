"""Read a body file: the shipped open body, or a user's licensed SMPL-X file of the same layout.

The file is untrusted: only numeric arrays are read, never a pickle, and every array's size is checked from its
header before a byte of it is unpacked.
"""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

from backend.body.model import Body
from backend.body.skeleton import N_JOINTS, PARENTS
from backend.records import JobError

OPEN_BODY = Path(__file__).resolve().parent.parent / "assets" / "body_open.npz"
_SHAPE_COLUMNS = 300
"""In a full SMPL-X file the first 300 columns of `shapedirs` are shape, the rest expression."""
_SHORT_COLUMNS = 10
"""In the short variant (fewer than 400 columns) ten are shape and the following ten expression."""
_POSE_FEATURES = 9 * (N_JOINTS - 1)
_MAX_VERTICES = 100_000
_MAX_BYTES = 1 << 30
"""No array of a body may unpack to more; SMPL-X's largest has 122 MB."""
_BROKEN = (
    *(ValueError, EOFError, OSError, NotImplementedError, zipfile.BadZipFile, zlib.error),
    tokenize.TokenError,  # numpy reads headers with Python's tokenizer
)
_REMEDY = "give SMPLX_NEUTRAL.npz, SMPLX_MALE.npz or SMPLX_FEMALE.npz, or no file to use the built-in body"


def load_body(path: Path | str | None = None, *, betas: int = 16, expressions: int = 20) -> Body:
    """The shipped open body (None), or the SMPL-X file at `path`.

    `betas`, `expressions`: how many directions to keep at most (the open body has 32 and 20, SMPL-X 300 and
    100). Raises JobError("bad_body", sentence) for anything that is not a body in SMPL-X layout.
    """
    file = OPEN_BODY if path is None else Path(path)
    try:
        return _load(file, "open" if path is None else "smplx", betas, expressions)
    except _RefusedError as e:
        raise JobError("bad_body", f"{file} cannot be used as a body: {e}; {_REMEDY}.") from e


class _RefusedError(Exception):
    """Why a file is not a body."""


def _load(file: Path, name: str, betas: int, expressions: int) -> Body:
    arrays = _Arrays(file)
    v = arrays.read("v_template", ("V", 3))
    if not 1000 <= len(v) <= _MAX_VERTICES:
        raise _RefusedError(f"it has {len(v)} vertices")
    arrays.sizes["V"] = len(v)
    tree = arrays.read("kintree_table", (2, "J"), integer=True)
    if tree.shape[1] != N_JOINTS:
        kind = {24: " as in SMPL", 52: " as in SMPL-H"}.get(tree.shape[1], "")
        raise _RefusedError(f"it has {tree.shape[1]} joints{kind}, not SMPL-X's {N_JOINTS}")
    if not np.array_equal(tree[0, 1:], PARENTS[1:]):
        raise _RefusedError("its joints hang together in another way than SMPL-X's")
    weights = arrays.read("weights", ("V", N_JOINTS))
    if weights.min() < -1e-4 or np.abs(weights.sum(1) - 1).max() > 1e-2:
        raise _RefusedError("its skinning weights do not sum to 1")
    regressor = arrays.read("J_regressor", (N_JOINTS, "V")).astype(np.float64)
    if np.abs(regressor.sum(1) - 1).max() > 1e-2:
        raise _RefusedError("the rows of its J_regressor do not sum to 1")
    shape, expression = _split(arrays.read("shapedirs", ("V", 3, "S")), betas, expressions)
    posedirs = None
    if "posedirs" in arrays:
        correctives = arrays.read("posedirs", ("V", 3, _POSE_FEATURES))
        if correctives.any():
            posedirs = np.ascontiguousarray(correctives.reshape(-1, _POSE_FEATURES).T, np.float32)
    faces = arrays.read("f", ("F", 3), integer=True)
    uv, faces_uv = np.zeros((1, 2)), np.zeros_like(faces)
    if "vt" in arrays and "ft" in arrays:
        uv, faces_uv = arrays.read("vt", ("T", 2)), arrays.read("ft", (len(faces), 3), integer=True)
    for indices, bound in ((faces, len(v)), (faces_uv, len(uv))):
        if len(indices) == 0 or indices.min() < 0 or indices.max() >= bound:
            raise _RefusedError("its faces point at vertices that are not there")
    return Body(
        name=name,
        v_template=_f32(v),
        faces=faces.astype(np.int32),
        weights=_f32(weights / weights.sum(1, keepdims=True)),
        parents=PARENTS.copy(),
        shapedirs=_f32(shape),
        exprdirs=_f32(expression),
        posedirs=posedirs,
        joints_template=_f32(regressor @ v),
        joints_shapedirs=_f32(np.einsum("jv,vck->jck", regressor, shape, optimize=True)),
        joints_exprdirs=_f32(np.einsum("jv,vck->jck", regressor, expression, optimize=True)),
        J_regressor=_f32(regressor),
        uv=_f32(uv),
        faces_uv=faces_uv.astype(np.int32),
    )


def _split(shapedirs: np.ndarray, betas: int, expressions: int) -> tuple[np.ndarray, np.ndarray]:
    """Shape and expression directions; trailing columns of zeros (padding) are dropped."""
    full = shapedirs.shape[2] >= _SHAPE_COLUMNS + 100
    start = _SHAPE_COLUMNS if full else min(_SHORT_COLUMNS, shapedirs.shape[2])
    stop = shapedirs.shape[2] if full else min(2 * _SHORT_COLUMNS, shapedirs.shape[2])
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


class _Arrays:
    """Numeric members of an npz file, each checked before it is read."""

    def __init__(self, file: Path) -> None:
        if not file.is_file():
            raise _RefusedError("there is no such file")
        if not zipfile.is_zipfile(file):
            hint = ", it looks like a pickle: take the .npz of the download" if file.suffix == ".pkl" else ""
            raise _RefusedError(f"it is not an .npz file{hint}")
        self.file = file
        self.sizes: dict[str, int] = {}
        """Sizes of the named dimensions, fixed by the first array that has them."""
        try:
            with zipfile.ZipFile(file) as z:
                self.names = {i.filename[:-4] for i in z.infolist() if i.filename.endswith(".npy")}
        except (zipfile.BadZipFile, OSError) as e:
            raise _RefusedError("it is damaged") from e

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def read(self, name: str, shape: tuple[int | str, ...], integer: bool = False) -> np.ndarray:
        """Array `name`; `shape` gives fixed sizes as numbers and equal ones by the same letter."""
        if name not in self.names:
            raise _RefusedError(f"it holds no {name}, so it is not in SMPL-X layout")
        try:
            with zipfile.ZipFile(self.file) as z:
                with z.open(f"{name}.npy") as member:
                    found, dtype = _header(member)
                self._check(name, shape, found, dtype, integer)
                with z.open(f"{name}.npy") as member:
                    array = np.lib.format.read_array(member, allow_pickle=False)
        except _BROKEN as e:
            raise _RefusedError(f"its {name} is damaged") from e
        if not integer and not np.isfinite(array).all():
            raise _RefusedError(f"its {name} holds numbers that are not finite")
        # uint32 stands for -1 at the root of the kinematic tree.
        return array.astype(np.int64) if integer else array

    def _check(self, name, shape, found, dtype, integer) -> None:
        wanted = [self.sizes.get(s, s) for s in shape]
        same = len(found) == len(wanted) and all(
            isinstance(w, str) or w == n for w, n in zip(wanted, found, strict=True)
        )
        if not same:
            text = " x ".join(str(n) for n in found)
            raise _RefusedError(f"its {name} has the size {text}, which is not SMPL-X layout")
        if dtype.kind not in ("iu" if integer else "iuf"):
            raise _RefusedError(f"its {name} holds {dtype} values in place of numbers")
        if int(np.prod(found, dtype=object)) * max(dtype.itemsize, 4) > _MAX_BYTES:
            raise _RefusedError(f"its {name} is too large")


def _header(member) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        found, _, dtype = np.lib.format.read_array_header_1_0(member)
    else:
        found, _, dtype = np.lib.format.read_array_header_2_0(member)
    return found, dtype

"""SMPL and SMPL-X tensors that the official TorchScript carries: found, checked, and made a body.

They are the user's own copy under their own licences: they are kept in the user's data folder and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from backend.body.model import Body
from backend.body.skeleton import N_JOINTS, PARENTS
from backend.errors import JobError
from backend.files.pickles.inert import TensorRef

BODY_KINDS = {"smpl": 24, "smplx": N_JOINTS}
"""Kinds of bodies and how many joints they have."""
_NEEDED = {"v_template": "V3", "weights": "VJ", "J_template": "J3", "kintree_parents_tensor": "J"}
_OPTIONAL = {
    "shapedirs": "V3S",
    "posedirs": "V3P",
    "J_shapedirs": "J3S",
    "J_regressor_post_lbs": "JV",
    "kid_shapedir": "V3",
    "kid_J_shapedir": "J3",
    "faces": "F3",
}
"""Names in the archive; equal letters are equal sizes (V vertices, J joints, S shapes, P pose features, F faces)."""
_MAX_VERTICES, _MAX_SHAPES, _MAX_FACES = 30_000, 500, 100_000
_WHOLE = {"kintree_parents_tensor", "faces"}
_SHAPES, _EXPRESSIONS = 300, 20
"""In SMPL-X's full table of shapes the first 300 are shape, the others expression."""


def body_tensors(every: Mapping[str, TensorRef], outer: str, kind: str) -> dict[str, TensorRef] | None:
    """The tensors `body_models.<kind>.*` of one body; None when there are none, empty when they are not all there
    or do not fit together."""
    prefix = f"{outer}.body_models.{kind}.".lstrip(".")
    if not any(name.startswith(prefix) for name in every):
        return None
    sizes = {"3": 3, "J": BODY_KINDS[kind], "P": 9 * (BODY_KINDS[kind] - 1)}
    bounds = {"V": _MAX_VERTICES, "S": _MAX_SHAPES, "F": _MAX_FACES}
    found = {}
    for name, letters in {**_NEEDED, **_OPTIONAL}.items():
        ref = every.get(prefix + name)
        if ref is None:
            if name in _NEEDED:
                return {}
            continue
        sound = len(ref.shape) == len(letters) and ref.dtype.is_floating_point != (name in _WHOLE)
        if not sound or any(n != sizes.setdefault(x, n) for x, n in zip(letters, ref.shape, strict=True)):
            return {}
        if any(sizes.get(letter, 0) > most for letter, most in bounds.items()):
            return {}
        found[name] = ref
    return found


def body_arrays(loaded: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays as a body's own: float32 and int32, `v_template` the rest pose. Raises ValueError if broken."""
    out = {n: np.ascontiguousarray(a, np.int32 if n in _WHOLE else np.float32) for n, a in loaded.items()}
    for name, array in out.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds numbers that are not finite")
    faces = out.get("faces")
    if faces is not None and len(faces) and (faces.min() < 0 or faces.max() >= len(out["v_template"])):
        raise ValueError("faces point at vertices that are not there")
    out["v_template"] = rest_template(out)
    return out


def rest_template(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """(V, 3) float32 vertices of the rest pose.

    smplfitter, whose bodies the release embeds, multiplies pose correctives by R and not by R - I, and takes the
    correctives of the rest pose out of its template. Which of the two a file has, its own joints tell: they are what
    the regressor makes of the true template.
    """
    v = arrays["v_template"]
    posedirs, regressor = arrays.get("posedirs"), arrays.get("J_regressor_post_lbs")
    if posedirs is None or regressor is None:
        return v
    identity = np.tile(np.eye(3, dtype=np.float64).ravel(), posedirs.shape[2] // 9)
    candidates = [v.astype(np.float64), v + posedirs @ identity]
    misses = [np.abs(regressor @ c - arrays["J_template"]).max() for c in candidates]
    return np.ascontiguousarray(candidates[int(np.argmin(misses))], np.float32)


def body_of(arrays: Mapping[str, np.ndarray], source: str) -> Body:
    """A `Body` in SMPL-X layout out of `body_arrays`' result. Raises JobError("bad_body")."""
    if "faces" not in arrays or not len(arrays["faces"]):
        raise _refused(
            source, "the SMPL-X tensors in it have no triangles: points and joints work without, for a mesh"
        )
    needed = ("shapedirs", "J_shapedirs", "J_regressor_post_lbs")
    parents = arrays["kintree_parents_tensor"]
    if parents.shape != PARENTS.shape or not np.array_equal(parents[1:], PARENTS[1:]):
        raise _refused(source, "its joints hang together in another way than SMPL-X's:")
    weights = arrays["weights"]
    if any(name not in arrays for name in needed) or np.abs(weights.sum(1) - 1).max() > 1e-2:
        raise _refused(source, "the SMPL-X tensors in it are not complete:")
    shapes, joint_shapes, faces = arrays["shapedirs"], arrays["J_shapedirs"], arrays["faces"]
    full = shapes.shape[2] > _SHAPES
    start, stop = (_SHAPES, _SHAPES + _EXPRESSIONS) if full else (shapes.shape[2], shapes.shape[2])
    posedirs = arrays.get("posedirs")
    if posedirs is not None:
        posedirs = np.ascontiguousarray(posedirs.reshape(-1, posedirs.shape[2]).T)
    betas = min(16, start)
    return Body(
        name="smplx",
        v_template=arrays["v_template"],
        faces=faces,
        weights=weights / weights.sum(1, keepdims=True),
        parents=PARENTS.copy(),
        shapedirs=np.ascontiguousarray(shapes[:, :, :betas]),
        exprdirs=np.ascontiguousarray(shapes[:, :, start:stop]),
        posedirs=posedirs,
        joints_template=arrays["J_template"],
        joints_shapedirs=np.ascontiguousarray(joint_shapes[:, :, :betas]),
        joints_exprdirs=np.ascontiguousarray(joint_shapes[:, :, start:stop]),
        J_regressor=arrays["J_regressor_post_lbs"],
        uv=np.zeros((1, 2), np.float32),
        faces_uv=np.zeros_like(faces),
    )


def _refused(source: str, why: str) -> JobError:
    return JobError("bad_body", f"{source} gives no body: {why} give SMPLX_NEUTRAL.npz with --body.")

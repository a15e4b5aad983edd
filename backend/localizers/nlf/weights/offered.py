"""The SMPL-X body inside a release as a file that `--body` takes, for this user and in his data folder only.

The release stores joints for each shape and no triangles. Triangles are laid between its vertices along the open
body's surface, once that is fitted to them; the regressor is the smallest change of the stored one that gives the
stored joints exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from backend.body.load import load_body
from backend.body.skeleton import JOINT_NAMES, PARENTS
from backend.errors import JobError
from backend.localizers.nlf.weights.bodies import body_of
from backend.localizers.nlf.weights.opened import OfficialWeights
from backend.volumes.map import map_volumes
from backend.volumes.triangles import triangulate
from backend.volumes.volume import volume_of_smpl
from blender_addon.shared.whole import aside

FILE = "body_smplx.npz"
_FULL = 400
"""Columns of SMPL-X's whole table of shapes and expressions; of a shorter one the first ten are shape."""
_SHORT = 10


def offered_body(folder: Path) -> Path | None:
    """The body file beside installed weights, if there is one."""
    return folder / FILE if (folder / FILE).is_file() else None


def offer_body(opened: OfficialWeights, note: Callable[[str], None]) -> Path | None:
    """Write the body file, if the weights carry SMPL-X tensors; None, with a sentence to `note`, if it cannot be made.

    Takes up to a minute where triangles have to be made.
    """
    arrays = opened.embedded("smplx")
    if arrays is None:
        return None
    try:
        if not len(arrays.get("faces", ())):
            note("Making triangles for the SMPL-X body in the file: once, for up to a minute.")
            arrays = {**arrays, "faces": _triangles(arrays)}
        body_of(arrays, opened.info.name)
        file = opened.info.folder / FILE
        with aside(file) as part:
            np.savez(part, **_layout(arrays))
        load_body(file)
    except (JobError, OSError) as error:
        (opened.info.folder / FILE).unlink(missing_ok=True)
        no_person = isinstance(error, JobError) and error.code == "bad_volume"
        reason = "its vertices are not those of a person." if no_person else str(error)
        note(f"The SMPL-X body in the file is left out: {reason}")
        return None
    return file


def _triangles(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    volume = volume_of_smpl(
        arrays["v_template"], arrays["weights"], arrays["J_template"], arrays["kintree_parents_tensor"],
        arrays.get("posedirs"), names=JOINT_NAMES, name="smplx",
    )  # fmt: skip
    return triangulate(map_volumes(load_body(), volume), volume.vertices)


def _layout(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays under the names and in the shapes of an SMPL-X file."""
    shapes, joint_shapes = arrays["shapedirs"], arrays["J_shapedirs"]
    if shapes.shape[2] < _FULL:
        shapes, joint_shapes = shapes[:, :, :_SHORT], joint_shapes[:, :, :_SHORT]
    out = {
        "v_template": arrays["v_template"],
        "f": arrays["faces"].astype(np.uint32),
        "weights": arrays["weights"],
        "shapedirs": shapes,
        "J_regressor": _regressor(arrays, shapes, joint_shapes),
        "kintree_table": np.array([[2**32 - 1, *PARENTS[1:]], range(len(PARENTS))], np.uint32),
    }
    return out | ({"posedirs": arrays["posedirs"]} if "posedirs" in arrays else {})


def _regressor(arrays: Mapping[str, np.ndarray], shapes: np.ndarray, joint_shapes: np.ndarray) -> np.ndarray:
    """(55, V) float64: what gives the stored joints and their shape directions, near the stored regressor."""
    first, V = arrays["J_regressor_post_lbs"].astype(np.float64), len(shapes)
    known = np.concatenate([arrays["v_template"], shapes.reshape(V, -1), np.ones((V, 1))], 1).astype(float)
    wanted = np.concatenate(
        [arrays["J_template"], joint_shapes.reshape(len(first), -1), np.ones((len(first), 1))], 1
    )
    return first + (wanted - first @ known) @ np.linalg.pinv(known)

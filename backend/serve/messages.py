"""Bodies and motions as the arrays and fields of wire messages. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from backend.camera.pinhole import Camera
from backend.records import Shot, TrackMotion
from blender_addon.shared import wire

if TYPE_CHECKING:
    from backend.body.model import Body, CanonicalPoints

    Landmarks = Callable[[Body], tuple[CanonicalPoints, Sequence[str]]]

MAX_INFLUENCES = 8
"""Most joints that move one vertex on the wire; game engines take no more either."""


def body_said(body: Body, landmarks: Landmarks | None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and fields of a `body` message. `landmarks`: `body_landmarks`, which needs torch; None: it has none."""
    index, value = sparse_weights(body.weights)
    names, places = _landmarks(body, landmarks)
    arrays = {"weights_index": index, "weights_value": value, "landmarks": places}
    arrays["posedirs"] = _posedirs(body)
    for name in wire.BODY:
        if name not in arrays:
            arrays[name] = getattr(body, name)
    fields = {
        "name": body.name,
        "joint_names": list(body.joint_names),
        "landmark_names": names,
        "licence_note": body.licence_note,
    }
    return _typed(arrays, wire.BODY), fields


def _landmarks(body: Body, landmarks: Landmarks | None) -> tuple[list[str], np.ndarray]:
    """Names of the landmarks and their places (33, 3) on the mean body; NaN where the rules find none."""
    try:
        if landmarks is not None:
            points, names = landmarks(body)
            return list(names), points.positions
    except (ValueError, IndexError):
        pass
    return [], np.full((33, 3), np.nan, np.float32)


def _posedirs(body: Body) -> np.ndarray:
    """(486, V, 3) half-precision pose correctives, (0, V, 3) for a body without any."""
    posedirs = getattr(body, "posedirs", None)
    count = len(body.v_template)
    return np.zeros((0, count, 3), np.float16) if posedirs is None else posedirs.reshape(-1, count, 3)


def result_said(motion: TrackMotion, camera: Camera) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and fields of a `result` message."""
    lens = {"width": int(camera.width), "height": int(camera.height)}
    for name, (row, column) in {"fx": (0, 0), "fy": (1, 1), "cx": (0, 2), "cy": (1, 2)}.items():
        lens[name] = float(camera.K[row, column])
    return motion.arrays(), {"track": int(motion.track), "final": bool(motion.final), "camera": lens}


def shot_said(shot: Shot) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and fields of a `shot` message."""
    return shot.arrays(), shot.fields()


def sparse_weights(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`weights`: (V, J) -> joint indices (V, K) int16 and weights (V, K) float32, the heaviest first.

    K is the most joints that any vertex has, at most MAX_INFLUENCES; rows sum to 1 again.
    """
    count = int(min(MAX_INFLUENCES, max(1, (weights > 0).sum(1).max(initial=1))))
    index = np.argsort(-weights, axis=1, kind="stable")[:, :count]
    value = np.take_along_axis(weights, index, 1)
    return index.astype(np.int16), (value / value.sum(1, keepdims=True)).astype(np.float32)


def _typed(arrays: dict[str, np.ndarray], spec: wire.Spec) -> dict[str, np.ndarray]:
    return {name: np.ascontiguousarray(array, spec[name][0]) for name, array in arrays.items()}

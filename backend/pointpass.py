"""The second pass over a finished clip: any canonical points of its people, from what the job has kept.

The road's result is a body for every frame, so a point that was thought of later needs no picture: it is carried by
that body, as the landmark localizers answer every point but their own. Its uncertainty is that of the joints that
carry it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from backend.body.kinematics import forward
from backend.body.model import Body, PointTensors
from backend.body.pointentries import check_count, read_entry, set_from_entries
from backend.body.pointsets import PointSet
from backend.nlf.localizer import LANDMARK_LOCALIZERS
from backend.options import MocapOptions
from backend.records import Notice, TrackMotion

BLOCK_BYTES = 32 << 20
"""Of skinning transforms that are held at a time; a block of frames is at least one frame."""


@dataclass(frozen=True, eq=False)
class PointBlock:
    """P points of one person over some frames. `first`: row of the track at which the block begins, `last`: whether
    it ends the track; `frames`: (n,) int32; `times`: (n,) float64 seconds; `positions`: (n, P, 3) float32 metres,
    camera space; `uncertainty`: (n, P) float32 metres."""

    track: int
    first: int
    last: bool
    frames: np.ndarray
    times: np.ndarray
    positions: np.ndarray
    uncertainty: np.ndarray


def point_set(entries: Sequence[object], body: Body, made_for: str | None = None) -> PointSet:
    """Points from entries as they stand in a file of points (see `backend.body.pointfile.read_points`); `made_for`:
    name of the body that their numbers belong to. Raises JobError("bad_points") that names the entry."""
    check_count(len(entries), "The list")
    checked = [read_entry(e, f"Point {i + 1}", i, body, made_for) for i, e in enumerate(entries)]
    return set_from_entries(checked, body, "points")


def track_points(
    options: MocapOptions,
    entries: Sequence[object],
    made_for: str | None,
    motions: Sequence[TrackMotion],
) -> Iterator[PointBlock | Notice]:
    """The points of every person of `motions`, block by block in the order of frames. Raises JobError."""
    body = options.load_body()
    points = point_set(entries, body, made_for)
    if options.localizer not in LANDMARK_LOCALIZERS:
        yield Notice(
            f"The points are carried by the fitted body; {options.localizer} was not asked for them again."
        )
    tensors, points_t = body.to("cpu"), points.points.to("cpu")
    rows = max(1, BLOCK_BYTES // (len(points) * 12 * 4))
    for motion in motions:
        count = len(motion.frames)
        for first in range(0, count, rows):
            block = slice(first, min(first + rows, count))
            yield PointBlock(
                motion.track,
                first,
                block.stop == count,
                motion.frames[block],
                motion.times[block],
                _posed(tensors, points_t, motion, block),
                carried_uncertainty(points.points.weights, motion.joint_uncertainty[block]),
            )


@torch.inference_mode()
def _posed(body, points: PointTensors, motion: TrackMotion, rows: slice) -> np.ndarray:
    pose, trans, expression = (
        torch.from_numpy(np.ascontiguousarray(getattr(motion, name)[rows], np.float32))
        for name in ("pose", "trans", "expression")
    )
    betas = torch.from_numpy(np.ascontiguousarray(motion.betas, np.float32))
    return forward(body, pose, betas, trans, expression, points).points.numpy()


def carried_uncertainty(weights: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """(P, 55) skinning weights and (n, 55) metres of the joints -> (n, P) float32 metres.

    Variances are mixed by the weights, as if all carriers erred together: less would claim that their errors
    cancel out, which those of neighbouring joints do not.
    """
    return np.sqrt(np.square(joints.astype(np.float64)) @ weights.T.astype(np.float64)).astype(np.float32)

# SPDX-License-Identifier: Apache-2.0
"""What a motion is, written down once: the wire, the job folder, the add-on and the scene take their lists from here.

A new array is added as a field of `TrackMotion` with a default for motions that were kept or sent without it, and goes
everywhere from there. Camera space: metres, x right, y down, z forward (OpenCV). Numpy only.
"""

# ruff: noqa: RUF009 - `array` makes a dataclass field, and not a value that motions would share
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from typing import Any, Self, TypeVar

import numpy as np

Spec = Mapping[str, tuple[str, tuple[int | str, ...]]]
"""Array name -> (dtype, dimensions): a dimension is a number, or a letter that means one size throughout."""
FRAMES = "n"
"""The letter of the dimension that counts frames."""
CONTACTS: tuple[str, ...] = (
    "left_heel", "left_toes", "right_heel", "right_toes", "left_hand", "right_hand", "left_knee", "right_knee",
)  # fmt: skip
"""What may rest on the floor, the columns of `TrackMotion.contacts`."""


def array(dtype: str, *dims: int | str, default: Callable[[], np.ndarray] | None = None) -> Any:
    """A dataclass field that holds an array of this type and these dimensions. `default`: makes the array that stands
    for one that was not kept."""
    made = MISSING if default is None else default
    return field(default_factory=made, metadata={"dtype": dtype, "dims": dims})


@dataclass(eq=False)
class TrackMotion:
    """The body of one person over n frames of one shot.

    Where the camera moves, everything is in its space as it was in the shot's first frame; see `shared.shot`.
    """

    track: int
    """Number of the person, from 1; the same throughout a job."""
    frames: np.ndarray = array("int32", FRAMES)
    """(n,) int32 indices of the clip's frames, from 0, rising. Where somebody was not seen for long, frames are left
    out: nothing is known of them."""
    times: np.ndarray = array("float64", FRAMES)
    """(n,) float64 seconds from the clip's first frame, as the file says them."""
    boxes: np.ndarray = array("float32", FRAMES, 4)
    """(n, 4) x, y, width, height, pixels of the upright picture."""
    pose: np.ndarray = array("float32", FRAMES, 55, 3)
    """(n, 55, 3) rotation vectors relative to the parent, SMPL-X's order; row 0 turns the body in camera space."""
    trans: np.ndarray = array("float32", FRAMES, 3)
    """(n, 3) metres, camera space, SMPL-X's convention: added after posing about the pelvis at rest."""
    betas: np.ndarray = array("float32", "b")
    """(b,) the one shape of the person."""
    expression: np.ndarray = array("float32", FRAMES, "e")
    """(n, e) weights of the face's expressions."""
    joints: np.ndarray = array("float32", FRAMES, 55, 3)
    """(n, 55, 3) metres, camera space."""
    joint_uncertainty: np.ndarray = array("float32", FRAMES, 55)
    """(n, 55) metres, one sigma of the distance in space."""
    final: bool = False
    """Whether the whole track was seen: this motion then replaces all earlier ones of the track."""
    up: np.ndarray = array("float32", 3, default=lambda: np.array([0, -1, 0], np.float32))
    """(3,) unit vector in camera space, against gravity as far as the clip tells; the same for everybody in it."""
    floor: np.ndarray = array("float32", 1, default=lambda: np.full(1, np.nan, np.float32))
    """(1,) metres that the camera is above the floor, the same for everybody: a place x of camera space has the height
    `up @ x + floor`. NaN where the floor is not known."""
    contacts: np.ndarray = array(
        "float32", FRAMES, len(CONTACTS), default=lambda: np.zeros((0, len(CONTACTS)), np.float32)
    )
    """(n, 8) 0..1, how much each of `CONTACTS` rests on the floor."""
    bridged: np.ndarray = array("uint8", FRAMES, default=lambda: np.zeros(0, np.uint8))
    """(n,) 1 where the person was not seen and the motion is what lies between, else 0."""
    doubtful: np.ndarray = array("uint8", FRAMES, default=lambda: np.zeros(0, np.uint8))
    """(n,) 1 where it is not sure that this is the same person as in the other frames, else 0."""
    source: np.ndarray = array("int32", FRAMES, default=lambda: np.zeros(0, np.int32))
    """(n,) the track under which the person was followed in each frame, before tracks were joined and corrected; 0
    where that is this one or the person was not seen."""
    shot: np.ndarray = array("int32", 1, default=lambda: np.ones(1, np.int32))
    """(1,) number of the shot (see `shared.shot`) whose space the motion is in, from 1."""
    person: np.ndarray = array("int32", 1, default=lambda: np.zeros(1, np.int32))
    """(1,) the track that this one is a continuation of, in an earlier shot; 0 for none."""

    def __post_init__(self) -> None:
        n = len(self.frames)
        for name in ("contacts", "bridged", "doubtful", "source"):
            rows = getattr(self, name)
            if len(rows) == 0 < n:
                setattr(self, name, np.zeros((n, *rows.shape[1:]), rows.dtype))

    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays by name, in the types of `SPEC`, in C order."""
        return {name: np.ascontiguousarray(getattr(self, name), dtype) for name, (dtype, _) in SPEC.items()}

    def to_file(self) -> dict[str, np.ndarray]:
        """What an npz file of this motion holds: its arrays, `track` and `final`."""
        return {"track": np.int64(self.track), "final": np.bool_(self.final), **self.arrays()}

    @classmethod
    def from_file(cls, kept: Mapping[str, np.ndarray]) -> Self:
        """Inverse of `to_file`; `kept` is any mapping (an open npz file too), also of an earlier release. Raises
        KeyError or ValueError when it holds no motion."""
        known = {f.name: f for f in array_fields()}
        values = {
            name: np.asarray(kept[name], dtype)
            for name, (dtype, _) in SPEC.items()
            if name in kept or known[name].default_factory is MISSING
        }
        motion = cls(track=int(kept["track"].item()), final=bool(kept["final"].item()), **values)
        check(motion)
        return motion


def array_fields() -> list[Field]:
    """The fields of `TrackMotion` that are arrays."""
    return [f for f in fields(TrackMotion) if "dims" in f.metadata]


SPEC: Spec = {f.name: (f.metadata["dtype"], f.metadata["dims"]) for f in array_fields()}
"""Every array of a motion. `wire.RESULT` is this."""
PER_FRAME: tuple[str, ...] = tuple(name for name, (_, dims) in SPEC.items() if dims[0] == FRAMES)
"""The arrays that have a row for each frame."""


def check(motion: TrackMotion) -> None:
    """Raises ValueError when the arrays of a motion do not have the dimensions of `SPEC`."""
    sizes: dict[str, int] = {}
    for name, (_, dims) in SPEC.items():
        shape = np.shape(getattr(motion, name))
        if len(shape) != len(dims) or any(
            size != (dim if isinstance(dim, int) else sizes.setdefault(dim, size))
            for size, dim in zip(shape, dims, strict=True)
        ):
            raise ValueError(f"{name} of a motion has the shape {shape}, which does not fit {dims}")


M = TypeVar("M", bound=TrackMotion)


def joined(parts: Sequence[M]) -> M:
    """Motions of one track that follow each other in time as one; what is not kept for each frame is the newest's."""
    if len(parts) == 1:
        return parts[0]
    rows = {name: np.concatenate([getattr(part, name) for part in parts]) for name in PER_FRAME}
    return replace(parts[-1], **rows)

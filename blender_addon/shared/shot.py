# SPDX-License-Identifier: Apache-2.0
"""What a shot is, written down once: the frames between two cuts, and the camera that took them.

A shot's space is the space of its camera in its first frame: metres, x right, y down, z forward (OpenCV). Its people
move in that space; a camera that moves does so too. Numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from .motion import Spec

SHOT: Spec = {
    "frames": ("int32", ("m",)),
    "times": ("float64", ("m",)),
    "turns": ("float32", ("m", 3)),
    "places": ("float32", ("m", 3)),
    "lens": ("float32", ("m", 4)),
    "known": ("uint8", ("m",)),
    "up": ("float32", (3,)),
    "floor": ("float32", (1,)),
}
"""Every array of a shot, see the fields of `Shot`."""
FIELDS: Mapping[str, type] = {
    "number": int,
    "width": int,
    "height": int,
    "moving": bool,
    "zooms": bool,
    "fov_deg": float,
    "fov_sigma_deg": float,
    "lens_source": str,
    "note": str,
}
"""All that is not an array."""


@dataclass(eq=False)
class Shot:
    """One shot of m frames."""

    number: int
    """From 1, in the order of time."""
    width: int
    """Of the picture, pixels."""
    height: int
    """Of the picture, pixels."""
    frames: np.ndarray
    """(m,) int32 indices of the clip's frames, from 0, one after the other."""
    times: np.ndarray
    """(m,) float64 seconds from the clip's first frame."""
    turns: np.ndarray
    """(m, 3) float32 rotation vectors from the shot's space to that of the camera; all 0 for a still camera."""
    places: np.ndarray
    """(m, 3) float32 metres, where the camera is in the shot's space; all 0 for a still one."""
    lens: np.ndarray
    """(m, 4) float32 fx, fy, cx, cy, pixels."""
    known: np.ndarray
    """(m,) uint8 1 where the picture tells how the camera was held, 0 where that is guessed from other frames."""
    up: np.ndarray
    """(3,) float32, as of every motion of the shot."""
    floor: np.ndarray
    """(1,) float32, as of every motion of the shot."""
    moving: bool = False
    """Whether the camera turns or moves."""
    zooms: bool = False
    """Whether the focal length changes."""
    fov_deg: float = 55.0
    """Degrees that the picture's larger side spans, in the first frame."""
    fov_sigma_deg: float = 0.0
    """One sigma of it; 0 for a lens that is known."""
    lens_source: str = "assumed"
    """Where that comes from: given, file, people, turning, camera (an imported one) or assumed."""
    note: str = ""
    """One sentence on what could not be solved and what was assumed in its place; empty if there is nothing to say."""

    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays by name, in the types of `SHOT`, in C order."""
        return {name: np.ascontiguousarray(getattr(self, name), dtype) for name, (dtype, _) in SHOT.items()}

    def fields(self) -> dict[str, Any]:
        """All that is not an array."""
        return {name: kind(getattr(self, name)) for name, kind in FIELDS.items()}

    def to_file(self) -> dict[str, np.ndarray]:
        """What an npz file of this shot holds."""
        return {**{name: np.array(value) for name, value in self.fields().items()}, **self.arrays()}

    @classmethod
    def from_file(cls, kept: Mapping[str, np.ndarray]) -> Self:
        """Inverse of `to_file`; `kept` is any mapping (an open npz file too). Raises KeyError or ValueError when it
        holds no shot."""
        told = {name: kind(np.asarray(kept[name]).item()) for name, kind in FIELDS.items()}
        shot = cls(**told, **{name: np.asarray(kept[name], dtype) for name, (dtype, _) in SHOT.items()})
        if any(
            len(getattr(shot, name)) != len(shot.frames) for name, (_, dims) in SHOT.items() if dims[0] == "m"
        ):
            raise ValueError("the arrays of a shot have different lengths")
        return shot


__all__ = ["FIELDS", "SHOT", "Shot"]

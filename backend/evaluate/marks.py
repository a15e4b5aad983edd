"""Marks set by hand on the pictures of calibrated cameras: a 3D reference and dense points that no network had a
part in.

A file of marks is CSV: `camera` (from 1, in the order of the calibration), `frame` (from 0), the name of what was
marked (`joint`, `place` or `point`), `x`, `y` in pixels of the picture as in `backend.records`, and `hidden` (1 where
the place was inferred through something in front of it; the column may be left out).
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from backend.errors import JobError
from backend.evaluate.multiview import CalibratedCamera, triangulate

JOINTS = tuple(
    f"{side}_{joint}"
    for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    for side in ("left", "right")
)
"""The twelve marked joints, in the order of the landmarks 11-16 and 23-28; also names of SMPL-X joints."""
GOOD_PX = 8.0
"""Mean reprojection error up to which all marks of a joint are believed; above it, cameras are left out in turn."""
DOUBTFUL_PX = 12.0
"""A mark so far from where the others place its joint wants to be looked at again."""
_NAMES = ("joint", "place", "point")
_SHIFT_PX = 20.0
"""Expected size of a camera's picture shift: what nothing in the marks decides stays near zero."""


@dataclass(frozen=True, eq=False)
class Marks:
    """n marks."""

    camera: np.ndarray
    """(n,) number of the camera, from 0."""
    frame: np.ndarray
    """(n,) index of the frame, from 0."""
    name: tuple[str, ...]
    """n names of what was marked."""
    xy: np.ndarray
    """(n, 2) pixels."""
    hidden: np.ndarray
    """(n,) bool, which places were inferred through something in front of them."""

    def __len__(self) -> int:
        return len(self.name)

    @property
    def frames(self) -> np.ndarray:
        """(F,) the frames that have marks, sorted."""
        return np.unique(self.frame)

    def take(self, rows: np.ndarray) -> Marks:
        """The marks `rows` (integers or a mask)."""
        index = np.arange(len(self))[rows]
        names = tuple(self.name[i] for i in index)
        return Marks(self.camera[index], self.frame[index], names, self.xy[index], self.hidden[index])


def read_marks(path: Path, names: Sequence[str] | None = None) -> Marks:
    """The marks of a CSV file; with `names`, no other may be in it.

    JobError("bad_marks") names the line at fault.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file, strict=True))
    except OSError as e:
        raise _bad(f"{path} cannot be read: give a CSV file of marks") from e
    except (UnicodeDecodeError, csv.Error) as e:
        raise _bad(f"{path.name} is not CSV text: save it as UTF-8 with commas") from e
    heads = [h.strip() for h in lines[0]] if lines else []
    named = [h for h in heads if h in _NAMES]
    needed = {"camera", "frame", "x", "y"}
    if not needed <= set(heads) or len(named) != 1 or set(heads) - needed - {"hidden", *named}:
        raise _bad(f"{path.name} must begin with the line camera,frame,joint (or place, or point),x,y,hidden")
    rows, seen = [], set()
    for number, line in enumerate(lines[1:], 2):
        if not line:
            continue
        where = f"line {number} of {path.name}"
        if len(line) != len(heads):
            raise _bad(f"{where} has {len(line)} values in place of {len(heads)}")
        row = _row(dict(zip(heads, line, strict=True)), named[0], where, names)
        if row[:3] in seen:
            raise _bad(f"{where} marks {row[2]} in that picture a second time: keep one of the two")
        seen.add(row[:3])
        rows.append(row)
    if not rows:
        raise _bad(f"{path.name} holds no marks")
    camera, frame, name, x, y, hidden = zip(*rows, strict=True)
    return Marks(np.array(camera), np.array(frame), name, np.stack([x, y], 1), np.array(hidden, bool))


def _row(said: dict[str, str], key: str, where: str, names: Sequence[str] | None) -> tuple:
    try:
        camera, frame = int(said["camera"]), int(said["frame"])
        x, y = float(said["x"]), float(said["y"])
        hidden = int(said.get("hidden", "0"))
    except ValueError as e:
        raise _bad(f"{where} holds something that is not a number") from e
    if camera < 1 or frame < 0 or hidden not in (0, 1) or not (math.isfinite(x) and math.isfinite(y)):
        raise _bad(f"{where} must have a camera from 1, a frame from 0, finite pixels, and hidden 0 or 1")
    name = said[key].strip()
    if not name or (names is not None and name not in names):
        known = f": choose from {', '.join(names)}" if names is not None else ""
        raise _bad(f"{where} has the unknown {key} '{name}'{known}")
    return camera - 1, frame, name, x, y, hidden


def _bad(text: str) -> JobError:
    return JobError("bad_marks", f"{text}.")


@dataclass(frozen=True, eq=False)
class Reference:
    """Where the J marked joints were in F frames, as C cameras see them."""

    frames: np.ndarray
    """(F,) indices of the marked frames."""
    points: np.ndarray
    """(F, J, 3) world metres, NaN where not `valid`."""
    valid: np.ndarray
    """(F, J) bool."""
    error_px: np.ndarray
    """(C, F, J) pixels from each mark to its joint as that camera sees it, NaN where there is no mark."""


def joint_reference(
    cameras: Sequence[CalibratedCamera], marks: Marks, names: Sequence[str] = JOINTS
) -> Reference:
    """Triangulate `names` in every marked frame; a camera that disagrees with the others is left out.

    A joint is valid that was marked in two cameras or more.
    """
    grid = mark_grid(marks, len(cameras), names)
    points, error = triangulate(list(cameras), grid, GOOD_PX)
    valid = np.isfinite(error)
    seen = np.stack([c.project(points) for c in cameras])
    return Reference(marks.frames, points, valid, np.linalg.norm(seen - grid, axis=-1))


def mark_grid(marks: Marks, cameras: int, names: Sequence[str]) -> np.ndarray:
    """The marks as (C, F, J, 2) pixels, NaN where there is none; F as in `Marks.frames`."""
    if (marks.camera >= cameras).any():
        raise _bad(f"The marks speak of camera {marks.camera.max() + 1}, but the calibration has {cameras}")
    frames = {f: i for i, f in enumerate(marks.frames)}
    column = {n: j for j, n in enumerate(names)}
    grid = np.full((cameras, len(frames), len(names), 2), np.nan)
    for camera, frame, name, xy in zip(marks.camera, marks.frame, marks.name, marks.xy, strict=True):
        if name in column:
            grid[camera, frames[frame], column[name]] = xy
    return grid


def doubtful_marks(
    cameras: Sequence[CalibratedCamera],
    marks: Marks,
    names: Sequence[str] = JOINTS,
    limit_px: float = DOUBTFUL_PX,
) -> list[tuple[int, int, str, float]]:
    """Marks to be looked at again, as (camera from 0, frame, name, pixels off), the worst first: a mark further than
    `limit_px` from its joint."""
    reference = joint_reference(cameras, marks, names)
    error = np.nan_to_num(reference.error_px)
    found = [
        (int(c), int(reference.frames[f]), names[j], float(error[c, f, j]))
        for c, f, j in np.argwhere(error > limit_px)
    ]
    return sorted(found, key=lambda row: -row[3])


def align_cameras(cameras: Sequence[CalibratedCamera], marks: Marks) -> list[CalibratedCamera]:
    """The cameras with their principal points moved until points marked in several of them meet.

    For footage whose pictures lie some pixels beside its calibration file. Fits two numbers a camera by robust
    least squares; what the marks leave open (all pictures shifted alike) stays as small as can be.
    """
    groups: dict[tuple[int, str], dict[int, np.ndarray]] = defaultdict(dict)
    for camera, frame, name, xy in zip(marks.camera, marks.frame, marks.name, marks.xy, strict=True):
        groups[int(frame), name][int(camera)] = xy
    by_cameras: dict[tuple[int, ...], list[np.ndarray]] = defaultdict(list)
    for seen in groups.values():
        if len(seen) > 1:
            kept = tuple(sorted(seen))
            by_cameras[kept].append(np.stack([seen[c] for c in kept]))
    if not by_cameras:
        raise _bad("No point is marked in two cameras: mark some to align them by")
    blocks = {kept: np.stack(rows, 1) for kept, rows in by_cameras.items()}

    def residuals(values: np.ndarray) -> np.ndarray:
        moved = _shifted(cameras, values * _SHIFT_PX)
        out = [values]
        for kept, pixels in blocks.items():
            some = [moved[c] for c in kept]
            points = _meet(some, pixels)
            out += [(c.project(points) - p).ravel() for c, p in zip(some, pixels, strict=True)]
        return np.concatenate(out)

    fit = least_squares(residuals, np.zeros(2 * len(cameras)), loss="soft_l1", f_scale=2.0)
    return _shifted(cameras, fit.x * _SHIFT_PX)


def _shifted(cameras: Sequence[CalibratedCamera], values: np.ndarray) -> list[CalibratedCamera]:
    out = []
    for camera, shift in zip(cameras, values.reshape(-1, 2), strict=True):
        K = camera.K.copy()
        K[:2, 2] += shift
        out.append(replace(camera, K=K))
    return out


def _meet(cameras: Sequence[CalibratedCamera], pixels: np.ndarray) -> np.ndarray:
    """Linear triangulation of (C, n, 2) pixels -> (n, 3) world metres."""
    rays = np.stack([c.undistort(p) for c, p in zip(cameras, pixels, strict=True)])
    P = np.stack([np.c_[c.R, c.t] for c in cameras])
    A = rays[..., None] * P[:, None, 2:3] - P[:, None, :2]
    A = A.transpose(1, 0, 2, 3).reshape(pixels.shape[1], -1, 4)
    x = np.linalg.svd(A)[2][:, -1]
    return x[:, :3] / x[:, 3:]


def joint_box(xy: np.ndarray, margin: float = 0.15) -> np.ndarray:
    """(4,) x, y, w, h pixels about a person of whom the joints `xy` (J, 2) are known (NaN for those that are not).

    `margin` on every side, as a share of the larger one, stands for head, hands and feet.
    """
    low, high = np.nanmin(xy, 0), np.nanmax(xy, 0)
    grown = margin * (high - low).max()
    return np.array([*(low - grown), *(high - low + 2 * grown)])


def dense_errors(points2d: np.ndarray, marks: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far predicted places are from the marked ones: -> (n,) pixels, and (n,) the same over the box's side.

    `points2d`, `marks`: (n, 2) pixels of the same places; `box`: (4,) or (n, 4) x, y, w, h about the person, whose
    side is the larger of w and h.
    """
    points2d, marks, box = (np.asarray(a, float) for a in (points2d, marks, box))
    if points2d.shape != marks.shape or marks.ndim != 2 or marks.shape[1] != 2:
        raise ValueError(f"marks and points must both be (n, 2), not {marks.shape} and {points2d.shape}")
    px = np.linalg.norm(points2d - marks, axis=1)
    return px, px / box[..., 2:].max(-1)

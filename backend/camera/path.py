"""Where the camera is and where it looks in every frame, from features of the background alone.

The world is the camera of the first frame: x right, y down, z forward. What camera space knows as p is at
`turns.T @ p + places` in the world. Turns are found, and the zoom. Where what is near moves otherwise than what is far,
the camera goes from place to place, and its way is found too; people tell later how many metres it has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backend.camera.background import Background
from backend.camera.moving import keys, pairs, still, turning, walking
from backend.camera.moving.keys import NOISE_PX, Keys
from backend.camera.moving.sight import Sight
from backend.camera.moving.turning import Turning
from backend.camera.moving.walking import Walk
from backend.camera.pinhole import Camera

MODES = ("auto", "still", "moving")
"""`auto`: it is found out whether the camera moves."""
ZOOM = 0.02
"""Least range of the zoom's logarithm that is called a zoom; autofocus changes the view by less."""
FOCAL_SIGMA = 0.12
"""Largest relative error of a focal length that is told by turning."""
STARTS = (1.0, 0.62, 1.6, 2.5)
"""Times the guessed focal length, where the search for the right one begins."""
REFUTED = 4.0
"""A guessed focal length that costs so many times more than a free one is wrong."""
SWING = np.radians(12)
"""Angle that the line of sight must swing to tell the lens: over less, stabilisers and crops look like a long lens."""
_FLOOR = 0.02
"""The least that this error is said to be: lenses are no pinholes."""
_WORSE = 3.0
"""By how much more than noise alone makes it the error is taken: the features' errors are alike for long."""
_WALK_WORSE = 5.0
"""The same where the camera goes from place to place, too: a little depth does for a little focal length."""
_LEAST_KNOWN = 0.5
"""Part of the frames that must be known for a path."""
_LEAST_AGREED = 0.3
"""Part of the sightings that must agree with a path, or it is only a guess."""
_TURNS_ONLY = 0.55
"""Where fewer than this part of them agree with a camera that only turns, it goes from place to place as well."""
_MAY_WALK = 0.95
"""Where fewer than this part of them agree with it, a way is looked for."""
_WALKS = 0.1
"""A way is believed if it makes so many more of all sightings agree. What moves by itself in the background makes up to
0.04, a walk past things that are some metres away 0.3 and more (generated features, seeds from 100)."""


@dataclass(frozen=True)
class CameraPath:
    """A camera over n frames."""

    frames: np.ndarray
    """(n,) int32."""
    turns: np.ndarray
    """(n, 3, 3) world -> camera; the identity in the first frame."""
    places: np.ndarray
    """(n, 3) of the camera in the world; zero in the first frame. Metres, or, where it `walks`, an unknown unit."""
    zoom: np.ndarray
    """(n,) focal length over that of the first frame."""
    known: np.ndarray
    """(n,) bool; elsewhere it is interpolated."""
    turn_sigma: np.ndarray
    """(n,) radians, one sigma about each axis."""
    moving: bool
    """Whether it moves or zooms at all; otherwise every frame is exactly as the first."""
    zooming: bool
    """Whether `zoom` changes."""
    focal_px: float
    """Pixels, in the first frame: as given, or as turning told it."""
    focal_sigma: float
    """Relative, of a `focal_px` that was told by turning; NaN where it is as given."""
    walks: bool = False
    """Whether `places` are of a camera that goes about, in a unit that only people can tell."""
    points: np.ndarray | None = None
    """(p, 3) things of the background in the world whose distance is well known, where it `walks`, in its unit."""
    said: str = ""
    """One sentence where the path could not be solved or is not sure: what was assumed."""


def standing(frames: np.ndarray, focal_px: float, said: str = "") -> CameraPath:
    """The path of a camera that stands still."""
    n = len(frames)
    return CameraPath(np.asarray(frames, np.int32), np.tile(np.eye(3), (n, 1, 1)), np.zeros((n, 3)), np.ones(n),
                      np.ones(n, bool), np.zeros(n), False, False, float(focal_px), float("nan"),
                      said=said)  # fmt: skip


def solve_path(
    background: Background,
    times: np.ndarray,
    camera: Camera,
    mode: str = "auto",
    focal_known: bool = False,
) -> CameraPath:
    """The camera of one shot. `times`: (n,) seconds of the background's frames; `camera`: principal point, and the
    focal length as it is known, or (`focal_known` False) as it is guessed; `mode`: one of `MODES`. Never fails: what
    cannot be solved is said in the path."""
    frames, focal_px = background.frames, float(camera.K[0, 0])
    times = np.asarray(times, float)
    if mode == "still" or len(frames) < 2:
        return standing(frames, focal_px)
    sight = Sight.of(background, camera)
    if mode == "auto" and still.surely_still(sight, times):
        return standing(frames, focal_px)
    focal = focal_px / sight.small
    steps = pairs.steps(sight, focal)
    if steps.known.mean() < _LEAST_KNOWN:
        return standing(frames, focal_px, _nothing(mode))
    found, zooming = _turning(sight, steps, times, focal, focal_known)
    size = camera.width / sight.small, camera.height / sight.small
    if mode == "auto" and still.seems_still(found, *size):
        return standing(frames, focal_px)
    if found.agreed < _MAY_WALK:
        walk = walking.walked(sight, steps, times, focal, focal_known)
        if walk is not None and _walks(found, walk):
            return _walk_path(frames, walk, sight)
    return _path(frames, times, found, sight, zooming, mode)


def _walks(found: Turning, walk: Walk) -> bool:
    """Whether a camera that goes about explains what is seen, and one that only turns does not."""
    with np.errstate(invalid="ignore"):
        agreed = (walk.miss < 3 * NOISE_PX).mean()
        return bool(
            walk.known.mean() >= _LEAST_KNOWN
            and agreed >= _LEAST_AGREED
            and agreed >= (found.miss < 3 * NOISE_PX).mean() + _WALKS
        )


def _walk_path(frames, walk: Walk, sight: Sight) -> CameraPath:
    n, error = len(frames), float(np.hypot(_WALK_WORSE * walk.focal_sigma, _FLOOR))
    # A lens that is told badly is not told; the turns still are those that go with it.
    told = error < FOCAL_SIGMA
    return CameraPath(np.asarray(frames, np.int32), walk.turns, walk.places, np.ones(n), walk.known, walk.sigma, True,
                      False, float(walk.focal * sight.small), error if told else float("nan"), walks=True,
                      points=walk.points)  # fmt: skip


def _turning(sight, steps, times, focal: float, focal_known: bool) -> tuple[Turning, bool]:
    """The turn of every frame, and whether the camera zooms. The focal length is free, and stays so where it is then
    told well enough."""
    starts = (1.0,) if focal_known else STARTS
    first = keys.solve(sight, steps, times, focal, focal_known, True, starts)
    zooming = bool(np.ptp(first.zooms) > ZOOM)
    if not zooming:
        first = keys.solve(sight, steps, times, focal, focal_known, False, (first.focal / focal,))
    if not focal_known and (_error(first) >= FOCAL_SIGMA or _swing(first) < SWING):
        given = keys.solve(sight, steps, times, focal, True, zooming)
        # A guess that the background contradicts is worse than an uncertain answer.
        if given.cost < REFUTED * first.cost:
            first = given
    return turning.resected(sight, steps, times, first, zooming), zooming


def _swing(found: Keys) -> float:
    """Largest angle between the first line of sight and another."""
    ahead = found.turns[0, 2] @ found.turns[:, 2].T
    return float(np.arccos(np.clip(ahead, -1, 1)).max())


def _error(found: Turning | Keys) -> float:
    """Relative error of the focal length."""
    return float(np.hypot(_WORSE * found.focal_sigma, _FLOOR))


def _path(frames, times, found: Turning, sight: Sight, zooming: bool, mode: str) -> CameraPath:
    n, error = len(frames), _error(found)
    said = ""
    if found.known.mean() < _LEAST_KNOWN:
        return standing(frames, found.focal * sight.small, _nothing(mode))
    if found.agreed < _LEAST_AGREED:
        said = "The background does not move as one, so the camera's turn is only a rough guess."
    elif found.agreed < _TURNS_ONLY:
        said = (
            "The camera seems to go from place to place, but how is not clear: only its turn is taken out, so people's "
            "ways in the world are less sure."
        )
    return CameraPath(np.asarray(frames, np.int32), found.turns, np.zeros((n, 3)), np.exp(found.zooms), found.known,
                      found.sigma, True, zooming, float(found.focal * sight.small),
                      error if np.isfinite(error) else float("nan"), said=said)  # fmt: skip


def _nothing(mode: str) -> str:
    asked = "" if mode == "auto" else ", though a moving one was asked for"
    return f"The background shows too little to tell how the camera moves: it is taken to stand still{asked}."


__all__ = ["MODES", "CameraPath", "solve_path", "standing"]

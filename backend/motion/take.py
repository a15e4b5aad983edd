"""One shot on its way to its people's motions: what the end of a job knows of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from backend.body.model import Body, CanonicalPoints
from backend.camera.pinhole import Camera
from backend.fit.camerafitter import Fitter
from backend.fit.view import View
from backend.jobs.pieces import Pieces
from backend.motion.reason import Misfit
from backend.options import MocapOptions
from backend.records import TrackChunk


@dataclass
class Way:
    """How a camera moves over the m frames of a shot; in its space in the first of them."""

    turns: np.ndarray
    """(m, 3, 3) from the shot's space to the camera's."""
    places: np.ndarray
    """(m, 3) metres, the camera's."""
    metres: bool = True
    """False until people have told how long the way is; `places` are in an unknown unit then."""
    points: np.ndarray | None = None
    """(p, 3) things of the background in the shot's space, in that unit; None where none are known."""


@dataclass
class Take:
    """A shot."""

    body: Body
    """That is fitted."""
    points: CanonicalPoints
    """That were localized."""
    options: MocapOptions
    """Of the job."""
    fitter: Fitter
    """For the shot's camera."""
    first: int = 0
    """Its first frame."""
    way: Way | None = None
    """None for a camera that stands still."""
    lens_sure: bool = True
    """Whether the lens is given or told; nobody is left out because of one that is assumed."""
    misfits: dict[int, Misfit] = field(default_factory=dict)
    """Track -> how far its points are from those of a body, as `solve` found."""
    scale: float = 1.0
    """By how much `solve` has made the world larger, with the way of the camera in it."""
    up: np.ndarray | None = None
    """(3,) which way is up by a floor that the background shows; None without one."""
    said: str = ""
    """One sentence where people do not tell how long the camera's way is: what was assumed."""
    tracks: list[TrackChunk] = field(default_factory=list)
    """Everybody in it, localized under its camera."""
    followed: list[TrackChunk] = field(default_factory=list)
    """The same before any correction."""
    excluded: list[TrackChunk] = field(default_factory=list)
    """Those whom the user does not want; they still say where the floor is."""
    pieces: Pieces = field(default_factory=Pieces)
    """What was solved of it before."""

    @property
    def camera(self) -> Camera:
        """Its camera."""
        return self.fitter.camera

    def held(self, frames: np.ndarray) -> Way | None:
        """How the camera was held in some frames of the clip; None for one that stands still."""
        if self.way is None:
            return None
        rows = np.clip(np.asarray(frames) - self.first, 0, len(self.way.turns) - 1)
        return Way(self.way.turns[rows], self.way.places[rows], self.way.metres)

    def view(self, frames: np.ndarray) -> View | None:
        """The same for the fit."""
        held = self.held(frames)
        return None if held is None else View.of(held.turns, held.places, self.fitter.device)


__all__ = ["Take", "Way"]

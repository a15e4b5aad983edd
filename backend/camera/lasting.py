"""Whether the background goes on from one frame to another: what is still followed is no other place."""

from __future__ import annotations

import numpy as np

from backend.camera.again import agreed
from backend.camera.background import SIDE, Background

GOES_ON = 0.5
"""Part of the features that must still be followed. Past the middles of dissolves up to 0.12 are, in the films of
bench.cuts, seed 100, 0.76 and more by a camera that walks past things (bench.walking, seed 100)."""


class Lasting:
    """The features of n frames, compared."""

    def __init__(self, background: Background, longest: int) -> None:
        """`longest`: side of the pictures, pixels."""
        at = np.cumsum(background.counts)[:-1]
        self._ids = np.split(background.ids, at)
        self._places = np.split(background.places * (SIDE / longest), at)

    def share(self, i: int, j: int) -> float:
        """Part of the features of frame i, by its number in the background, that frame j shows, too, moved as one."""
        _, a, b = np.intersect1d(self._ids[i], self._ids[j], assume_unique=True, return_indices=True)
        return float(agreed(self._places[i][a], self._places[j][b]).sum() / max(len(self._ids[i]), 1))

    def goes_on(self, i: int, j: int) -> bool:
        """Whether both show one place. False says nothing: the camera may have turned away."""
        return self.share(i, j) >= GOES_ON

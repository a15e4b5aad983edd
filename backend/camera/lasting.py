"""Whether the background goes on from one frame to another: what is still followed is no other place."""

from __future__ import annotations

import numpy as np

from backend.camera.again import agreed
from backend.camera.background import SIDE, Background

# Chosen on cut films and rendered walks of seeds 100 and up (bench.cuts, bench.walking), and on dissolves of 1 to 2 s.
GOES_ON = 0.5
"""Part of the features that must still be followed. 0.2 s to either side of a hard cut none are, where a camera walks
past things 0.76 and more."""
MOVED_PX = 6.0
"""Small pixels that features have moved where the camera moves. In a slow dissolve between two pictures that stand
still up to 0.9 of them are still followed, but stay where they are."""


class Lasting:
    """The features of n frames, compared."""

    def __init__(self, background: Background, longest: int) -> None:
        """`longest`: side of the pictures, pixels."""
        at = np.cumsum(background.counts)[:-1]
        self._ids = np.split(background.ids, at)
        self._places = np.split(background.places * (SIDE / longest), at)

    def goes_on(self, i: int, j: int, moving: bool) -> bool:
        """Whether frames i and j, by their numbers in the background, show one place; `moving`: as a moving camera sees
        it. False says nothing: the camera may have turned away."""
        _, a, b = np.intersect1d(self._ids[i], self._ids[j], assume_unique=True, return_indices=True)
        before, after = self._places[i][a], self._places[j][b]
        good = agreed(before, after)
        if good.sum() < max(GOES_ON * len(self._ids[i]), 1):
            return False
        return not moving or float(np.median(np.linalg.norm((after - before)[good], axis=1))) >= MOVED_PX

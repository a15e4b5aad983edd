"""Features found again in a later picture: the next one, or the first that shows something after a blind moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

# Chosen on rendered rooms and cut films (bench.walking, bench.cuts) of seeds 100 and up.
LEAST = 12
"""Features that must agree before any is believed …"""
SHARE = 0.5
"""… and the part of all that were found."""
_AGREE_PX = 1.5
"""Small pixels within which features agree with one motion."""
_FLAT = 0.9
"""Part of the features of which one plane must explain the motion so that no depth is looked for."""
_ROUGH_PX = 5.0
"""The same where pictures are matched roughly: what is near moves otherwise than what is far."""
_MATCHED = 500
"""Marks that are compared, of each picture."""
_LIKE = 0.8
"""The best match of a mark must be so many times nearer than the next best one."""
_BACK_PX = 0.5
"""Farthest that a feature which is followed there and back may end from where it began, small pixels."""
_WINDOW = (13, 13)
_LEVELS = 3
_STEPS = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 12, 0.03)
_QUALITY = 90
"""Of a picture that is kept for a moment: small enough to be in the memory of every chunk."""


@dataclass(frozen=True)
class Held:
    """What was followed in a picture a moment ago."""

    packed: np.ndarray
    """(b,) uint8, the small grey picture as JPEG."""
    ids: np.ndarray
    """(m,) int32, rising."""
    places: np.ndarray
    """(m, 2) float32 small pixels."""
    time_s: float
    """Seconds."""

    @classmethod
    def of(cls, picture: np.ndarray, ids: np.ndarray, places: np.ndarray, time_s: float) -> Held:
        """`picture`: (h, w) uint8."""
        packed = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].ravel()
        return cls(packed, ids, places, time_s)

    def picture(self) -> np.ndarray:
        """(h, w) uint8."""
        return cv2.imdecode(self.packed, cv2.IMREAD_GRAYSCALE)

    def to_arrays(self, name: str) -> dict[str, np.ndarray]:
        """Arrays for an npz file, each called `name` and more."""
        return {
            f"{name}_packed": self.packed,
            f"{name}_ids": self.ids,
            f"{name}_places": self.places,
            f"{name}_s": np.array(self.time_s),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], name: str) -> Held | None:
        """Inverse of `to_arrays`; None where nothing was kept."""
        if f"{name}_s" not in arrays:
            return None
        return cls(
            np.asarray(arrays[f"{name}_packed"], np.uint8),
            np.asarray(arrays[f"{name}_ids"], np.int32),
            np.asarray(arrays[f"{name}_places"], np.float32),
            float(arrays[f"{name}_s"]),
        )


def followed(
    before: np.ndarray, after: np.ndarray, places: np.ndarray, near: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Where the features at `places` (m, 2) of one picture are in another, and (m,) which of them come back to where
    they began when they are followed back. `near`: (m, 2) where they are looked for; at their places if None."""
    start, flags = np.ascontiguousarray(places, np.float32), 0
    guess = back = None
    if near is not None:
        guess, back = np.array(near, np.float32), start.copy()
        flags = cv2.OPTFLOW_USE_INITIAL_FLOW
    there, found, _ = cv2.calcOpticalFlowPyrLK(
        before, after, start, guess, winSize=_WINDOW, maxLevel=_LEVELS, criteria=_STEPS, flags=flags
    )
    back, again, _ = cv2.calcOpticalFlowPyrLK(
        after, before, there, back, winSize=_WINDOW, maxLevel=_LEVELS, criteria=_STEPS, flags=flags
    )
    good = (found.ravel() == 1) & (again.ravel() == 1)
    return there, good & (np.abs(back - start).max(1) < _BACK_PX)


def agreed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(m,) which of the features that went from `before` (m, 2) to `after` move as things that stand still do before a
    camera; nobody where too few do."""
    nobody = np.zeros(len(before), bool)
    if len(before) < LEAST:
        return nobody
    a, b = np.asarray(before, np.float64), np.asarray(after, np.float64)
    _, flat = cv2.findHomography(a, b, cv2.USAC_MAGSAC, _AGREE_PX)
    good = nobody if flat is None else flat.ravel() > 0
    if good.mean() < _FLAT:
        try:
            _, deep = cv2.findFundamentalMat(a, b, cv2.USAC_MAGSAC, _AGREE_PX, 0.999, 1000)
        except cv2.error:
            # It has no answer where nothing moves.
            deep = None
        if deep is not None and deep.sum() > good.sum():
            good = deep.ravel() > 0
    return good if good.sum() >= max(LEAST, SHARE * len(a)) else nobody


def found_again(
    before: np.ndarray, after: np.ndarray, places: np.ndarray, free: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """As `followed`, but however far the picture has moved meanwhile; `free`: (h, w) uint8, not 0 where the later
    picture may be looked at. Only those who agree count."""
    nothing = places, np.zeros(len(places), bool)
    orb = cv2.ORB_create(_MATCHED, fastThreshold=10)
    (at, marks), (there, others) = (
        (np.array([k.pt for k in keys]).reshape(-1, 2), found)
        for keys, found in (orb.detectAndCompute(p, m) for p, m in ((before, None), (after, free)))
    )
    if min(len(at), len(there)) < LEAST or not len(places):
        return nothing
    pairs = cv2.BFMatcher(cv2.NORM_HAMMING).knnMatch(marks, others, 2)
    sure = [p[0] for p in pairs if len(p) == 2 and p[0].distance < _LIKE * p[1].distance]
    if len(sure) < LEAST:
        return nothing
    a, b = at[[m.queryIdx for m in sure]], there[[m.trainIdx for m in sure]]
    map_, good = cv2.findHomography(a, b, cv2.USAC_MAGSAC, _ROUGH_PX)
    if map_ is None or good.sum() < LEAST:
        return nothing
    near = cv2.perspectiveTransform(places[:, None].astype(np.float64), map_)[:, 0]
    high, wide = after.shape
    inside = np.isfinite(near).all(1) & ((near >= 0) & (near < [wide, high])).all(1)
    end, ok = places.copy(), inside.copy()
    if inside.any():
        end[inside], ok[inside] = followed(before, after, places[inside], near[inside])
        ok[ok] = agreed(places[ok], end[ok])
    return end, ok

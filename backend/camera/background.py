"""Features of the background followed from frame to frame: what the camera's own motion is found from.

Corners outside the people's boxes are followed in a small grey picture, forwards and back; one that does not come back
to where it started is dropped. After a sudden change those that still move as one go on, and what was lost for a moment
is looked for again: only where another place is shown are all of them new. Nothing is decided here:
`backend.camera.path` does so, with all of the clip in sight.
Everything is in whole numbers or in single steps, so that no result depends on the number of threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import cv2
import numpy as np

from backend.camera.again import LEAST, Held, agreed, followed, found_again
from blender_addon.shared.frames import Frame

# Chosen on rendered panoramas (bench.camera, seed 100).
SIDE = 640
"""Longest side of the picture that is looked at, pixels."""
MOST = 150
"""Features that are followed at a time."""
ENLARGE = 0.08
"""Part of a person's box that is added on each side: hair, hands and shadows reach out of it."""
LOOK_S = 0.1
"""Least seconds between two looks for new features."""
REFRESH_S = 0.5
"""Seconds after which places that became free are filled in any case."""
_LEFT = 0.85
"""New features are looked for when fewer than this part of the last number is left."""
BLIND_S = 0.3
"""Seconds for which features that are lost together are looked for again."""
_RECENT_S = 0.1
"""Seconds after which what is followed is noted, in case that it is lost."""
_LOST = 0.5
"""Where less than this part of what was noted is still followed, it was lost together."""
_TRY_S = 0.03
"""Least seconds between two tries."""
_SLACK_S = 1e-4
_EDGE = 4
"""Small pixels from the edge of the picture in which nothing is followed: the window must hold a picture."""
_CELLS = 8
"""Columns and rows into which the picture is divided so that features are spread over it."""
_CORNER = 2e-4
"""Least strength of a corner; plain walls with a codec's noise stay below it."""


@dataclass(frozen=True)
class BackgroundFrame:
    """The features of one picture."""

    ids: np.ndarray
    """(m,) int32, rising; an id stays with its feature, also where that was lost for less than `BLIND_S`."""
    places: np.ndarray
    """(m, 2) float32 pixels of the whole picture."""


@dataclass(frozen=True)
class Background:
    """The features of n consecutive frames."""

    frames: np.ndarray
    """(n,) int32, rising."""
    counts: np.ndarray
    """(n,) int32, features of each frame."""
    ids: np.ndarray
    """(m,) int32, frame after frame."""
    places: np.ndarray
    """(m, 2) float32 pixels."""

    @classmethod
    def of(cls, frames: Sequence[int], seen: Sequence[BackgroundFrame]) -> Background:
        """From what `BackgroundTracker.see` gave for these frames."""
        return cls(
            np.array(frames, np.int32),
            np.array([len(s.ids) for s in seen], np.int32),
            np.concatenate([np.zeros(0, np.int32), *(s.ids for s in seen)]),
            np.concatenate([np.zeros((0, 2), np.float32), *(s.places for s in seen)]),
        )

    @classmethod
    def joined(cls, parts: Sequence[Background]) -> Background:
        """Parts that follow one another, as one; none at all give an empty one."""
        whole = [cls.of([], []), *parts]
        return cls(*(np.concatenate([getattr(p, f.name) for p in whole]) for f in fields(cls)))

    def cut(self, first: int, last: int) -> Background:
        """Frames [first, last] of it."""
        keep = (self.frames >= first) & (self.frames <= last)
        rows = np.repeat(keep, self.counts)
        return Background(self.frames[keep], self.counts[keep], self.ids[rows], self.places[rows])

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Flat arrays for an npz file."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Background:
        """Inverse of `to_arrays`."""
        return cls(*(np.asarray(arrays[f.name]) for f in fields(cls)))


class BackgroundTracker:
    """Follows features of the background through the pictures of one clip, given in order."""

    def __init__(self, width: int, height: int) -> None:
        """`width`, `height`: of the pictures, pixels."""
        halves = 0
        while max(width, height) >> (halves + 1) >= SIDE:
            halves += 1
        wide, high = width >> halves, height >> halves
        shrink = min(1.0, SIDE / max(wide, high))
        self._size = max(round(wide * shrink), 1), max(round(high * shrink), 1)
        self._halves = halves
        self._scale = np.array([wide / self._size[0], high / self._size[1]]) * 2**halves
        self._next_id = 0
        self._enough = MOST
        self._picture: np.ndarray | None = None
        self._ids = np.zeros(0, np.int32)
        self._places = np.zeros((0, 2), np.float32)
        self._looked_s = -np.inf
        # What was followed a moment ago, and, while it is looked for, what was lost.
        self._recent: Held | None = None
        self._lost: Held | None = None
        self._tried_s = -np.inf

    def see(self, frame: Frame, people: np.ndarray, sudden: bool = False) -> BackgroundFrame:
        """The next picture. `people`: (k, 4) boxes x, y, w, h, pixels, of all who are known to be in it; `sudden`: it
        may be of another shot."""
        picture = self._small(frame.image)
        free = self._free(people)
        if self._picture is not None and len(self._ids):
            self._follow(picture, free, sudden)
        self._look_back(picture, free, frame.time_s, sudden)
        since = frame.time_s - self._looked_s
        few = len(self._ids) < _LEFT * self._enough
        if since >= REFRESH_S or (few and (since >= LOOK_S or self._lost is not None)):
            self._fill(picture, free)
            self._looked_s = frame.time_s
        self._picture = picture
        if self._recent is None or frame.time_s - self._recent.time_s >= _RECENT_S - _SLACK_S:
            self._recent = Held.of(picture, self._ids, self._places, frame.time_s)
        return BackgroundFrame(self._ids, ((self._places + 0.5) * self._scale - 0.5).astype(np.float32))

    def memory(self) -> dict[str, np.ndarray]:
        """All that the tracker knows between two frames, as arrays for an npz file; with it `recall` goes on as if
        nothing had happened. The small picture is packed without loss."""
        packed = np.zeros(0, np.uint8)
        if self._picture is not None:
            packed = cv2.imencode(".png", self._picture)[1].ravel()
        return {
            "ids": self._ids,
            "places": self._places,
            "counts": np.array([self._next_id, self._enough], np.int64),
            "looked_s": np.array(self._looked_s),
            "tried_s": np.array(self._tried_s),
            "picture": packed,
            **(self._recent.to_arrays("recent") if self._recent else {}),
            **(self._lost.to_arrays("lost") if self._lost else {}),
        }

    def recall(self, memory: Mapping[str, np.ndarray]) -> None:
        """Go on where the tracker that gave `memory` stopped. An empty one leaves this tracker as it is."""
        if not memory:
            return
        self._ids = np.asarray(memory["ids"], np.int32)
        self._places = np.asarray(memory["places"], np.float32)
        self._next_id, self._enough = (int(v) for v in memory["counts"])
        self._looked_s = float(memory["looked_s"])
        self._tried_s = float(memory.get("tried_s", -np.inf))
        self._recent, self._lost = (Held.from_arrays(memory, name) for name in ("recent", "lost"))
        packed = np.asarray(memory["picture"], np.uint8)
        self._picture = cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE) if len(packed) else None

    def _small(self, image: np.ndarray) -> np.ndarray:
        """(h, w) uint8: the green of the picture, halved while it can be, which is quick, and then brought to size."""
        grey = cv2.extractChannel(image, 1)
        for _ in range(self._halves):
            h, w = grey.shape[0] // 2, grey.shape[1] // 2
            grey = cv2.resize(grey[: 2 * h, : 2 * w], (w, h), interpolation=cv2.INTER_AREA)
        if grey.shape[::-1] == self._size:
            return grey
        return cv2.resize(grey, self._size, interpolation=cv2.INTER_LINEAR)

    def _free(self, people: np.ndarray) -> np.ndarray:
        """(h, w) uint8, 1 where features may be: neither at the edge nor on somebody."""
        free = np.zeros(self._size[::-1], np.uint8)
        free[_EDGE:-_EDGE, _EDGE:-_EDGE] = 1
        for x, y, w, h in np.asarray(people, float).reshape(-1, 4):
            if not np.isfinite([x, y, w, h]).all():
                continue
            more = ENLARGE * max(min(w, h), 0.0)
            low = (np.array([x, y]) - more + 0.5) / self._scale - 0.5
            high = (np.array([x + w, y + h]) + more + 0.5) / self._scale - 0.5
            x0, y0 = np.maximum(np.floor(low), 0).astype(int)
            x1, y1 = np.maximum(np.ceil(high) + 1, 0).astype(int)
            free[y0:y1, x0:x1] = 0
        return free

    def _follow(self, picture: np.ndarray, free: np.ndarray, sudden: bool) -> None:
        """Take the features from the last picture to this one; those that are lost are dropped. Where the change is
        `sudden`, those too that do not move as one with the others."""
        there, good = followed(self._picture, picture, self._places)
        good &= self._is_free(there, good, free)
        if sudden:
            good[good] = agreed(self._places[good], there[good])
        self._ids, self._places = self._ids[good], there[good]

    def _is_free(self, places: np.ndarray, good: np.ndarray, free: np.ndarray) -> np.ndarray:
        """(m,) which of the `good` ones of some places are in the picture, where features may be."""
        at = np.rint(np.where(good[:, None], places, -1)).astype(int)
        wide, high = self._size
        inside = (at[:, 0] < wide) & (at[:, 1] < high) & (at.min(1) >= 0)
        at[~inside] = 0
        return inside & (free[at[:, 1], at[:, 0]] > 0)

    def _look_back(self, picture: np.ndarray, free: np.ndarray, time_s: float, sudden: bool) -> None:
        """Where features were lost together, find them again as far as they are there; they keep their ids."""
        if self._lost is None and self._recent is not None and self._is_lost(self._recent, sudden):
            self._lost = self._recent
        lost = self._lost
        if lost is None:
            return
        if time_s - lost.time_s > _RECENT_S + BLIND_S + _SLACK_S or not self._is_lost(lost, False):
            self._lost = None
            return
        if time_s - self._tried_s < _TRY_S - _SLACK_S and not sudden:
            return
        self._tried_s = time_s
        missing = ~np.isin(lost.ids, self._ids)
        there, good = found_again(lost.picture(), picture, lost.places[missing], free)
        good &= self._is_free(there, good, free)
        ids = np.concatenate([self._ids, lost.ids[missing][good]])
        order = np.argsort(ids)
        self._ids, self._places = ids[order], np.concatenate([self._places, there[good]])[order]
        if not self._is_lost(lost, False):
            self._lost = None

    def _is_lost(self, held: Held, sudden: bool) -> bool:
        still = int(np.isin(held.ids, self._ids).sum())
        return len(held.ids) >= LEAST and (sudden or still < _LOST * len(held.ids))

    def _fill(self, picture: np.ndarray, free: np.ndarray) -> None:
        """Look for corners where there are none yet, the strongest of each cell first."""
        wide, high = self._size
        least = max(wide, high) / 64
        room = free.copy()
        for x, y in self._places:
            cv2.circle(room, (round(float(x)), round(float(y))), round(least), 0, -1)
        # At half the size: four times as quick, and the place need not be exact.
        half = cv2.resize(picture, (max(wide // 2, 1), max(high // 2, 1)), interpolation=cv2.INTER_AREA)
        strength = cv2.cornerMinEigenVal(half, 5)
        peak = strength == cv2.dilate(strength, np.ones((9, 9), np.uint8))
        y, x = np.nonzero(peak & (strength > _CORNER))
        px = (x + 0.5) * wide / half.shape[1] - 0.5
        py = (y + 0.5) * high / half.shape[0] - 0.5
        open_ = (
            room[np.minimum(np.rint(py).astype(int), high - 1), np.minimum(np.rint(px).astype(int), wide - 1)]
            > 0
        )
        px, py, power = px[open_], py[open_], strength[y[open_], x[open_]]
        cell = _cell(px, py, self._size)
        taken = np.bincount(_cell(*self._places.T, self._size), minlength=_CELLS * _CELLS)
        # Rank of each corner in its cell, after those that are followed there already.
        order = np.lexsort((px, py, -power, cell))
        first = np.searchsorted(cell[order], np.arange(_CELLS * _CELLS))
        rank = np.empty(len(order), int)
        rank[order] = np.arange(len(order)) - first[cell[order]] + taken[cell[order]]
        chosen = np.lexsort((px, py, -power, rank))[: max(MOST - len(self._ids), 0)]
        chosen = np.sort(chosen)
        new = np.stack([px[chosen], py[chosen]], 1).astype(np.float32)
        ids = np.arange(self._next_id, self._next_id + len(new), dtype=np.int32)
        self._next_id += len(new)
        self._ids, self._places = np.concatenate([self._ids, ids]), np.concatenate([self._places, new])
        self._enough = len(self._ids)


def _cell(x: np.ndarray, y: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Number of the cell in which each place lies."""
    column = np.clip((np.asarray(x) * _CELLS / size[0]).astype(int), 0, _CELLS - 1)
    return column + _CELLS * np.clip((np.asarray(y) * _CELLS / size[1]).astype(int), 0, _CELLS - 1)

"""Who is who from frame to frame: identities kept by where people are and how they move, not by their looks.

The landmarks of one frame say where to look in the next; the detector is asked now and then for people who
enter, and at once when someone is lost. Two tracks that end up on the same person are told apart by who was
expected there; the other one waits, hidden, for its person to come back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from backend.camera.turned import Roi
from backend.people.detect import Detection, PersonDetector
from backend.people.track import COAST, Aim, Track, middles, roi_from_points

MIN_SCORE = 0.5
"""Least landmark score of a crop that is believed to hold a person (MediaPipe's own)."""
REDETECT = 12
"""Frames between looks for newcomers; a multiple of those that are looked at side by side."""
TILES_EVERY = {2: 2, 4: 12}
"""Part of the picture -> in every how many of these looks tiles of that size are searched too."""
FORGET = 90
"""Frames after which a lost person who comes back counts as somebody else."""
# Distances are parts of a person's size.
_SAME = 0.45
"""A find belongs to a track when its hips and shoulders are nearer than this on the average."""
_COLLAPSED = 0.15
"""Two tracks are on one person when their landmarks are nearer than this on the average."""
_COLLAPSED_NEW = 0.35
"""The same, when one of them is a newcomer."""
_NEAR_TRACK = 0.25
"""A find whose hips or shoulders are so near to somebody's must be beyond doubt."""
_BEYOND_DOUBT = 0.92
"""Least score of a find that is."""
_JUMP = 0.45
"""A body farther than that from the expected one is someone else's."""
_MIN_INSIDE = 0.2
"""Share of landmarks that must lie in the picture."""


@dataclass
class _Seen:
    """What was seen in a region, as `PeopleTracker.update` was given it."""

    points: np.ndarray
    """(33, 2) pixels, BlazePose's order."""
    score: float
    """0..1."""
    aux: np.ndarray | None
    """(2, 2) pixels, BlazePose's alignment points 33 and 34, where known."""


class PeopleTracker:
    """Identity through time. For each frame: `rois`, then `update` for each of them, then `settle`."""

    def __init__(self, detector: PersonDetector, max_people: int = 4) -> None:
        self.detector = detector
        self.max_people = max_people
        self.ghosts: set[int] = set()
        """Ids that were given out but never became a person: forget what was stored of them."""
        self.notices: list[str] = []
        """Sentences for the user, for whoever takes them out."""
        self._tracks: list[Track] = []
        self._seen: dict[int, _Seen] = {}
        # None while no frame is open.
        self._asked: set[int] | None = None
        self._next_id = 1
        self._looks = 0
        self._last_look = None
        self._index = 0
        self._size = np.zeros(2)

    @property
    def undecided(self) -> bool:
        """Whether it is still open who of the people will be left out at the end."""
        return False

    @property
    def people(self) -> set[int]:
        """Ids of confirmed people who are seen, or were until a moment ago."""
        return {t.id for t in self._tracks if t.confirmed}

    @property
    def all_seen(self) -> bool:
        """Whether somebody is followed, and all who are were seen in the last frame."""
        active = self._active()
        return bool(active) and not any(t.missed for t in active)

    @property
    def followed(self) -> list[Track]:
        """Those who are looked for in the next frame; to be read only."""
        return self._active()

    def take_notices(self) -> list[str]:
        """Sentences for the user since the last call."""
        told, self.notices = self.notices, []
        return told

    def rois(self, index: int, image: np.ndarray) -> list[tuple[int, Roi]]:
        """Where to look in frame `index` (increasing), `image` (H, W, 3) uint8: -> (track id, region) each."""
        parts = self.open(index, image)
        if parts is not None:
            self.meet(self.find(image, parts))
        return [(aim.track, aim.roi) for aim in self.ask()]

    def open(self, index: int, image: np.ndarray) -> list[int] | None:
        """The first part of `rois`: begin the frame. -> the `parts` with which the detector is to be asked in it; None
        if it is not to be asked."""
        self.settle()
        self._index, self._size = index, np.array(image.shape[1::-1], float)
        self._tracks = [t for t in self._tracks if t.missed <= FORGET]
        if not self.must_look(index):
            return None
        parts = self._parts(index)
        self._looks, self._last_look = self._looks + 1, index
        return parts

    def find(self, image: np.ndarray, parts: Sequence[int]) -> list[Detection]:
        """The second part: ask the detector. It changes nothing, so that it can be done beside other work."""
        return self.detector.detect([image], far=bool(parts), parts=parts, enough=self.max_people)[0]

    def meet(self, finds: list[Detection]) -> None:
        """The third part: these people are in the open frame."""
        self._assign(finds)

    def ask(self) -> list[Aim]:
        """The last part: `update` is to be called for everybody who is named here."""
        aims = self.aims(self._index)
        self._asked = {aim.track for aim in aims}
        return aims

    def aims(self, index: int) -> list[Aim]:
        """Where everybody would be looked for in frame `index`, by what is known now. Changes nothing."""
        return [self._aim(t, index) for t in self._active()]

    def _aim(self, t: Track, index: int) -> Aim:
        step = t.expected(index)
        landmarks = None if t.points is None or t.fresh else t.points + step
        return Aim(t.id, Roi(t.roi.center + step, t.roi.size, t.roi.angle), landmarks)

    def expected(self, track_id: int) -> np.ndarray | None:
        """(33, 2) pixels where someone's landmarks are expected in the open frame; None for a newcomer, or somebody
        whom the detector has just found again."""
        track = next(t for t in self._tracks if t.id == track_id)
        return self._aim(track, self._index).landmarks

    def update(
        self, track_id: int, points2d: np.ndarray, score: float, aux: np.ndarray | None = None
    ) -> None:
        """What was seen in a region: `points2d` (33, 2) pixels, BlazePose order; `score` 0..1; `aux`: (2, 2)
        pixels, BlazePose's alignment points 33 and 34, where known."""
        self._seen[track_id] = _Seen(np.asarray(points2d, float), float(score), aux)

    def settle(self) -> set[int]:
        """End the frame; -> ids whose update counts. Others were too unsure, outside, or someone else's body.

        `rois` does it for a frame that was left open.
        """
        if self._asked is None:
            return set()
        asked = [t for t in self._tracks if t.id in self._asked]
        good = {
            t.id: s for t in asked if (s := self._seen.get(t.id)) and self._good(s) and not self._jumped(t, s)
        }
        self._drop_collapsed([t for t in asked if t.id in good], good)
        for t in asked:
            if t.id in good:
                self._accept(t, good[t.id])
            else:
                t.missed += 1
        for t in self._tracks:
            if t.id not in self._asked:
                t.missed += 1
        nobody = {t.id for t in self._tracks if t.missed and not t.confirmed}
        self.ghosts |= nobody
        self._tracks = [t for t in self._tracks if t.id not in nobody]
        self._seen, self._asked = {}, None
        return set(good)

    def memory(self) -> dict[str, np.ndarray]:
        """All that the tracker knows between two frames, as arrays for an npz file: one row per track, NaN where
        nothing is known. With it `recall` goes on as if nothing had happened."""
        nothing = np.full((33, 2), np.nan), np.full(2, np.nan)
        rows = self._tracks
        clock = [-1 if self._last_look is None else self._last_look, self._looks, self._next_id, self._index]
        counts = [[t.id, t.hits, t.missed, t.last, t.confirmed, t.fresh] for t in rows]
        points = [nothing[0] if t.points is None else t.points for t in rows]
        velocity = [nothing[1] if t.velocity is None else t.velocity for t in rows]
        return {
            "clock": np.array(clock, np.int64),
            "ghosts": np.array(sorted(self.ghosts), np.int64),
            "counts": np.array(counts, np.int64).reshape(-1, 6),
            "regions": np.array([[*t.roi.center, t.roi.size, t.roi.angle] for t in rows]).reshape(-1, 4),
            "points": np.array(points, float).reshape(-1, 33, 2),
            "velocity": np.array(velocity, float).reshape(-1, 2),
        }

    def recall(self, memory: Mapping[str, np.ndarray]) -> None:
        """Go on where the tracker that gave `memory` stopped. An empty one leaves this tracker as it is."""
        if not memory:
            return
        look, self._looks, self._next_id, self._index = (int(v) for v in memory["clock"])
        self._last_look = None if look < 0 else look
        self.ghosts = {int(i) for i in memory["ghosts"]}
        self._seen, self._asked, self._tracks = {}, None, []
        rows = zip(memory["counts"], memory["regions"], memory["points"], memory["velocity"], strict=True)
        for (number, hits, missed, last, confirmed, fresh), region, points, velocity in rows:
            track = Track(int(number), Roi(np.array(region[:2], float), float(region[2]), float(region[3])))
            track.points = None if np.isnan(points).any() else np.array(points, float)
            track.velocity = None if np.isnan(velocity).any() else np.array(velocity, float)
            track.hits, track.missed, track.last = int(hits), int(missed), int(last)
            track.confirmed, track.fresh = bool(confirmed), bool(fresh)
            self._tracks.append(track)

    def check_end(self, frames: int) -> None:
        """Called when the clip has ended after so many frames. Raises JobError when something is missing then."""

    def _active(self) -> list[Track]:
        return [t for t in self._tracks if t.missed <= COAST]

    def must_look(self, index: int) -> bool:
        """Whether the detector is asked in frame `index`, by what is known now."""
        if self._last_look is None:
            return True
        if not self.all_seen:
            return True
        return index - self._last_look >= self._pause(self._looks)

    def _pause(self, looks: int) -> float:
        """Frames from one look to the next while everybody is seen, after so many looks."""
        if len(self._active()) >= self.max_people:
            return math.inf
        waiting = any(t.missed > COAST for t in self._tracks)
        # Eager in the beginning.
        return min(REDETECT // 2 if waiting else REDETECT, 1 + 2 * looks)

    def until_look(self, index: int) -> float:
        """Frames from `index`, which may be one with a look, to the next one with a look, if everybody stays seen."""
        last = -1 if self._last_look is None else self._last_look
        if self.must_look(index):
            return self._pause(self._looks + 1)
        return last + self._pause(self._looks) - index

    def _parts(self, index: int) -> list[int]:
        """Sizes of the tiles that are searched beside the whole picture in this look."""
        return [part for part, every in TILES_EVERY.items() if self._looks % every == 0]

    def _good(self, seen: _Seen) -> bool:
        inside = ((seen.points > 0) & (seen.points < self._size)).all(-1).mean()
        return seen.score >= MIN_SCORE and bool(np.isfinite(seen.points).all()) and inside >= _MIN_INSIDE

    def _jumped(self, t: Track, seen: _Seen) -> bool:
        """The network took hold of somebody else: a body too far from the expected one, without a find there."""
        patience = _JUMP + 0.1 * t.missed
        return t.points is not None and not t.fresh and self._surprise(t, seen.points) > patience

    def _accept(self, t: Track, seen: _Seen) -> None:
        roi = roi_from_points(seen.points, seen.aux)
        center = middles(seen.points).mean(0)
        # Where the detector set the region, a step is no motion.
        if t.points is not None and not t.fresh:
            v = (center - middles(t.points).mean(0)) / max(self._index - t.last, 1)
            limit = 0.2 * roi.size / 2.5
            v = v * min(1.0, limit / max(float(np.linalg.norm(v)), 1e-9))
            t.velocity = v if t.velocity is None else 0.5 * t.velocity + 0.5 * v
        t.points, t.roi, t.last, t.missed, t.fresh = seen.points, roi, self._index, 0, False
        t.hits += 1
        t.confirmed = t.confirmed or t.hits >= 2

    def _drop_collapsed(self, tracks: list[Track], good: dict[int, _Seen]) -> None:
        """Of tracks that landed on one body, keep the one that was expected there; a newcomer yields."""
        for n, b in enumerate(tracks):
            for a in tracks[:n]:
                if a.id not in good or b.id not in good:
                    continue
                pa, pb = good[a.id].points, good[b.id].points
                size = max(roi_from_points(pa).size, roi_from_points(pb).size) / 2.5
                limit = _COLLAPSED if a.confirmed and b.confirmed else _COLLAPSED_NEW
                if np.linalg.norm(pa - pb, axis=1).mean() > limit * size:
                    continue
                if a.confirmed != b.confirmed:
                    loser = a if b.confirmed else b
                else:
                    wrong = [self._surprise(t, good[t.id].points) for t in (a, b)]
                    loser = a if wrong[0] > wrong[1] + 0.02 else b
                del good[loser.id]

    def _surprise(self, t: Track, points: np.ndarray) -> float:
        """How far a body is from where the track was expected, in sizes of the person: size and shape count too."""
        if t.points is None:
            step = middles(points) - t.anchors(self._index)
        else:
            step = points - t.points - t.expected(self._index)
        return float(np.linalg.norm(step, axis=1).mean() / t.radius)

    def _near_somebody(self, d: Detection) -> bool:
        """A find made of parts of someone who is tracked already."""
        parts = np.stack([d.hips, d.shoulders])
        for t in self._active():
            gaps = np.linalg.norm(parts[:, None] - t.anchors(self._index)[None], axis=-1)
            if gaps.min() < _NEAR_TRACK * t.radius:
                return True
        return False

    def _assign(self, finds: list[Detection]) -> None:
        """Give finds to tracks they fit, lost ones too, and begin new tracks with the rest, largest first."""
        finds = sorted(finds, key=lambda d: -d.score * d.radius)
        free = list(finds)
        pairs = []
        for t in self._tracks:
            gate = _SAME if t.missed == 0 else min(_SAME + 0.1 * t.missed, 1.5)
            for d in finds:
                gap = np.linalg.norm(np.stack([d.hips, d.shoulders]) - t.anchors(self._index), axis=1).mean()
                ratio = d.radius / t.radius
                if gap < gate * max(d.radius, t.radius) and 0.4 < ratio < 2.5:
                    pairs.append((gap / t.radius + 0.02 * t.missed, t, d))
        done: set[int] = set()
        for _, t, d in sorted(pairs, key=lambda p: p[0]):
            if t.id in done or not any(d is f for f in free):
                continue
            done.add(t.id)
            free = [f for f in free if f is not d]
            if t.missed and (t.missed <= COAST or len(self._active()) < self.max_people):
                # Look for the lost person where the detector saw somebody.
                t.roi, t.velocity, t.missed, t.fresh = d.roi, None, min(t.missed, COAST), True
        for d in free:
            if len(self._active()) >= self.max_people:
                break
            if d.score < _BEYOND_DOUBT and self._near_somebody(d):
                continue
            if self._may_begin(d):
                self._begin(d)

    def _may_begin(self, find: Detection) -> bool:
        """Whether somebody who fits no track is to be followed."""
        return True

    def _begin(self, find: Detection) -> None:
        self._tracks.append(Track(self._next_id, find.roi))
        self._next_id += 1

"""Who is who from frame to frame: identities kept by where people are, how they move, and at meetings by their looks.

The landmarks of one frame say where to look in the next; the detector is asked now and then for people who
enter, and at once when someone is lost. Two tracks that end up on the same person are told apart by who was
expected there; the other one waits, hidden, for its person to come back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from backend.camera.turned import Roi
from backend.people.detect import Detection, PersonDetector
from backend.people.limits import (
    BEYOND_DOUBT,
    DRIFT,
    FASTEST,
    FOREIGN,
    JUMP,
    MIN_INSIDE,
    SAME,
)
from backend.people.looks import learnt
from backend.people.memory import Seconds, from_tracks, in_seconds, to_tracks
from backend.people.rivals import drop_collapsed, near_somebody, somebody_elses, surprise
from backend.people.seen import Seen, likeness, unfollowed
from backend.people.support import bounds, meeting, weigh
from backend.people.track import (
    COAST_S,
    COURSE_S,
    MOMENT_S,
    SLACK_S,
    Aim,
    Track,
    blended,
    middles,
    roi_from_points,
    whole_region,
)
from blender_addon.shared.frames import Frame

MIN_SCORE = 0.5
"""Least landmark score of a crop that is believed to hold a person (MediaPipe's own)."""
MIN_WORTH = 0.1
"""Least landmark score of a newcomer that is worth another look, and how many there may be."""
TRIES = 2
REDETECT_S = 0.4
"""Seconds between looks for newcomers: at 30 frames a second a multiple of those that are looked at side by side."""
LOST_S = 0.1
"""Seconds between looks while somebody is lost, or nobody there."""
TILES_EVERY = {1: 2, 2: 6}
"""Size of tiles (`window.tiles`) -> in every how many of these looks they are searched too."""
MEETING_S = 0.1
"""Seconds between looks while people cover one another."""
PLAIN = 0.08
"""In larger sides of the picture: from this size on people are seen without tiles, nine of ten rendered ones."""
FULL_S = 1.0
"""Seconds between looks while as many are followed as may be."""
LARGER = 1.5
"""A newcomer so much larger than one who is followed is followed in place of that one, if there are too many."""
FORGET_S = 3.0
"""Seconds after which a lost person who comes back counts as somebody else."""


class PeopleTracker:
    """Identity through time. For each frame: `rois`, then `update` for each of them, then `settle`."""

    def __init__(self, detector: PersonDetector | None, max_people: int = 4) -> None:
        """`detector`: None for a tracker that only remembers."""
        self.detector = detector
        self.max_people = max_people
        self.ghosts: set[int] = set()
        """Ids that were given out but never became a person: forget what was stored of them."""
        self.notices: list[str] = []
        """Sentences for the user, for whoever takes them out."""
        self._tracks: list[Track] = []
        self._seen: dict[int, Seen] = {}
        # None while no frame is open.
        self._asked: set[int] | None = None
        self._next_id, self._told_more = 1, False
        self._looks = 0
        # Seconds of the newest look, None before the first one.
        self._look_s: float | None = None
        self._index = 0
        self.time_s: float | None = None
        """Seconds of the newest frame; None before the first one."""
        self._tiled = False
        # From the frame before it.
        self._step = MOMENT_S
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
        return bool(active) and not any(t.lost_s for t in active)

    @property
    def followed(self) -> list[Track]:
        """Those who are looked for in the next frame; to be read only."""
        return self._active()

    def take_notices(self) -> list[str]:
        """Sentences for the user since the last call."""
        told, self.notices = self.notices, []
        return told

    def rois(self, frame: Frame) -> list[tuple[int, Roi]]:
        """Where to look in `frame`, which comes after all that were given: -> (track id, region) each."""
        parts = self.open(frame)
        if parts is not None:
            self.meet(self.find(frame.image, parts))
        return [(aim.track, aim.roi) for aim in self.ask()]

    def open(self, frame: Frame) -> list[int] | None:
        """The first part of `rois`: begin the frame. -> the `parts` with which the detector is to be asked in it; None
        if it is not to be asked."""
        self.settle()
        self._step = MOMENT_S if self.time_s is None else max(frame.time_s - self.time_s, SLACK_S)
        self._index, self.time_s = frame.index, frame.time_s
        self._size = np.array(frame.image.shape[1::-1], float)
        self._tracks = [t for t in self._tracks if t.lost_s <= FORGET_S + SLACK_S]
        if not self.must_look(frame):
            return None
        parts = self._parts(frame.index)
        self._looks, self._look_s, self._tiled = self._looks + 1, frame.time_s, bool(parts)
        return parts

    def restart(self) -> None:
        """The picture has changed so suddenly that nobody need be where he was: everybody is looked for anew. Before
        `open`; the end of the job says who is still the same."""
        self.settle()
        self.ghosts |= {t.id for t in self._tracks if not t.confirmed}
        self._tracks, self._look_s = [], None

    def find(self, image: np.ndarray, parts: Sequence[int]) -> list[Detection]:
        """The second part: ask the detector. It changes nothing, so that it can be done beside other work."""
        assert self.detector is not None
        return self.detector.detect([image], far=bool(parts), parts=parts, enough=self.max_people)[0]

    def meet(self, finds: list[Detection]) -> None:
        """The third part: these people are in the open frame."""
        # Tiles are left out where the first look finds as many as may be followed.
        all_of_it = self._tiled and len(finds) < self.max_people
        least = 0.0 if all_of_it else PLAIN * float(self._size.max())
        weigh(self._active(), np.array([d.seen for d in finds]).reshape(-1, 4), self._now, least)
        self._assign(finds)

    def ask(self) -> list[Aim]:
        """The last part: `update` is to be called for everybody who is named here."""
        aims = self._aims(self._now)
        self._asked = {aim.track for aim in aims}
        return aims

    def aims(self, frame: Frame) -> list[Aim]:
        """Where everybody would be looked for in `frame`, by what is known now. Changes nothing."""
        return self._aims(frame.time_s)

    def _aims(self, time_s: float) -> list[Aim]:
        return [self._aim(t, time_s) for t in self._active()]

    def _aim(self, t: Track, time_s: float) -> Aim:
        step = t.expected(time_s)
        landmarks = None if t.points is None or t.fresh else t.points + step
        return Aim(t.id, Roi(t.roi.center + step, t.roi.size, t.roi.angle), landmarks)

    def expected(self, track_id: int) -> np.ndarray | None:
        """(33, 2) pixels where someone's landmarks are expected in the open frame; None for a newcomer, or somebody
        whom the detector has just found again."""
        track = next(t for t in self._tracks if t.id == track_id)
        return self._aim(track, self._now).landmarks

    def update(
        self,
        track_id: int,
        points2d: np.ndarray,
        score: float,
        aux: np.ndarray | None = None,
        looks: np.ndarray | None = None,
    ) -> None:
        """What was seen in a region: `points2d` (33, 2) pixels, BlazePose order; `score` 0..1; `aux`: (2, 2)
        pixels, BlazePose's alignment points 33 and 34, where known; `looks` (LOOKS, 4), see `people.looks`."""
        self._seen[track_id] = Seen(np.asarray(points2d, float), float(score), aux, looks)

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
        for t in asked:
            if t.id in good and somebody_elses(t, good[t.id], self._tracks, self._now):
                del good[t.id]
        drop_collapsed([t for t in asked if t.id in good], good, self._now)
        for t in asked:
            if t.id in good:
                self._accept(t, good[t.id])
            elif not self._looked_at_again(t):
                t.lost_s += self._step
        for t in self._tracks:
            if t.id not in self._asked:
                t.lost_s += self._step
        nobody = {t.id for t in self._tracks if t.lost_s and not t.confirmed}
        self.ghosts |= nobody
        self._tracks = [t for t in self._tracks if t.id not in nobody]
        self._seen, self._asked = {}, None
        return set(good)

    def memory(self) -> dict[str, np.ndarray]:
        """All that the tracker knows between two frames, as arrays for an npz file: see `people.memory`. With it
        `recall` goes on as if nothing had happened."""
        times = [np.nan if self.time_s is None else self.time_s, self._step,
                 np.nan if self._look_s is None else self._look_s]  # fmt: skip
        return {
            "clock": np.array([self._looks, self._next_id, self._index], np.int64),
            "times": np.array(times),
            "ghosts": np.array(sorted(self.ghosts), np.int64),
            **from_tracks(self._tracks),
        }

    def recall(self, memory: Mapping[str, np.ndarray], seconds: Seconds | None = None) -> None:
        """Go on where the tracker that gave `memory` stopped. An empty one leaves this tracker as it is. `seconds`:
        when frames are, for what releases kept that counted frames."""
        if not memory:
            return
        memory = in_seconds(memory, seconds)
        self._looks, self._next_id, self._index = (int(v) for v in memory["clock"])
        now, self._step, look = (float(v) for v in memory["times"])
        self.time_s, self._look_s = (None if np.isnan(t) else t for t in (now, look))
        self.ghosts = {int(i) for i in memory["ghosts"]}
        self._seen, self._asked, self._tracks = {}, None, to_tracks(memory)

    def check_end(self, frames: int) -> None:
        """Called when the clip has ended after so many frames. Raises JobError when something is missing then."""

    @property
    def _now(self) -> float:
        """Seconds of the open frame."""
        return 0.0 if self.time_s is None else self.time_s

    def _active(self) -> list[Track]:
        return [t for t in self._tracks if self._is_active(t)]

    def _is_active(self, t: Track) -> bool:
        # One frame always, however long it lasts.
        return t.lost_s <= max(COAST_S, self._step) + SLACK_S

    def must_look(self, frame: Frame) -> bool:
        """Whether the detector is asked in `frame`, by what is known now."""
        if self._look_s is None:
            return True
        pause = self._pause(self._looks) if self.all_seen else LOST_S
        return frame.time_s - self._look_s >= pause - SLACK_S

    def _pause(self, looks: int) -> float:
        """Seconds from one look to the next while everybody is seen, after so many looks."""
        active = self._active()
        if self._meeting():
            return MEETING_S
        if len(active) >= self.max_people:
            return FULL_S if len(active) > 1 else math.inf
        waiting = len(active) < len(self._tracks)
        # Eager in the beginning.
        return min(REDETECT_S / 2 if waiting else REDETECT_S, (1 + 2 * looks) * MOMENT_S)

    def until_look(self, frames: Sequence[Frame]) -> int:
        """How many of `frames`, the next ones, come before the next look, if everybody stays seen; the first of them,
        which may be one with a look, counts in any case."""
        first = frames[0].time_s
        if self.must_look(frames[0]):
            due = first + self._pause(self._looks + 1)
        else:
            due = (first if self._look_s is None else self._look_s) + self._pause(self._looks)
        return 1 + sum(frame.time_s < due - SLACK_S for frame in frames[1:])

    def _parts(self, index: int) -> list[int]:
        """Sizes of the tiles that are searched beside the whole picture in this look."""
        rarer = 4 if self._meeting() else 1
        return [part for part, every in TILES_EVERY.items() if self._looks % (every * rarer) == 0]

    def _meeting(self) -> bool:
        return meeting([bounds(t.points[None])[0] for t in self._active() if t.points is not None])

    def _good(self, seen: Seen) -> bool:
        inside = ((seen.points > 0) & (seen.points < self._size)).all(-1).mean()
        return seen.score >= MIN_SCORE and bool(np.isfinite(seen.points).all()) and inside >= MIN_INSIDE

    def _jumped(self, t: Track, seen: Seen) -> bool:
        """The network took hold of somebody else: a body too far from the expected one, without a find there."""
        patience = JUMP + self._drift(t)
        return t.points is not None and not t.fresh and surprise(t, seen.points, self._now) > patience

    def _drift(self, t: Track) -> float:
        """How much farther than usual somebody may be from the expected place, in sizes of the person."""
        return DRIFT * max(t.lost_s + self._step - MOMENT_S, 0.0)

    def _looked_at_again(self, t: Track) -> bool:
        """A newcomer of whom nothing sure was seen gets another look, where that look has put the person: a box says
        neither how far somebody leans nor where the hips of a bent body are."""
        seen = self._seen.get(t.id)
        if seen is None or t.confirmed or not t.fresh or t.tries >= TRIES or seen.score < MIN_WORTH:
            return False
        if not np.isfinite(seen.points).all():
            return False
        t.roi, t.tries = roi_from_points(seen.points, seen.aux), t.tries + 1
        return True

    def _accept(self, t: Track, seen: Seen) -> None:
        roi = whole_region(roi_from_points(seen.points, seen.aux), seen.points, self._size)
        center = middles(seen.points).mean(0)
        # Where the detector set the region, a step is no motion.
        if t.points is not None and not t.fresh:
            since = max(self._now - t.last_s, SLACK_S)
            v = (center - middles(t.points).mean(0)) / since
            limit = FASTEST * roi.size / 2.5
            v = v * min(1.0, limit / max(float(np.linalg.norm(v)), 1e-9))
            t.velocity = blended(t.velocity, v, since / MOMENT_S)
            t.course = blended(t.course, v, since / COURSE_S)
        t.points, t.roi, t.last_s, t.lost_s, t.fresh = seen.points, roi, self._now, 0.0, False
        # Whoever stands before this body must not be learnt.
        if seen.looks is not None and likeness(t, seen) > -FOREIGN:
            t.looks = learnt(t.looks, seen.looks)
        t.since_s = self._now if np.isnan(t.since_s) else t.since_s
        t.confirmed = t.confirmed or self._now - t.since_s >= MOMENT_S - SLACK_S

    def _assign(self, finds: list[Detection]) -> None:
        """Give finds to tracks they fit, lost ones too, and begin new tracks with the rest, largest first."""
        finds = sorted(finds, key=lambda d: -d.score * d.radius)
        free = list(finds)
        pairs = []
        for t in self._tracks:
            drift = self._drift(t)
            gate = min(SAME + drift, 1.5)
            for d in finds:
                gap = np.linalg.norm(np.stack([d.hips, d.shoulders]) - t.anchors(self._now), axis=1).mean()
                ratio = d.radius / t.radius
                if gap < gate * max(d.radius, t.radius) and 0.4 < ratio < 2.5:
                    pairs.append((gap / t.radius + 0.2 * drift, t, d))
        done: set[int] = set()
        for _, t, d in sorted(pairs, key=lambda p: p[0]):
            if t.id in done or not any(d is f for f in free):
                continue
            done.add(t.id)
            free = [f for f in free if f is not d]
            if t.lost_s and (self._is_active(t) or len(self._active()) < self.max_people):
                # Look for the lost person where the detector saw somebody.
                t.roi, t.velocity, t.lost_s, t.fresh = d.roi, None, min(t.lost_s, COAST_S), True
        new = [d for d in free if self._may_begin(d)]
        for k, d in enumerate(new):
            if d.score < BEYOND_DOUBT and near_somebody(d, self._active(), self._now):
                continue
            if len(self._active()) >= self.max_people and not self._makes_room(d):
                if not self._told_more:
                    self.notices.append(unfollowed(len(new) - k, self._index, self.max_people))
                self._told_more = True
                break
            self._begin(d)

    def _makes_room(self, find: Detection) -> bool:
        """The nearest come first: whoever is much smaller than a newcomer is followed no longer."""
        small = min((t for t in self._active() if self._may_leave(t)), key=lambda t: t.radius, default=None)
        if small is None or find.radius < LARGER * small.radius:
            return False
        self._tracks.remove(small)
        if not small.confirmed:
            self.ghosts.add(small.id)
        return True

    def _may_leave(self, track: Track) -> bool:
        """Whether somebody may be given up for a newcomer."""
        return True

    def _may_begin(self, find: Detection) -> bool:
        """Whether somebody who fits no track is to be followed."""
        return True

    def _begin(self, find: Detection) -> None:
        self._tracks.append(Track(self._next_id, find.roi))
        self._next_id += 1

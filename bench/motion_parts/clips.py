"""Clips of known truth: held-out performers on our body before a camera, seen by a simulated localizer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from backend.body.model import Body, CanonicalPoints
from backend.camera.pinhole import Camera
from backend.records import Chunk, TrackChunk
from bench.motion_parts.capture import RATE, Capture, Performance, at_rate, bodies, turned
from bench.motion_parts.errors import ErrorModel
from bench.motion_parts.feet import Sole, stood
from bench.motion_parts.seen import native_truth, occluded, seen_track

WIDTH, HEIGHT = 1280, 720
KINDS = ("walk", "run", "jump", "dance", "sport", "still", "climb")
SETTINGS = ("plain", "60 fps", "gap", "occluder", "people", "24 fps", "long gap", "plain", "panning")
"""What else is in the way, one after the other; all but the panning camera stand still."""
LONGEST_S, SHORTEST_S = 6.0, 1.0
BETAS = 1.5
"""Shapes lie within so much of the mean, each way, in the first ten coefficients."""
LIMBS = {"left leg": (1, 4, 7, 10), "right leg": (2, 5, 8, 11), "left arm": (16, 18, 20), "right arm": (17, 19, 21),
         "shins": (4, 5, 7, 8, 10, 11)}  # fmt: skip


@dataclass(eq=False)
class Actor:
    """One person of a clip, and the truth about it; n frames. World: y up, the floor at 0, metres."""

    played: Performance
    """What is done, in the world."""
    betas: np.ndarray
    """(nb,)."""
    joints: np.ndarray
    """(n, 55, 3) world."""
    soles: np.ndarray
    """(n, S, 3) world, the places of `Sole`."""
    contacts: np.ndarray
    """(n, 4) bool: left heel, left toes, right heel, right toes rest."""
    track: TrackChunk
    """What the localizer says; frames that are not there are gaps."""


@dataclass(eq=False)
class Take:
    """A clip."""

    name: str
    """Its number and what is played."""
    kind: str
    """One of `KINDS`."""
    setting: str
    """One of `SETTINGS`."""
    floor_ok: bool
    """Whether all happens on the floor."""
    camera: Camera
    """Known to everybody."""
    fov_deg: float
    """Of the larger side."""
    R: np.ndarray
    """(n, 3, 3) world to camera space."""
    centre: np.ndarray
    """(3,) the camera in the world."""
    times: np.ndarray
    """(n,) seconds."""
    actors: list[Actor] = field(default_factory=list)
    """Everybody."""

    @property
    def fps(self) -> float:
        return 1 / float(np.median(np.diff(self.times)))

    def chunk(self) -> Chunk:
        """All localizations."""
        last = len(self.times) - 1
        return Chunk(0, last, self.camera.width, self.camera.height, [a.track for a in self.actors])


def takes(capture: Capture, body: Body, points: CanonicalPoints, errors: ErrorModel, seed: int,
          count: int) -> Iterator[Take]:  # fmt: skip
    """`count` clips; clip i is the same whatever `count`."""
    sole = Sole.of(body)
    for i in range(count):
        rng = np.random.default_rng([seed, 13, i])
        kind, setting = KINDS[i % len(KINDS)], SETTINGS[i % len(SETTINGS)]
        rate = {"60 fps": 60.0, "24 fps": 24.0}.get(setting, RATE)
        people = int(rng.integers(2, 4)) if setting == "people" else 1
        parts = [_played(rng, capture, body, kind if k == 0 else None, rate) for k in range(people)]
        n = min(len(p.times) for p, _ in parts)
        acts = [(_side_by_side(_first(p, n), k), betas) for k, (p, betas) in enumerate(parts)]
        acts = [(grounded(body, sole, p, betas), betas) for p, betas in acts]
        camera, fov, R, centre = _filmed(rng, acts, setting == "panning")
        take = Take(f"{i:03d} {acts[0][0].name}", kind, setting, all(p.floor_ok for p, _ in acts), camera, fov, R,
                    centre, acts[0][0].times)  # fmt: skip
        for k, (p, betas) in enumerate(acts):
            take.actors.append(_actor(rng, k + 1, take, body, points, sole, errors, p, betas))
        yield take


def _played(
    rng, capture: Capture, body: Body, kind: str | None, rate: float
) -> tuple[Performance, np.ndarray]:
    """A stretch without bad frames, by a random shape."""
    betas = np.zeros(body.n_betas)
    betas[:10] = rng.uniform(-BETAS, BETAS, 10)
    while True:
        allowed = [
            k for k in capture.held_out if kind in (None, capture.kind(k)) and capture.seconds(k) > SHORTEST_S
        ]
        k = int(rng.choice([k for k in allowed if kind or capture.kind(k) != "climb"]))
        n = round(capture.seconds(k) * RATE)
        count = min(n, int(LONGEST_S * RATE))
        p = capture.performance(k, body, betas, int(rng.integers(0, n - count + 1)), count)
        if not p.bad.any():
            return turned(at_rate(p, rate), rng.uniform(-np.pi, np.pi), np.zeros(2)), betas


def _first(p: Performance, n: int) -> Performance:
    return Performance(
        p.name, p.kind, p.floor_ok, p.times[:n], p.pose[:n], p.pelvis[:n], p.contacts[:n], p.bad[:n]
    )


def _side_by_side(p: Performance, k: int) -> Performance:
    """Person `k` of a clip has a place of its own: to the left and right of the first, and behind."""
    to = (np.zeros(2), np.array([-1.8, -1.0]), np.array([1.8, -2.0]))[k]
    return turned(p, 0.0, to)


def grounded(body: Body, sole: Sole, p: Performance, betas: np.ndarray) -> Performance:
    """The soles of somebody who stands are at 0: feet of our body have another height than those recorded."""
    if not p.floor_ok:
        return p
    places = bodies(body, p.pose, betas, p.pelvis, sole.points)[1]
    low = np.stack([places[:, rows, 1].min(1) for rows in sole.feet], 1)
    rest = p.contacts.reshape(-1, 2, 2).any(2)
    p.pelvis[:, 1] -= np.median(low[rest]) if rest.any() else np.percentile(low, 5)
    return p


def _filmed(rng, acts, panning: bool) -> tuple[Camera, float, np.ndarray, np.ndarray]:
    """A camera 1 to 2 m above the floor, pitched and rolled a little, that sees everybody all the time."""
    fov = float(rng.uniform(35, 75))
    camera = Camera.from_fov(WIDTH, HEIGHT, fov)
    ends = np.array([[-0.6, -1.1, -0.6], [0.6, 0.95, 0.6]])
    box = np.concatenate([p.pelvis[:, None] + ends for p, _ in acts], 1).reshape(-1, 3)
    middle = (box.min(0) + box.max(0)) / 2
    height, tilt, roll = rng.uniform(1, 2), np.deg2rad(rng.normal(0, 2)), np.deg2rad(rng.normal(0, 3))
    distance = rng.uniform(3, 8)
    while True:
        centre = np.array([middle[0], height, middle[2] + distance])
        R = _turn("z", roll) @ _turn("x", tilt) @ _look(centre, middle)
        first = np.repeat(R[None], len(acts[0][0].times), 0)
        every = _panned(first, centre, acts[0][0]) if panning else first
        at = np.concatenate([p.pelvis for p, _ in acts]) if panning else box
        x = np.einsum("nab,nb->na", every, acts[0][0].pelvis - centre) if panning else (at - centre) @ R.T
        xy = np.abs(x[:, :2] / np.maximum(x[:, 2:], 0.1)) * camera.K[0, 0] / [WIDTH / 2, HEIGHT / 2]
        if (xy < 1).all() and x[:, 2].min() > 1.5:
            return camera, fov, every, centre
        distance += 0.5


def _panned(R: np.ndarray, centre: np.ndarray, p: Performance) -> np.ndarray:
    """The camera turned after somebody, half a second late and not quite."""
    to = p.pelvis - centre
    azimuth = np.unwrap(np.arctan2(to[:, 0], -to[:, 2]))
    late = azimuth.copy()
    for t in range(1, len(late)):
        late[t] = late[t - 1] + (azimuth[t] - late[t - 1]) * min(1.0, (p.times[t] - p.times[t - 1]) / 0.5)
    # Somebody who stays where he is is looked past now and then.
    late = late + np.deg2rad(6) * np.sin(2 * np.pi * p.times / 4)
    c, s = np.cos(late), np.sin(late)
    o, i = np.zeros_like(c), np.ones_like(c)
    yaw = np.stack([np.stack([c, o, s], 1), np.stack([o, i, o], 1), np.stack([-s, o, c], 1)], 1)
    return R @ yaw


def _look(centre: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(3, 3) world (y up) to camera space, from `centre` towards `at`."""
    z = (at - centre) / np.linalg.norm(at - centre)
    x = np.cross(z, [0.0, 1.0, 0.0])
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z])


def _turn(axis: str, angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    if axis == "x":
        return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def _actor(rng, number: int, take: Take, body: Body, points: CanonicalPoints, sole: Sole, errors: ErrorModel,
           p: Performance, betas: np.ndarray) -> Actor:  # fmt: skip
    joints, soles, _, _ = bodies(body, p.pose, betas, p.pelvis, sole.points)
    truth, turns = native_truth(body, points, p.pose, betas, p.pelvis, take.R, take.centre)
    uncertainty = errors.uncertainty(rng, p.times, truth)
    if take.setting == "occluder":
        limb = LIMBS[str(rng.choice(list(LIMBS)))]
        uncertainty = occluded(rng, p.times, uncertainty, np.isin(points.weights.argmax(1), limb))
    track = seen_track(rng, number, take.camera, p.times, truth, turns, uncertainty, errors)
    for gap in _gaps(rng, take.setting, p.times):
        track = without(track, gap)
    return Actor(p, betas, joints, soles, stood(sole, soles, p.times, p.floor_ok), track)


def _gaps(rng, setting: str, times: np.ndarray) -> list[np.ndarray]:
    """(n,) bool each: frames in which nobody is seen."""
    longest = {"gap": (0.2, 0.4), "long gap": (1.0, 2.0)}.get(setting)
    if longest is None:
        return []
    out = []
    for _ in range(2 if setting == "gap" else 1):
        length = min(rng.uniform(*longest), 0.4 * times[-1])
        start = rng.uniform(0.3, max(times[-1] - length - 0.3, 0.31))
        out.append((times >= start) & (times < start + length))
    return out


def without(track: TrackChunk, gap: np.ndarray) -> TrackChunk:
    """The track without the frames of the clip that `gap` (n,) marks."""
    keep = ~gap[track.frames]
    names = ("frames", "times", "boxes", "points3d", "points2d", "uncertainty", "score")
    return TrackChunk(track.track, *(getattr(track, n)[keep] for n in names))

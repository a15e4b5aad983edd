"""Crowds with known truth: clothed people who walk past each other before one camera, which stands still or turns.

Needs numba (`pip install bodyfield[train]`). World: y up, metres, the floor at 0; the camera looks along -z.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from backend.body.landmarks import body_landmarks
from backend.body.model import Body
from backend.camera.pinhole import Camera
from backend.synth import World, lens, people, room, scene
from backend.synth.mesh import solid, unit_box
from backend.synth.people import Stance
from backend.synth.picture import Drawn, draw_meshes, paint
from backend.synth.split import split_of
from backend.synth.view import View, look
from bench.motion_parts.capture import RATE, Capture, Performance, bodies, turned
from bench.motion_parts.clips import grounded
from bench.motion_parts.feet import Sole

WIDTH, HEIGHT = 640, 360
FPS = 15.0
"""Half the capture's rate: half the pictures to render."""
KINDS = ("pair", "behind", "wall", "alike", "entries", "eight", "pan", "still")
"""Two who cross; somebody stops behind another one; somebody stops behind a wall; three in the same clothes; people
who come and go; eight; a camera that turns along; some who stand about near each other."""


@dataclass(eq=False)
class Actor:
    """Somebody, m frames, and the truth."""

    landmarks: np.ndarray
    """(m, 33, 2) pixels."""
    boxes: np.ndarray
    """(m, 4) x, y, w, h pixels around the whole body, beyond the picture's edges too."""
    visible: np.ndarray
    """(m,) 0..1, share of the body's surface in the picture plane that is in the picture and hidden by nobody."""


@dataclass(eq=False)
class Crowd:
    """A rendered clip and the truth about it."""

    name: str
    """Kind and number."""
    images: np.ndarray
    """(m, H, W, 3) uint8 RGB."""
    times: np.ndarray
    """(m,) seconds."""
    camera: Camera
    """That took it."""
    actors: list[Actor] = field(default_factory=list)


@dataclass(frozen=True)
class _Part:
    """What one person does."""

    middle: tuple[float, float]
    """x and z of the middle of the way, metres."""
    heading: float
    """Radians about the vertical: 0 walks towards +x."""
    hold_s: float = 0.0
    """Stands for so long in the middle of the way."""
    back: bool = False
    """Goes back the way it came after that."""
    stands: bool = False
    """Does not walk."""
    late_s: float = 0.0
    """By so much later in the middle."""


@dataclass(frozen=True)
class _Script:
    parts: list[_Part]
    seconds: float
    alike: bool = False
    wall: tuple[float, float, float] | None = None
    """x, z, width of something in front of which the camera stands."""
    pan_deg: float = 0.0


def script(kind: str, rng: np.random.Generator) -> _Script:
    """What happens in a clip of one of `KINDS`."""
    way = lambda: 0.0 if rng.random() < 0.5 else np.pi  # noqa: E731
    lean = lambda: float(rng.normal(0, 0.2))  # noqa: E731
    if kind in ("pair", "alike", "pan"):
        near = -rng.uniform(3.3, 4.5)
        gap = rng.uniform(0.6, 1.6)
        side = way()
        parts = [
            _Part((0, near), side + lean()),
            _Part((rng.normal(0, 0.3), near - gap), side + np.pi + lean()),
        ]
        if kind != "pair" or rng.random() < 0.5:
            parts.append(_Part((rng.normal(0, 0.5), near - gap - rng.uniform(0.7, 2)), way() + lean(),
                               late_s=rng.uniform(-0.5, 0.5)))  # fmt: skip
        return _Script(parts, 5.0, kind == "alike", pan_deg=14.0 if kind == "pan" else 0.0)
    if kind == "behind":
        near = -rng.uniform(3.0, 3.8)
        walker = _Part(
            (0, near - rng.uniform(0.9, 1.8)), way() + lean(), rng.uniform(0.8, 3.0), rng.random() < 0.5
        )
        return _Script([_Part((0, near), 0, stands=True), walker], 6.5)
    if kind == "wall":
        far = -rng.uniform(4.2, 5.2)
        walkers = [_Part((0, far), way() + 0.3 * lean(), rng.uniform(0.5, 3.2), rng.random() < 0.4)]
        walkers.append(_Part((rng.normal(0, 0.5), far - rng.uniform(0.8, 1.6)), way() + 0.3 * lean(),
                             rng.uniform(0, 1)))  # fmt: skip
        return _Script(walkers, 7.5, wall=(0.0, far + 1.3, rng.uniform(1.0, 1.5)))
    if kind == "entries":
        parts = [_Part((rng.uniform(-3, 3), -rng.uniform(3.5, 8)), way() + lean(), late_s=rng.uniform(-1.5, 1.5))
                 for _ in range(4)]  # fmt: skip
        return _Script(parts, 5.0)
    if kind == "eight":
        depth = np.linspace(4.0, 13.0, 8) + rng.uniform(-0.4, 0.4, 8)
        parts = [_Part((float(rng.uniform(-0.3, 0.3) * d), -float(d)), way() + lean(), stands=bool(rng.random() < 0.25),
                       late_s=rng.uniform(-0.8, 0.8)) for d in depth]  # fmt: skip
        return _Script(parts, 5.0)
    xs = np.linspace(-1.1, 1.1, 4) + rng.normal(0, 0.15, 4)
    return _Script([_Part((float(x), -float(rng.uniform(3.2, 5.0))), 0, stands=True) for x in xs], 4.0)


class Studio:
    """What all crowds share."""

    def __init__(self, body: Body, motion: Path, split: str) -> None:
        self.body, self.split = body, split
        self.world = World(body, None, None, split)
        self.capture = Capture(motion)
        self.sole = Sole.of(body)
        d = self.capture._d
        mine = [k for k, (n, s) in enumerate(zip(d["names"], d["source"], strict=True))
                if (split_of(n, s) == "held-out") == (split == "held-out")]  # fmt: skip
        self.walks = [k for k in mine if self.capture.kind(k) == "walk" and self.capture.seconds(k) > 3]
        self.stands = [k for k in mine if self.capture.kind(k) in ("still", "sport", "dance")
                       and self.capture.seconds(k) > 4]  # fmt: skip

    def film(self, kind: str, seed: int) -> Crowd:
        """One clip; the same seed gives the same clip."""
        rng = np.random.default_rng([seed, 14, KINDS.index(kind)])
        plan = script(kind, rng)
        m = round(plan.seconds * FPS)
        times = np.arange(m) / FPS
        camera_at = np.array([0, rng.uniform(1.2, 1.9), 0.0])
        dressed = [int(rng.integers(1 << 30)) for _ in plan.parts]
        if plan.alike:
            dressed = [dressed[0]] * len(dressed)
        people_ = [self._played(rng, part, times) for part in plan.parts]
        f = WIDTH / 2 / np.tan(np.deg2rad(rng.uniform(52, 64)) / 2)
        level = np.deg2rad(rng.uniform(-7, -2))
        swing = np.deg2rad(plan.pan_deg) * np.sin(2 * np.pi * times / rng.uniform(4, 7) + rng.uniform(0, 6))
        place = room.build(rng, camera_at, 15.0, self.split)
        things = []
        if plan.wall is not None:
            x, z, width = plan.wall
            row = scene.thing_row(rng, self.split)
            things.append(solid(unit_box(), [width / 2, 1.05, 0.1], np.eye(3), np.array([x, 1.05, z]), row))
        shown = int(rng.integers(1 << 30))
        K = np.array([[f, 0, WIDTH / 2], [0, f, HEIGHT / 2], [0, 0, 1.0]])
        actors = [Actor(np.zeros((m, 33, 2)), np.zeros((m, 4)), np.zeros(m)) for _ in people_]
        marks = body_landmarks(self.body)[0]
        truth = [bodies(self.body, p.pose, base.betas, p.pelvis, marks)[1] for base, p in people_]
        images = []
        for i in range(m):
            a = swing[i]
            aim = np.array([np.sin(a), np.tan(level), -np.cos(a)])
            view = View(look(camera_at, camera_at + aim), camera_at, f, WIDTH, np.zeros((0, 3)))
            placed = [self._placed(p, i, base, clothes, n)
                      for n, ((base, p), clothes) in enumerate(zip(people_, dressed, strict=True))]  # fmt: skip
            meshes = [mesh for q in placed for mesh in q.meshes] + things
            drawn = draw_meshes(meshes, view)
            numbers = np.random.default_rng(shown)
            image = paint(numbers, self.world, meshes, drawn, view, np.array([0, 1.0, -5]), 6.0, place)
            # One exposure for the whole clip, whoever is in it.
            image = lens.develop(numbers, image, np.zeros((WIDTH, WIDTH), bool), self.world.noise(WIDTH))
            top = (WIDTH - HEIGHT) // 2
            images.append(image[top : top + HEIGHT])
            shift = np.array([0, top])
            for n, q in enumerate(placed):
                actor = actors[n]
                actor.landmarks[i] = _flat(view, truth[n][i]) - shift
                actor.visible[i] = _seen_share(q, n, view, drawn, top)
                flat = _flat(view, q.x) - shift
                low, high = flat.min(0), flat.max(0)
                actor.boxes[i] = [*low, *(high - low)]
        return Crowd(f"{kind} {seed}", np.stack(images), times, Camera(K, WIDTH, HEIGHT), actors)

    def _played(self, rng: np.random.Generator, part: _Part, times: np.ndarray) -> tuple[Stance, Performance]:
        """A random body that does `part`, at `times`."""
        base = people.stance(rng, self.world.skin, None, self.split)
        clip = int(rng.choice(self.stands if part.stands else self.walks))
        n = round(self.capture.seconds(clip) * RATE)
        length = min(n, round(times[-1] * RATE) + 1)
        p = self.capture.performance(
            clip, self.body, base.betas, int(rng.integers(0, n - length + 1)), length
        )
        way = p.pelvis[-1] - p.pelvis[0]
        yaw = part.heading + np.arctan2(way[2], way[0]) if not part.stands else rng.uniform(-np.pi, np.pi)
        p = turned(p, yaw, np.array(part.middle))
        p = grounded(self.body, self.sole, p, base.betas)
        # Half of the way at half of the time, with a stop there.
        half = len(p.times) / 2 / RATE
        t = times - (times[-1] / 2 + part.late_s)
        stop = np.sign(t) * np.maximum(np.abs(t) - part.hold_s / 2, 0)
        at = half + (np.minimum(stop, -stop) if part.back else stop)
        rows = np.clip(np.rint(at * RATE), 0, len(p.times) - 1).astype(int)
        pose = p.pose[rows]
        pose[:, 22:] = base.pose[22:]
        if not part.stands:
            # Beyond the captured way they go on straight, without another step.
            speed = way[[0, 2]] / max(p.times[-1], 0.1)
            c, s = np.cos(yaw), np.sin(yaw)
            speed = np.array([c * speed[0] + s * speed[1], -s * speed[0] + c * speed[1]])
            over = at - np.clip(at, 0, (len(p.times) - 1) / RATE)
            p.pelvis = p.pelvis[rows]
            p.pelvis[:, [0, 2]] += over[:, None] * speed
        else:
            p.pelvis = p.pelvis[rows]
        return base, Performance(
            p.name, p.kind, p.floor_ok, times, pose, p.pelvis, p.contacts[rows], p.bad[rows]
        )

    def _placed(self, p: Performance, i: int, base: Stance, dressed: int, number: int) -> scene.Placed:
        stance = Stance(p.pose[i], base.betas, base.expression, "clip", False)
        clothes = np.random.default_rng(dressed)
        q = scene.person(clothes, self.world.skin, self.world.figure, self.world.body.faces, None, self.split, number,
                         stance)  # fmt: skip
        scene.move(q, p.pelvis[i] - q.joints[0])
        return q


def _flat(view: View, x: np.ndarray) -> np.ndarray:
    """World (n, 3) -> pixels of the square picture."""
    p = view.to_camera(x.astype(np.float32)).astype(float)
    return p[:, :2] / np.maximum(p[:, 2:], 0.05) * view.f + view.side / 2


def _seen_share(q: scene.Placed, number: int, view: View, drawn: Drawn, top: int) -> float:
    """Share of somebody's pixels that are seen, of those it would have without others and without an edge."""
    far = view.to_camera(q.joints[0].astype(np.float32)[None])[0]
    if far[2] < 0.3:
        return 0.0
    wide = View(_towards(view.R, far), view.centre, view.f, view.side, view.edges)
    alone = draw_meshes(q.meshes, wide).ids
    mine = (drawn.ids >= 0) & (drawn.persons[drawn.ids] == number)
    inside = mine[2 * top : -2 * top or None]
    return min(1.0, float(inside.sum() / max((alone >= 0).sum(), 1)))


def _towards(R: np.ndarray, ray: np.ndarray) -> np.ndarray:
    """`R` turned so that it looks along `ray` (3,), of its own space."""
    z = R.T @ (ray / np.linalg.norm(ray))
    x = np.cross(z, [0.0, 1.0, 0.0])
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z])

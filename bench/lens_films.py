"""Films of rendered people by known lenses, as the localizer sees them when it takes the lens for another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from backend.body.landmarks import body_landmarks
from backend.camera.pinhole import Camera
from backend.localizers.contract import Localizer
from backend.motion.chunks import Pending
from backend.records import Subject, TrackChunk
from backend.synth import World, lens, people, room, some_place, spread
from backend.synth.picture import draw_meshes, paint
from backend.synth.raster import bounds
from backend.synth.view import View, aim, look
from bench.motion_parts.capture import RATE, Capture, Performance, bodies, turned
from bench.motion_parts.clips import grounded
from bench.motion_parts.feet import Sole
from bench.motion_parts.rendered import _placed
from blender_addon.shared.frames import Frame

FOV_DEG = (20.0, 100.0)
"""Of the larger side; logarithms of focal lengths are drawn evenly between the two."""
SIDE, STEP, FRAMES = 640, 3, 36
"""Pixels of the larger side; one of so many of the motion file's frames; frames of a film."""
SHAPES = ((1.0, 0.5625), (0.5625, 1.0), (1.0, 0.75))
"""Width and height in larger sides."""
KINDS = ("walk", "walk", "dance", "sport", "run", "jump")


@dataclass(eq=False)
class LensFilm:
    """A film, its lens, and the people in it."""

    camera: Camera
    """That took it."""
    images: np.ndarray
    """(n, H, W, 3) uint8 RGB."""
    times: np.ndarray
    """(n,) seconds."""
    marks: list[np.ndarray]
    """(n, 33, 3) of each person: true landmarks, camera space, metres."""
    up: np.ndarray
    """(3,) camera space."""
    height: float
    """Of the camera over the floor, metres."""
    cut: bool
    """Whether somebody is seen in part only."""
    about: str
    """In a few words."""
    tracks: list[TrackChunk] = field(default_factory=list)
    """Of each person, see `localized`."""

    @property
    def fov_deg(self) -> float:
        return float(
            np.rad2deg(2 * np.arctan(max(self.camera.width, self.camera.height) / 2 / self.camera.K[0, 0]))
        )


def film(rng: np.random.Generator, world: World, capture: Capture, clips: list[int]) -> LensFilm:
    """One or two people on one floor; one film in five shows upper bodies only."""
    count = 2 if rng.random() < 0.35 else 1
    cut = bool(rng.random() < 0.2)
    sole, actors, names = Sole.of(world.body), [], []
    kind = str(rng.choice(KINDS))
    some = [k for k in clips if capture.kind(k) == kind and capture.seconds(k) * RATE > 40]
    for k in range(count):
        clip = int(rng.choice(some))
        most = min(STEP * FRAMES, round(capture.seconds(clip) * RATE))
        first = int(rng.integers(0, round(capture.seconds(clip) * RATE) - most + 1))
        base = people.stance(rng, world.skin, None, world.split)
        p = capture.performance(clip, world.body, base.betas, first, most)
        p = turned(
            p,
            rng.uniform(-np.pi, np.pi),
            np.array([[0.0, 0.0], rng.choice([-1, 1]) * np.array([1.3, 1.0])])[k],
        )
        p = grounded(world.body, sole, p, base.betas)
        p.pose[:, 22:] = base.pose[22:]
        actors.append((p, base))
        names.append(p.name)
    n = min(len(p.pose) for p, _ in actors)
    rows = np.arange(0, n, STEP)
    dressed = [int(rng.integers(1 << 30)) for _ in actors]
    shown = int(rng.integers(1 << 30))
    placed = [
        [_placed(world, p, int(i), base, d) for i in rows]
        for (p, base), d in zip(actors, dressed, strict=True)
    ]
    every = np.concatenate([q.x[::5] for group in placed for q in group[::2]])
    seen, size = _view(rng, every, cut)
    low, high = bounds(every)
    place = some_place(rng, world)
    if place is None:
        place = room.build(rng, seen.centre, spread(low, high) + 0.2, world.split)
    radius = min(float(np.linalg.norm(high - low)) * 0.6 + 0.2, 1.8)
    x0, y0 = (seen.side - size[0]) // 2, (seen.side - size[1]) // 2
    images = []
    for group in zip(*placed, strict=True):
        meshes = [m for q in group for m in q.meshes]
        for k, q in enumerate(group):
            for m in q.meshes:
                m.owner = k
        # The same numbers for every frame: light and place stay.
        same = np.random.default_rng(shown)
        drawn = draw_meshes(meshes, seen)
        image = paint(same, world, meshes, drawn, seen, (low + high) / 2, radius, place)
        ids = drawn.ids[::2, ::2]
        subject = (ids >= 0) & (drawn.persons[ids] == 0)
        image = lens.develop(same, image, subject, world.noise(seen.side))
        images.append(image[y0 : y0 + size[1], x0 : x0 + size[0]])
    K = seen.K - np.array([[0, 0, x0], [0, 0, y0], [0, 0, 0.0]])
    marks = [_marks(world, p, rows, base) for p, base in actors]
    marks = [(m - seen.centre) @ seen.R.T for m in marks]
    return LensFilm(Camera(K, *size), np.stack(images), rows / RATE, marks, seen.R @ [0, 1.0, 0], seen.centre[1], cut,
                    f"{kind} {' '.join(names)}")  # fmt: skip


def _marks(world: World, p: Performance, rows: np.ndarray, base) -> np.ndarray:
    points = body_landmarks(world.body)[0]
    return bodies(world.body, p.pose[rows], base.betas, p.pelvis[rows], points)[1]


def _view(rng: np.random.Generator, x: np.ndarray, cut: bool) -> tuple[View, tuple[int, int]]:
    """A camera of a random lens that sees all of `x` (n, 3), world, or when `cut` what is higher than the hips; and the
    picture's width and height."""
    wide, tall = (int(SIDE * s) // 2 * 2 for s in SHAPES[rng.integers(len(SHAPES))])
    low, high = (SIDE / 2 / np.tan(np.deg2rad(v) / 2) for v in FOV_DEG)
    f = float(np.exp(rng.uniform(np.log(high), np.log(low))))
    if cut:
        x = x[x[:, 1] > rng.uniform(0.6, 1.0)]
    middle = (x.min(0) + x.max(0)) / 2
    height, share = rng.uniform(0.6, 2.6), rng.uniform(0.45, 0.97)
    half = np.array([wide, tall]) / 2 / f
    far, way = 0.5 * float(np.ptp(x[:, 2])) + 0.9, rng.uniform(-1, 1, 2)
    while True:
        centre = np.array([middle[0], height, middle[2] + far])
        R = look(centre, middle)
        for _ in range(3):
            p = (x - centre) @ R.T
            p = p[:, :2] / p[:, 2:]
            R = aim(R, np.append((p.min(0) + p.max(0)) / 2, 1.0))
        p = (x - centre) @ R.T
        p = p[:, :2] / p[:, 2:]
        span = np.ptp(p, axis=0) / 2
        if p[:, 0].size and ((span / half).max() < share) and ((x - centre) @ R[2]).min() > 0.4:
            break
        far *= 1.04
    # Not in the middle: anywhere where all is still in the picture.
    R = aim(R, np.append(way * (half - span) * 0.9, 1.0))
    roll = np.deg2rad(rng.normal(0, 2))
    c, s = np.cos(roll), np.sin(roll)
    R = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]]) @ R
    return View(R, centre, f, SIDE, np.zeros((0, 3))), (wide, tall)


def localized(
    f: LensFilm, localizer: Localizer, camera: Camera, rng: np.random.Generator
) -> list[TrackChunk]:
    """What the localizer says of everybody when it takes `camera` for that of the film. Where they are expected is as
    wrong as in a film that is followed."""
    tracks = []
    for number, marks in enumerate(f.marks):
        pending = Pending(0)
        pixels = f.camera.project(marks)
        for i, image in enumerate(f.images):
            guess = pixels[i] + rng.normal(0, 0.01, (1, 2)) * np.ptp(pixels[i], axis=0).max()
            box = np.append(guess.min(0), np.ptp(guess, axis=0))
            subject = Subject(np.ascontiguousarray(image), camera, box, None, guess)
            pending.add(number + 1, Frame(i, float(f.times[i]), image), localizer.localize([subject]), 0)
            pending.last = i
        tracks += pending.take(camera, (), {}).tracks
    return tracks


def films(seed: int, world: World, capture: Capture, clips: list[int]) -> Iterator[LensFilm]:
    """Without end; number i is the same however many are taken."""
    i = 0
    while True:
        yield film(np.random.default_rng([seed, 71, i]), world, capture, clips)
        i += 1

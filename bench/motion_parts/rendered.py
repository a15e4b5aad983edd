"""Motion capture rendered: one clothed person who moves through a place, filmed by a camera that stands still; and what
the real localizer sees of it. Needs numba (`pip install bodyfield[train]`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.body.load import load_body
from backend.body.model import Body, CanonicalPoints
from backend.body.native import native_points
from backend.camera.pinhole import Camera
from backend.localizers.field.localizer import SURFACE
from backend.motion.chunks import person_tracks
from backend.options import MocapOptions
from backend.records import TrackChunk
from backend.synth import World, lens, people, room, scene, some_place, spread
from backend.synth.people import Stance
from backend.synth.picture import draw_meshes, paint
from backend.synth.raster import bounds
from backend.synth.view import View, aim, look
from bench.motion_parts.capture import RATE, Capture, Performance, bodies, turned
from bench.motion_parts.clips import KINDS, Actor, Take, grounded
from bench.motion_parts.errors import Seen, measure
from bench.motion_parts.feet import Sole, stood
from bench.motion_parts.seen import native_truth
from bench.noted import noted

FILL = (0.8, 0.95)
"""Share of the picture that the place takes through which somebody moves."""
HEIGHTS_M, DISTANCES_M = (1.0, 2.0), (3.0, 8.0)
"""Of the camera: over the floor, and from the middle of the place."""
ROLL_DEG = 2.0
"""One sigma."""

FRAMES, SIDE = 60, 480
"""Of a clip, at the motion file's rate; pixels of its pictures."""
ENOUGH = 30
"""Somebody seen in fewer frames says little of how errors last."""


@dataclass(eq=False)
class Film:
    """A rendered clip and the truth about it."""

    images: np.ndarray
    """(n, S, S, 3) uint8 RGB."""
    camera: Camera
    """That took it."""
    R: np.ndarray
    """(3, 3) world (y up, the floor at 0) to camera space."""
    centre: np.ndarray
    """(3,) the camera in the world."""
    betas: np.ndarray
    """(nb,)."""
    expression: np.ndarray
    """(ne,)."""
    played: Performance
    """What the person does, in the world."""


def film(seed: int, world: World, capture: Capture, clip: int, first: int, count: int, side: int) -> Film:
    """`count` frames of clip `clip` of the motion file."""
    rng = np.random.default_rng([seed, clip])
    base = people.stance(rng, world.skin, None, world.split)
    p = capture.performance(clip, world.body, base.betas, first, count)
    p = turned(p, rng.uniform(-np.pi, np.pi), np.zeros(2))
    p = grounded(world.body, Sole.of(world.body), p, base.betas)
    # Fingers and face of a random stance, the body of the capture.
    p.pose[:, 22:] = base.pose[22:]
    dressed, shown = (int(n) for n in rng.integers(1 << 30, size=2))
    placed = [_placed(world, p, i, base, dressed) for i in range(len(p.pose))]
    every = np.concatenate([q.x for q in placed[::4]])
    low, high = bounds(every)
    seen = _view(rng, every, side)
    place = some_place(rng, world)
    if place is None:
        place = room.build(rng, seen.centre, spread(low, high) + 0.2, world.split)
    radius = min(float(np.linalg.norm(high - low)) * 0.6 + 0.2, 1.8)
    images = []
    for q in placed:
        # The same numbers for every frame: light and place stay.
        rng = np.random.default_rng(shown)
        drawn = draw_meshes(q.meshes, seen)
        image = paint(rng, world, q.meshes, drawn, seen, (low + high) / 2, radius, place)
        ids = drawn.ids[::2, ::2]
        images.append(lens.develop(rng, image, (ids >= 0) & (drawn.persons[ids] == 0), world.noise(side)))
    return Film(
        np.stack(images), Camera(seen.K, side, side), seen.R, seen.centre, base.betas, base.expression, p
    )


def _view(rng: np.random.Generator, x: np.ndarray, side: int) -> View:
    """A camera as people hold it, of which all of `x` (n, 3), world, fills the picture."""
    low, high = bounds(x)
    middle = (low + high) / 2
    far = max(rng.uniform(*DISTANCES_M), 0.5 * float(np.linalg.norm((high - low)[[0, 2]])) + 2.0)
    centre = np.array([middle[0], rng.uniform(*HEIGHTS_M), middle[2] + far])
    R = look(centre, middle)
    for _ in range(3):
        p = (x - centre) @ R.T
        p = p[:, :2] / p[:, 2:]
        R = aim(R, np.append((p.min(0) + p.max(0)) / 2, 1.0))
    roll = np.deg2rad(rng.normal(0, ROLL_DEG))
    c, s = np.cos(roll), np.sin(roll)
    R = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]]) @ R
    p = (x - centre) @ R.T
    half = np.abs(p[:, :2] / p[:, 2:]).max()
    return View(R, centre, float(rng.uniform(*FILL) * side / 2 / half), side, np.zeros((0, 3)))


def _placed(world: World, p: Performance, i: int, base: Stance, dressed: int) -> scene.Placed:
    stance = Stance(p.pose[i], base.betas, base.expression, "clip", False)
    clothes = np.random.default_rng(dressed)
    q = scene.person(clothes, world.skin, world.figure, world.body.faces, None, world.split, 0, stance)
    scene.move(q, p.pelvis[i] - q.joints[0])
    return q


def localized(f: Film) -> TrackChunk | None:
    """What the road's localizer and tracker say of whoever they follow longest; None if nobody is."""
    options = MocapOptions(focal_px=float(f.camera.K[0, 0]), device="cpu", keep_features=False)
    chunks, _ = noted(f.images, np.arange(len(f.images)) / RATE, options)
    if not chunks:
        return None
    found = person_tracks(chunks)
    return max(found, key=lambda t: np.isfinite(t.points3d).all((1, 2)).sum()) if found else None


def films(capture: Capture, body: Body, seed: int, count: int, frames: int) -> Iterator[Film]:
    """Held-out performers, one kind of movement after the other."""
    world = World(body, None, None, "held-out")
    for i in range(count):
        rng = np.random.default_rng([seed, 31, i])
        some = [k for k in capture.held_out if capture.kind(k) == KINDS[i % len(KINDS)]]
        clip = int(rng.choice([k for k in some if capture.seconds(k) * RATE >= 32]))
        first = int(rng.integers(0, max(1, round(capture.seconds(clip) * RATE) - frames)))
        yield film(int(rng.integers(1 << 30)), world, capture, clip, first, frames, SIDE)


def rendered_takes(
    capture: Capture, body: Body, points: CanonicalPoints, seed: int, count: int
) -> Iterator[Take]:
    """Rendered clips as the contest takes them."""
    sole = Sole.of(body)
    for i, f in enumerate(films(capture, body, seed, count, 2 * FRAMES)):
        track, p = localized(f), f.played
        if track is None:
            continue
        seen = np.isfinite(track.points3d).all((1, 2))
        names = ("frames", "times", "boxes", "points3d", "points2d", "uncertainty", "score")
        track = TrackChunk(1, *(getattr(track, n)[seen] for n in names))
        joints, soles, _, _ = bodies(body, p.pose, f.betas, p.pelvis, sole.points)
        actor = Actor(p, f.betas, joints, soles, stood(sole, soles, p.times, p.floor_ok), track)
        fov = float(np.rad2deg(2 * np.arctan(SIDE / 2 / f.camera.K[0, 0])))
        turn = np.repeat(f.R[None], len(p.times), 0)
        yield Take(f"rendered {i:03d} {p.name}", p.kind, "rendered", p.floor_ok, f.camera, fov, turn, f.centre, p.times,
                   [actor])  # fmt: skip


def measure_errors(motion: Path, seed: int, count: int, out: Path) -> None:
    """Render `count` clips, see how the localizer errs, write `out`."""
    body = load_body()
    points, clips = native_points(body, SURFACE), []
    for f in films(Capture(motion), body, seed, count, FRAMES):
        track = localized(f)
        if track is None or np.isfinite(track.points3d).all((1, 2)).sum() < ENOUGH:
            continue
        p, rows = f.played, track.frames
        turn = np.repeat(f.R[None], len(rows), 0)
        truth, turns = native_truth(body, points, p.pose[rows], f.betas, p.pelvis[rows], turn, f.centre)
        clips.append(Seen(track.points3d.astype(float), track.points2d.astype(float), track.uncertainty.astype(float),
                          truth, turns, f.camera.K, track.times))  # fmt: skip
        print(f"{len(clips)}: {p.name} {p.kind}", flush=True)
    measure(clips).save(out)

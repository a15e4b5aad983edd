"""One scene: a person and whoever else, clothes, things, ground and light, in the world (y up, ground at y = 0)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from backend.body import JOINT
from backend.synth import dyes, shade
from backend.synth import outfit as o
from backend.synth.mesh import Mesh, solid, unit_ball, unit_box, unit_rod
from backend.synth.people import Stance, stance
from backend.synth.raster import bounds
from backend.synth.sew import displacement
from backend.synth.skin import Skin, chain, correct, rest, rotations, skin_points, transforms
from backend.synth.tailor import Figure
from backend.synth.volumes import held, volumes
from backend.synth.wardrobe import Dress, dress


@dataclass(eq=False)
class Placed:
    """A clothed person in the world."""

    stance: Stance
    """Pose and shape."""
    dress: Dress
    """The clothes."""
    x: np.ndarray
    """(V, 3) float32 visible surface."""
    reach: np.ndarray
    """(V,) metres in front of a vertex within which the person's own clothes do not hide it."""
    joints: np.ndarray
    """(55, 3) world, metres."""
    rest_joints: np.ndarray
    """(55, 3) of the rest pose."""
    lift: np.ndarray
    """(3,) translation of the pose's world."""
    meshes: list[Mesh] = field(default_factory=list)
    """The body first."""


def person(rng, skin: Skin, figure: Figure, faces: np.ndarray, motion, split: str, number: int,
           posed: Stance | None = None) -> Placed:  # fmt: skip
    """A random clothed person standing, lying or jumping at the world's origin; `posed`: like this."""
    s = posed or stance(rng, skin, motion, split)
    d = dress(rng, split)
    seed = float(rng.uniform(0, 40))
    local = rotations(s.pose)
    naked, joints = rest(skin, s.betas, s.expression)
    correct(local.astype(np.float32), skin.corrected, skin.first, skin.correctives, naked)
    clothed = naked + displacement(figure, d, seed)
    world, places = chain(local, joints)
    T = transforms(world, places, joints, np.zeros(3))
    x = np.empty_like(clothed)
    skin_points(T, skin.carriers, skin.weights, clothed, x)
    lift = -np.array([places[0, 0], bounds(x)[0][1], places[0, 2]], float)
    if rng.random() < 0.1 and not s.seat:
        lift[1] += rng.uniform(0.02, 0.7)  # in the air
    if s.seat:
        lift[1] = max(lift[1], rng.uniform(0.38, 0.55) - x[_under(figure), 1].min())
    T[:, :, 3] += lift
    x += lift.astype(np.float32)
    reach = np.full(len(x), 0.015, np.float32)
    if d.hair in ("long", "bob", "tail", "bun", "afro") or d.hat:
        reach[figure.head > 0.5] = 0.06
    if d.skirt is not None:
        reach[figure.leg > 0.5] = 0.05
    body = Mesh(
        x, faces, figure.p, d.row, shade.PERSON, 0, True, eyes=figure.eyes.astype(np.uint8), owner=number
    )
    meshes = [body, *volumes(rng, d, figure, clothed, T, seed)]
    for m in meshes:
        m.owner = number
    out = Placed(s, d, x, reach, places + lift, joints, lift, meshes)
    if rng.random() < 0.12:
        hand, sign = ("left_wrist", 1) if rng.random() < 0.5 else ("right_wrist", -1)
        j = JOINT[hand]
        out.meshes.append(held(rng, places[j] + lift, world[j].astype(float), thing_row(rng, split), sign))
    return out


def _under(figure: Figure) -> np.ndarray:
    """Vertices that a seat touches."""
    return (figure.p[:, 1] < -0.38) & (figure.p[:, 1] > -0.6)


def thing_row(rng, split: str) -> np.ndarray:
    """Outfit vector whose first layer is the surface of some thing."""
    row = o.blank()
    pattern = int(
        rng.choice(
            [o.PLAIN, o.ACROSS, o.CHECKS, o.BLOTCHES, o.HEATHER, o.DOTS], p=[0.5, 0.12, 0.1, 0.14, 0.08, 0.06]
        )
    )
    kind = "dark" if rng.random() < 0.3 else "any"
    colours = [dyes.cloth(rng, split, kind), dyes.cloth(rng, split), dyes.cloth(rng, split)]
    if rng.random() < 0.25:  # wood
        colours = [
            dyes.from_hsv(rng.uniform(0.04, 0.1), rng.uniform(0.3, 0.7), v) for v in rng.uniform(0.2, 0.8, 3)
        ]
    o.put(row, 0, pattern=pattern, scale=rng.uniform(0.03, 0.3), phase=rng.random(), gloss=max(0, rng.normal(0, 0.3)),
          wear=rng.uniform(0.03, 0.25), trim=rng.uniform(0.2, 0.7), colours=colours)  # fmt: skip
    return row


def move(p: Placed, way: np.ndarray) -> None:
    """Shift a person and all that belongs to it, in place."""
    way = np.asarray(way)
    for m in p.meshes:
        m.x = m.x + way.astype(np.float32)
    p.x = p.meshes[0].x
    p.joints = p.joints + way
    p.lift = p.lift + way


def furniture(rng, main: Placed, split: str, indoors: bool) -> list[Mesh]:
    """Things on the ground around the person and, at times, between camera and person."""
    out = []
    if main.stance.seat:
        out += _seat(rng, main, split)
    low, high = bounds(main.x)
    for _ in range(rng.poisson(1.6 if indoors else 0.8)):
        size = np.array([rng.uniform(0.1, 0.9), rng.uniform(0.15, 1.0), rng.uniform(0.1, 0.6)])
        a = rng.uniform(0, 2 * np.pi)
        r = np.hypot(*(high - low)[[0, 2]]) / 2 + np.hypot(size[0], size[2]) + rng.uniform(0.05, 2.5)
        place = np.array([r * np.cos(a), size[1], r * np.sin(a) - 0.5])
        # Nothing that would stand on the camera or wall off the view.
        if place[2] > 0.5 and abs(place[0]) < size[0] + 0.6:
            continue
        turn = rotations([0, rng.uniform(0, np.pi), 0])
        shape = unit_box() if rng.random() < 0.75 else unit_rod(14)
        out.append(solid(shape, size, turn, place, thing_row(rng, split)))
    return out


def _seat(rng, main: Placed, split: str) -> list[Mesh]:
    """A stool, bench or chair under a sitting person."""
    x = main.x
    hips = (main.joints[JOINT["left_hip"]] + main.joints[JOINT["right_hip"]]) / 2
    knees = (main.joints[JOINT["left_knee"]] + main.joints[JOINT["right_knee"]]) / 2
    ahead = knees - hips
    ahead[1] = 0
    ahead /= max(np.linalg.norm(ahead), 1e-6)
    near = np.linalg.norm(x[:, [0, 2]] - hips[[0, 2]], axis=1) < 0.22
    top = float(x[near, 1].min()) + 0.01
    if top < 0.15:
        return []
    turn = np.stack([np.cross([0, 1.0, 0], ahead), [0, 1.0, 0], ahead], 1)
    row = thing_row(rng, split)
    wide, deep = (
        rng.uniform(0.2, 0.3) if rng.random() < 0.7 else rng.uniform(0.4, 0.9),
        rng.uniform(0.18, 0.25),
    )
    middle = np.array([hips[0], 0, hips[2]]) + ahead * 0.1
    kind = rng.random()
    thick = top / 2 if kind < 0.4 else 0.03
    out = [solid(unit_box(), [wide, thick, deep], turn, middle + np.array([0, top - thick, 0]), row)]
    if kind >= 0.4:
        for sx in (-1, 1):
            for sz in (-1, 1):
                leg = turn @ np.array([sx * (wide - 0.03), 0, sz * (deep - 0.03)])
                out.append(
                    solid(
                        unit_box(), [0.02, top / 2, 0.02], turn, middle + leg + np.array([0, top / 2, 0]), row
                    )
                )
    if rng.random() < 0.5:
        back = turn @ np.array([0, 0, -deep - 0.03])
        out.append(
            solid(unit_box(), [wide, 0.22, 0.02], turn, middle + back + np.array([0, top + 0.25, 0]), row)
        )
    return out


def occluder(rng, main: Placed, camera: np.ndarray, split: str) -> Mesh:
    """Something between camera and person: a block, a ball, a bar, a board."""
    target = main.x[rng.integers(len(main.x))].astype(float)
    way = target - camera
    distance = np.linalg.norm(way)
    at = camera + way * rng.uniform(0.45, 0.85)
    scale = np.linalg.norm(at - camera) / distance
    turn = rotations(rng.normal(size=3)) if rng.random() < 0.5 else rotations([0, rng.uniform(0, 3), 0])
    kind = rng.integers(4)
    row = thing_row(rng, split)
    if kind == 0:
        return solid(unit_box(), rng.uniform(0.05, 0.24, 3) * scale, turn, at, row)
    if kind == 1:
        return solid(unit_ball(), rng.uniform(0.06, 0.28, 3) * scale, turn, at, row)
    if kind == 2:
        return solid(
            unit_rod(), [rng.uniform(0.01, 0.06) * scale, 2.5, rng.uniform(0.01, 0.06) * scale], turn, at, row
        )
    return solid(
        unit_box(), [rng.uniform(0.1, 0.5) * scale, rng.uniform(0.05, 0.4) * scale, 0.01], turn, at, row
    )

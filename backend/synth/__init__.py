"""Synthetic people without limit: pictures of clothed bodies of which every canonical point is known.

`World` loads what is shared, `draw` makes one picture from a random generator, `points_of` places any canonical
point. Needs numba (`pip install bodyfield[train]`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from backend.body import Body, CanonicalPoints, PointTensors, forward
from backend.synth import backdrop, lens, room, scene, view
from backend.synth.motion import SPLITS, load_motion
from backend.synth.picture import draw_meshes, in_sight, paint
from backend.synth.raster import bounds
from backend.synth.rules import rotvec
from backend.synth.skin import prepare, rotations
from backend.synth.tailor import measure
from backend.synth.view import FRAMINGS, Framing

SIDE = 256
_LEAST_SEEN = 0.1
"""Share of the vertices that must be in sight; of a whole person it is about 0.45."""


@dataclass(frozen=True, eq=False)
class Person:
    """The parameters of a body in front of the camera, float32."""

    pose: np.ndarray
    """(55, 3) rotation vectors, the root in camera space."""
    betas: np.ndarray
    """(nb,)."""
    expression: np.ndarray
    """(ne,)."""
    trans: np.ndarray
    """(3,) metres, camera space."""


@dataclass(frozen=True, eq=False)
class SynthPicture:
    """A picture of a made-up person, and the truth about it."""

    image: np.ndarray
    """(S, S, 3) uint8 RGB."""
    K: np.ndarray
    """(3, 3) float64 of its camera."""
    person: Person
    """The one it is about; others are only drawn."""
    visible: np.ndarray
    """(V,) bool, the vertices of that person that are seen."""
    kind: str
    """Where the pose came from."""


class World:
    """What all pictures share. `split`: "train" or "held-out"; the two have no motion clip, no background, no
    body shape and no bright clothes' colour in common. Without `motion` all poses come from rules. `backgrounds`:
    photographs, and panoramas (.hdr, .exr) that light the person as well."""

    def __init__(
        self, body: Body, motion: Path | None, backgrounds: Sequence[Path] | None = None, split: str = "train"
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"The split must be one of {', '.join(SPLITS)}, not {split}.")
        self.body, self.split = body, split
        self.motion = load_motion(motion, split) if motion is not None else None
        self.skin, self.figure = prepare(body), measure(body)
        self.photos, self.panoramas = backdrop.load(backgrounds or (), split)
        self.tensors = body.to()
        self._noise: dict[int, np.ndarray] = {}

    def noise(self, side: int) -> np.ndarray:
        if side not in self._noise:
            self._noise[side] = lens.noise_bank(side)
        return self._noise[side]


def draw(
    rng: np.random.Generator, world: World, side: int = SIDE, framing: Framing = FRAMINGS["crop"]
) -> SynthPicture:
    """One random picture; the same generator state gives the same picture."""
    main = _person(rng, world, 0)
    place = some_place(rng, world)
    low, high = bounds(main.x)
    seen_from = view.choose(rng, main.x, side, place is None, framing)
    black = seen_from.black()
    reach = spread(low, high)
    around = []
    for number in range(1, 1 + int(rng.choice(4, p=[0.68, 0.21, 0.08, 0.03]))):
        other = _person(rng, world, number)
        scene.move(other, _beside(rng, main, seen_from))
        around += other.meshes
        reach = max(reach, spread(*bounds(other.x)))
    if place is None:
        place = room.build(rng, seen_from.centre, reach + 0.2, world.split)
        around += scene.furniture(rng, main, world.split, place.indoors)
    elif main.stance.seat:
        around += scene.furniture(rng, main, world.split, False)
    for _ in range(int(rng.choice(3, p=[0.75, 0.19, 0.06]))):
        around.append(scene.occluder(rng, main, seen_from.centre, world.split))
    meshes = [*main.meshes, *around]
    drawn = draw_meshes(meshes, seen_from)
    visible = in_sight(main, drawn, black)
    if visible.mean() < _LEAST_SEEN:
        # Nobody could tell what is behind that: take away what stands in front.
        meshes = [*main.meshes, *(m for m in around if not view.in_front(m.x, main.x, seen_from))]
        drawn = draw_meshes(meshes, seen_from)
        visible = in_sight(main, drawn, black)
    radius = min(float(np.linalg.norm(high - low)) * 0.6 + 0.2, 1.8)
    image = paint(rng, world, meshes, drawn, seen_from, (low + high) / 2, radius, place)
    ids = drawn.ids[::2, ::2]
    out = lens.develop(rng, image, (ids >= 0) & (drawn.persons[ids] == 0), world.noise(side))
    out[black] = 0
    return SynthPicture(out, seen_from.K, person_in_camera(main, seen_from), visible, main.stance.kind)


def spread(low: np.ndarray, high: np.ndarray) -> float:
    """Metres that something with these bounds reaches from the world's vertical axis, along x or z."""
    return float(np.abs([low[[0, 2]], high[[0, 2]]]).max())


def points_of(
    world: World, person: Person, points: PointTensors | CanonicalPoints | None = None
) -> np.ndarray:
    """(P, 3) float32 metres, camera space: where canonical points of `person` are; None: all vertices."""
    batch = lambda a: torch.from_numpy(np.asarray(a, np.float32))[None]  # noqa: E731
    posed = forward(world.tensors, batch(person.pose), batch(person.betas), batch(person.trans),
                    batch(person.expression), points, vertices=points is None)  # fmt: skip
    return (posed.vertices if points is None else posed.points)[0].numpy()


def _person(rng, world: World, number: int) -> scene.Placed:
    return scene.person(rng, world.skin, world.figure, world.body.faces, world.motion, world.split, number)


def some_place(rng, world: World):
    """What the person stands in: "room" (to be built), "panorama", "photo" or "plain"."""
    chance = {
        "room": 0.42,
        "panorama": 0.3 * bool(world.panoramas),
        "photo": 0.18 * min(1.0, len(world.photos) / 20),
        "plain": 0.12,
    }
    p = np.array(list(chance.values()))
    kind = str(rng.choice(list(chance), p=p / p.sum()))
    return None if kind == "room" else kind


def _beside(rng, main: scene.Placed, seen_from: view.View) -> np.ndarray:
    """(3,) where another person stands: behind, beside, or in front and partly in the way."""
    dice = rng.random()
    distance = np.linalg.norm(seen_from.centre)
    if dice < 0.6:
        deep = -rng.uniform(0.5, 5)
        return np.array([rng.normal(0, 0.25 * (distance - deep) + 0.3), 0, deep])
    sign = 1 if rng.random() < 0.5 else -1
    if dice < 0.88:
        return np.array([sign * rng.uniform(0.35, 1.0), 0, rng.uniform(-0.4, 0.3)])
    near = distance * rng.uniform(0.2, 0.5)
    return np.array([sign * rng.uniform(0.15, 0.6) * (1 - near / distance) + sign * 0.15, 0, near])


def person_in_camera(main: scene.Placed, seen_from: view.View) -> Person:
    """World pose and place -> camera space."""
    pose = main.stance.pose.copy()
    pose[0] = rotvec(seen_from.R @ rotations(pose[0]))
    pelvis = seen_from.R @ (main.joints[0] - seen_from.centre)
    f32 = lambda a: np.ascontiguousarray(a, np.float32)  # noqa: E731
    return Person(
        f32(pose), f32(main.stance.betas), f32(main.stance.expression), f32(pelvis - main.rest_joints[0])
    )

"""Rendered clips to judge by: one clothed person moves before a camera that stands still, every point is known.

    python -m backend.synth.clips OUT --motion POSES.npz --backgrounds HDR --count 20

Writes OUT/clip00/0000.png … and OUT/clip00.npz: K, and `pose`, `betas`, `expression`, `trans` of each frame as in
`Person`. Poses are a stretch of one motion capture clip; shapes, clothes and places are those of the split.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from backend.synth import Person, World, lens, people, person_in_camera, room, scene, some_place, spread, view
from backend.synth.people import Stance
from backend.synth.picture import draw_meshes, paint
from backend.synth.raster import bounds
from backend.synth.rules import rotvec
from backend.synth.shards import Recipe
from backend.synth.skin import rotations
from backend.synth.view import Framing

FRAMING = Framing((0.6, 0.75), (0.6, 0.75), 1.0, 0.03, 2.0, 0.0, 0.0, True)


def clip(seed: int, world: World, side: int, count: int) -> tuple[np.ndarray, np.ndarray, list[Person]]:
    """(n, S, S, 3) uint8, K (3, 3), and the person of each frame."""
    rng = np.random.default_rng(seed)
    poses = _stretch(rng, world, count)
    base = people.stance(rng, world.skin, None, world.split)
    facing = rotations([0, rng.uniform(-np.pi, np.pi), 0])
    dressed, seen, shown = (int(n) for n in rng.integers(1 << 30, size=3))

    def at(pose: np.ndarray) -> scene.Placed:
        whole = base.pose.copy()
        whole[:22] = pose
        whole[0] = rotvec(facing @ rotations(whole[0]))
        stance = Stance(whole, base.betas, base.expression, "clip", False)
        clothes = np.random.default_rng(dressed)
        faces, split = world.body.faces, world.split
        return scene.person(clothes, world.skin, world.figure, faces, world.motion, split, 0, stance)

    placed = [at(pose) for pose in poses]
    every = np.concatenate([p.x for p in placed[::6]])
    low, high = bounds(every)
    rng = np.random.default_rng(seen)
    camera = view.choose(rng, every, side, True, FRAMING)
    place = some_place(rng, world)
    if place is None:
        place = room.build(rng, camera.centre, spread(low, high) + 0.2, world.split)
    radius = min(float(np.linalg.norm(high - low)) * 0.6 + 0.2, 1.8)
    images = []
    for p in placed:
        # The same numbers for every frame: light, place and grain stay.
        rng = np.random.default_rng(shown)
        drawn = draw_meshes(p.meshes, camera)
        image = paint(rng, world, p.meshes, drawn, camera, (low + high) / 2, radius, place)
        ids = drawn.ids[::2, ::2]
        images.append(lens.develop(rng, image, (ids >= 0) & (drawn.persons[ids] == 0), world.noise(side)))
    return np.stack(images), camera.K, [person_in_camera(p, camera) for p in placed]


def _stretch(rng: np.random.Generator, world: World, count: int) -> np.ndarray:
    """(n, 22, 3) poses in a row."""
    motion = world.motion
    assert motion is not None
    while True:
        c = int(rng.choice(len(motion.names), p=motion.chance))
        first, last = motion.starts[c], motion.starts[c + 1] - count
        if last > first:
            start = int(rng.integers(first, last))
            return motion.poses[start : start + count]


def main(
    out: Path,
    motion: Annotated[Path, typer.Option(help="npz of body poses.")],
    backgrounds: Annotated[Path | None, typer.Option(help="Folder of pictures and .hdr panoramas.")] = None,
    split: Annotated[str, typer.Option(help="train or held-out.")] = "held-out",
    seed: int = 0,
    count: Annotated[int, typer.Option(min=1)] = 20,
    frames: Annotated[int, typer.Option(min=2)] = 48,
    side: int = 512,
) -> None:
    """Write clips to OUT."""
    world = Recipe(str(motion), str(backgrounds or ""), split, seed, side, 1, "wide").world()
    for i in range(count):
        images, K, persons = clip(seed + i, world, side, frames)
        folder = out / f"clip{i:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        for k, image in enumerate(images):
            cv2.imwrite(str(folder / f"{k:04d}.png"), np.ascontiguousarray(image[..., ::-1]))
        names = ("pose", "betas", "expression", "trans")
        np.savez(
            out / f"clip{i:02d}.npz", K=K, **{n: np.stack([getattr(p, n) for p in persons]) for n in names}
        )


if __name__ == "__main__":
    typer.run(main)

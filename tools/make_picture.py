"""Makes the README's moving picture `docs/images/demo.webp` out of a clip: the footage with the fitted body over it,
beside it the same body from another side, standing on the ground.

    python -m tools.make_picture [CLIP] [--out FILE] [--json FILE] [--seed N]

Run from the repository root, in the environment of `python install.py setup` (numba draws). The clip takes the whole
road with the default localizer, for one person; what is drawn is its result. The world, upright, is the one that
lands in Blender; the ground lies under the lowest sole of what is shown, and what is shown is the stretch in which
the soles stay nearest to it. The picture runs at half the clip's speed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from backend.batch.clip import Outcome, run_clip
from backend.body.kinematics import forward
from backend.body.model import Body
from backend.errors import JobError
from backend.files.whole import check_writable, file_aside
from backend.options import MocapOptions
from backend.records import Event, Progress, TrackMotion
from blender_addon.shared.axes import camera_to_world, level_rotation, world_shift
from blender_addon.shared.frames import open_clip

try:
    from tools.picture.light import KEY_DIRECTION, Shade, lights
    from tools.picture.view import Ground, View, decoded, draw, encoded, looking_at, normals_of, skin_colours
    from tools.picture.webp import write_webp
except ModuleNotFoundError as missing:
    sys.exit(f"The Python package {missing.name} is missing: run 'python install.py setup'.")

ROOT = Path(__file__).resolve().parents[1]
FPS, SPEED = 15, 0.5
"""Pictures a second, and the share of the clip's own speed at which they run."""

COUNT, HOLD = 45, 8
"""How many pictures are shown at most, and how often the last one."""

PANELS, HEIGHT = (500, 500), 600
"""Widths of the two parts and their height, pixels."""

COVER = 0.88
"""How much of the person the body hides."""

AIR = 1.12
"""Around the person, in the footage."""

ASIDE_DEG, SWAY_DEG, ABOVE_DEG, FOCAL = -60.0, 8.0, 11.0, 1350.0
"""The other side: how far around from the clip's camera, how far it sways, how far above; focal length, pixels."""

FILL = 0.8
"""Share of the other side that the person fills at most."""

GROUND_M, GROUND_STEP_M = 2.2, 0.025
"""How far around the body the light on the ground is worked out, and how finely."""


@dataclass(frozen=True)
class Shown:
    """The person of the picture, in the frames that it shows."""

    frames: np.ndarray
    """(n,) numbers of the frames."""
    vertices: np.ndarray
    """(n, V, 3) metres, world, the lowest at z = 0."""
    faces: np.ndarray
    """(F, 3) int32."""
    camera: View
    """The camera that took the clip, in this world."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Make the README's moving picture.")
    parser.add_argument("clip", nargs="?", type=Path, default=ROOT / "tests" / "data" / "demo.mp4")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "demo.webp")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--seed", type=int, default=0, help="turns the sky's lights")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    options = MocapOptions(max_people=1)
    try:
        check_writable(args.out)
        with tempfile.TemporaryDirectory() as home:
            outcome = run_clip(args.clip, options, _tell, Path(home))
        shown = person(outcome, options.load_body())
        with file_aside(args.out) as part:
            write_webp(pictures(args.clip, shown, args.seed), part, FPS)
    except JobError as error:
        print(error, file=sys.stderr)
        return 1
    facts = {"clip": args.clip.name, "localizer": options.localizer, "pictures": len(shown.frames) + HOLD - 1,
             "fps": FPS, "speed": SPEED, "size": [sum(PANELS), HEIGHT], "bytes": args.out.stat().st_size,
             "mean_uncertainty": outcome.summary.mean_uncertainty, "seed": args.seed}  # fmt: skip
    print(json.dumps(facts, indent=1))
    if args.json:
        args.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return 0


def _tell(event: Event) -> None:
    if isinstance(event, Progress) and event.done == event.total:
        print(f"{event.stage}: {event.done}", file=sys.stderr)


def person(outcome: Outcome, body: Body) -> Shown:
    """Whoever is longest in the clip, posed in the frames that the picture shows."""
    motion = max(outcome.motions, key=lambda m: len(m.frames))
    step = max(1, round(outcome.fps * SPEED / FPS))
    rows = np.arange(0, len(motion.frames), step)
    level = level_rotation(motion.up)
    shift = world_shift([m.joints for m in outcome.motions], level)
    world = camera_to_world(_posed(body, motion, rows), shift, level)
    stretch = steadiest(world[..., 2].min(1), COUNT)
    rows, world = rows[stretch], world[stretch]
    sole = world[..., 2].min()
    # Columns: what the axes of camera space become in the world.
    turn = camera_to_world(np.eye(3), np.zeros(3), level)
    place = camera_to_world(np.zeros(3), shift, level) - [0, 0, sole]
    K = outcome.camera.K
    size = (outcome.camera.width, outcome.camera.height)
    camera = View(turn, place, float(K[0, 0]), (float(K[0, 2]), float(K[1, 2])), size)
    return Shown(motion.frames[rows], world - [0, 0, sole], body.faces.astype(np.int32), camera)


def steadiest(soles: np.ndarray, count: int) -> slice:
    """Where `count` heights of the lowest sole, (n,) metres, that follow each other differ least."""
    starts = range(max(1, len(soles) - count + 1))
    first = min(starts, key=lambda k: float(np.ptp(soles[k : k + count])))
    return slice(first, first + count)


def _posed(body: Body, motion: TrackMotion, rows: np.ndarray) -> np.ndarray:
    """(n, V, 3) vertices in camera space."""
    with torch.inference_mode():
        each = (torch.from_numpy(array[rows]) for array in (motion.pose, motion.trans, motion.expression))
        pose, trans, expression = each
        betas = torch.from_numpy(motion.betas)
        posed = forward(body.to("cpu"), pose, betas, trans, expression, vertices=True)
    return posed.vertices.numpy().astype(np.float64)


def pictures(clip: Path, shown: Shown, seed: int) -> Iterator[np.ndarray]:
    """The pictures one after the other, (HEIGHT, width, 3) uint8 RGB; the last one is held."""
    front, crop = footage_view(shown)
    sides = side_views(shown)
    lit, lamp = lights(seed), KEY_DIRECTION / np.linalg.norm(KEY_DIRECTION)
    wanted = {int(frame): k for k, frame in enumerate(shown.frames)}
    picture = None
    with open_clip(clip) as frames:
        for frame in frames:
            if (k := wanted.get(frame.index)) is None:
                continue
            vertices = shown.vertices[k]
            normals = normals_of(vertices, shown.faces)
            shade = Shade(lit, vertices, shown.faces)
            light = shade.light(vertices, normals)
            left = decoded(cv2.resize(frame.image[crop], front.size, interpolation=cv2.INTER_AREA))
            right = ground(shown, sides[k], shade, vertices)
            parts = []
            for view, behind, cover in ((front, left, COVER), (sides[k], right, 1.0)):
                sight = view.place - vertices
                sight /= np.linalg.norm(sight, axis=1, keepdims=True)
                colours = skin_colours(light, normals, sight, lamp)
                over = cover * draw(view, vertices, shown.faces, colours)
                parts.append(encoded(behind * (1 - over[..., 3:]) + over[..., :3]))
            picture = np.concatenate(parts, 1)
            yield picture
    for _ in range(HOLD - 1):
        yield picture


def footage_view(shown: Shown) -> tuple[View, tuple[slice, slice]]:
    """The part of the footage that holds the person throughout, as a camera of its own and as rows and columns of
    the picture; it has the panel's shape exactly."""
    camera, panel = shown.camera, np.array([PANELS[0], HEIGHT])
    seen = camera.seen(shown.vertices.reshape(-1, 3))
    xy = seen[:, :2] / seen[:, 2:] * camera.focal + camera.centre
    low, high = xy.min(0), xy.max(0)
    unit = panel // np.gcd(*panel)
    times = min((AIR * (high - low) / unit).max(), (np.array(camera.size) / unit).min())
    size = int(times) * unit
    corner = np.clip((low + high - size) / 2, 0, np.array(camera.size) - size).round().astype(int)
    scale = panel[0] / size[0]
    # Pixel 0 is the middle of the first one in the picture and in the panel.
    centre = (np.array(camera.centre) - corner + 0.5) * scale - 0.5
    part = tuple(slice(corner[k], corner[k] + size[k]) for k in (1, 0))
    return View(
        camera.turn, camera.place, camera.focal * scale, tuple(centre.tolist()), tuple(panel.tolist())
    ), part


def side_views(shown: Shown) -> list[View]:
    """The camera of the other side for each picture: it sways once to and fro, and stays as near as lets it see the
    whole person in every picture."""
    low, high = shown.vertices.min((0, 1)), shown.vertices.max((0, 1))
    middle = (low + high) / 2
    back = shown.camera.place - middle
    count, above = len(shown.frames), np.deg2rad(ABOVE_DEG)
    sway = SWAY_DEG * np.sin(2 * np.pi * np.arange(count) / count)
    around = np.arctan2(back[1], back[0]) + np.deg2rad(ASIDE_DEG + sway)
    level = np.stack([np.cos(around), np.sin(around), np.full(count, np.tan(above))], -1)
    size = (PANELS[1], HEIGHT)
    distance = 0.0
    for away, vertices in zip(level, shown.vertices, strict=True):
        seen = (vertices - middle) @ looking_at(middle, away, 1.0, FOCAL, size).turn.T
        needed = np.abs(seen[:, :2]) * 2 * FOCAL / (FILL * np.array(size)) - seen[:, 2:]
        distance = max(distance, float(needed.max()))
    return [looking_at(middle, away, distance, FOCAL, size) for away in level]


def ground(shown: Shown, view: View, shade: Shade, vertices: np.ndarray) -> np.ndarray:
    """(HEIGHT, width, 3) linear: the ground and the body's shadow on it."""
    low = vertices[:, :2].mean(0) - GROUND_M
    count = round(2 * GROUND_M / GROUND_STEP_M)
    x, y = np.meshgrid(*(low[k] + GROUND_STEP_M * np.arange(count) for k in (0, 1)))
    places = np.stack([x, y, np.zeros_like(x)], -1).reshape(-1, 3)
    light = shade.light(places, np.broadcast_to([0, 0, 1.0], places.shape)).reshape(count, count, 3)
    middle = shown.vertices[..., :2].mean((0, 1))
    return Ground(view, middle).draw(light, low, GROUND_STEP_M)


if __name__ == "__main__":
    sys.exit(main())

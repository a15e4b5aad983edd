"""Rendered people with captured motions in the rooms of `rooms`, before a camera that is carried about. Needs numba
(`pip install bodyfield[train]`). Pictures are 640 x 360, 15 a second."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backend.camera.pinhole import Camera
from backend.synth import lens, people, room, scene
from backend.synth.people import Stance
from backend.synth.picture import draw_meshes, paint
from backend.synth.view import View
from bench.camera_parts import rooms, walks
from bench.camera_parts.worlds import Look
from bench.motion_parts.capture import RATE, turned
from bench.motion_parts.clips import grounded
from bench.people_parts.crowd import FPS, HEIGHT, WIDTH, Studio

AXES = np.diag([1.0, -1.0, -1.0])
"""Rooms' axes (y down, z forward) and those of the people's world (y up, z towards who looks)."""


@dataclass(eq=False)
class Acted:
    """A clip of m frames and the truth."""

    images: np.ndarray
    """(m, H, W, 3) uint8 RGB."""
    times: np.ndarray
    """(m,) seconds."""
    camera: Camera
    """That took it."""
    turns: np.ndarray
    """(m, 3, 3) world -> camera; the world is the first frame's camera."""
    places: np.ndarray
    """(m, 3) metres, the camera's in the world."""
    joints: np.ndarray
    """(m, 55, 3) metres, in the world."""


def film(studio: Studio, kind: str, look: Look, rng: np.random.Generator, seconds: float = 4.0) -> Acted:
    """Somebody walks, and the camera does what `kind` of `walks.KINDS` says."""
    m = round(seconds * FPS)
    times = np.arange(m) / FPS
    turns, places, hips, step = walks.way(kind, rng, times)
    base = people.stance(rng, studio.world.skin, None, studio.split)
    # Whom the camera goes round stays about where he is, or he would not be in sight.
    likely = studio.stands if kind == "walk around" else studio.walks
    long = [k for k in likely if studio.capture.seconds(k) > seconds + 0.2]
    clip = long[int(rng.integers(len(long)))]
    n = round(studio.capture.seconds(clip) * RATE)
    length = round(times[-1] * RATE) + 1
    p = studio.capture.performance(
        clip, studio.body, base.betas, int(rng.integers(0, n - length + 1)), length
    )
    go, want = p.pelvis[-1] - p.pelvis[0], AXES @ step.mean(0)
    yaw = np.arctan2(go[2], go[0]) - np.arctan2(want[2], want[0])
    middle = AXES @ hips[m // 2]
    p = turned(p, yaw, middle[[0, 2]])
    p = grounded(studio.body, studio.sole, p, base.betas)
    rows = np.clip(np.rint(times * RATE), 0, len(p.times) - 1).astype(int)
    pose, pelvis = p.pose[rows], p.pelvis[rows]
    pose[:, 22:] = base.pose[22:]
    # The floor of the room is EYES_M below its origin.
    eyes = np.array([0, rooms.EYES_M, 0])
    place = rooms.build(rng, [look], look, places, (pelvis - eyes) @ AXES)
    f = WIDTH / 2 / np.tan(np.deg2rad(rng.uniform(50, 68)) / 2)
    clothes, shown = int(rng.integers(1 << 30)), int(rng.integers(1 << 30))
    light = room.build(rng, np.array([0, 1.5, 0.0]), 15.0, studio.split)
    images, joints = [], []
    top = (WIDTH - HEIGHT) // 2
    for i in range(m):
        stance = Stance(pose[i], base.betas, base.expression, "clip", False)
        who = scene.person(np.random.default_rng(clothes), studio.world.skin, studio.world.figure,
                           studio.world.body.faces, None, studio.split, 0, stance)  # fmt: skip
        scene.move(who, pelvis[i] - who.joints[0])
        joints.append(who.joints.copy())
        view = View(turns[i] @ AXES, AXES @ places[i] + eyes, f, WIDTH, np.zeros((0, 3)))
        drawn = draw_meshes(who.meshes, view)
        numbers = np.random.default_rng(shown)
        image = paint(numbers, studio.world, who.meshes, drawn, view, np.array([0, 1.0, -5]), 6.0, light)
        image = lens.develop(numbers, image, np.zeros((WIDTH, WIDTH), bool), studio.world.noise(WIDTH))
        image = image[top : top + HEIGHT]
        mine = (drawn.ids >= 0).astype(np.float32)
        mine = mine.reshape(WIDTH, mine.shape[0] // WIDTH, WIDTH, -1).mean((1, 3))[
            top : top + HEIGHT, :, None
        ]
        behind = rooms.picture(place, turns[i], places[i], f, (WIDTH, HEIGHT))
        image = image * mine + behind * (1 - mine) + rng.normal(0, 1.5, (HEIGHT, WIDTH, 1))
        images.append(np.clip(image, 0, 255).astype(np.uint8))
    first = turns[0]
    K = np.array([[f, 0, (WIDTH - 1) / 2], [0, f, (HEIGHT - 1) / 2], [0, 0, 1.0]])
    there = (np.stack(joints) - eyes) @ AXES
    return Acted(np.stack(images), times, Camera(K, WIDTH, HEIGHT), turns @ first.T, places @ first.T,
                 there @ first.T)  # fmt: skip

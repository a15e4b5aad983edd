"""Clips from cameras that turn, shake, zoom, walk or stand still, encoded as a phone does, with the truth."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from backend.camera.moving.sight import turned
from bench.camera_parts import rooms, walks
from bench.camera_parts.worlds import Cutout, Look, put

WIDE, HIGH, FPS = 1280, 720, 30
KINDS = (
    *("pan", "shake", "pan and shake", "fast pan", "tele", "zoom", "pan and zoom", "still", "poor still"),
    *walks.KINDS,
)


@dataclass(frozen=True)
class Truth:
    """What is known of a clip."""

    kind: str
    """One of `KINDS`."""
    turns: np.ndarray
    """(n, 3, 3) world -> camera; the identity in the first frame."""
    focal: np.ndarray
    """(n,) pixels."""
    boxes: np.ndarray
    """(n, 4) of the person, NaN where nobody is."""
    root: np.ndarray
    """(n, 3) metres: somebody's way in the world."""
    places: np.ndarray
    """(n, 3) metres: the camera's."""
    feet: np.ndarray | None = None
    """(n, 2, 3) metres: his feet's, where the camera goes from place to place."""

    @property
    def still(self) -> bool:
        """Whether the camera does nothing at all."""
        return self.kind.endswith("still")


def camera_way(kind: str, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3) rotation vectors, (n,) focal lengths in pixels."""
    t = np.linspace(0, 1, n)
    vectors = np.zeros((n, 3))
    fov = rng.uniform(45, 75)
    sign = rng.choice([-1, 1])
    soft = t * t * (3 - 2 * t)
    if kind in ("pan", "pan and shake", "pan and zoom"):
        vectors[:, 1] = sign * np.radians(rng.uniform(20, 45)) * soft
    if kind == "fast pan":
        vectors[:, 1] = sign * np.radians(rng.uniform(90, 120)) * soft
    if kind == "tele":
        fov = rng.uniform(20, 28)
        vectors[:, 1] = sign * np.radians(rng.uniform(8, 15)) * soft
    if "shake" in kind or kind == "tele":
        # A hand: some degrees within a second, tenths of one at 5 to 10 Hz.
        for hz, deg in ((0.5, 1.2), (1.3, 0.5), (3.0, 0.15), (7.0, 0.05)):
            phase = rng.uniform(0, 2 * np.pi, 3)
            size = np.radians(deg) * (0.3 if kind == "tele" else 1.0) * rng.uniform(0.5, 1.2, 3) * [1, 1, 0.6]
            vectors += size * np.sin(2 * np.pi * hz * np.arange(n)[:, None] / FPS + phase)
    focal = np.full(n, 0.5 * WIDE / np.tan(np.radians(fov) / 2))
    if "zoom" in kind:
        focal *= np.exp(rng.uniform(0.25, 0.5) * soft)
    return vectors, focal


def make(
    kind: str, look: Look, who: Cutout | None, rng: np.random.Generator, out: Path, n: int = 90
) -> Truth:
    """Write the clip to `out`."""
    if kind in walks.KINDS:
        return _walk(kind, look, who, rng, out, n)
    vectors, focal = camera_way(kind, rng, n)
    turns = turned(vectors)
    start = turned(np.array([rng.uniform(-0.08, 0.08), rng.uniform(-0.15, 0.15), 0.0]))
    turns = turns @ turns[0].T
    # Somebody walks across, some metres away, and about where the camera looks.
    side = rng.choice([-1, 1])
    t = np.linspace(0, 1, n)
    root = np.stack([side * (2.4 * t - 1.2), np.full(n, 0.25), 4.0 + 0.8 * t], 1)
    yaw = np.arctan2(turns[:, 2, 0], turns[:, 2, 2])
    follow = turned(np.stack([np.zeros(n), yaw, np.zeros(n)], 1))
    root = np.einsum("nij,nj->ni", follow, root)
    v, u = np.mgrid[:HIGH, :WIDE].astype(np.float64)
    boxes, pictures = np.full((n, 4), np.nan), []
    noise = 6.0 if kind == "poor still" else 1.5
    for k in range(n):
        rays = np.stack(
            [(u - (WIDE - 1) / 2) / focal[k], (v - (HIGH - 1) / 2) / focal[k], np.ones_like(u)], -1
        )
        image = look(rays @ (turns[k] @ start.T))
        if who is not None:
            here = turns[k] @ root[k]
            if here[2] > 0.5:
                foot = focal[k] * (here[:2] + np.array([0, 0.9])) / here[2] + [(WIDE - 1) / 2, (HIGH - 1) / 2]
                boxes[k] = put(image, who, k, foot, focal[k] * 1.75 / here[2])
        image = image + rng.normal(0, noise, (HIGH, WIDE, 1))
        pictures.append(np.clip(image, 0, 255).astype(np.uint8))
    _write(pictures, out, 33 if kind == "poor still" else 23)
    return Truth(kind, turns, focal, boxes, root, np.zeros((n, 3)))


def _walk(kind: str, look: Look, who: Cutout | None, rng: np.random.Generator, out: Path, n: int) -> Truth:
    """The same of a camera that is carried through a room."""
    turns, places, hips, step = walks.way(kind, rng, np.arange(n) / FPS)
    room = rooms.build(rng, [look], look, places, hips)
    focal = np.full(n, 0.5 * WIDE / np.tan(np.radians(rng.uniform(45, 75)) / 2))
    boxes, pictures = np.full((n, 4), np.nan), []
    for k in range(n):
        image = rooms.picture(room, turns[k], places[k], focal[k], (WIDE, HIGH))
        here = turns[k] @ (hips[k] - places[k])
        if who is not None and here[2] > 0.5:
            foot = focal[k] * (here[:2] + np.array([0, 0.93])) / here[2] + [(WIDE - 1) / 2, (HIGH - 1) / 2]
            boxes[k] = put(image, who, k, foot, focal[k] * 1.75 / here[2])
        image = image + rng.normal(0, 1.5, (HIGH, WIDE, 1))
        pictures.append(np.clip(image, 0, 255).astype(np.uint8))
    _write(pictures, out, 23)
    # The world is the first frame's camera.
    first = turns[0]
    return Truth(kind, turns @ first.T, focal, boxes, hips @ first.T, places @ first.T,
                 walks.feet(hips, step) @ first.T)  # fmt: skip


def _write(pictures: list[np.ndarray], out: Path, crf: int) -> None:
    with av.open(str(out), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(FPS))
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt, stream.options = "yuv420p", {"crf": str(crf), "preset": "veryfast", "threads": "1"}
        for k, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = k
            container.mux(stream.encode(frame))
        container.mux(stream.encode())

"""A video to judge by eye: the footage with the bodies, and beside it the same people from the side and from above, on
a grid of the floor, with the trails of roots and feet. A part of a sole that rests is a yellow dot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from backend.batch.clip import open_video
from backend.body.load import load_body
from backend.body.model import Body
from backend.body.skeleton import PARENTS
from backend.camera.pinhole import Camera
from backend.draw.movie import write_overlay
from backend.draw.overlay import OverlayPainter
from backend.records import TrackMotion
from bench.motion_parts.feet import Sole
from bench.motion_parts.measures import JOINTS, World, floor_of, in_world
from bench.motion_parts.videos import run
from blender_addon.shared.frames import Frame

PAPER, GRID, FLOOR, INK, REST = (24, 24, 24), (52, 52, 52), (120, 120, 120), (190, 190, 190), (255, 220, 40)
PEOPLE = ((110, 200, 255), (255, 150, 110), (150, 255, 150), (230, 150, 255))
LEFT, RIGHT = (90, 130, 255), (255, 90, 90)
TRAIL_S = 3.0
"""Seconds of the trails."""
MARGIN_M = 0.5


def look(video: Path, out: Path) -> None:
    """Run the road on `video` and write the video `out`."""
    ran = run(video)
    painter = LookPainter(load_body(), ran.camera, ran.motions, ran.fps)
    with open_video(video) as clip:
        for count in write_overlay(clip, painter, out, ran.fps):
            if count % 100 == 0:
                print(f"{count} frames", flush=True)


class LookPainter:
    """See `backend.draw.movie.Painter`."""

    def __init__(self, body: Body, camera: Camera, motions: Sequence[TrackMotion], fps: float) -> None:
        self.footage = OverlayPainter(body, camera, motions)
        self.width, self.height = self.footage.width, self.footage.height
        self.side = max(self.height * 2 // 3, 320) // 2 * 2
        self.trail = max(1, round(TRAIL_S * fps))
        sole = Sole.of(body)
        floor = floor_of(motions, body, sole)
        self.motions = motions
        self.worlds: list[World] = [in_world(m, body, sole, floor) for m in motions]
        self.ends = [sole.ends(w.soles) for w in self.worlds]
        every = np.concatenate([w.joints.reshape(-1, 3) for w in self.worlds])
        low, high = np.percentile(every, [0.5, 99.5], axis=0)
        low, high = low - MARGIN_M, high + MARGIN_M
        low[1] = min(low[1], -0.15)
        self.low, self.high = low, high
        # From the side: depth to the right, up. From above: right, depth up.
        half = self.height // 2
        self.views = ((-2, 1, (0, half)), (0, -2, (half, self.height - half)))

    def paint(self, frame: Frame) -> np.ndarray:
        """(height, width + side, 3) uint8 RGB."""
        canvas = np.empty((self.height, self.width + self.side, 3), np.uint8)
        canvas[:, : self.width] = self.footage.paint(frame)[:, : self.width]
        for title, (right, up, (y, h)) in zip(("side", "top"), self.views, strict=True):
            panel = np.full((h, self.side, 3), PAPER, np.uint8)
            self._grid(panel, right, up)
            for k in range(len(self.motions)):
                self._person(panel, right, up, k, frame.index)
            cv2.putText(panel, title, (10, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA)
            canvas[y : y + h, self.width :] = panel
        return canvas

    def _pixels(self, panel: np.ndarray, right: int, up: int, x: np.ndarray) -> np.ndarray:
        """(..., 3) metres -> (..., 2) whole pixels. An axis of -2 is z turned round: away from the camera."""
        h, w = panel.shape[:2]
        ends = np.stack([self.low, self.high])
        axis = lambda p, a: -p[..., 2] if a == -2 else p[..., a]  # noqa: E731
        r, u = np.sort(axis(ends, right)), np.sort(axis(ends, up))
        scale = min(w / (r[1] - r[0]), h / (u[1] - u[0]))
        across = w / 2 + (axis(x, right) - r.mean()) * scale
        down = h / 2 - (axis(x, up) - u.mean()) * scale
        return np.rint(np.clip(np.stack([across, down], -1), -5000, 5000)).astype(int)

    def _grid(self, panel: np.ndarray, right: int, up: int) -> None:
        """Lines every half metre; the floor itself, from the side, is lighter."""
        low, high = np.floor(self.low * 2) / 2 - 5, np.ceil(self.high * 2) / 2 + 5
        for a in (right, up):
            other = up if a == right else right
            for v in np.arange(low[abs(a)], high[abs(a)], 0.5):
                ends = np.zeros((2, 3))
                ends[:, abs(a)] = v
                ends[:, abs(other)] = low[abs(other)], high[abs(other)]
                colour = FLOOR if a == 1 and abs(v) < 1e-6 else GRID
                cv2.line(panel, *map(tuple, self._pixels(panel, right, up, ends).tolist()), colour, 1)

    def _person(self, panel: np.ndarray, right: int, up: int, k: int, index: int) -> None:
        m, w, colour = self.motions[k], self.worlds[k], PEOPLE[k % len(PEOPLE)]
        row = int(np.searchsorted(m.frames, index))
        if row == len(m.frames) or m.frames[row] != index:
            return
        to = lambda x: self._pixels(panel, right, up, x)  # noqa: E731
        first = int(np.searchsorted(m.frames, index - self.trail))
        trails = ((w.joints[first : row + 1, 0], colour), (self.ends[k][first : row + 1, :2].mean(1), LEFT),
                  (self.ends[k][first : row + 1, 2:].mean(1), RIGHT))  # fmt: skip
        for path, ink in trails:
            cv2.polylines(panel, [to(path).astype(np.int32)], False, ink, 1, cv2.LINE_AA)
        at = to(w.joints[row])
        faint = tuple(c // 2 for c in colour) if m.bridged[row] else colour
        for j in range(1, JOINTS):
            cv2.line(panel, tuple(at[PARENTS[j]].tolist()), tuple(at[j].tolist()), faint, 2, cv2.LINE_AA)
        for part, on in zip(to(self.ends[k][row]), m.contacts[row, :4], strict=True):
            cv2.circle(
                panel,
                tuple(part.tolist()),
                4 if on > 0.5 else 2,
                REST if on > 0.5 else faint,
                -1,
                cv2.LINE_AA,
            )


__all__ = ["look"]

"""The overlay video: the body's points drawn over the footage, coloured by uncertainty, with a side view.

Green is sure (2 cm or better), red is a guess (15 cm or worse).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch

from backend.body.kinematics import forward
from backend.body.model import Body
from backend.camera.pinhole import Camera
from backend.draw.colours import colours
from backend.records import TrackMotion
from blender_addon.shared.axes import CAMERA_TO_SMPL, level_rotation
from blender_addon.shared.frames import Frame

POINTS = 900
"""Surface points drawn per person."""
HEIGHT = 960
"""Pixels of the footage's longer side in the movie."""


def surface_sample(body: Body, count: int = POINTS, seed: int = 0) -> np.ndarray:
    """Vertex rows spread over the surface: greedy farthest points of a random subset, (count,) int."""
    rng = np.random.default_rng(seed)
    pool = rng.choice(len(body.v_template), min(len(body.v_template), 6 * count), replace=False)
    places = body.v_template[pool]
    far = np.full(len(pool), np.inf)
    chosen = np.zeros(min(count, len(pool)), int)
    for k in range(1, len(chosen)):
        far = np.minimum(far, np.linalg.norm(places - places[chosen[k - 1]], axis=1))
        chosen[k] = far.argmax()
    return pool[chosen]


class OverlayPainter:
    """Paints the motions of a clip onto its frames. `motions`: final TrackMotions of `body`, seen by `camera`."""

    def __init__(self, body: Body, camera: Camera, motions: Sequence[TrackMotion]) -> None:
        self.body, self.motions = body, motions
        self.scale = min(1.0, HEIGHT / max(camera.width, camera.height))
        size = np.array([camera.width, camera.height]) * self.scale
        self.width, self.height = (int(v) // 2 * 2 for v in size)
        self.camera = Camera(np.diag([self.scale, self.scale, 1]) @ camera.K, self.width, self.height)
        self.side = self.height // 2 * 2 if self.height < self.width else int(self.height * 0.6) // 2 * 2
        self.rows = surface_sample(body)
        self.tensors = body.to("cpu")
        self.points = body.vertices_as_points(self.rows)
        self.edges = [(int(p), j) for j, p in enumerate(body.parents) if p >= 0 and j < 22]
        # The side view shows whoever is longest in the picture; others may be far behind.
        self.level = level_rotation(motions[0].up) @ CAMERA_TO_SMPL
        main = max(motions, key=lambda m: len(m.frames)).joints[:, :22] @ self.level.T
        low, high = np.percentile(main.reshape(-1, 3), [1, 99], axis=0)
        self.middle = (low + high) / 2
        reach = max(float((high - low)[1:].max()) / 2, 0.5) * 1.25
        self.px_per_m = 0.5 * min(self.side, self.height) / reach

    def paint(self, frame: Frame) -> np.ndarray:
        """(height, width + side, 3) uint8 RGB."""
        picture = cv2.resize(frame.image, (self.width, self.height), interpolation=cv2.INTER_AREA)
        picture = (picture * 0.75).astype(np.uint8)
        panel = np.full((self.height, self.side, 3), 24, np.uint8)
        label = "side view"
        cv2.putText(panel, label, (12, 26), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (190, 190, 190), 1, cv2.LINE_AA)
        for motion in self.motions:
            k = int(np.searchsorted(motion.frames, frame.index))
            if k < len(motion.frames) and motion.frames[k] == frame.index:
                self._person(picture, panel, motion, k)
        return np.concatenate([picture, panel], 1)

    def _person(self, picture: np.ndarray, panel: np.ndarray, motion: TrackMotion, k: int) -> None:
        with torch.inference_mode():
            posed = forward(
                self.tensors, torch.from_numpy(motion.pose[k : k + 1]), torch.from_numpy(motion.betas),
                torch.from_numpy(motion.trans[k : k + 1]), torch.from_numpy(motion.expression[k : k + 1]),
                points=self.points)  # fmt: skip
        points, joints = posed.points[0].numpy(), motion.joints[k]
        sigma = self.points.weights @ motion.joint_uncertainty[k]
        paint = colours(sigma)
        for canvas, project, depth in (
            (picture, self.camera.project, points[:, 2]),
            (panel, self._from_the_side, -points[:, 0]),
        ):
            uv = project(points)
            for i in np.argsort(-depth):
                _dot(canvas, uv[i], 2, paint[i])
            bones = project(joints)
            for a, b in self.edges:
                if np.isfinite(bones[[a, b]]).all():
                    ends = [tuple(int(v) for v in np.clip(bones[q], -20000, 20000)) for q in (a, b)]
                    cv2.line(canvas, *ends, (245, 245, 245), 1, cv2.LINE_AA)

    def _from_the_side(self, points: np.ndarray) -> np.ndarray:
        """Seen from the camera's right, the world level: what is near the camera stands on the left."""
        offset = (points @ self.level.T - self.middle) * self.px_per_m
        return np.stack([self.side / 2 - offset[..., 2], self.height / 2 - offset[..., 1]], -1)


def _dot(canvas: np.ndarray, xy: np.ndarray, radius: int, colour: np.ndarray) -> None:
    if np.isfinite(xy).all() and np.abs(xy).max() < 20000:
        cv2.circle(
            canvas, (round(float(xy[0])), round(float(xy[1]))), radius, colour.tolist(), -1, cv2.LINE_AA
        )

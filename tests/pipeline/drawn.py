"""Made-up people for tests of drawing, and what their pictures must show."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from backend.body.kinematics import forward
from backend.body.model import Body
from backend.camera.pinhole import Camera
from backend.records import TrackMotion

FACING = np.diag([1.0, -1.0, -1.0])
"""Turns the rest pose so that it stands upright before the camera and looks at it."""


def standing(
    body: Body,
    place: tuple[float, float, float] = (0.0, 0.2, 3.5),
    count: int = 1,
    sigma: float = 0.01,
    turn_deg: float = 0.0,
    track: int = 1,
) -> TrackMotion:
    """Someone who stands in the T-pose. `place`: metres, camera space; `sigma`: metres; for so many frames."""
    angle = np.deg2rad(turn_deg)
    about = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    pose = np.zeros((count, 55, 3), np.float32)
    pose[:, 0] = cv2.Rodrigues(about @ FACING)[0].ravel()
    trans = np.tile(np.float32(place), (count, 1))
    betas, expression = np.zeros(10, np.float32), np.zeros((count, 10), np.float32)
    numbers, boxes = np.arange(count, dtype=np.int32), np.ones((count, 4), np.float32)
    joints, sigmas = np.zeros((count, 55, 3), np.float32), np.full((count, 55), sigma, np.float32)
    motion = TrackMotion(
        track, numbers, numbers / 30.0, boxes, pose, trans, betas, expression, joints, sigmas, final=True
    )
    motion.joints = posed(body, motion).joints.numpy()
    return motion


def posed(body: Body, motion: TrackMotion, vertices: bool = False):
    """The posed body of every frame."""
    with torch.inference_mode():
        return forward(body.to("cpu"), *(torch.from_numpy(v) for v in (motion.pose, motion.betas, motion.trans)),
                       torch.from_numpy(motion.expression), vertices=vertices)  # fmt: skip


def silhouette(body: Body, motion: TrackMotion, camera: Camera, row: int = 0) -> np.ndarray:
    """(H, W) bool: where OpenCV draws the whole mesh."""
    xy = camera.project(posed(body, motion, vertices=True).vertices[row].numpy())
    mask = np.zeros((camera.height, camera.width), np.uint8)
    fixed = np.round(xy[body.faces] * 16).astype(np.int32)
    for triangle in fixed:
        cv2.fillConvexPoly(mask, triangle, 255, cv2.LINE_8, 4)
    return mask > 0


def grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    """A mask (H, W) wider on all sides by so many pixels; narrower if negative."""
    kernel = np.ones((2 * abs(pixels) + 1,) * 2, np.uint8)
    change = cv2.dilate if pixels > 0 else cv2.erode
    return change(mask.astype(np.uint8), kernel) > 0

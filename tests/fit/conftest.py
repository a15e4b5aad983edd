"""A body, its landmarks, and a made-up walk of known pose to fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from backend.body.kinematics import forward
from backend.body.landmarks import body_landmarks
from backend.body.load import load_body
from backend.camera.pinhole import Camera
from backend.fit.camerafitter import Fitter


@dataclass
class Truth:
    """What was put in: `pose` (n, 55, 3), `betas`, `trans`, `joints`, and the exact points it gives."""

    pose: np.ndarray
    betas: np.ndarray
    trans: np.ndarray
    joints: np.ndarray
    points3d: np.ndarray
    points2d: np.ndarray
    times: np.ndarray


@pytest.fixture(scope="session")
def body():
    return load_body()


@pytest.fixture(scope="session")
def camera():
    return Camera.from_fov(1280, 720)


@pytest.fixture(scope="session")
def fitter(body, camera):
    return Fitter(body, body_landmarks(body)[0], camera)


def make_truth(body, camera, n=24, fps=30.0, seed=0) -> Truth:
    """A person who faces the camera, swings arms and legs and turns a little."""
    t = np.arange(n) / fps
    s = np.sin(2 * np.pi * 1.2 * t)
    pose = np.zeros((n, 55, 3), np.float32)
    pose[:, 0] = [np.pi, 0, 0]  # y down: upright in camera space, facing the camera
    pose[:, 1, 0], pose[:, 2, 0] = -0.4 * s - 0.2, 0.4 * s - 0.2
    pose[:, 4, 0], pose[:, 5, 0] = 0.5 + 0.4 * s, 0.5 - 0.4 * s
    pose[:, 16, 2], pose[:, 17, 2] = -1.1 + 0.2 * s, 1.1 + 0.2 * s
    pose[:, 18, 1], pose[:, 19, 1] = -0.6 - 0.3 * s, 0.6 - 0.3 * s
    pose[:, 3, 1] = 0.15 * s
    betas = np.zeros(body.n_betas, np.float32)
    betas[:3] = np.random.default_rng(seed).normal(0, 0.7, 3)
    trans = np.stack([0.2 * t, 0.3 + 0.02 * s, 3.5 + 0.1 * t], 1).astype(np.float32)
    points = body_landmarks(body)[0]
    posed = forward(
        *(body.to("cpu"), *map(torch.from_numpy, (pose, betas, trans))), points=points, correctives=False
    )
    p3 = posed.points.numpy()
    return Truth(pose, betas, trans, posed.joints.numpy(), p3, camera.project(p3), t)


@pytest.fixture(scope="session")
def truth(body, camera):
    return make_truth(body, camera)


@pytest.fixture(scope="session")
def long_truth(body, camera):
    return make_truth(body, camera, n=60)

"""The simulated localizer: what *field* would say of bodies of known truth, with errors as measured."""

from __future__ import annotations

import numpy as np
import torch

from backend.body.kinematics import forward
from backend.body.model import Body, CanonicalPoints
from backend.camera.pinhole import Camera
from backend.nets.absolute import solve_full_perspective
from backend.records import TrackChunk
from bench.motion_parts.capture import bodies
from bench.motion_parts.errors import HIPS, ErrorModel, facing

CONFIDENT_M = 0.3
"""Less sure points have no say in where the body is, as in the localizer."""


def native_truth(body: Body, points: CanonicalPoints, pose: np.ndarray, betas: np.ndarray, pelvis: np.ndarray,
                 R: np.ndarray, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Where `points` are in camera space, (n, P, 3) metres, and how the joints that carry them are turned,
    (n, P, 3, 3). `R`: (n, 3, 3) world to camera."""
    x = bodies(body, pose, betas, pelvis, points)[1]
    T = body.to()
    turns = []
    with torch.inference_mode():
        for s in range(0, len(pose), 64):
            some = torch.from_numpy(np.asarray(pose[s : s + 64], np.float32))
            flat = torch.zeros(len(some), 3)
            turns.append(
                forward(T, some, torch.from_numpy(np.asarray(betas, np.float32)), flat).rotations.numpy()
            )
    carried = np.concatenate(turns)[:, points.weights.argmax(1)]
    return np.einsum("nab,npb->npa", R, x - centre), R[:, None] @ carried


def seen_track(rng, number: int, camera: Camera, times: np.ndarray, truth: np.ndarray, turns: np.ndarray,
               uncertainty: np.ndarray, errors: ErrorModel) -> TrackChunk:  # fmt: skip
    """The localizations of one person over a whole clip. `truth`, `turns`: see `native_truth`; `uncertainty`: (n, P)
    metres, which errors go with."""
    place, flat = errors.draw(rng, times, truth, turns, uncertainty)
    look = facing(truth)
    back = look.transpose(0, 2, 1)
    rel = truth - truth[:, HIPS].mean(1, keepdims=True) + np.einsum("nab,npb->npa", back, place)
    turned = np.einsum("nab,npb->npa", look, truth)
    turned[..., :2] += flat
    points2d = camera.project(np.einsum("nab,npb->npa", back, turned))
    rays = (points2d - camera.K[:2, 2]) / np.diag(camera.K)[:2]
    sure = uncertainty < CONFIDENT_M
    sure |= ~sure.any(1, keepdims=True)
    t = solve_full_perspective(
        *(torch.from_numpy(np.ascontiguousarray(a)) for a in (rays, rel, sure))
    ).numpy()
    low, high = points2d.min(1), points2d.max(1)
    f32 = lambda a: np.ascontiguousarray(a, np.float32)  # noqa: E731
    return TrackChunk(number, np.arange(len(times), dtype=np.int32), times.astype(np.float64),
                      f32(np.concatenate([low, high - low], 1)), f32(rel + t[:, None]), f32(points2d),
                      f32(uncertainty), np.full(len(times), 0.97, np.float32))  # fmt: skip


def occluded(rng, times: np.ndarray, uncertainty: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """(n, P) metres: for a while something stands before the points `hidden` (P,) bool, which are then guessed: three
    to five times as unsure, and as wrong."""
    length = min(rng.uniform(0.4, 1.2), 0.5 * times[-1])
    start = rng.uniform(0.2, max(times[-1] - length - 0.1, 0.21))
    inside = np.minimum(times - start, start + length - times)
    more = 1 + (rng.uniform(3, 5) - 1) * np.clip(inside / 0.1, 0, 1)
    return np.where(hidden, np.minimum(uncertainty * more[:, None], 0.4), uncertainty)

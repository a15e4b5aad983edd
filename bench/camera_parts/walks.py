"""Ways of a camera that is carried about, and of somebody who walks before it. Axes as a level camera's."""

from __future__ import annotations

import numpy as np

from backend.camera.moving.sight import turned
from bench.camera_parts.rooms import EYES_M

KINDS = ("walk side", "walk forward", "walk around", "walk hand", "walk back and pan")
"""One metre a second past somebody, after somebody, round somebody; the same in a hand that bobs; away from somebody
who comes along, with a pan."""
STRIDE_M, STANCE = 1.2, 0.62
"""Metres between two steps of one foot, and the part of the time for which it rests."""
FOOT_M = 0.1
"""Half the width between the feet."""


def way(
    kind: str, rng: np.random.Generator, times: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(n, 3, 3) room -> camera, (n, 3) places of the camera, metres, (n, 3) of somebody's hips, (n, 3) his way a
    second."""
    t, n = times - times[0], len(times)
    s, speed, ahead = float(rng.choice([-1, 1])), rng.uniform(0.8, 1.2), rng.uniform(3.0, 4.5)
    zero = np.zeros(n)
    yaw = zero.copy()
    hips = EYES_M - 0.93
    if kind == "walk side":
        camera = np.stack([s * speed * t, zero, zero], 1)
        person = np.stack(
            [s * (rng.uniform(0.7, 1.1) * speed * t + rng.uniform(-0.4, 0.4)), zero, ahead + zero], 1
        )
    elif kind == "walk around":
        turn = s * 0.9 * speed * t / ahead
        camera = np.stack([ahead * np.sin(turn), zero, ahead - ahead * np.cos(turn)], 1)
        yaw = -turn
        person = np.stack([zero - 0.3 * s * t, zero, ahead + zero], 1)
    elif kind == "walk back and pan":
        camera = np.stack([0.3 * s * t, zero, -speed * t], 1)
        person = np.stack([zero - 0.3 * s + 0.2 * s * t, zero, ahead - 1.1 * speed * t * 0.9], 1)
        yaw = s * np.radians(12) * np.sin(2 * np.pi * 0.25 * t)
    else:
        camera = np.stack([0.1 * s * t, zero, speed * t], 1)
        person = np.stack([0.25 * s * t, zero, ahead + rng.uniform(0.8, 1.05) * speed * t], 1)
    person[:, 1] = hips + 0.02 * np.sin(2 * np.pi * 1.8 * t)
    bob = 1.0 if kind == "walk hand" else 0.3
    phase = rng.uniform(0, 2 * np.pi, 4)
    camera[:, 1] += bob * 0.03 * np.sin(2 * np.pi * 1.9 * t + phase[0])
    camera[:, 0] += bob * 0.03 * np.sin(2 * np.pi * 0.95 * t + phase[1])
    vectors = np.stack([zero, yaw, zero], 1)
    for hz, deg in ((0.5, 1.2), (1.3, 0.5), (3.0, 0.15), (7.0, 0.05)):
        size = (
            np.radians(deg) * (1.3 if kind == "walk hand" else 0.6) * rng.uniform(0.5, 1.2, 3) * [1, 1, 0.6]
        )
        vectors += size * np.sin(2 * np.pi * hz * t[:, None] + rng.uniform(0, 2 * np.pi, 3))
    vectors[:, 0] += rng.uniform(-0.02, 0.12)
    step = np.gradient(person, times, axis=0) * [1, 0, 1]
    return turned(vectors), camera - camera[0], person, step


def feet(person: np.ndarray, step: np.ndarray) -> np.ndarray:
    """(n, 2, 3) where the soles of somebody are, under the heels, whose hips go by `person` with `step` a second; a
    foot that rests stays where it is."""
    flat = person * [1, 0, 1]
    gone = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(flat, axis=0), axis=1))])
    mean = step.mean(0)
    ahead = mean / max(np.linalg.norm(mean), 1e-9)
    side = np.array([ahead[2], 0, -ahead[0]])
    out = np.empty((len(person), 2, 3))
    for k, sign in enumerate((-1, 1)):
        cycle = gone / STRIDE_M + 0.5 * k
        share = np.clip((cycle % 1 - STANCE) / (1 - STANCE), 0, 1)
        at = (np.floor(cycle) + share * share * (3 - 2 * share) - 0.5 * k - STANCE / 2 + 0.5) * STRIDE_M
        # Where the hips are when they have gone so far; before and behind on the straight line.
        place = np.stack([np.interp(at, gone, column) for column in flat.T], 1)
        place += np.clip(at - gone[-1], 0, None)[:, None] * ahead + np.clip(at, None, 0)[:, None] * ahead
        place[:, 1] = EYES_M - 0.1 * np.sin(np.pi * share)
        out[:, k] = place + sign * FOOT_M * side
    return out

"""Who competes on the same localizations: ours, ours as it was, and two filters with a foot lock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter1d, percentile_filter
from scipy.signal import savgol_filter
from scipy.spatial.transform import Rotation, Slerp

from backend.body.model import Body, CanonicalPoints
from backend.fit.results import continuous
from backend.motion.assemble import Clip, stand_upright
from backend.motion.chunks import person_tracks
from backend.motion.solve import solve
from backend.options import MocapOptions
from backend.records import Chunk, TrackChunk, TrackMotion
from bench.motion_parts.capture import bodies
from bench.motion_parts.feet import Sole
from bench.motion_parts.lock import lock_feet, planted

OFF = {"foot_lock": "off", "floor": False}
"""Our options as they were before there was a floor."""
BRIDGE_S = 0.5
"""Gaps up to this are bridged by the filters; longer ones stay empty."""
GROUND_S = 1.0
"""In which somebody touches the floor at least once."""
GROUND_PERCENT = 30
"""Of the heights in that time; the lowest of all is mostly an error of the localizer."""
Filter = Callable[[np.ndarray, float], np.ndarray]
"""Values (n, k) at so many frames a second -> smooth values."""


def known(body: Body, points: CanonicalPoints, chunk: Chunk, **options) -> tuple[Clip, list[TrackChunk]]:
    """A clip as the road has it at its end, and its people."""
    clip = Clip(body, points, MocapOptions(device="cpu", **options))
    clip.add(chunk)
    return clip, person_tracks(clip.chunks)


def ours(body: Body, points: CanonicalPoints, chunk: Chunk, **options) -> list[TrackMotion]:
    """What the road makes of it."""
    clip, tracks = known(body, points, chunk, **options)
    steps = solve(clip.take(), tracks)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return list(end.value)


def raw(body: Body, points: CanonicalPoints, chunk: Chunk, **options) -> list[TrackMotion]:
    """Everybody fitted frame by frame, with one shape; frames without anybody are left out."""
    clip, tracks = known(body, points, chunk, **options)
    out = []
    for t in tracks:
        seen = np.isfinite(t.points3d).all((1, 2))
        fit = clip.fit(_rows(t, seen), smooth=0)
        expression = np.zeros((int(seen.sum()), body.n_expressions), np.float32)
        out.append(TrackMotion(t.track, t.frames[seen], t.times[seen], t.boxes[seen], fit.pose, fit.trans, fit.betas,
                               expression, fit.joints, fit.joint_uncertainty, True))  # fmt: skip
    return list(stand_upright(out))


def _rows(t: TrackChunk, keep: np.ndarray) -> TrackChunk:
    names = ("frames", "times", "boxes", "points3d", "points2d", "uncertainty", "score")
    return TrackChunk(t.track, *(getattr(t, n)[keep] for n in names))


def one_euro(cutoff_hz: float, beta: float) -> Filter:
    """Casiez 2012, forwards and backwards, so that nothing lags: a film is no live input. `beta`: Hz per unit a
    second."""

    def way(x: np.ndarray, fps: float) -> np.ndarray:
        out, slope = np.array(x), np.zeros(x.shape[1])
        for t in range(1, len(x)):
            a = _alpha(1.0, fps)
            slope = slope + a * ((x[t] - out[t - 1]) * fps - slope)
            # One cutoff for all columns of a joint would need groups; the fastest of three decides.
            fast = np.abs(slope).reshape(-1, 3).max(1).repeat(3)
            a = _alpha(cutoff_hz + beta * fast, fps)
            out[t] = out[t - 1] + a * (x[t] - out[t - 1])
        return out

    return lambda x, fps: (way(x, fps) + way(x[::-1], fps)[::-1]) / 2


def _alpha(cutoff_hz: float | np.ndarray, fps: float) -> float | np.ndarray:
    r = 2 * np.pi * cutoff_hz / fps
    return r / (r + 1)


def savitzky_golay(window_s: float, order: int = 2) -> Filter:
    def smooth(x: np.ndarray, fps: float) -> np.ndarray:
        window = max(round(window_s * fps) // 2 * 2 + 1, order + 1 + order % 2)
        window = min(window, (len(x) - 1) // 2 * 2 + 1)
        return x if window <= order else savgol_filter(x, window, order, axis=0)

    return smooth


def filtered(fits: Sequence[TrackMotion], filt: Filter, body: Body, sole: Sole) -> list[TrackMotion]:
    """A filter on rotations and root, then everybody brought down to one floor, contacts by height and speed, and feet
    held by two-bone IK."""
    out = [_filtered(m, filt, body) for m in fits]
    up = out[0].up.astype(np.float64)
    places = [bodies(body, m.pose, m.betas, m.trans + _rest(m, body), sole.points)[1] for m in out]
    under = [_ground((p @ up).min(1), m.times) for m, p in zip(out, places, strict=True)]
    floor = -float(np.median(np.concatenate(under)))
    for k, low in enumerate(under):
        down = (-floor - low)[:, None] * up
        out[k] = replace(out[k], trans=(out[k].trans + down).astype(np.float32))
        places[k] = places[k] + down[:, None]
    done = []
    for m, p in zip(out, places, strict=True):
        rest = planted(sole, p, m.times, up, floor)
        pose, trans = lock_feet(m.pose, m.trans, m.betas, body, sole, p, rest, m.times, up, floor)
        contacts = np.zeros((len(m.frames), 8), np.float32)
        contacts[:, :4] = rest
        joints = bodies(body, pose, m.betas, trans + _rest(m, body))[0]
        done.append(replace(m, pose=pose.astype(np.float32), trans=trans.astype(np.float32), joints=joints,
                            contacts=contacts, floor=np.full(1, floor, np.float32)))  # fmt: skip
    return done


def _ground(low: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(n,) height of the ground under somebody whose lowest sole is at `low` (n,): a low one of about a second,
    without steps, so that a jump stays one."""
    step = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    lowest = percentile_filter(low, GROUND_PERCENT, max(round(GROUND_S / step), 1), mode="nearest")
    return gaussian_filter1d(lowest, GROUND_S / 4 / step, mode="nearest")


def _rest(m: TrackMotion, body: Body) -> np.ndarray:
    return body.joints_template[0] + body.joints_shapedirs[0] @ m.betas[: body.n_betas]


def _filtered(m: TrackMotion, filt: Filter, body: Body) -> TrackMotion:
    m = _bridged(m)
    fps = 1 / float(np.median(np.diff(m.times)))
    cuts = np.flatnonzero(np.diff(m.frames) > 1) + 1
    pose, trans = m.pose.astype(np.float64), m.trans.astype(np.float64)
    for rows in np.split(np.arange(len(m.frames)), cuts):
        if len(rows) < 3:
            continue
        n = len(rows)
        trans[rows] = filt(trans[rows], fps)
        # Matrices have no seams: their columns are filtered and brought back to the nearest rotation.
        R = Rotation.from_rotvec(pose[rows, :22].reshape(-1, 3)).as_matrix().reshape(n, -1)
        U, _, Vt = np.linalg.svd(filt(R, fps).reshape(-1, 3, 3))
        sign = np.linalg.det(U @ Vt)
        U[..., 2] *= sign[:, None]
        pose[rows, :22] = continuous(Rotation.from_matrix(U @ Vt).as_rotvec().reshape(n, 22, 3))
    joints = bodies(body, pose, m.betas, trans + _rest(m, body))[0]
    return replace(m, pose=pose.astype(np.float32), trans=trans.astype(np.float32), joints=joints)


def _bridged(m: TrackMotion) -> TrackMotion:
    """Short gaps filled between their ends: turns by slerp, places by straight lines."""
    gaps = [(i, m.frames[i], m.frames[i + 1]) for i in np.flatnonzero(np.diff(m.frames) > 1)
            if m.times[i + 1] - m.times[i] <= BRIDGE_S]  # fmt: skip
    new = np.concatenate([np.arange(a + 1, b) for _, a, b in gaps]) if gaps else np.zeros(0, int)
    if not len(new):
        return m
    frames = np.sort(np.concatenate([m.frames, new])).astype(np.int32)
    times = np.interp(frames, m.frames, m.times)
    pose = np.zeros((len(frames), 55, 3))
    for j in range(55):
        pose[:, j] = Slerp(m.frames, Rotation.from_rotvec(m.pose[:, j]))(frames).as_rotvec()
    line = lambda x: np.stack([np.interp(frames, m.frames, c) for c in x.reshape(len(x), -1).T], 1)  # noqa: E731
    flat = {n: line(getattr(m, n)).reshape(-1, *getattr(m, n).shape[1:]).astype(np.float32)
            for n in ("boxes", "trans", "expression", "joints", "joint_uncertainty")}  # fmt: skip
    return replace(m, frames=frames, times=times, pose=continuous(pose.astype(np.float32)),
                   contacts=np.zeros((len(frames), 8), np.float32), bridged=np.isin(frames, new).astype(np.uint8),
                   **flat)  # fmt: skip

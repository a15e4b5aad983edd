"""The real clip that four calibrated cameras saw: planted feet, root and jerk of our motions, camera by camera.

Where feet, hips and shoulders were, and when feet stood, is triangulated of 2D landmarks (`multiview`): MediaPipe's of
a file, else our own localizer's. The reference trembles, too: its own feet slide by 1.8 mm a frame.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from backend.body.landmarks import body_landmarks
from backend.body.load import load_body
from backend.body.model import Body
from backend.evaluate.metrics import acceleration_error
from backend.evaluate.multiview import CalibratedCamera, read_qualisys, smooth_reference, triangulate
from backend.records import TrackMotion
from bench.motion_parts.capture import bodies
from bench.motion_parts.feet import Sole
from bench.motion_parts.measures import JOINTS, floor_of, in_world, rigid, runs
from bench.motion_parts.videos import Run, run

POINTS = [23, 24, 29, 30, 31, 32, 11, 12]
"""Hips, heels, toe tips, shoulders."""
HEELS_TOES = [2, 4, 3, 5]
"""Of these: left heel, left toes, right heel, right toes."""
PLANTED_MS = 0.25
"""A foot that is slower stands."""
LINE = (
    "camera {camera}: planted foot slides {slide_mm:.2f} mm a frame, worst drift {worst_drift_cm:.1f} cm, height "
    "{planted_height_cm:.1f} ± {planted_height_sd_cm:.1f} cm; root {root_cm:.1f} cm (scaled {root_scaled_cm:.1f}, "
    "{scale:.2f}); jerk {jerk_ms3:.0f}, acceleration error {acceleration_mm:.2f} mm"
)


def real(folder: Path, landmarks: Path | None) -> dict:
    """Rows for the cameras and their mean."""
    videos, cameras = sorted(folder.glob("cam*.mp4")), read_qualisys(folder / "Calib.qca.txt")
    ran = [run(v) for v in videos]
    mains = [_main(r) for r in ran]
    if landmarks is None:
        seen = [_spread(*r.landmarks[m.track], r.frames) for r, m in zip(ran, mains, strict=True)]
    else:
        with np.load(landmarks) as d:
            seen = [d[f"L{k + 1}"][:, :, :2] for k in range(len(videos))]
    n = min(len(s) for s in seen)
    reference = smooth_reference(triangulate(cameras, np.stack([s[:n, POINTS] for s in seen]))[0])
    body = load_body()
    rows = [{"camera": k + 1} | score(reference, m, r.motions, c, r.fps, body)
            for k, (m, r, c) in enumerate(zip(mains, ran, cameras, strict=True))]  # fmt: skip
    mean = {k: float(np.mean([r[k] for r in rows])) for k in rows[0] if k != "camera"}
    for r in [*rows, {"camera": "mean", **mean}]:
        print(LINE.format(**r))
    return {"landmarks_of": "ours" if landmarks is None else "a file", "cameras": rows, "mean": mean}


def _main(r: Run) -> TrackMotion:
    """Whoever is seen longest; of those, who goes furthest across the picture."""
    return max(r.motions, key=lambda m: (len(m.frames), float(np.ptp(m.trans[:, 0]))))


def _spread(frames: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    out = np.full((n, *values.shape[1:]), np.nan)
    out[frames] = values
    return out


def score(reference: np.ndarray, m: TrackMotion, everybody: list[TrackMotion], camera: CalibratedCamera, fps: float,
          body: Body) -> dict[str, float]:  # fmt: skip
    """The figures of one camera. `reference`: (n, 8, 3) of `POINTS`, metres."""
    known = m.frames < len(reference)
    true = reference[m.frames[known]]
    speed = np.linalg.norm(np.gradient(reference, axis=0), axis=-1) * fps
    rest = (speed[:, HEELS_TOES] < PLANTED_MS)[m.frames[known]]
    sole = Sole.of(body)
    w = in_world(m, body, sole, floor_of(everybody, body, sole))
    ends, joints = sole.ends(w.soles)[known], w.joints[known]
    low = np.stack([w.soles[known][:, rows, 1].min(1) for rows in sole.parts], 1)
    next_to = np.diff(m.frames[known]) == 1
    both = rest[1:] & rest[:-1] & next_to[:, None]
    t = m.frames[known] / fps
    drifts = [
        np.linalg.norm(ends[s, k] - ends[s[0], k], axis=-1).max()
        for k in range(4)
        for s in runs(rest[:, k], t)
    ]
    root, hips = joints[:, [1, 2]].mean(1), true[:, :2].mean(1)
    three = next_to[2:] & next_to[1:-1] & next_to[:-2]
    jerk = np.linalg.norm(np.diff(w.joints[known][:, :JOINTS], 3, axis=0), axis=-1)[three].mean() * fps**3
    points, _ = body_landmarks(body)
    rest_place = body.joints_template[0] + body.joints_shapedirs[0] @ m.betas[: body.n_betas]
    where = bodies(body, m.pose, m.betas, m.trans + rest_place, points.take(POINTS))[1][known]
    plain, scaled = _path(root, hips, False), _path(root, hips, True)
    return {"slide_mm": 1000 * float(np.linalg.norm(np.diff(ends, axis=0), axis=-1)[both].mean()),
            "worst_drift_cm": 100 * float(max(drifts)), "planted_height_cm": 100 * float(low[rest].mean()),
            "planted_height_sd_cm": 100 * float(ends[..., 1][rest].std()), "root_cm": 100 * plain[0],
            "root_scaled_cm": 100 * scaled[0], "scale": scaled[1], "jerk_ms3": float(jerk),
            "acceleration_mm": acceleration_error(where, camera.to_camera(true)),
            "frames": int(known.sum())}  # fmt: skip


def _path(a: np.ndarray, b: np.ndarray, scaled: bool) -> tuple[float, float]:
    """Mean distance of the paths (n, 3) after rigid alignment, metres, and the factor."""
    R, _ = rigid(a, b)
    a0, b0 = (a - a.mean(0)) @ R.T, b - b.mean(0)
    s = float((a0 * b0).sum() / (a0**2).sum()) if scaled else 1.0
    return float(np.linalg.norm(s * a0 - b0, axis=-1).mean()), s

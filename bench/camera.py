"""A camera that turns, shakes, zooms, walks or stands still, found from its picture; beside it: a still camera assumed.

    python -m bench.camera --backgrounds HDR --videos VIDEO [VIDEO ...] --json out.json

HDR: a folder of panoramas (`python -m backend.synth.backgrounds HDR --assets PMNDRS`); VIDEO: clips of one person
before a camera that stands still, of which the empty place and the cut-out person are used. Every clip is encoded with
H.264 and read again. Per clip: error of the turn (degrees: mean and largest), whether "still" is right, error of the
focal length (per cent, where it was told) and of the zoom (per cent), drift of a known way of somebody through the
camera (per cent of its length; a walking camera's length is told by his feet, which are given with noise), error of
the camera's place (per cent of its way, if its length were known), and milliseconds a frame for following features and
for solving. Every second clip has a person in front, and every second one of those has no box: the tracker is not told
of him.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from backend.camera.background import Background, BackgroundTracker
from backend.camera.moving.sight import vectors
from backend.camera.path import CameraPath, solve_path
from backend.camera.pinhole import Camera
from backend.motion.floorplane import NOTHING, Feet, agreed, by_floor
from backend.motion.stride import length_of
from bench.camera_parts import clips
from bench.camera_parts.clips import FPS, KINDS, Truth
from bench.camera_parts.worlds import cutout, panorama, photograph
from bench.report import finish, parser
from blender_addon.shared.frames import open_clip


def followed(video: Path, boxes: np.ndarray) -> tuple[Background, np.ndarray, float]:
    """Features, times, and milliseconds a frame."""
    with open_clip(video) as clip:
        tracker, seen, times, spent = BackgroundTracker(clip.width, clip.height), [], [], 0.0
        for frame in clip:
            box = boxes[frame.index : frame.index + 1]
            start = time.perf_counter()
            seen.append(tracker.see(frame, box[np.isfinite(box).all(1)]))
            spent += time.perf_counter() - start
            times.append(frame.time_s)
    return Background.of(range(len(seen)), seen), np.array(times), 1e3 * spent / len(seen)


def judged(truth: Truth, path: CameraPath) -> dict:
    """Figures of one clip."""
    off = np.degrees(np.linalg.norm(vectors(path.turns @ truth.turns.transpose(0, 2, 1)), axis=1))
    rival = np.degrees(np.linalg.norm(vectors(truth.turns), axis=1))
    seen = np.einsum("nij,nj->ni", truth.turns, truth.root - truth.places)
    places, extra = path.places, {}
    if truth.feet is not None:
        found = NOTHING
        if path.walks and path.points is not None:
            feet = [feet_seen(truth, path)]
            found = agreed(length_of(feet), by_floor(feet, path.points))
        best = (places * truth.places).sum() / max((places**2).sum(), 1e-9)
        gone = np.linalg.norm(np.diff(truth.places, axis=0), axis=1).sum()
        extra = {
            "walks": path.walks,
            "place_percent": round(
                100 * float(np.linalg.norm(best * places - truth.places, axis=1).max() / gone), 2
            ),
            "length_off_percent": round(100 * (found.metres / best - 1), 2)
            if np.isfinite(found.metres)
            else None,
            "length_sigma_percent": round(100 * found.sigma, 2) if np.isfinite(found.sigma) else None,
        }
        places = places * (found.metres if np.isfinite(found.metres) else 0.0)
    length = np.linalg.norm(np.diff(truth.root, axis=0), axis=1).sum()
    drift = np.linalg.norm(np.einsum("nji,nj->ni", path.turns, seen) + places - truth.root, axis=1).max()
    told = np.isfinite(path.focal_sigma)
    zoom = path.zoom / (truth.focal / truth.focal[0])
    return {
        "turn_deg": round(float(off.mean()), 3),
        "turn_worst_deg": round(float(off.max()), 3),
        "rival_turn_deg": round(float(rival.mean()), 3),
        "still_right": path.moving != truth.still,
        "zoom_right": path.zooming == ("zoom" in truth.kind),
        "zoom_off_percent": round(100 * float(np.abs(zoom - 1).max()), 2),
        "focal_off_percent": round(100 * float(abs(path.focal_px / truth.focal[0] - 1)), 1) if told else None,
        "focal_sigma_percent": round(100 * path.focal_sigma, 1) if told else None,
        "drift_percent": round(100 * float(drift / length), 2),
        "rival_drift_percent": round(
            100 * float(np.linalg.norm(seen - truth.root, axis=1).max() / length), 2
        ),
        "said": path.said,
    } | extra


def feet_seen(truth: Truth, path: CameraPath) -> Feet:
    """Heels and toes as a localizer sees them: 15 mm wrong each and 1.2 per cent of the distance together, alike for a
    fifth of a second."""
    assert truth.feet is not None
    rng, n = np.random.default_rng(5), len(truth.feet)
    points = np.concatenate([truth.feet, truth.feet + np.array([0, 0, 0.18])], 1)
    there = np.einsum("nij,nqj->nqi", truth.turns, points - truth.places[:, None])
    keep = np.exp(-1 / FPS / 0.2)
    each, whole = rng.normal(size=there.shape), rng.normal(size=(n, 1, 1))
    for k in range(1, n):
        for wrong in (each, whole):
            wrong[k] = keep * wrong[k - 1] + np.sqrt(1 - keep**2) * wrong[k]
    return Feet((there + 0.015 * each) * (1 + 0.012 * whole), path.turns, path.places, np.arange(n) / FPS)


def main() -> None:
    """See the module."""
    p = parser(__doc__.splitlines()[0])
    p.add_argument("--backgrounds", type=Path, help="folder of .hdr panoramas")
    p.add_argument(
        "--videos", type=Path, nargs="+", required=True, help="clips from cameras that stand still"
    )
    p.add_argument("--kinds", default=",".join(KINDS))
    p.add_argument("--rounds", type=int, default=2, help="clips of each kind")
    p.add_argument("--keep", type=Path, help="folder to keep the clips in")
    options = p.parse_args()
    rng = np.random.default_rng(options.seed)
    cut = [cutout(v) for v in options.videos]
    panoramas = sorted(options.backgrounds.glob("*.hdr")) if options.backgrounds else []
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        place = options.keep or Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        for n, (kind, round_) in enumerate(
            (k, r) for k in options.kinds.split(",") for r in range(options.rounds)
        ):
            who, empty = cut[int(rng.integers(len(cut)))]
            wide = kind in ("fast pan", "pan") or round_ % 2 == 0
            if panoramas and wide:
                name, look = (f := panoramas[int(rng.integers(len(panoramas)))]).stem, panorama(f, empty)
            else:
                name, look = "photograph", photograph(empty)
            someone = n % 2 == 1
            file = place / f"{n:02d}.mp4"
            truth = clips.make(kind, look, who if someone else None, rng, file)
            boxed = n % 4 == 1
            nobody = np.full_like(truth.boxes, np.nan)
            background, times, ms = followed(file, truth.boxes if boxed else nobody)
            guess = Camera.from_fov(clips.WIDE, clips.HIGH)
            start = time.perf_counter()
            path = solve_path(background, times, guess)
            solving = 1e3 * (time.perf_counter() - start) / len(times)
            true = Camera.from_focal(clips.WIDE, clips.HIGH, float(truth.focal[0]))
            with_lens = judged(truth, solve_path(background, times, true, focal_known=True))
            row = {
                "kind": kind,
                "place": name,
                "person": ("boxed" if boxed else "unboxed") if someone else "nobody",
            }
            row |= judged(truth, path) | {"turn_deg_lens_known": with_lens["turn_deg"],
                    "drift_percent_lens_known": with_lens["drift_percent"],
                    "place_percent_lens_known": with_lens.get("place_percent"),
                    "length_off_percent_lens_known": with_lens.get("length_off_percent"),
                    "features": int(np.median(background.counts)), "follow_ms": round(ms, 2),
                    "solve_ms": round(solving, 2)}  # fmt: skip
            print(row, flush=True)
            rows.append(row)
    moving = [r for r in rows if not r["kind"].endswith("still")]
    told = [r["focal_off_percent"] for r in moving if r["focal_off_percent"] is not None]
    figures = {
        "rows": rows,
        "clips": len(rows),
        "fps": FPS,
        "turn_within_1_deg": sum(r["turn_worst_deg"] <= 1 for r in moving) / max(len(moving), 1),
        "turn_within_1_deg_lens_known": sum(r["turn_deg_lens_known"] <= 1 for r in moving)
        / max(len(moving), 1),
        "drift_within_3_percent": sum(r["drift_percent"] <= 3 for r in moving) / max(len(moving), 1),
        "drift_within_3_percent_lens_known": sum(r["drift_percent_lens_known"] <= 3 for r in moving)
        / max(len(moving), 1),
        "still_right": sum(r["still_right"] for r in rows) / len(rows),
        "focal_told": len(told),
        "focal_off_percent_median": float(np.median(told)) if told else None,
    }
    finish(figures, options.json)


cv2.setNumThreads(1)
if __name__ == "__main__":
    main()

"""3D error of the whole road on real footage, camera by camera, against MediaPipe's own pose solution.

The reference is triangulated from the four calibrated cameras (robust, cameras that disagree are left out,
Savitzky-Golay over 9 frames) of 2D landmarks of twelve limb joints: MediaPipe's when it is run, else those of our
own heavy model. So it leans towards BlazePose, which both are made of; it is good to 2-3 cm.

`--rival PYTHON` names an interpreter with mediapipe 0.10.21 which has, in mediapipe/modules/pose_landmark, the
pose_landmark_heavy.tflite of the npm package @mediapipe/pose (without it mediapipe tries to download).

    python -m bench.accuracy FOLDER_WITH_cam01..04_AND_Calib.qca.txt --rival PYTHON --json out.json
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from backend.batch.clip import open_video
from backend.body.kinematics import forward
from backend.body.landmarks import body_landmarks
from backend.body.model import Body, CanonicalPoints
from backend.evaluate.metrics import acceleration_error, pa_mpjpe, root_mpjpe
from backend.evaluate.multiview import CalibratedCamera, read_qualisys, smooth_reference, triangulate
from backend.localizers.choose import create_localizer
from backend.localizers.landmarks.localizer import LANDMARKS
from backend.motion.chunks import person_tracks
from backend.motion.incamera import camera_of
from backend.motion.level import CAMERA_UP
from backend.options import MocapOptions
from backend.pipeline import mocap
from backend.records import Chunk, Shot, Summary, TrackMotion
from bench.report import finish, parser

LIMBS = [11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28]
HIPS = [6, 7]
LIMB_JOINTS = [16, 17, 18, 19, 20, 21, 1, 2, 4, 5, 7, 8]

RIVAL = """
import sys, time, cv2, numpy as np, mediapipe as mp
video, out = sys.argv[1:]
capture, image, world, busy = cv2.VideoCapture(video), [], [], 0.0
with mp.solutions.pose.Pose(static_image_mode=False, model_complexity=2) as pose:
    start = time.perf_counter()
    while True:
        ok, frame = capture.read()
        if not ok:
            break
        found = pose.process(frame[..., ::-1])
        size = frame.shape[1::-1]
        if found.pose_landmarks is None:
            image.append(np.full((33, 2), np.nan))
            world.append(np.full((33, 3), np.nan))
            continue
        image.append([[p.x * size[0], p.y * size[1]] for p in found.pose_landmarks.landmark])
        world.append([[p.x, p.y, p.z] for p in found.pose_world_landmarks.landmark])
    busy = time.perf_counter() - start
np.savez(out, image=image, world=world, seconds=busy)
"""


def run_rival(python: str, video: Path) -> dict[str, np.ndarray]:
    """MediaPipe heavy on `video`: image (n, 33, 2) px, world (n, 33, 3) metres, seconds with decoding."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rival.npz"
        subprocess.run([python, "-c", RIVAL, str(video), str(out)], check=True, capture_output=True)
        with np.load(out) as arrays:
            return {k: arrays[k] for k in arrays.files}


def run_ours(video: Path, options: MocapOptions) -> dict[str, np.ndarray]:
    """Our road on `video`, the person seen longest: observed 2D landmarks, fitted landmark points and joints."""
    chunks: list[Chunk] = []
    motions: dict[int, TrackMotion] = {}
    start = time.perf_counter()
    summary = None
    with open_video(video) as clip:
        for event in mocap(clip, options, total=clip.frame_count):
            if isinstance(event, Chunk):
                chunks.append(event)
            elif isinstance(event, TrackMotion) and event.final:
                motions[event.track] = event
            elif isinstance(event, Summary):
                summary = event
            elif isinstance(event, Shot):
                camera = camera_of(event)
    seconds = time.perf_counter() - start
    body = options.load_body()
    landmarks = create_localizer(options.localizer, body).landmarks
    tracks = [t for t in person_tracks(chunks) if t.track in motions]
    track = max(tracks, key=lambda t: t.boxes[:, 2:].prod(1).mean() * len(t.frames))
    motion = motions[track.track]
    where = posed_points(body, motion, body_landmarks(body)[0])
    image, raw = (x[:, landmarks] for x in (track.points2d, track.points3d))

    def spread(values: np.ndarray) -> np.ndarray:
        out = np.full((summary.frames, *values.shape[1:]), np.nan)
        out[track.frames] = values
        return out

    return {"image": spread(image), "raw": spread(raw), "points": spread(where),
            "joints": spread(motion.joints), "projected": spread(camera.project(where)),
            "up": motion.up, "seconds": seconds, "frames": summary.frames, "stages": summary.seconds}  # fmt: skip


def posed_points(body: Body, motion: TrackMotion, points: CanonicalPoints) -> np.ndarray:
    """(n, P, 3) metres, camera space: canonical points of a finished motion."""
    pose, trans = torch.from_numpy(motion.pose), torch.from_numpy(motion.trans)
    with torch.inference_mode():
        out = [forward(body.to(), pose[i : i + 64], torch.from_numpy(motion.betas), trans[i : i + 64],
                       points=points).points for i in range(0, len(pose), 64)]  # fmt: skip
    return torch.cat(out).numpy()


def score(points: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Errors of (n, 12, 3) camera-space points against the reference in the same axes; frames without are skipped."""
    ok = np.isfinite(points).all((1, 2)) & np.isfinite(reference).all((1, 2))
    a, b = points[ok], reference[ok]
    return {"pa_mpjpe_mm": float(pa_mpjpe(a, b).mean()), "mpjpe_mm": float(root_mpjpe(a, b, HIPS).mean()),
            # With the frames that are skipped: over them there is no acceleration.
            "acceleration_mm": acceleration_error(np.where(ok[:, None, None], points, np.nan), reference),
            "frames": int(ok.sum())}  # fmt: skip


def main() -> None:
    p = parser(__doc__.splitlines()[0])
    p.add_argument("folder", type=Path, help="folder with cam01.mp4 … cam04.mp4 and Calib.qca.txt")
    p.add_argument("--rival", help="a Python interpreter that has mediapipe 0.10.21")
    p.add_argument("--localizer", default="landmarks-heavy")
    p.add_argument(
        "--calibrated", action="store_true", help="give our road the true focal length (default: 55°)"
    )
    args = p.parse_args()
    videos = sorted(args.folder.glob("cam*.mp4"))
    cameras = read_qualisys(args.folder / "Calib.qca.txt")
    rival = [run_rival(args.rival, v) for v in videos] if args.rival else None
    ours = []
    for video, camera in zip(videos, cameras, strict=True):
        focal = float(camera.K[0, 0]) if args.calibrated else None
        ours.append(run_ours(video, MocapOptions(localizer=args.localizer, focal_px=focal)))
    source = rival or ours
    n = min(len(s["image"]) for s in source)
    reference, reprojection = triangulate(cameras, np.stack([s["image"][:n, LIMBS] for s in source]))
    reference = smooth_reference(reference)
    rows = [_row(i, cameras[i], reference, ours[i], rival[i] if rival else None) for i in range(len(videos))]
    mean = {k: _mean(rows, k) for k in rows[0] if k != "camera"}
    speed = {"ours_fps": sum(o["frames"] for o in ours) / sum(o["seconds"] for o in ours)}
    if rival:
        speed["mediapipe_fps"] = sum(len(r["image"]) for r in rival) / sum(float(r["seconds"]) for r in rival)
        speed["ratio"] = speed["ours_fps"] / speed["mediapipe_fps"]
    figures = {"reference_reprojection_px_median": float(np.median(reprojection)),
               "landmarks_of": "mediapipe" if rival else "ours", "localizer": args.localizer,
               "calibrated_focal": args.calibrated, "cameras": rows, "mean": mean, "speed": speed,
               "seconds": [o["stages"] for o in ours]}  # fmt: skip
    finish(figures, args.json)


def _row(index: int, camera: CalibratedCamera, reference: np.ndarray, ours: dict, rival: dict | None) -> dict:
    n = len(reference)
    truth = camera.to_camera(reference)
    pixels = np.linalg.norm(ours["projected"][:n, LIMBS] - camera.project(reference), axis=-1)
    own = np.linalg.norm(ours["projected"][:n] - ours["image"][:n], axis=-1)[:, :LANDMARKS]
    row = {"camera": index + 1, "fitted_points": score(ours["points"][:n, LIMBS], truth),
           "fitted_joints": score(ours["joints"][:n, LIMB_JOINTS], truth),
           "unfitted": score(ours["raw"][:n, LIMBS], truth),
           "body_to_reference_px_median": float(np.nanmedian(pixels)),
           "body_to_own_landmarks_px_median": float(np.nanmedian(own)),
           "tilt_found_off_by_deg": _angle_deg(ours["up"], camera.R[:, 2]),
           "tilt_if_taken_for_level_off_by_deg": _angle_deg(CAMERA_UP, camera.R[:, 2])}  # fmt: skip
    if rival:
        row["mediapipe"] = score(rival["world"][:n, LIMBS], truth)
    return row


def _angle_deg(a: np.ndarray, b: np.ndarray) -> float:
    """Angle between two unit vectors (3,); the calibration's world has z up."""
    return float(np.rad2deg(np.arccos(np.clip(a @ b, -1, 1))))


def _mean(rows: list[dict], key: str) -> object:
    first = rows[0][key]
    if isinstance(first, dict):
        return {k: float(np.mean([r[key][k] for r in rows])) for k in first}
    return float(np.mean([r[key] for r in rows]))


if __name__ == "__main__":
    main()

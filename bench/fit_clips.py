"""The road's fitter before and after on real clips: the same localizations go to both, one process each.

`--old FOLDER` is a checkout of this project with the other fitter (`git worktree add FOLDER COMMIT`; the one that stood
on the road before `backend.fit.solver.newton` is a091898). Without it only ours runs, and the report says so.
For every person of at least a second in every clip: distance of the fitted body's 33 landmarks from the localized ones
in the picture (pixels, and per cent of the box's diagonal; median), acceleration of the 22 body joints (mm per frame^2,
camera space, and the pelvis' own), and how constant bones are. Each fit gives a track one shape, so its bones cannot
change; what can is the shape that parts of a track lead to: each quarter is fitted by itself, and the spread of twelve
limb bones over the quarters is given in per cent, beside the spread from frame to frame of the localized points.

    python -m bench.fit_clips CLIP [CLIP …] --old FOLDER --localizer landmarks-heavy --pictures OUT --json F
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch

from backend.batch.clip import open_video
from backend.body.kinematics import forward
from backend.body.landmarks import LANDMARK_NAMES
from backend.body.load import load_body
from backend.camera.pinhole import Camera
from backend.draw.dots import surface_sample
from backend.motion.chunks import person_tracks
from backend.options import MocapOptions
from backend.pipeline import mocap
from backend.records import Chunk, TrackChunk
from bench.report import finish, parser

LEAST_S = 1.0
QUARTERS = 4
STILLS = (0.25, 0.5, 0.75)
BONES = [
    (16, 18),
    (18, 20),
    (1, 4),
    (4, 7),
    (12, 15),
    (1, 2),
    (17, 19),
    (19, 21),
    (2, 5),
    (5, 8),
    (0, 12),
    (16, 17),
]
LIMBS = [(11, 13), (13, 15), (23, 25), (25, 27), (12, 14), (14, 16), (24, 26), (26, 28), (11, 12), (23, 24)]
"""Bones between joints of the body, and between landmarks."""
_TALL = 480

FIT = """
import sys, time
import numpy as np, torch
torch.set_num_threads(1)
from backend.body.landmarks import body_landmarks, stack
from backend.body.load import load_body
from backend.body.pointsets import named_set
from backend.fit.camerafitter import Fitter
from backend.records import Camera
with np.load(sys.argv[1]) as f:
    a = {k: f[k] for k in f.files}
body = load_body()
marks = body_landmarks(body)[0]
points = marks
if a["points3d"].shape[1] > len(marks):
    points = stack([marks, *(named_set(body, n).points for n in ("smplx_55", "surface_64"))])
fitter = Fitter(body, points, Camera(a["K"], int(a["size"][0]), int(a["size"][1])))
seen = [a[k] for k in ("points3d", "points2d", "uncertainty", "times")]
def fit(rows):
    return fitter.fit(*(s[rows] for s in seen))
fit(slice(0, min(8, len(seen[3]))))
start = time.process_time()
found = fit(slice(None))
ms = 1e3 * (time.process_time() - start) / len(seen[3])
obs = fitter.observations(*seen)
where, _ = fitter.points(marks, found.state, obs)
cuts = np.linspace(0, len(seen[3]), int(a["quarters"]) + 1).round().astype(int)
shapes = [fit(slice(i, j)).betas for i, j in zip(cuts[:-1], cuts[1:])]
np.savez(sys.argv[2], pose=found.pose, betas=found.betas, trans=found.trans, joints=found.joints, marks=where,
         shapes=np.stack(shapes), ms=ms)
"""


def localized(clip: Path, localizer: str, most: int) -> tuple[list[TrackChunk], Camera]:
    """Everybody's localizations, as the road makes them."""
    options = MocapOptions(localizer=localizer)
    chunks: list[Chunk] = []
    with open_video(clip) as video:
        frames = (f for f in video if f.index < most)
        chunks += [event for event in mocap(frames, options) if isinstance(event, Chunk)]
    camera = options.pinhole(chunks[0].width, chunks[0].height)
    return [t for t in person_tracks(chunks) if t.times[-1] - t.times[0] >= LEAST_S], camera


def fitted(root: Path, track: TrackChunk, camera: Camera) -> dict[str, np.ndarray]:
    """What the code in the checkout `root` makes of a track."""
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder) / "in.npz", Path(folder) / "out.npz"
        np.savez(given, points3d=track.points3d, points2d=track.points2d, uncertainty=track.uncertainty,
                 times=track.times, K=camera.K, size=[camera.width, camera.height], quarters=QUARTERS)  # fmt: skip
        ran = subprocess.run([sys.executable, "-c", FIT, str(given), str(out)], cwd=root, capture_output=True,
                             text=True, check=False)  # fmt: skip
        if ran.returncode:
            last = (ran.stderr.strip().splitlines() or ["killed"])[-1]
            sys.exit(f"The fitter in {root} does not run: {last}.")
        with np.load(out) as f:
            return {k: f[k] for k in f.files}


def figures(track: TrackChunk, camera: Camera, fit: dict[str, np.ndarray]) -> dict[str, float]:
    """One row of the table."""
    seen = np.isfinite(track.points2d[:, : len(LANDMARK_NAMES)]).all(-1)
    off = np.linalg.norm(
        camera.project(fit["marks"]) - track.points2d[:, : len(LANDMARK_NAMES)].astype(float), axis=-1
    )
    box = np.hypot(track.boxes[:, 2], track.boxes[:, 3])[:, None]
    joints = fit["joints"][:, :22].astype(float)
    # Over a hole there is no acceleration.
    whole = track.frames[2:] - track.frames[:-2] == 2
    second = np.diff(joints, 2, axis=0)[whole]
    inner = np.diff(joints - joints[:, :1], 2, axis=0)[whole][:, 1:]
    lengths = np.stack([_bones(b) for b in fit["shapes"]])
    return {
        "reprojection_px": float(np.median(off[seen])),
        "reprojection_percent": 100 * float(np.median((off / box)[seen])),
        "acceleration_mm": 1e3 * float(np.linalg.norm(second, axis=-1).mean()),
        "acceleration_rootless_mm": 1e3 * float(np.linalg.norm(inner, axis=-1).mean()),
        "bones_between_quarters_percent": 100 * float((lengths.std(0) / lengths.mean(0)).mean()),
        "cpu_ms_per_frame": float(fit["ms"]),
    }


def localized_bones(track: TrackChunk) -> float:
    """Spread of the localized limbs' lengths from frame to frame, per cent."""
    p = track.points3d.astype(float)
    lengths = np.stack([np.linalg.norm(p[:, a] - p[:, b], axis=-1) for a, b in LIMBS], 1)
    return 100 * float((np.nanstd(lengths, 0) / np.nanmean(lengths, 0)).mean())


def _bones(betas: np.ndarray) -> np.ndarray:
    body = load_body()
    joints = body.joints_template + body.joints_shapedirs[..., : len(betas)] @ betas
    return np.array([np.linalg.norm(joints[a] - joints[b]) for a, b in BONES])


def stills(clip: Path, track: TrackChunk, camera: Camera, fits: dict[str, dict], out: Path) -> None:
    """One picture: a row for each of some frames, the frame and each fitter's body over it, cut to the person."""
    body = load_body()
    rows = body.vertices_as_points(surface_sample(body, 1500))
    wanted = {int(track.frames[round(s * (len(track.frames) - 1))]): 0 for s in STILLS}
    lines = []
    with open_video(clip) as video:
        for frame in video:
            if frame.index not in wanted:
                continue
            i = int(np.searchsorted(track.frames, frame.index))
            panels = [frame.image] + [_drawn(frame.image, body, rows, camera, f, i) for f in fits.values()]
            x, y, w, h = track.boxes[i]
            low = np.maximum([x - 0.15 * w, y - 0.1 * h], 0).astype(int)
            high = np.array([x + 1.15 * w, y + 1.1 * h]).astype(int)
            cut = [p[low[1] : high[1], low[0] : high[0]] for p in panels]
            lines.append(np.concatenate([_sized(c) for c in cut], 1))
    wide = max(line.shape[1] for line in lines)
    lines = [np.pad(line, ((0, 0), (0, wide - line.shape[1]), (0, 0))) for line in lines]
    out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(out), np.concatenate(lines, 0)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])


def _sized(picture: np.ndarray) -> np.ndarray:
    return cv2.resize(
        picture, (max(1, picture.shape[1] * _TALL // picture.shape[0]), _TALL), interpolation=cv2.INTER_AREA
    )


def _drawn(image: np.ndarray, body, rows, camera: Camera, fit: dict, i: int) -> np.ndarray:
    args = [torch.from_numpy(np.asarray(fit[k][[i]], np.float32)) for k in ("pose", "trans")]
    betas = torch.from_numpy(fit["betas"].astype(np.float32))
    posed = forward(body.to(), args[0], betas, args[1], points=rows)
    out = (0.7 * image).astype(np.uint8)
    size = max(1, round(0.0016 * max(image.shape[:2])))
    for x, y in camera.project(posed.points[0].numpy()):
        if np.isfinite([x, y]).all():
            cv2.circle(out, (round(float(x)), round(float(y))), size, (90, 255, 120), -1, cv2.LINE_AA)
    joints = camera.project(posed.joints[0, :22].numpy())
    for j in range(1, 22):
        a, b = (tuple(int(v) for v in joints[k]) for k in (int(body.parents[j]), j))
        cv2.line(out, a, b, (255, 255, 255), size, cv2.LINE_AA)
    return out


def main() -> None:
    """Localize each clip once, fit with both, print the table."""
    p = parser(__doc__.split("\n\n")[0])
    p.add_argument("clips", type=Path, nargs="+")
    p.add_argument("--old", type=Path, help="checkout of this project with the other fitter")
    p.add_argument("--localizer", default="landmarks-heavy")
    p.add_argument("--frames", type=int, default=10_000, help="of each clip at most")
    p.add_argument("--pictures", type=Path, help="folder for stills, before and after side by side")
    args = p.parse_args()
    roots = {**({"before": args.old} if args.old else {}), "after": Path(__file__).resolve().parents[1]}
    table = []
    for clip in args.clips:
        tracks, camera = localized(clip, args.localizer, args.frames)
        for track in tracks:
            name = f"{clip.parent.name}/{clip.stem} person {track.track}"
            fits = {who: fitted(root, track, camera) for who, root in roots.items()}
            row = {
                "clip": name,
                "frames": len(track.frames),
                "localized_bones_percent": localized_bones(track),
            }
            row |= {who: figures(track, camera, f) for who, f in fits.items()}
            table.append(row)
            for who in fits:
                print(f"{name:32s} {who:7s}", *(f"{k} {v:.3g}" for k, v in row[who].items()), file=sys.stderr)
            if args.pictures:
                file = f"{clip.parent.name}_{clip.stem}_{track.track}_{args.localizer}.jpg"
                stills(clip, track, camera, fits, args.pictures / file)
    mean = {
        who: {k: float(np.mean([r[who][k] for r in table])) for k in table[0][who]} for who in roots if table
    }
    note = None if args.old else "The earlier fitter was not run: give --old FOLDER for before and after."
    finish({"localizer": args.localizer, "clips": table, "mean": mean, "note": note}, args.json)


if __name__ == "__main__":
    main()

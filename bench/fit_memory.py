"""Memory of the fit to one long track: peak above the input, for the road's door and for points of any origin.

A made-up person (seeded) moves through `--frames` frames, seen at the road's 152 points with errors of 3 cm; one shape,
frames tied in time, uncertainties computed. Every door runs in a process of its own, which reads the input from a file.

    python -m bench.fit_memory --frames 10000 --json out.json
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from backend.body.kinematics import forward
from backend.body.landmarks import body_landmarks
from backend.body.load import load_body
from backend.body.model import Body, CanonicalPoints
from backend.body.points import stack
from backend.body.pointsets import named_set
from backend.camera.pinhole import Camera
from backend.fit.bodyfitter import BodyFitter, FitOptions
from backend.fit.camerafitter import Fitter
from bench.fit_scenarios import clip_poses
from bench.memory import peak_bytes
from bench.report import finish, parser

DOORS = ("road", "points")
CAMERA = Camera.from_fov(1920, 1080, 55.0)
LIMIT_GIB = 1.0
_NOISE_M, _NOISE_PX = 0.03, 3.0


def road_points(body: Body) -> CanonicalPoints:
    """The points that the field localizer gives the fit."""
    sets = [named_set(body, kind) for kind in ("smplx_55", "surface_64")]
    return stack([body_landmarks(body)[0], *(s.points for s in sets if s is not None)])


def make_track(body: Body, frames: int, seed: int) -> dict[str, np.ndarray]:
    """Arrays of a Localization of one person, 30 frames a second."""
    rng = np.random.default_rng(seed)
    points, tensors = road_points(body).to("cpu"), body.to("cpu")
    pose = clip_poses(frames, rng).astype(np.float32)
    # Upright before the camera.
    pose[:, 0] = np.array([np.pi, 0, 0], np.float32)
    trans = np.array([0, 0, 4], np.float32) + np.cumsum(rng.normal(size=(frames, 3)) * 0.002, 0)
    betas = torch.from_numpy(rng.normal(size=(1, 10)).astype(np.float32))
    where = []
    for i in range(0, frames, 64):
        rows = slice(i, i + 64)
        args = (torch.from_numpy(np.asarray(a[rows], np.float32)) for a in (pose, trans))
        p, t = args
        where.append(forward(tensors, p, betas, t, points=points).points.numpy())
    truth = np.concatenate(where)
    flat = CAMERA.project(truth) + _NOISE_PX * rng.normal(size=(*truth.shape[:2], 2))
    sigma = np.full(truth.shape[:2], _NOISE_M * 3**0.5)
    arrays = {
        "points3d": truth + _NOISE_M * rng.normal(size=truth.shape),
        "points2d": flat,
        "uncertainty": sigma,
    }
    return {**{k: a.astype(np.float32) for k, a in arrays.items()}, "times": np.arange(frames) / 30}


def measure(door: str, file: Path) -> dict[str, float]:
    """Fit the track in `file` in this process; its peak above what was held with the input read."""
    torch.set_num_threads(1)
    body = load_body()
    with np.load(file) as f:
        track = {k: f[k] for k in f.files}
    run = _road(body) if door == "road" else _points(body)
    before = peak_bytes()
    start = time.process_time()
    run(track)
    took = time.process_time() - start
    given = sum(a.nbytes for a in track.values())
    return {"gib_above_input": (peak_bytes() - before) / 2**30, "input_gib": given / 2**30,
            "process_gib": peak_bytes() / 2**30, "cpu_ms_per_frame": 1e3 * took / len(track["times"])}  # fmt: skip


def _road(body: Body):
    fitter = Fitter(body, road_points(body), CAMERA)
    names = ("points3d", "points2d", "uncertainty", "times")
    return lambda t: fitter.fit(*(t[k] for k in names))


def _points(body: Body):
    fitter = BodyFitter(body, road_points(body))
    options = FitOptions(smooth=1.0)
    return lambda t: fitter.fit(t["points3d"], t["uncertainty"], times=t["times"], options=options)


def main() -> None:
    """Make the track, then one child process for each door."""
    p = parser(__doc__.split("\n\n")[0])
    p.add_argument("--frames", type=int, default=10_000)
    p.add_argument("--doors", default=",".join(DOORS), help="comma-separated: road, points")
    p.add_argument("--child", nargs=2, metavar=("DOOR", "FILE"), help="used by this script itself")
    args = p.parse_args()
    if args.child:
        print(json.dumps(measure(args.child[0], Path(args.child[1]))))
        return
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "track.npz"
        np.savez(file, **make_track(load_body(), args.frames, args.seed))
        for door in args.doors.split(","):
            command = [sys.executable, "-m", __spec__.name, "--child", door, str(file)]
            ran = subprocess.run(command, capture_output=True, text=True, check=False)
            if ran.returncode:
                sys.exit(
                    f"The fit ended with an error: {(ran.stderr.strip().splitlines() or ['killed'])[-1]}"
                )
            rows[door] = json.loads(ran.stdout)
            print(door, {k: round(v, 3) for k, v in rows[door].items()}, file=sys.stderr, flush=True)
    finish({"frames": args.frames, "seed": args.seed, "limit_gib": LIMIT_GIB, "doors": rows}, args.json)


if __name__ == "__main__":
    main()

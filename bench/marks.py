"""Localizers against joints and skin places that were marked by hand in four calibrated cameras.

The reference leans on no network (see tests/data/marks/README.md). Each localizer follows the person through each
clip as a job does; on the marked frames its twelve limb landmarks (`landmarks`) and the body's joint centres
(`joints`, for the landmarks localizers answered by the body fitted to that one frame) are scored in 3D, and the
marked places in pixels. `--rival PYTHON` adds MediaPipe heavy, see `bench.accuracy`, and how far the
reference triangulated of its landmarks lies from the marked one.

    python -m bench.marks FOLDER_WITH_cam01..04_AND_Calib.qca.txt --rival PYTHON --json out.json
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.batch.clip import open_video
from backend.body.load import load_body
from backend.body.model import Body, CanonicalPoints
from backend.body.places import joint_points
from backend.body.points import stack
from backend.body.pointsets import PointSet, join_sets, make_set
from backend.camera.pinhole import Camera
from backend.errors import JobError
from backend.evaluate.marks import (
    JOINTS,
    Marks,
    Reference,
    align_cameras,
    dense_errors,
    joint_box,
    joint_reference,
    mark_grid,
    read_marks,
)
from backend.evaluate.metrics import pa_mpjpe, root_mpjpe
from backend.evaluate.multiview import CalibratedCamera, read_qualisys, smooth_reference, triangulate
from backend.localizers.choose import create_localizer
from backend.localizers.contract import Localizer, LocalizerOptions
from backend.options import MocapOptions, choose_device
from backend.people.detect import PersonDetector
from backend.people.follow import PeopleTracker
from backend.pipeline import mocap
from backend.points.file import read_points
from backend.records import Subject, TrackMotion
from bench.accuracy import HIPS, LIMBS, posed_points, run_rival
from bench.report import finish, parser

MARKS = Path(__file__).resolve().parents[1] / "tests" / "data" / "marks"


@dataclass(frozen=True)
class Truth:
    """What was marked in F frames of C cameras."""

    cameras: list[CalibratedCamera]
    """C, aligned to the pictures."""
    raw_cameras: list[CalibratedCamera]
    """C, as the calibration file has them."""
    joints: Reference
    """Where the twelve joints were."""
    pixels: np.ndarray
    """(C, F, 12, 2) joint marks, NaN where there is none."""
    surface: Marks
    """Dense marks on the skin."""
    places: PointSet
    """Where on the body the dense marks are."""

    @classmethod
    def read(cls, folder: Path, calibration: Path, body: Body) -> Truth:
        raw = read_qualisys(calibration)
        cameras = align_cameras(raw, read_marks(folder / "pose2sim_single_rig.csv"))
        marks = read_marks(folder / "pose2sim_single_joints.csv", JOINTS)
        places = read_points(folder / "places.json", body)
        surface = read_marks(folder / "pose2sim_single_surface.csv", places.labels)
        grid = mark_grid(marks, len(cameras), JOINTS)
        return cls(cameras, raw, joint_reference(cameras, marks), grid, surface, places)

    def in_camera(self, index: int) -> np.ndarray:
        """(F, 12, 3) metres in the axes of camera `index`."""
        return self.cameras[index].to_camera(self.joints.points)


def follow(
    video: Path, localizer: Localizer, prepared: object, truth: Truth, camera: int, device: str
) -> dict:
    """The marked person on the marked frames: `landmarks` (F, 12, 3), `points` (F, P, 3) camera space metres,
    `pixels` (F, P, 2), NaN where nobody was followed; P are the prepared points."""
    frames = {int(f): i for i, f in enumerate(truth.joints.frames)}
    found, tracker = {}, PeopleTracker(PersonDetector(device), max_people=2)
    with open_video(video) as clip:
        view = Camera.from_fov(clip.width, clip.height)
        for frame in clip:
            rois = tracker.rois(frame)
            people = [Subject(frame.image, view, r.person, r, tracker.expected(t)) for t, r in rois]
            seen = localizer.localize(people)
            flat = seen.points2d[:, localizer.landmarks]
            for i, (track, _) in enumerate(rois):
                anchors = None if seen.anchors2d is None else seen.anchors2d[i]
                tracker.update(track, flat[i], float(seen.score[i]), anchors)
            tracker.settle()
            if frame.index in frames and people:
                row = frames[frame.index]
                off = np.linalg.norm(flat[:, LIMBS] - truth.pixels[camera, row], axis=-1)
                mine = int(np.argmin(np.nanmedian(off, 1)))
                landmarks = seen.points3d[mine, localizer.landmarks][LIMBS]
                dense = localizer.localize([people[mine]], prepared)
                found[row] = landmarks, dense.points3d[0], dense.points2d[0]
            if frame.index >= max(frames):
                break
    if not found:
        raise JobError("no_person", f"Nobody was followed in {video.name}: choose another localizer.")
    out = []
    for part in zip(*found.values(), strict=True):
        spread = np.full((len(frames), *part[0].shape), np.nan)
        spread[list(found)] = np.stack(part)
        out.append(spread)
    return dict(zip(("landmarks", "points", "pixels"), out, strict=True))


def finished(
    video: Path, localizer: str, points: CanonicalPoints, truth: Truth, camera: int, body: Body
) -> dict:
    """As `follow`, from the finished motion of the whole road; no `landmarks`."""
    motions = []
    with open_video(video) as clip:
        view = Camera.from_fov(clip.width, clip.height)
        for event in mocap(clip, MocapOptions(localizer=localizer), previews=False):
            if isinstance(event, TrackMotion) and event.final:
                motions.append(event)
    frames, best, out = truth.joints.frames, np.inf, {}
    for motion in motions:
        where = np.full((int(max(frames.max(), motion.frames[-1])) + 1, len(points), 3), np.nan)
        where[motion.frames] = posed_points(body, motion, points)
        pixels = view.project(where[frames])
        off = np.linalg.norm(pixels[:, : len(JOINTS)] - truth.pixels[camera], axis=-1)
        if np.isfinite(off).any() and np.nanmedian(off) < best:
            best, out = np.nanmedian(off), {"points": where[frames], "pixels": pixels}
    return out


def score(points: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Errors of (F, 12, 3) against the reference in the same axes; frames that lack a joint are left out."""
    ok = np.isfinite(points).all((1, 2)) & np.isfinite(truth).all((1, 2))
    if not ok.any():
        return {"pa_mpjpe_mm": float("nan"), "mpjpe_mm": float("nan"), "frames": 0}
    a, b = points[ok], truth[ok]
    return {"pa_mpjpe_mm": float(pa_mpjpe(a, b).mean()), "mpjpe_mm": float(root_mpjpe(a, b, HIPS).mean()),
            "frames": int(ok.sum())}  # fmt: skip


def measure(name: str, videos: Sequence[Path], truth: Truth, body: Body, device: str,
            motion: bool = False) -> dict:  # fmt: skip
    """All figures of one localizer, or of the whole road's finished `motion`: camera by camera, their mean, and the
    dense errors of all marks together."""
    localizer = create_localizer(name, body, LocalizerOptions(device))
    joints = make_set("joints", JOINTS, joint_points(body, JOINTS))
    prepared = localizer.prepare(join_sets([joints, truth.places], "marked"))
    rows, px, share, names = [], [], [], []
    for i, video in enumerate(videos):
        target = truth.in_camera(i)
        if motion:
            seen = finished(video, name, stack([joints.points, truth.places.points]), truth, i, body)
            rows.append({"joints": score(seen["points"][:, : len(JOINTS)], target)})
        else:
            seen = follow(video, localizer, prepared, truth, i, device)
            rows.append({"landmarks": score(seen["landmarks"], target),
                         "joints": score(seen["points"][:, : len(JOINTS)], target)})  # fmt: skip
        marks = truth.surface.take(truth.surface.camera == i)
        at = np.searchsorted(truth.joints.frames, marks.frame)
        which = [len(JOINTS) + truth.places.labels.index(n) for n in marks.name]
        boxes = np.stack([joint_box(truth.pixels[i, k]) for k in at])
        errors = dense_errors(seen["pixels"][at, which], marks.xy, boxes)
        px, share, names = [*px, errors[0]], [*share, errors[1]], [*names, *marks.name]
    mean = {k: {e: float(np.mean([r[k][e] for r in rows])) for e in rows[0][k]} for k in rows[0]}
    return {
        "cameras": rows,
        "mean": mean,
        "dense": dense_figures(np.concatenate(px), np.concatenate(share), names),
    }


def dense_figures(px: np.ndarray, share: np.ndarray, names: Sequence[str]) -> dict:
    """Medians over all (n,) marks that have an answer, and place by place with both sides taken together."""
    kinds = np.array([n.removeprefix("left_").removeprefix("right_") for n in names])
    places = {k: float(np.nanmedian(px[kinds == k])) for k in sorted(set(kinds))}
    return {"marks": len(px), "missing": int(np.isnan(px).sum()), "median_px": float(np.nanmedian(px)),
            "median_percent_of_box": 100 * float(np.nanmedian(share)), "median_px_by_place": places}  # fmt: skip


def compare(truth: Truth, rival: Sequence[dict[str, np.ndarray]]) -> dict:
    """The reference triangulated of the rival's landmarks, with the calibration as it is and with the aligned one,
    against the marked joints: mean distance in the world per joint, and the rival's errors against it."""
    n = min(len(r["image"]) for r in rival)
    flat = np.stack([r["image"][:n, LIMBS] for r in rival])
    out = {}
    for kind, cameras in (("as_filed", truth.raw_cameras), ("aligned", truth.cameras)):
        points, error = triangulate(cameras, flat)
        points = smooth_reference(points)[truth.joints.frames]
        off = 1000 * np.linalg.norm(points - truth.joints.points, axis=-1)
        rows = [
            score(r["world"][truth.joints.frames][:, LIMBS], c.to_camera(points))
            for r, c in zip(rival, cameras, strict=True)
        ]
        out[kind] = {"reprojection_px_median": float(np.median(error)), "mean_mm": float(off.mean()),
                     "median_mm": float(np.median(off)),
                     "pa_mean_mm": float(pa_mpjpe(points, truth.joints.points).mean()),
                     "mm_by_joint": dict(zip(JOINTS, off.mean(0).round(1).tolist(), strict=True)),
                     "rival_against_it": {k: float(np.mean([r[k] for r in rows])) for k in rows[0]}}  # fmt: skip
    return out


def main() -> None:
    p = parser(__doc__.splitlines()[0])
    p.add_argument("folder", type=Path, help="folder with cam01.mp4 … cam04.mp4 and Calib.qca.txt")
    p.add_argument("--marks", type=Path, default=MARKS, help="folder of the marks")
    p.add_argument("--localizer", nargs="*", default=["landmarks-heavy", "landmarks-full"])
    p.add_argument("--rival", help="a Python interpreter that has mediapipe 0.10.21")
    p.add_argument("--motion", action="store_true", help="score the finished motion of the whole road too")
    args = p.parse_args()
    body, device = load_body(), choose_device("cpu")
    truth = Truth.read(args.marks, args.folder / "Calib.qca.txt", body)
    videos = sorted(args.folder.glob("cam*.mp4"))
    error = truth.joints.error_px[np.isfinite(truth.joints.error_px)]
    figures: dict = {"frames": truth.joints.frames.tolist(), "joint_marks": int(error.size),
                     "reprojection_px_median": float(np.median(error)),
                     "reprojection_px_95": float(np.percentile(error, 95)),
                     "surface_marks": len(truth.surface)}  # fmt: skip
    figures["localizers"] = {n: measure(n, videos, truth, body, device) for n in args.localizer}
    if args.motion:
        figures["motion"] = {n: measure(n, videos, truth, body, device, True) for n in args.localizer}
    if args.rival:
        rival = [run_rival(args.rival, v) for v in videos]
        rows = [
            score(r["world"][truth.joints.frames][:, LIMBS], truth.in_camera(i)) for i, r in enumerate(rival)
        ]
        mean = {k: float(np.mean([r[k] for r in rows])) for k in rows[0]}
        figures["mediapipe_heavy"] = {"cameras": rows, "mean": mean}
        figures["reference_of_mediapipe_against_marks"] = compare(truth, rival)
    finish(figures, args.json)


if __name__ == "__main__":
    main()

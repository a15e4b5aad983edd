"""Points added to a finished clip: carried by the fitted body alone, or with the localizer's word laid over it.

    python -m bench.added SINGLE [--rendered CLIPS] [--localizer field] --json out.json

SINGLE: the folder of the four calibrated cameras; truth are the joints and skin places marked by hand in
tests/data/marks. CLIPS: rendered people, made by `python -m backend.synth.clips`; truth is the body drawn.
Both answers are those of the second pass on the same job. *skin*, *inside*: mm, about the mean of the skin's points;
*pa*: after Procrustes; *box*: distance in the picture, percent of the box; *shake*: length of the second difference
about the mean, mm per frame²; then whether the uncertainty ranks and holds the errors, axis by axis.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from backend.batch.clip import run_clip
from backend.body.kinematics import forward
from backend.body.load import load_body
from backend.body.model import Body
from backend.body.places import joint_points
from backend.body.pointsets import PointSet, join_sets, make_set, named_set
from backend.camera.pinhole import Camera
from backend.evaluate.certainty import certainty_figures
from backend.evaluate.marks import JOINTS, dense_errors, joint_box
from backend.evaluate.metrics import procrustes
from backend.jobs.folder import JobFolder
from backend.motion.incamera import camera_of
from backend.options import MocapOptions
from backend.recall.track import PointBlock, track_set
from backend.records import TrackMotion
from bench.marks import MARKS, Truth, dense_figures, score
from bench.report import finish, parser

WAYS = ("carried", "found")
SKIN, INSIDE = 256, 64


def main() -> None:
    """Print the figures of both ways."""
    p = parser(__doc__.splitlines()[0])
    p.add_argument("single", type=Path, help="folder with cam01.mp4 … cam04.mp4 and Calib.qca.txt")
    p.add_argument("--rendered", type=Path, help="folder of rendered clips")
    p.add_argument("--localizer", default="field")
    a = p.parse_args()
    body = load_body()
    figures = {"marked": marked(a.single, a.localizer, body)}
    if a.rendered:
        figures["rendered"] = rendered(a.rendered, a.localizer, body)
    finish(figures, a.json)


def marked(folder: Path, localizer: str, body: Body) -> dict:
    """Errors against the marks, mean of the cameras, and of all skin places together."""
    truth = Truth.read(MARKS, folder / "Calib.qca.txt", body)
    skin = named_set(body, f"surface_{SKIN}")
    joints = make_set("joints", JOINTS, joint_points(body, JOINTS))
    asked = join_sets([joints, truth.places, skin], "asked")
    rows: dict[str, list] = {way: [] for way in WAYS}
    dense: dict[str, list] = {way: [] for way in WAYS}
    marks = truth.surface
    for i, video in enumerate(sorted(folder.glob("cam*.mp4"))):
        answers, camera = answer(video, MocapOptions(localizer=localizer), asked)
        mine = marks.take(marks.camera == i)
        at = np.searchsorted(truth.joints.frames, mine.frame)
        which = [len(JOINTS) + truth.places.labels.index(n) for n in mine.name]
        boxes = np.stack([joint_box(truth.pixels[i, k]) for k in at])
        for way, (places, _) in answers.items():
            some = places[truth.joints.frames]
            errors = dense_errors(camera.project(some)[at, which], mine.xy, boxes)
            rows[way].append(score(some[:, : len(JOINTS)], truth.in_camera(i)) | {"shake_mm": shake(places)})
            dense[way].append((*errors, mine.name))
    out = {}
    for way in WAYS:
        px, share, names = zip(*dense[way], strict=True)
        found = dense_figures(np.concatenate(px), np.concatenate(share), [n for some in names for n in some])
        out[way] = mean(rows[way]) | {"places": found}
    return out


def rendered(folder: Path, localizer: str, body: Body) -> dict:
    """Errors against the bodies that were drawn, mean of the clips."""
    asked = join_sets([named_set(body, f"surface_{SKIN}"), named_set(body, f"volume_{INSIDE}")], "asked")
    rows: dict[str, list] = {way: [] for way in WAYS}
    every: dict[str, list] = {way: [] for way in WAYS}
    for file in sorted(folder.glob("*.npz")):
        with np.load(file) as arrays:
            truth = drawn(body, arrays, asked)
            options = MocapOptions(localizer=localizer, focal_px=float(arrays["K"][0, 0]))
        answers, camera = answer(file.with_suffix(""), options, asked)
        for way, (places, sigma) in answers.items():
            seen = np.isfinite(places).all((1, 2))
            found, known = places[seen], truth[: len(places)][seen]
            error = centred(found) - centred(known)
            length = 1000 * np.linalg.norm(error, axis=-1)
            aligned = procrustes(found[:, :SKIN], known[:, :SKIN]) - known[:, :SKIN]
            flat = np.linalg.norm(camera.project(found) - camera.project(known), axis=-1)[:, :SKIN]
            box = np.ptp(camera.project(known)[:, :SKIN], axis=1).max(-1)[:, None]
            rows[way].append(
                {
                    "skin_mm": float(length[:, :SKIN].mean()),
                    "inside_mm": float(length[:, SKIN:].mean()),
                    "pa_mm": float(1000 * np.linalg.norm(aligned, axis=-1).mean()),
                    "box_percent": float(100 * np.median(flat / box)),
                    "shake_mm": shake(found),
                }
            )
            every[way].append((error.reshape(-1, 3), sigma[seen].ravel()))
    out: dict = {"clips": len(rows["found"])}
    for way in WAYS:
        error, sigma = (np.concatenate(c) for c in zip(*every[way], strict=True))
        better = [a["skin_mm"] < b["skin_mm"] for a, b in zip(rows[way], rows["carried"], strict=True)]
        out[way] = mean(rows[way]) | certainty_figures(error, sigma) | {"better_clips": sum(better)}
    return out


def answer(
    clip: Path, options: MocapOptions, points: PointSet
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], Camera]:
    """Each way's places (frames, P, 3) and sigma (frames, P) of the largest person of a clip, NaN where nobody is."""
    with tempfile.TemporaryDirectory(prefix="bodyfield-") as home:
        job = run_clip(clip, options, lambda _: None, Path(home))
        main = max(job.motions, key=lambda m: m.boxes[:, 2:].prod(1).mean() * len(m.frames))
        ways = {way: collect(options, points, main, folder, job.summary.frames)
                for way, folder in zip(WAYS, (None, job.folder), strict=True)}  # fmt: skip
    return ways, camera_of(job.shots[0])


def collect(
    options: MocapOptions, points: PointSet, motion: TrackMotion, folder: JobFolder | None, frames: int
) -> tuple[np.ndarray, np.ndarray]:
    """All blocks of one person."""
    places = np.full((frames, len(points), 3), np.nan)
    sigma = np.full((frames, len(points)), np.nan)
    for block in track_set(options, points, [motion], folder):
        if isinstance(block, PointBlock):
            places[block.frames], sigma[block.frames] = block.positions, block.uncertainty
    return places, sigma


@torch.inference_mode()
def drawn(body: Body, arrays, points: PointSet) -> np.ndarray:
    """(n, P, 3) metres, camera space."""
    pose, betas, trans, expression = (
        torch.from_numpy(arrays[n]) for n in ("pose", "betas", "trans", "expression")
    )
    return forward(body.to(), pose, betas, trans, expression, points.points).points.numpy()


def centred(x: np.ndarray) -> np.ndarray:
    """About the mean of the skin's points, which come first."""
    return x - x[:, :SKIN].mean(1, keepdims=True)


def shake(places: np.ndarray) -> float:
    """Mean length of the second difference about the mean of the points, mm per frame²."""
    steps = np.diff(places - places.mean(1, keepdims=True), 2, axis=0)
    return float(1000 * np.nanmean(np.linalg.norm(steps, axis=-1)))


def mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Entry by entry."""
    return {k: float(np.mean([r[k] for r in rows])) for k in rows[0]}


if __name__ == "__main__":
    main()

"""Is the lens found? Films of rendered people by known lenses, four calibrated cameras, and a close-up.

The rival always says 55 degrees. Everybody is localized under that lens, as in a job without a word on the lens.
Errors are those of the focal length. Rendered films need numba (`pip install bodyfield[train]`); their lenses are drawn
evenly in the logarithm from 20 to 100 degrees, much wider than lenses in use: those from 45 to 75 are told apart.

    python -m bench.lens --motion cmu_30fps.npz --films 24 --seed 0 --json out.json
    python -m bench.lens --real FOLDER_WITH_cam01..04_AND_Calib.qca.txt --closeup closeup.mp4
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from backend.batch.clip import open_video
from backend.body.load import load_body
from backend.body.native import native_points
from backend.camera.pinhole import Camera
from backend.evaluate.multiview import read_qualisys
from backend.localizers.choose import create_localizer
from backend.localizers.field.localizer import SURFACE
from backend.motion.chunks import person_tracks
from backend.motion.lens_search import estimate_lens
from backend.options import MocapOptions
from backend.pipeline import mocap
from backend.records import Chunk, TrackChunk, TrackMotion
from bench.report import finish, parser

USUAL_DEG = (45.0, 75.0)
CLOSEUP_DEG = 23.0
"""Of the close-up's lens, by its calibration."""


def main() -> None:
    p = parser(__doc__.splitlines()[0])
    p.add_argument("--motion", type=Path, help="cmu_30fps.npz, for rendered films")
    p.add_argument("--films", type=int, default=24, help="rendered films")
    p.add_argument("--real", type=Path, help="cam01.mp4 … cam04.mp4 and Calib.qca.txt")
    p.add_argument("--closeup", type=Path, help="closeup.mp4")
    args = p.parse_args()
    figures: dict = {"seed": args.seed}
    if args.motion:
        figures |= rendered(args.motion, args.seed, args.films)
    if args.real:
        cameras = read_qualisys(args.real / "Calib.qca.txt")
        videos = sorted(args.real.glob("cam*.mp4"))
        figures["real"] = [filmed(v, float(c.K[0, 0])) for v, c in zip(videos, cameras, strict=True)]
    if args.closeup:
        figures["closeup"] = filmed(args.closeup, None)
    finish(figures, args.json)


def rendered(motion: Path, seed: int, count: int) -> dict:
    """Held-out performers, shapes and clothes."""
    from backend.synth import World
    from bench.lens_films import films, localized
    from bench.motion_parts.capture import Capture

    body, capture = load_body(), Capture(motion)
    localizer, rows = create_localizer("field", body), []
    made = films(seed, World(body, None, None, "held-out"), capture, capture.held_out)
    for i in range(count):
        f = next(made)
        assumed = Camera.from_fov(f.camera.width, f.camera.height)
        tracks = localized(f, localizer, assumed, np.random.default_rng([seed, i]))
        rows.append({"film": f.about, "whole": not f.cut, **judged(tracks, assumed, float(f.camera.K[0, 0]))})
        print(rows[-1], flush=True)
    usual = [r for r in rows if USUAL_DEG[0] <= r["true_deg"] <= USUAL_DEG[1]]
    return {"films": rows, "whole": summary([r for r in rows if r["whole"]]), "all": summary(rows),
            "usual_lenses": summary(usual)}  # fmt: skip


def judged(tracks: list[TrackChunk], assumed: Camera, true_px: float) -> dict:
    """One estimate beside the truth."""
    body = load_body()
    start = time.perf_counter()
    found = estimate_lens(tracks, assumed, body, native_points(body, SURFACE))
    seconds = time.perf_counter() - start
    side = max(assumed.width, assumed.height)
    return {"true_deg": float(np.rad2deg(2 * np.arctan(side / 2 / true_px))), "found_deg": found.fov_deg,
            "sigma_deg": found.sigma_deg, "source": found.source, "off": found.focal_px / true_px - 1,
            "in_sigmas": float(np.log(found.focal_px / true_px) / found.sigma),
            "always_55_off": float(assumed.K[0, 0] / true_px - 1), "seconds": seconds}  # fmt: skip


def summary(rows: list[dict]) -> dict:
    """Figures over films, of the estimate and of its rival."""
    if not rows:
        return {}
    out: dict = {"films": len(rows), "in_sigmas_rms": _rms([r["in_sigmas"] for r in rows]),
                 "seconds": float(np.mean([r["seconds"] for r in rows]))}  # fmt: skip
    for name, key in (("ours", "off"), ("always_55", "always_55_off")):
        logs = np.log1p([r[key] for r in rows])
        off = np.abs([r[key] for r in rows])
        out[name] = {"median_off": float(np.median(off)), "within_10": float((off <= 0.1).mean()),
                     "within_15": float((off <= 0.15).mean()), "rms_log": _rms(logs)}  # fmt: skip
    return out


def _rms(values) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def filmed(video: Path, true_px: float | None) -> dict:
    """A real film through the road; how many got a motion is told too."""
    chunks, people = [], set()
    options = MocapOptions(keep_features=False)
    with open_video(video) as clip:
        assumed = options.pinhole(clip.width, clip.height)
        for event in mocap(clip, options, total=clip.frame_count, previews=False):
            if isinstance(event, Chunk):
                chunks.append(event)
            elif isinstance(event, TrackMotion) and event.final:
                people.add(event.track)
    true = true_px or float(Camera.from_fov(assumed.width, assumed.height, CLOSEUP_DEG).K[0, 0])
    return {"video": video.name, "people": len(people), **judged(person_tracks(chunks), assumed, true)}


if __name__ == "__main__":
    main()

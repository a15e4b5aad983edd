"""How fast the overlay is drawn and encoded: lit bodies against dots, on a clip as it is and scaled to 720p.

    python -m bench.overlay [CLIP] [--job ID] [--rounds 3] [--json out.json] [--seed N]

Without --job the clip takes the road first, with `landmarks-full`, in a folder that goes afterwards. Styles take turns;
each figure is the best of the rounds, since other programs only ever slow one down. Nothing here is random: the seed
turns the order of the styles. `cpu_ms_per_frame`: processor time of all threads, decoding and encoding too.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av

from backend.batch.clip import open_video, run_clip
from backend.draw.movie import write_overlay
from backend.draw.overlay import STYLES, OverlayPainter
from backend.jobs.folder import JobStore
from backend.options import MocapOptions
from backend.records import TrackMotion
from bench.report import finish, parser
from blender_addon.shared.home import home_folder
from blender_addon.shared.threads import usable_cores

DEMO = Path(__file__).resolve().parents[1] / "tests" / "data" / "demo.mp4"
P720 = 1280
"""Pixels of the longer side of 720p."""
CLAIMED_FPS = 25.0


def scaled(clip: Path, out: Path) -> Path:
    """The clip with the longer side of 720p, nearly without loss."""
    with av.open(str(clip)) as source, av.open(str(out), "w") as movie:
        stream = source.streams.video[0]
        stream.thread_type = "AUTO"
        factor = P720 / max(stream.width, stream.height)
        width, height = (round(v * factor / 2) * 2 for v in (stream.width, stream.height))
        made = movie.add_stream(
            "libx264", rate=stream.average_rate, options={"crf": "16", "preset": "veryfast"}
        )
        made.width, made.height, made.pix_fmt = width, height, "yuv420p"
        made.codec_context.time_base = Fraction(1, 90000)
        for frame in source.decode(stream):
            small = frame.reformat(width, height, "yuv420p", interpolation="AREA")
            small.pts, small.time_base = round(frame.time * 90000), Fraction(1, 90000)
            movie.mux(made.encode(small))
        movie.mux(made.encode())
    return out


def measured(
    clip: Path,
    options: MocapOptions,
    motions: Sequence[TrackMotion],
    styles: Sequence[str],
    rounds: int,
    out: Path,
) -> dict:
    """Frames a second and processor time of every style, on one clip."""
    with open_video(clip) as video:
        body, camera = options.load_body(), options.pinhole(video.width, video.height)
        painters = {style: OverlayPainter(body, camera, motions, style) for style in styles}
        best = {style: {"frames_per_second": 0.0, "cpu_ms_per_frame": float("inf")} for style in styles}
        for _ in range(rounds):
            for style, painter in painters.items():
                wall, cpu = time.perf_counter(), time.process_time()
                count = sum(1 for _ in write_overlay(video, painter, out, video.fps))
                wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
                said = best[style]
                said["frames_per_second"] = round(max(said["frames_per_second"], count / wall), 1)
                said["cpu_ms_per_frame"] = round(min(said["cpu_ms_per_frame"], 1e3 * cpu / count), 1)
        one = painters[styles[0]]
        size = {
            "footage": [video.width, video.height],
            "movie": [one.width + one.side, one.height],
            "frames": count,
        }
    ratios = {
        "shaded_to_dots_speed": round(
            best["shaded"]["frames_per_second"] / best["dots"]["frames_per_second"], 2
        ),
        "shaded_to_dots_cpu": round(best["shaded"]["cpu_ms_per_frame"] / best["dots"]["cpu_ms_per_frame"], 2),
    }
    return {**size, **best, **ratios}


def report(a: argparse.Namespace) -> dict:
    """The clip as it is, and at 720p."""
    turn = a.seed % len(STYLES)
    styles = [*list(STYLES)[turn:], *list(STYLES)[:turn]]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if a.job:
            job = JobStore(home_folder()).open(a.job)
            options, motions = MocapOptions.from_dict(job.record.options), job.load_finals()
        else:
            options = MocapOptions(localizer="landmarks-full")
            motions = run_clip(a.clip, options, lambda event: None, place / "home").motions
        clips = {"720p": scaled(a.clip, place / "scaled.mp4"), "as it is": a.clip}
        rows = {
            name: measured(clip, options, motions, styles, a.rounds, place / "overlay.mp4")
            for name, clip in clips.items()
        }
    fast = rows["720p"]["shaded"]["frames_per_second"] >= CLAIMED_FPS
    return {"cores": usable_cores(), "rounds": a.rounds, "people": len(motions), **rows, "claim_holds": fast}


def main() -> None:
    """See the module."""
    p = parser(__doc__.splitlines()[0])
    p.add_argument("clip", nargs="?", type=Path, default=DEMO)
    p.add_argument("--job", help="a finished job of this clip, in place of a new one")
    p.add_argument("--rounds", type=int, default=3)
    options = p.parse_args()
    finish(report(options), options.json)


if __name__ == "__main__":
    main()

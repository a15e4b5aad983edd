"""Videos through our whole road, and how high the soles of those who stand are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.batch.clip import open_video
from backend.body.load import load_body
from backend.body.model import Body
from backend.camera.pinhole import Camera
from backend.localizers.field.localizer import LANDMARKS
from backend.motion.incamera import camera_of
from backend.options import MocapOptions
from backend.pipeline import mocap
from backend.records import Chunk, Shot, TrackMotion
from bench.motion_parts.feet import Sole, speeds
from bench.motion_parts.measures import floor_of, in_world

STILL_MS, NEAR_M = 0.25, 0.25
"""Without contacts, a sole that is slower, and less than this above the lowest one of its person, stands."""


@dataclass(eq=False)
class Run:
    """What the road made of a video."""

    motions: list[TrackMotion]
    """The final ones."""
    landmarks: dict[int, tuple[np.ndarray, np.ndarray]]
    """Track -> frames (m,) and what was seen of the 33 landmarks, (m, 33, 2) pixels."""
    camera: Camera
    """That the video was taken for."""
    frames: int
    """Of the video."""
    fps: float
    """Of the video."""


def run(video: Path, **options) -> Run:
    """The road with its usual options but for `options`."""
    asked = MocapOptions(keep_features=False, **options)
    motions, chunks = [], []
    with open_video(video) as clip:
        for event in mocap(clip, asked, total=clip.frame_count, previews=False):
            if isinstance(event, TrackMotion) and event.final:
                motions.append(event)
            elif isinstance(event, Shot):
                camera = camera_of(event)
            elif isinstance(event, Chunk):
                chunks.append(event)
        fps = float(clip.fps)
    seen: dict[int, list] = {}
    for t in (t for c in chunks for t in c.tracks):
        seen.setdefault(t.track, []).append((t.frames, t.points2d[:, :LANDMARKS]))
    landmarks = {k: tuple(np.concatenate(x) for x in zip(*v, strict=True)) for k, v in seen.items()}
    return Run(motions, landmarks, camera, chunks[-1].last + 1, fps)


def soles(video: Path) -> list[dict]:
    """A row for each person: centimetres of the lowest sole over the floor (of all, z = 0) in the frames in which a
    foot rests by our own contacts (by speed where the motion has none)."""
    body = load_body()
    sole = Sole.of(body)
    rows = heights(run(video).motions, body, sole)
    for r in rows:
        print("{video}: person {track}, {frames} frames, {standing} standing: soles at {median_cm:.1f} cm "
              "(5 %: {low_cm:.1f}, 95 %: {high_cm:.1f})".format(video=video.name, **r))  # fmt: skip
    return rows


def heights(motions: Sequence[TrackMotion], body: Body, sole: Sole) -> list[dict]:
    """See `soles`."""
    floor, out = floor_of(motions, body, sole), []
    for m in motions:
        w = in_world(m, body, sole, floor)
        low = w.soles[..., 1].min(1)
        rest = (m.contacts[:, :4] > 0.5).any(1)
        if not m.contacts.any():
            slow = (speeds(sole.ends(w.soles), m.times) < STILL_MS).any(1)
            rest = slow & (low < np.percentile(low, 5) + NEAR_M)
        some = 100 * low[rest] if rest.any() else np.full(1, np.nan)
        low5, median, high95 = (float(v) for v in np.percentile(some, [5, 50, 95]))
        out.append({"track": m.track, "frames": len(m.frames), "standing": int(rest.sum()), "median_cm": median,
                    "low_cm": low5, "high_cm": high95})  # fmt: skip
    return out

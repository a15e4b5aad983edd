"""A crowd through our road, and what it says as a `Scene` of `figures`."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from backend.localizers.field.localizer import LANDMARKS
from backend.motion.chunks import person_tracks
from backend.options import MocapOptions
from backend.records import TrackChunk
from bench.noted import noted
from bench.people_parts.crowd import Crowd
from bench.people_parts.figures import Scene, similarity

RIVAL = Path(__file__).with_name("rival.py")
MOST = 12
"""People who are followed."""


def seen(crowd: Crowd, localizer: str) -> tuple[list[TrackChunk], list[str], dict[str, float]]:
    """Everybody's track before the second pass, the notices, and seconds by stage."""
    options = MocapOptions(focal_px=float(crowd.camera.K[0, 0]), device="cpu", keep_features=False, localizer=localizer,
                           max_people=MOST)  # fmt: skip
    chunks, told = noted(crowd.images, crowd.times, options)
    if not chunks:
        return [], told, {}
    ghosts = {int(i) for i in chunks[-1].memory.get("ghosts", ())}
    return person_tracks(chunks, ghosts), told, {}


def scene(crowd: Crowd, tracks: Sequence[TrackChunk]) -> Scene:
    """Rows of the truth, actor by actor, and of the finds, track by track; see `rows_of`."""
    frames, ids, marks = rows_of(tracks)
    people, m = len(crowd.actors), len(crowd.times)
    truth = np.stack([a.landmarks for a in crowd.actors])
    alike = []
    for i in range(m):
        b = np.flatnonzero(frames == i)
        there = [k for k in range(people) if crowd.actors[k].visible[i] > 0.02]
        s = similarity(truth[there, i], marks[b]) if len(there) else np.zeros((0, len(b)))
        alike.append((np.array([k * m + i for k in there], int), b, s))
    return Scene(np.repeat(np.arange(people), m), ids, alike)


def rows_of(tracks: Sequence[TrackChunk]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames (k,), tracks (k,) and landmarks (k, 33, 2) of what was seen; what is only bridged is left out."""
    if not tracks:
        return np.zeros(0, int), np.zeros(0, int), np.zeros((0, LANDMARKS, 2))
    keep = [np.isfinite(t.points2d).all((1, 2)) for t in tracks]
    return (np.concatenate([t.frames[k] for t, k in zip(tracks, keep, strict=True)]),
            np.concatenate([np.full(k.sum(), t.track) for t, k in zip(tracks, keep, strict=True)]),
            np.concatenate([t.points2d[k][:, :LANDMARKS] for t, k in zip(tracks, keep, strict=True)]))  # fmt: skip


def rivals(crowd: Crowd, tracks: Sequence[TrackChunk], python: Path) -> dict[str, list[TrackChunk]]:
    """The same finds, put together by others; `python`: an interpreter that has `trackers`."""
    frames, _, marks = rows_of(tracks)
    score = (
        np.concatenate([t.score[np.isfinite(t.points2d).all((1, 2))] for t in tracks])
        if tracks
        else np.zeros(0)
    )
    low, high = (marks.min(1), marks.max(1)) if len(marks) else (np.zeros((0, 2)), np.zeros((0, 2)))
    with tempfile.TemporaryDirectory() as folder:
        given, said = Path(folder) / "given.npz", Path(folder) / "said.npz"
        np.savez(given, frames=frames, boxes=np.concatenate([low, high - low], 1), scores=score,
                 count=len(crowd.times), fps=round(1 / float(np.median(np.diff(crowd.times)))))  # fmt: skip
        subprocess.run([str(python), str(RIVAL), str(given), str(said)], check=True, timeout=300)
        with np.load(said) as d:
            named = {name: d[name] for name in d.files}
    out = {}
    for name, ids in named.items():
        out[name] = [
            _track(int(i), frames[ids == i], marks[ids == i], crowd) for i in np.unique(ids[ids >= 0])
        ]
    return out


def _track(number: int, frames: np.ndarray, marks: np.ndarray, crowd: Crowd) -> TrackChunk:
    order = np.argsort(frames, kind="stable")
    frames, marks = frames[order], marks[order]
    zeros = np.zeros((len(frames), marks.shape[1]))
    return TrackChunk(number, frames, crowd.times[frames], np.zeros((len(frames), 4)), zeros[..., None], marks, zeros,
                      np.ones(len(frames)))  # fmt: skip

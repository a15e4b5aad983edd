"""The second pass over a finished clip: any canonical points of its people, from what the job has kept.

The road's result is a body for every frame, which carries a point that was thought of later; its uncertainty is that
of the joints that carry it. Where the localizer has kept its features, it is asked for the point as well, and what it
says is laid over that (`backend.recall.blend`). No picture is needed.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from backend.body.kinematics import Posed, forward
from backend.body.model import Body, BodyTensors, PointTensors
from backend.body.pointsets import PointSet
from backend.errors import JobError
from backend.jobs.folder import JobFolder
from backend.localizers.choose import create_localizer
from backend.localizers.contract import LANDMARK_LOCALIZERS, LocalizerOptions, Recalls
from backend.motion.incamera import in_camera, out_of_camera
from backend.options import MocapOptions, choose_device
from backend.points.entries import check_count, read_entry, set_from_entries
from backend.recall.blend import Carried, blended, in_bones, nearby
from backend.recall.looks import Look, Recaller
from backend.records import Notice, Shot, TrackMotion

BLOCK_BYTES = 32 << 20
"""Of skinning transforms that are held at a time; a block of frames is at least one frame."""
ASKED_ROWS = 64
"""Frames whose features are held at a time."""
MOST_ASKED = 8192
"""Points that the localizer is asked for at once: what it must know of each takes up to 20 KB."""
LEAST_SIGMA_M = 0.003
"""Nobody is believed to know a place better than this."""


@dataclass(frozen=True, eq=False)
class PointBlock:
    """P points of one person over n frames."""

    track: int
    """Number of the person, from 1."""
    first: int
    """Row of the track at which the block begins."""
    last: bool
    """Whether the block ends the track."""
    frames: np.ndarray
    """(n,) int32."""
    times: np.ndarray
    """(n,) float64 seconds."""
    positions: np.ndarray
    """(n, P, 3) float32 metres, in the space of the person's shot."""
    uncertainty: np.ndarray
    """(n, P) float32 metres."""


def point_set(entries: Sequence[object], body: Body, made_for: str | None = None) -> PointSet:
    """Points from entries as they stand in a file of points (see `backend.points.file.read_points`); `made_for`:
    name of the body that their numbers belong to. Raises JobError("bad_points") that names the entry."""
    check_count(len(entries), "The list")
    checked = [read_entry(e, f"Point {i + 1}", i, body, made_for) for i, e in enumerate(entries)]
    return set_from_entries(checked, body, "points")


def track_points(
    options: MocapOptions,
    entries: Sequence[object],
    made_for: str | None,
    motions: Sequence[TrackMotion],
    folder: JobFolder | None = None,
) -> Iterator[PointBlock | Notice]:
    """The points of every person of `motions`, block by block in the order of frames; of the job in `folder`, whose
    localizer is asked as far as it can be. Raises JobError."""
    points = point_set(entries, options.load_body(), made_for)
    yield from track_set(options, points, motions, folder)


def track_set(
    options: MocapOptions, points: PointSet, motions: Sequence[TrackMotion], folder: JobFolder | None = None
) -> Iterator[PointBlock | Notice]:
    """The same of any points of the body."""
    body = options.load_body()
    asked = None
    if options.localizer not in LANDMARK_LOCALIZERS:
        asked = _recaller(options, body, points, folder)
        if isinstance(asked, Notice):
            yield asked
            asked = None
    carrier = _Carrier(body, points)
    shots = [] if folder is None else folder.load_shots()
    for motion in motions:
        seen = in_camera(motion, shots, body)
        # Under another lens than then, what the localizer said then lies elsewhere.
        ask = asked is not None and _same_lens(folder, motion, shots)
        blocks = carrier.asked(seen, asked) if ask else carrier.blocks(seen)
        for block in blocks:
            rows = slice(block.first, block.stop)
            yield PointBlock(
                motion.track,
                block.first,
                block.stop == len(motion.frames),
                motion.frames[rows],
                motion.times[rows],
                out_of_camera(block.places, motion, shots, rows),
                block.sigma,
            )
    if asked is not None and asked.lacking:
        yield Notice(
            f"Some of what {options.localizer} kept of the clip is missing or damaged: in those frames the points are "
            "carried by the fitted body alone."
        )


def _recaller(
    options: MocapOptions, body: Body, points: PointSet, folder: JobFolder | None
) -> Recaller | Notice:
    """Who asks the localizer of a job; a Notice that says why it cannot be asked."""
    if len(points) > MOST_ASKED:
        return Notice(f"More than {MOST_ASKED} points at once are carried by the fitted body alone.")
    if folder is None or not folder.features():
        return Notice(
            f"The points are carried by the fitted body, since nothing was kept to ask {options.localizer} again: "
            "import the clip once more to have them found in the picture."
        )
    try:
        localizer = create_localizer(options.localizer, body, LocalizerOptions(choose_device(options.device)))
    except JobError:
        localizer = None
    if not isinstance(localizer, Recalls):
        return Notice(
            f"The points are carried by the fitted body, since {options.localizer} cannot be asked any more: "
            "'weights list' says what is there."
        )
    return Recaller(folder, localizer, points)


class _Carrier:
    """Carries points by the bodies of motions, block by block."""

    def __init__(self, body: Body, points: PointSet) -> None:
        self._body, self._count = body.to("cpu"), len(points)
        self._weights = points.points.weights
        self._points = points.points.to("cpu")
        self._bones = self._weights.argmax(1)

    def blocks(self, motion: TrackMotion, most: int = 1 << 30) -> Iterator[Carried]:
        """By the body alone, `most` rows at a time."""
        step = min(max(1, BLOCK_BYTES // (self._count * 12 * 4)), most)
        for first in range(0, len(motion.frames), step):
            rows = slice(first, min(first + step, len(motion.frames)))
            posed = _posed(self._body, self._points, motion, rows)
            sigma = carried_uncertainty(self._weights, motion.joint_uncertainty[rows])
            n = len(sigma)
            nothing = np.zeros((n, self._count, 3), np.float32), np.zeros((n, self._count), np.float32)
            yield Carried(first, posed.points.numpy(), sigma, posed.rotations.numpy(), *nothing)

    def asked(self, motion: TrackMotion, recaller: Recaller) -> Iterator[Carried]:
        """By the body and what the localizer says."""
        return blended(self._looked_up(motion, recaller), motion.times, self._bones)

    def _looked_up(self, motion: TrackMotion, recaller: Recaller) -> Iterator[Carried]:
        """Blocks that know what the localizer says."""
        native = recaller.localizer.native
        share = nearby(self._points.positions.numpy(), native.positions)
        tensors, looks = native.to("cpu"), _Ahead(_looks(recaller, motion))
        for block in self.blocks(motion, ASKED_ROWS):
            frames = motion.frames[block.first : block.stop]
            row = {int(frame): k for k, frame in enumerate(frames)}
            # What was seen for a moment only, between two long absences, has no row.
            seen = [look for look in looks.until(int(frames[-1])) if look.frame in row]
            if seen:
                rows = np.array([row[look.frame] for look in seen])
                places, sigma = recaller.find(seen)
                body = _posed(self._body, tensors, motion, block.first + rows).points.numpy()
                news = np.stack([look.native for look in seen]) - body
                away = places - block.places[rows] - np.einsum("pk,nkc->npc", share, news, optimize=True)
                known = np.isfinite(away).all(-1) & np.isfinite(sigma)
                away = np.where(known[..., None], away, 0)
                block.away[rows] = in_bones(away, block.turns[rows], self._bones)
                block.sure[rows] = np.where(known, np.maximum(sigma, LEAST_SIGMA_M) ** -2, 0)
            yield block


def _same_lens(folder: JobFolder, motion: TrackMotion, shots: Sequence[Shot]) -> bool:
    shot = next((s for s in shots if s.number == int(motion.shot[0])), None)
    chunk = folder.load_chunk(0)
    if shot is None or chunk is None or not np.isfinite(chunk.focal_px):
        return True
    return abs(float(shot.lens[0, 0]) / chunk.focal_px - 1) < 1e-4


def _looks(recaller: Recaller, motion: TrackMotion) -> Iterator[Look]:
    """Of a person, in the order of frames, under whatever numbers the frames were followed."""
    source = np.where(motion.source > 0, motion.source, motion.track)
    frames = {int(s): set(motion.frames[source == s].tolist()) for s in np.unique(source)}
    if set(frames) == {motion.track}:
        return recaller.track(motion.track)
    parts = (filter(lambda look, s=s: look.frame in frames[s], recaller.track(s)) for s in frames)
    return heapq.merge(*parts, key=lambda look: look.frame)


class _Ahead:
    """Takes looks from an iterator in portions."""

    def __init__(self, looks: Iterator[Look]) -> None:
        self._looks, self._next = looks, next(looks, None)

    def until(self, frame: int) -> list[Look]:
        """All that remain up to this frame."""
        out = []
        while self._next is not None and self._next.frame <= frame:
            out.append(self._next)
            self._next = next(self._looks, None)
        return out


@torch.inference_mode()
def _posed(body: BodyTensors, points: PointTensors, motion: TrackMotion, rows: slice | np.ndarray) -> Posed:
    pose, trans, expression = (
        torch.from_numpy(np.ascontiguousarray(getattr(motion, name)[rows], np.float32))
        for name in ("pose", "trans", "expression")
    )
    betas = torch.from_numpy(np.ascontiguousarray(motion.betas, np.float32))
    return forward(body, pose, betas, trans, expression, points)


def carried_uncertainty(weights: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """(P, 55) skinning weights and (n, 55) metres of the joints -> (n, P) float32 metres.

    Variances are mixed by the weights, as if all carriers erred together: less would claim that their errors
    cancel out, which those of neighbouring joints do not.
    """
    return np.sqrt(np.square(joints.astype(np.float64)) @ weights.T.astype(np.float64)).astype(np.float32)

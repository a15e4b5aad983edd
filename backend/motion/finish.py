"""The end of a job: from all its chunks to shots, cameras, people and their motions.

It looks at no picture, so that everything can be decided anew. Cuts part the clip into shots; in each of them tracks
are looked through once more, the user's corrections are laid over them, the camera is solved, and `solve` makes the
motions.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from backend.camera.background import Background
from backend.camera.path import CameraPath, solve_path, standing
from backend.camera.pinhole import Camera
from backend.camera.refocus import refocused
from backend.errors import JobError
from backend.motion.assemble import Clip
from backend.motion.chunks import person_tracks
from backend.motion.corrections import apply_edits
from backend.motion.rejoin import linked, rejoined, taken
from backend.motion.solve import solve
from backend.motion.take import Take, Way
from backend.records import Chunk, Shot, TrackChunk, TrackMotion
from backend.shots.cuts import find_cuts

LINK = 0.9
"""Least certainty of a proposal that somebody in two shots is the same person."""

SURE = 0.08
"""Relative error of a focal length told by turning beyond which the assumed one is kept; set by judgement."""


@dataclass
class Finished:
    """What a job comes to."""

    shots: list[Shot] = field(default_factory=list)
    """In the order of time."""
    motions: list[TrackMotion] = field(default_factory=list)
    """In the order of their tracks."""
    names: dict[int, str] = field(default_factory=dict)
    """Track -> the name that the user gave it."""
    left_out: int = 0
    """Tracks that were too short or looked like no person."""


def finish(clip: Clip, ghosts: Collection[int]) -> Generator[tuple[int, int], None, Finished]:
    """Yields, several times a second, how many frames are done, and of how many. Raises JobError("bad_options") when a
    correction does not fit."""
    firsts = first_frames(clip)
    parts = _tracks_of_shots(clip, firsts, ghosts)
    whole = [t for part in parts for t in part]
    corrected = apply_edits(whole, clip.options.edits, firsts)
    shot_of = lambda t: int(np.searchsorted(firsts, t.frames[0], "right"))  # noqa: E731
    links = _proposed(parts) | corrected.links
    out = Finished(names=corrected.names)
    total, before = sum(len(t.frames) for t in corrected.tracks), 0
    yield 0, total
    for number, first in enumerate(firsts, 1):
        tracks = [t for t in corrected.tracks if shot_of(t) == number]
        last = (firsts[number] if number < len(firsts) else clip.frames) - 1
        take, path = _take(clip, first, last, tracks)
        steps, motions = solve(take, take.tracks), None
        while motions is None:
            try:
                yield before + next(steps), total
            except StopIteration as end:
                motions = end.value
        before += sum(len(t.frames) for t in tracks)
        doubts = {t.track: t for t in tracks}
        for m in motions:
            m.shot = np.full(1, number, np.int32)
            m.doubtful = doubts[m.track].doubt.astype(np.uint8)
            m.source = doubts[m.track].source.astype(np.int32)
        out.motions += motions
        out.shots.append(_shot(number, clip, take, path, motions))
    kept = {m.track for m in out.motions}
    for m in out.motions:
        m.person = np.full(1, links.get(m.track, 0) if links.get(m.track) in kept else 0, np.int32)
    out.left_out = len(corrected.tracks) - len(kept)
    out.motions.sort(key=lambda m: m.track)
    return out


def first_frames(clip: Clip) -> list[int]:
    """First frame of each shot; only the clip's where cuts are not looked for, or an earlier release kept no
    signatures."""
    chunks = clip.chunks
    if not clip.options.shots or any(len(c.signatures) != c.last + 1 - c.first for c in chunks):
        return [0]
    signatures = np.concatenate([c.signatures for c in chunks])
    return [0, *(int(k) for k in find_cuts(signatures, clip.times(np.arange(len(signatures)))))]


def _tracks_of_shots(clip: Clip, firsts: Sequence[int], ghosts: Collection[int]) -> list[list[TrackChunk]]:
    """Everybody in each shot, looked through once more; a track that goes on behind a cut is somebody new there."""
    used: set[int] = set()
    out, following = [], max((t.track for c in clip.chunks for t in c.tracks), default=0) + 1
    for first, end in zip(firsts, [*firsts[1:], clip.frames], strict=True):
        within = [_within(c, first, end) for c in clip.chunks if c.last >= first and c.first < end]
        found = rejoined(person_tracks(within, ghosts))
        for k, track in enumerate(found):
            if track.track in used:
                found[k], following = replace(track, track=following), following + 1
            used.add(found[k].track)
        out.append(found)
    return out


def _within(chunk: Chunk, first: int, end: int) -> Chunk:
    if first <= chunk.first and chunk.last < end:
        return chunk
    parts = (taken(t, np.flatnonzero((t.frames >= first) & (t.frames < end))) for t in chunk.tracks)
    return replace(chunk, tracks=[t for t in parts if len(t.frames)])


def _proposed(parts: Sequence[Sequence[TrackChunk]]) -> dict[int, int]:
    """Track -> the earlier track, in another shot, that looks like the same person."""
    if len(parts) < 2:
        return {}
    earliest: dict[int, int] = {}
    out = {}
    for _, track, person, sure in linked(parts):
        if person not in earliest:
            earliest[person] = track
        elif sure >= LINK:
            out[track] = earliest[person]
    return out


def _take(clip: Clip, first: int, last: int, tracks: list[TrackChunk]) -> tuple[Take, CameraPath]:
    """The camera of a shot, and its people under it."""
    frames = np.arange(first, last + 1)
    times, assumed, o = clip.times(frames), clip.camera, clip.options
    given = o.focal_px is not None or o.fov_deg is not None
    rows = o.camera_path
    if rows:
        path = imported(rows, frames, assumed)
    else:
        background = _background(clip, first, last)
        path = standing(frames, assumed.K[0, 0])
        if background is not None:
            path = solve_path(background, times, assumed, o.camera, focal_known=given)
            if path.moving and not given and (path.said or not path.focal_sigma < SURE):
                path = solve_path(background, times, assumed, o.camera, focal_known=True)
    focal = path.focal_px if rows or (not given and np.isfinite(path.focal_sigma)) else float(assumed.K[0, 0])
    camera = Camera.from_focal(assumed.width, assumed.height, focal)
    if abs(focal / assumed.K[0, 0] - 1) < 1e-6:
        camera = assumed
    way = None
    if path.moving:
        metres = path.metres if np.isfinite(path.metres) else 0.0
        way = Way(path.turns, path.places * metres)
    take = clip.take(camera, first, way)
    localized = clip.localized_under
    if camera is not localized or o.lens:
        tracks = [refocused(t, localized, camera, o.lens or None) for t in tracks]
    take.tracks = tracks
    return take, path


def _background(clip: Clip, first: int, last: int) -> Background | None:
    parts = [c for c in clip.chunks if c.last >= first and c.first <= last]
    if not parts or any(not c.background for c in parts):
        return None
    return Background.joined([Background.from_arrays(c.background) for c in parts]).cut(first, last)


def imported(rows: Sequence[Sequence[float]], frames: np.ndarray, camera: Camera) -> CameraPath:
    """A camera that was solved elsewhere: `rows` as of the option `camera_path`, any of them for `frames` (m,) and
    beside; between two it is interpolated. Raises JobError("bad_options")."""
    table = np.array(sorted(rows), float)
    if len(np.unique(table[:, 0])) != len(table) or (table[:, 7] < 1).any():
        raise JobError(
            "bad_options", "The option 'camera_path' needs one row for a frame and focal lengths in pixels."
        )
    at = np.clip(frames, table[0, 0], table[-1, 0]).astype(float)
    turn = Rotation.from_rotvec(table[:, 1:4])
    turns = (Slerp(table[:, 0], turn)(at) if len(table) > 1 else turn[np.zeros(len(at), int)]).as_matrix()
    places = np.stack([np.interp(at, table[:, 0], column) for column in table[:, 4:7].T], 1)
    focal = np.interp(at, table[:, 0], table[:, 7])
    known = (frames >= table[0, 0]) & (frames <= table[-1, 0])
    still = standing(frames, float(focal[0]))
    moving = bool(np.ptp(table[:, 1:7], axis=0).max() > 1e-9)
    return replace(still, turns=turns @ turns[0].T, places=(places - places[0]) @ turns[0].T, zoom=focal / focal[0],
                   known=known, moving=moving, parallax=True, metres=1.0,
                   zooming=bool(np.ptp(np.log(focal)) > 1e-3))  # fmt: skip


def _shot(number: int, clip: Clip, take: Take, path: CameraPath, motions: Sequence[TrackMotion]) -> Shot:
    frames, K = path.frames, take.camera.K
    n, o = len(frames), clip.options
    way = take.way or Way(np.tile(np.eye(3), (n, 1, 1)), np.zeros((n, 3)))
    source = (
        "camera"
        if o.camera_path
        else "given"
        if o.focal_px is not None or o.fov_deg is not None
        else "assumed"
    )
    sigma = 0.0
    if source == "assumed" and take.camera is not clip.camera:
        source, sigma = "turning", float(path.focal_sigma)
    side = max(take.camera.width, take.camera.height)
    fov = float(np.rad2deg(2 * np.arctan(0.5 * side / K[0, 0])))
    lens = np.array([K[0, 0], K[1, 1], K[0, 2], K[1, 2]]) * np.stack(
        [path.zoom, path.zoom, *np.ones((2, n))], 1
    )
    note = path.said
    if path.zooming and not note:
        note = (
            "The camera zooms: distances are true only where it shows as much as in the shot's first frame."
        )
    main = motions[0] if motions else None
    nothing = np.full(1, np.nan, np.float32)
    return Shot(
        number, take.camera.width, take.camera.height, frames.astype(np.int32), clip.times(frames),
        Rotation.from_matrix(way.turns).as_rotvec().astype(np.float32),
        (way.places * take.scale).astype(np.float32), lens.astype(np.float32), path.known.astype(np.uint8),
        np.array([0, -1, 0], np.float32) if main is None else main.up, nothing if main is None else main.floor,
        bool(path.moving), bool(path.zooming), fov, float(np.rad2deg(np.sin(np.deg2rad(fov)) * sigma)), source, note,
    )  # fmt: skip


__all__ = ["Finished", "finish", "first_frames"]
